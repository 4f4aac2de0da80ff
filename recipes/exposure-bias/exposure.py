"""Table and figure of the runs that are finished: `python exposure.py WORK ROW…`

Reads the last validation of WORK/seedN/ROW/run and the test scores WORK/seedN/ROW/score.json of each seed; writes
WORK/exposure.md and WORK/exposure.png. Accuracy by position is that of `nmt train` (docs/objectives.md).
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from nmtcli.checkpoint import STATE, RunDirectory, read_json
from nmtcli.errors import UserError
from nmtcli.train.history import read_history

# colour of Okabe and Ito, and line
STYLES = {
    "teacher-forcing": ("#1b1b1b", "-"),
    "scheduled-linear": ("#0072b2", "-"),
    "scheduled-exponential": ("#56b4e9", "--"),
    "scheduled-inverse-sigmoid": ("#aa4f88", ":"),
    "minimum-risk": ("#00805e", "-"),
    "professor-forcing": ("#d55e00", "-"),
}
KINDS = {"teacher_forced": "teacher-forced", "free_running": "free-running"}
FEWEST = 200  # tokens of a bucket of positions that is shown
Accuracies = dict[str, dict[str, float]]  # by bucket of positions: teacher_forced, free_running, tokens


@dataclass(frozen=True)
class Trained:
    """One row with one seed."""

    seed: int
    bleu: float  # on the test set
    by_position: Accuracies  # on the validation set
    seconds: float  # in updates; validation is not counted

    @classmethod
    def read(cls, folder: Path, seed: int) -> "Trained":
        """A finished run."""
        run = RunDirectory(folder / "run")
        [system] = read_json(folder / "score.json")["systems"]
        [bleu] = [score["value"] for score in system["scores"] if score["name"] == "BLEU"]
        seconds = read_json(run.checkpoint(run.steps()[-1]) / STATE)["seconds"]
        return cls(seed, bleu, read_history(run.path).validated[-1]["accuracy_by_position"], seconds)

    def accuracy(self, kind: str, buckets: Sequence[str] | None = None) -> float:
        """The share of right tokens in some buckets of positions, by default in all."""
        parts = [self.by_position[bucket] for bucket in buckets or self.by_position]
        return sum(part[kind] * part["tokens"] for part in parts) / sum(part["tokens"] for part in parts)


@dataclass(frozen=True)
class Row:
    """One row with all its seeds."""

    name: str
    runs: list[Trained]

    def mean(self, kind: str, buckets: Sequence[str] | None = None) -> float:
        """The mean accuracy of the seeds."""
        return mean(run.accuracy(kind, buckets) for run in self.runs)


def read_rows(work: Path, names: Sequence[str]) -> Iterator[Row]:
    """The rows of which at least one seed is finished."""
    folders = sorted(work.glob("seed*"), key=lambda folder: int(folder.name.removeprefix("seed")))
    for name in names:
        finished = [folder / name for folder in folders if (folder / name / "score.json").is_file()]
        if finished:
            yield Row(name, [Trained.read(one, int(one.parent.name.removeprefix("seed"))) for one in finished])


def shown_buckets(rows: Sequence[Row]) -> list[str]:
    """The buckets of positions with enough tokens."""
    first = rows[0].runs[0].by_position
    return [bucket for bucket, part in first.items() if part["tokens"] >= FEWEST]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    buckets = shown_buckets(rows)
    heads = ["training", "test BLEU, mean (seeds)", "teacher-forced accuracy", "free-running accuracy"]
    heads += [f"positions {bucket}" for bucket in buckets] + ["training, fastest seed"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        scores = ", ".join(f"{run.bleu:.1f}" for run in row.runs)
        cells = [row.name, f"{mean(run.bleu for run in row.runs):.1f} ({scores})"]
        cells += [f"{row.mean(kind):.1%}" for kind in KINDS]
        cells += [" / ".join(f"{row.mean(kind, [bucket]):.1%}" for kind in KINDS) for bucket in buckets]
        cells.append(f"{min(run.seconds for run in row.runs):.0f} s")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def draw(rows: Sequence[Row], path: Path) -> None:
    """BLEU of each row, and both accuracies by position."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra, and slow to import

    plt.switch_backend("agg")
    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10}
    plt.rcParams |= {"axes.titlelocation": "left", "figure.dpi": 144}
    figure, (scores, *panels) = plt.subplots(
        1, 3, figsize=(12, 3.6), layout="constrained", gridspec_kw={"width_ratios": [1.2, 1, 1]}
    )
    for place, row in enumerate(rows):
        colour, _ = style(row.name)
        values = [run.bleu for run in row.runs]
        scores.plot(values, [place] * len(values), "o", color=colour, markersize=5, alpha=0.7)
        scores.plot([mean(values)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
    scores.set_yticks(range(len(rows)), [row.name for row in rows])
    scores.set_ylim(len(rows) - 0.5, -0.5)
    scores.set(xlabel="BLEU, unseen combinations (dots: seeds, bar: mean)", title="translation")
    scores.grid(axis="x", color="#ececec")
    buckets = shown_buckets(rows)
    for panel, (kind, title) in zip(panels, KINDS.items(), strict=True):
        for row in rows:
            colour, line = style(row.name)
            values = [100 * row.mean(kind, [bucket]) for bucket in buckets]
            panel.plot(range(len(buckets)), values, line, color=colour, label=row.name, linewidth=1.8)
        panel.set_xticks(range(len(buckets)), buckets)
        panel.set(xlabel="position of the target token", title=f"accuracy, {title}")
        panel.grid(axis="y", color="#ececec")
    panels[0].set_ylabel("right tokens of the validation set, %")
    panels[1].sharey(panels[0])
    panels[0].set_ylim(0, None)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, facecolor="white")
    plt.close(figure)


def style(name: str) -> tuple[str, Any]:
    """Colour and line of a row."""
    return STYLES.get(name, ("#808080", "-"))


def main(work: Path, names: Sequence[str]) -> None:
    """Table and figure of those rows that are finished."""
    rows = list(read_rows(work, names))
    if not rows:
        raise UserError(f"{work}: no row is finished", "make row ROW=teacher-forcing")
    if missing := [name for name in names if name not in {row.name for row in rows}]:
        print(f"not finished, left out: {', '.join(missing)}", file=sys.stderr)
    text = table(rows)
    (work / "exposure.md").write_text(text, "utf-8")
    print(text)
    draw(rows, work / "exposure.png")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except UserError as error:
        sys.exit("\n".join(filter(None, (error.message, error.hint))))
