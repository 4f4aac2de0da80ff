"""The table and the figures of the rows that are finished: `python ladder.py work plain bahdanau …`.

Reads work/seedN/ROW (run, translations, score.json) of every seed, and work/test; writes work/ladder.md, ladder.png,
length.png and curves.png. All scores are sacreBLEU's; figures of a row are means over its seeds.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from nmtcli.checkpoint import STATE, RunDirectory, read_json
from nmtcli.config import Config
from nmtcli.errors import UserError
from nmtcli.metrics.scores import score_corpus
from nmtcli.metrics.texts import read_text
from nmtcli.settings import load_config

ROWS = Path(__file__).parent / "rows"
SOURCE, TARGET = "en", "de"
JOINED = (1, 2, 3)  # captions joined to one line
QUARTERS = 4

# Highlighted lines of the figures, in Okabe and Ito's colours, safe for colour-blind readers; the others are grey.
HIGHLIGHTED = {
    "plain": ("#d55e00", "o"),
    "plain-reversed": ("#b87f00", "s"),
    "attention-location": ("#aa4f88", "v"),
    "bahdanau": ("#0072b2", "^"),
    "transformer": ("#00805e", "D"),
}
FAMILIES = {"one vector": "#d55e00", "recurrent attention": "#0072b2", "self-attention": "#00805e"}
INK, GREY = "#1b1b1b", "#c8c8c8"


@dataclass(frozen=True)
class Test:
    """One test set: sources and references, line by line."""

    sources: list[str]
    references: list[str]

    @cached_property
    def words(self) -> list[int]:
        """The length of each source in words."""
        return [len(line.split()) for line in self.sources]


@dataclass(frozen=True)
class Run:
    """One finished training of a row."""

    config: Config
    started: dict[str, Any]  # the event of metrics.jsonl: parameters, pairs, precision, torch
    passes: float  # over the data
    updates: int
    tokens: int  # of the target
    seconds: float  # in updates; validation is not counted
    validated: list[dict[str, Any]]
    scores: list[dict[str, Any]]  # BLEU and chrF on the test set
    translations: dict[int, list[str]]  # by captions joined

    def curve(self) -> tuple[list[float], list[float]]:
        """Millions of target tokens and validation loss; updates are of nearly the same number of tokens."""
        tokens = [event["step"] * self.tokens / self.updates / 1e6 for event in self.validated]
        return tokens, [event["loss"] for event in self.validated]

    def bleu_by_length(self, test: Test) -> list[float]:
        """BLEU of each quarter of the test set."""
        found = []
        for part in quarters(test.words):
            inside = [number for number, length in enumerate(test.words) if length in part]
            translations = [self.translations[1][number] for number in inside]
            found.append(bleu(translations, [test.references[number] for number in inside]))
        return found

    def bleu_by_joined(self, tests: dict[int, Test]) -> list[float]:
        """BLEU with 1, 2 and 3 captions a line."""
        return [bleu(self.translations[n], tests[n].references) for n in JOINED]


@dataclass(frozen=True)
class Row:
    """A model, trained with one seed or more."""

    name: str
    runs: list[Run]  # in the order of their seeds

    @property
    def paper(self) -> str:
        """Up to the colon, the first line."""
        first = (ROWS / f"{self.name}.yaml").read_text("utf-8").partition("\n")[0]
        return first.removeprefix("# ").partition(":")[0]

    @property
    def family(self) -> str:
        """The family of the model: how information passes from source to target."""
        model = self.runs[0].config.model
        if model.decoder.type != "rnn":
            return "self-attention"
        return "one vector" if model.attention.type == "none" else "recurrent attention"

    @property
    def fastest(self) -> Run:
        """The training that was least disturbed by other programs."""
        return min(self.runs, key=lambda run: run.seconds)

    def bleu(self) -> list[float]:
        """Test BLEU of each seed."""
        return [run.scores[0]["value"] for run in self.runs]

    def curve(self) -> tuple[list[float], list[float]]:
        """Millions of target tokens and validation loss."""
        tokens, losses = zip(*(run.curve() for run in self.runs), strict=True)
        return means(tokens), means(losses)


def read_row(work: Path, name: str) -> Row:
    """A row with all seeds that are finished."""
    folders = sorted((file.parent for file in work.glob(f"seed*/{name}/score.json")), key=seed_of)
    return Row(name, [read_run(folder) for folder in folders])


def seed_of(folder: Path) -> int:
    """The number in `work/seed3/bahdanau`."""
    return int(folder.parent.name.removeprefix("seed"))


def read_run(folder: Path) -> Run:
    """A finished training."""
    run = RunDirectory(folder / "run")
    state = read_json(run.checkpoint(run.steps()[-1]) / STATE)
    events = read_events(run.path / "metrics.jsonl")
    (score,) = read_json(folder / "score.json")["systems"]
    return Run(
        config=load_config(files=[run.path / "config.yaml"]),
        started=next(event for event in events if event["event"] == "started"),
        passes=next(event["epoch"] for event in reversed(events) if event["event"] == "updated"),
        updates=state["step"],
        tokens=state["target_tokens"],
        seconds=state["seconds"],
        validated=[event for event in events if event["event"] == "validated"],
        scores=score["scores"],
        translations={n: read_text(folder / f"{n}.{TARGET}").lines for n in JOINED},
    )


def means(lists: Sequence[Sequence[float]]) -> list[float]:
    """The mean of the first values, of the second ones and so on."""
    return [mean(values) for values in zip(*lists, strict=True)]


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a run without repeated ones after a resume."""
    events: list[dict[str, Any]] = []
    for line in path.read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "started":
            events = [before for before in events if before["step"] <= event["step"]]
        events.append(event)
    return events


def quarters(lengths: Sequence[int]) -> list[range]:
    """Ranges of length with about equal numbers of lines; lines of the same length stay together."""
    ordered = sorted(lengths)
    starts = sorted({ordered[len(ordered) * k // QUARTERS] for k in range(QUARTERS)})
    return [range(first, end) for first, end in zip(starts, [*starts[1:], ordered[-1] + 1], strict=True)]


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of a part of a test set, or of a whole one."""
    (score,) = score_corpus(hypotheses, [references], ["bleu"])
    return score.value


def table(rows: list[Row], tests: dict[int, Test]) -> str:
    """The rows as a Markdown table, and how it was measured."""
    parts = quarters(tests[1].words)
    head = (
        "row",
        "paper",
        "parameters",
        "training, minutes (fastest seed)",
        "target tokens/s",
        "validation BLEU",
        "test BLEU ± deviation (seeds)",
        "chrF2",
        f"BLEU, sources of at most {parts[0][-1]} / at least {parts[-1][0]} words",
        "BLEU, 2 / 3 captions joined",
    )
    lines = [cells(head), "|---|---|" + "---:|" * (len(head) - 2)]
    for row in rows:
        by_length = means([run.bleu_by_length(tests[1]) for run in row.runs])
        by_joined = means([run.bleu_by_joined(tests) for run in row.runs])
        values = (
            row.name,
            row.paper,
            f"{row.runs[0].started['parameters']:,}",
            f"{row.fastest.seconds / 60:.1f}",
            f"{row.fastest.tokens / row.fastest.seconds:,.0f}",
            f"{mean(max(event['bleu'] for event in run.validated) for run in row.runs):.1f}",
            with_deviation(row.bleu()),
            f"{mean(run.scores[1]['value'] for run in row.runs):.1f}",
            f"{by_length[0]:.1f} / {by_length[-1]:.1f}",
            f"{by_joined[1]:.1f} / {by_joined[2]:.1f}",
        )
        lines.append(cells(values))
    return "\n".join([*lines, "", *notes(rows, tests), ""])


def with_deviation(values: Sequence[float]) -> str:
    """Mean, standard deviation and each value; of one value the value alone."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ± {stdev(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


def cells(values: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(values)} |"


def notes(rows: list[Row], tests: dict[int, Test]) -> list[str]:
    """Budget, search and signatures, a line each."""
    runs = [run for row in rows for run in row.runs]
    first = runs[0]
    train, search = first.config.train, first.config.search
    minutes = [row.fastest.seconds / 60 for row in rows]
    interval = median((run.scores[0]["high"] - run.scores[0]["low"]) / 2 for run in runs)
    seeds = sorted({run.config.train.seed for run in runs})
    return [
        f"Budget of each training: {first.passes:.2f} passes over {first.started['pairs']:,} pairs, {first.updates:,}"
        f" updates, {first.tokens / 1e6:.2f} M target tokens; {min(minutes):.1f} to {max(minutes):.1f} minutes"
        f" of updates in the fastest seed, median {median(minutes):.1f}. {train.threads} thread,"
        f" {train.precision} on {first.started['device']},"
        f" torch {first.started['torch']}, seeds {', '.join(map(str, seeds))}. Means over the seeds; the deviation is"
        f" the standard deviation. The 95 % interval of one score is ± {interval:.1f} BLEU (bootstrap, median).",
        "",
        f"Checkpoint of the best validation {train.valid_metric} (of {train.valid_sentences} sentences), beam"
        f" {search.beam_size}, length penalty {search.length_penalty:g}. The joined lines are the same test set with"
        f" {JOINED[1]} and {JOINED[2]} neighbouring captions on a line, {mean(tests[2].words):.0f} and"
        f" {mean(tests[3].words):.0f} words in the mean instead of {mean(tests[1].words):.0f}; training has hardly any"
        " line of that length.",
        "",
        *(f"`{score['name']}|{score['signature']}`" for score in first.scores),
    ]


def draw(rows: list[Row], tests: dict[int, Test], work: Path) -> None:
    """The three figures."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra, and slow to import

    plt.switch_backend("agg")
    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "text.color": INK}
    plt.rcParams |= {"axes.titlesize": 10, "axes.titlelocation": "left", "figure.dpi": 144}
    for name, figure in (
        ("ladder", draw_ladder(plt, rows)),
        ("length", draw_lengths(plt, rows, tests)),
        ("curves", draw_curves(plt, rows)),
    ):
        figure.savefig(work / f"{name}.png", bbox_inches="tight", facecolor="white")
        plt.close(figure)


def draw_ladder(plt: Any, rows: list[Row]) -> Any:
    """BLEU of each row in the table's order: every seed, the mean and the standard deviation."""
    figure, axes = plt.subplots(figsize=(6.5, 0.32 * len(rows) + 1.2))
    for place, row in enumerate(rows):
        scores, colour = row.bleu(), FAMILIES[row.family]
        axes.plot(scores, [place] * len(scores), "o", color=colour, markersize=4, alpha=0.45, markeredgewidth=0)
        spread = stdev(scores) if len(scores) > 1 else 0
        axes.errorbar(mean(scores), place, xerr=spread, fmt="|", color=colour, markersize=10, capsize=3)
        axes.annotate(
            f"{mean(scores):.1f}",
            (max(*scores, mean(scores) + spread), place),
            (6, 0),
            textcoords="offset points",
            va="center_baseline",
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("BLEU, test 2016: seeds, mean and standard deviation")
    axes.grid(axis="x", color="#ececec")
    axes.set_axisbelow(True)
    drawn = [family for family in FAMILIES if any(row.family == family for row in rows)]
    for number, family in enumerate(drawn):
        axes.annotate(
            f"● {family}", (number / len(drawn), 1), (0, 6), "axes fraction", "offset points", color=FAMILIES[family]
        )
    return figure


def draw_lengths(plt: Any, rows: list[Row], tests: dict[int, Test]) -> Any:
    """BLEU by the length of the source: quarters of the test set, and captions joined."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 4), sharey=True, gridspec_kw={"wspace": 0.08})
    parts = quarters(tests[1].words)
    names = [f"{part[0]}–{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts]
    left.set_xticks(range(len(parts)), names)
    left.set(xlabel="words in the source, quarters of the lines", ylabel="BLEU", title="test 2016")
    right.set_xticks(range(len(JOINED)), [f"{n}\n{mean(tests[n].words):.0f} words" for n in JOINED])
    right.set(xlabel="captions on a line, mean length", title="the same captions joined")
    by_length = {row.name: means([run.bleu_by_length(tests[1]) for run in row.runs]) for row in rows}
    by_joined = {row.name: means([run.bleu_by_joined(tests) for run in row.runs]) for row in rows}
    draw_lines(left, rows, {name: (range(len(parts)), values) for name, values in by_length.items()}, labels=False)
    draw_lines(right, rows, {name: (range(len(JOINED)), values) for name, values in by_joined.items()})
    left.set_ylim(bottom=0)
    return figure


def draw_curves(plt: Any, rows: list[Row]) -> Any:
    """Validation loss against target tokens."""
    figure, axes = plt.subplots(figsize=(6.5, 4))
    draw_lines(axes, rows, {row.name: row.curve() for row in rows})
    axes.set(xlabel="target tokens trained on, millions", ylabel="validation loss, label-smoothed")
    return figure


def draw_lines(axes: Any, rows: list[Row], lines: dict[str, tuple[Any, Any]], labels: bool = True) -> None:
    """A line for each row: those of `highlighted` in colour and named at their end, the others grey."""
    styles = highlighted([row.name for row in rows])
    ends = []
    for name, (x, y) in sorted(lines.items(), key=lambda line: line[0] in styles):
        colour, marker = styles.get(name, (GREY, ""))
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.8 if name in styles else 1)
        if name in styles:
            ends.append((y[-1], x[-1], name, colour))
    axes.grid(axis="y", color="#ececec")
    axes.set_axisbelow(True)
    if not labels:
        return
    low, high = axes.get_ylim()
    places = apart([end[0] for end in sorted(ends)], 0.05 * (high - low))
    right = max(end[1] for end in ends)
    for place, (value, _, name, colour) in zip(places, sorted(ends), strict=True):
        axes.annotate(
            name, (right, value), (1.04, place), textcoords=axes.get_yaxis_transform(), color=colour, va="center"
        )
    if len(lines) > len(ends):
        axes.annotate("grey: the other rows", (1.04, 1.02), xycoords="axes fraction", color="#777777")


def highlighted(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of the highlighted rows, or of the first rows if none of them is present."""
    chosen = {name: style for name, style in HIGHLIGHTED.items() if name in names}
    return chosen or dict(zip(names, HIGHLIGHTED.values(), strict=False))


def apart(values: Sequence[float], least: float) -> list[float]:
    """Ascending places near ascending values, at least so far from each other: labels that do not overlap."""
    groups: list[tuple[float, int]] = []  # middle and size
    for value in values:
        middle, size = value, 1
        while groups and middle - groups[-1][0] < least * (size + groups[-1][1]) / 2:
            before, count = groups.pop()
            middle, size = (before * count + middle * size) / (count + size), count + size
        groups.append((middle, size))
    return [middle + least * (k - (size - 1) / 2) for middle, size in groups for k in range(size)]


def main(work: Path, names: list[str]) -> None:
    """Table and figures of those rows that are finished."""
    found = [read_row(work, name) for name in names]
    rows = [row for row in found if row.runs]
    if missing := [row.name for row in found if not row.runs]:
        print(f"not finished, left out: {', '.join(missing)}", file=sys.stderr)
    if not rows:
        raise UserError(f"{work}: no row is finished", "make row ROW=bahdanau")
    if len({run.updates for row in rows for run in row.runs}) > 1:
        budgets = ", ".join(f"{row.name} {run.updates:,}" for row in rows for run in row.runs)
        raise UserError(f"{work}: rows with different budgets cannot be compared; updates: {budgets}")
    tests = {
        n: Test(*(read_text(work / "test" / f"{n}.{language}").lines for language in (SOURCE, TARGET))) for n in JOINED
    }
    text = table(rows, tests)
    (work / "ladder.md").write_text(text, "utf-8")
    print(text)
    try:
        draw(rows, tests, work)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print("no figures: matplotlib is not installed (pip install 'nmtcli[plot]')", file=sys.stderr)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except UserError as error:
        sys.exit("\n".join(filter(None, (error.message, error.hint))))
