"""How far does a gradient reach? `python gradient_path.py LADDER WORK ROW… [--fresh] [--check]`

For each sentence of the test text, and each model: the norm of the gradient of the last target token's loss with
respect to the embedding of each source token. The distance of a source token is the number of recurrent steps from it
to the last target token in a model with one vector: to the end of the source, then along the target.

LADDER is the work folder of recipes/attention-ladder. Each model is measured untrained, with a few seeds, and trained
with every seed for which LADDER/seedN/ROW is finished: `run`, 1.de, 2.de and score.json. The test text is LADDER/test,
the tokenizers are those of LADDER/data. Writes WORK/gradient-path.md and WORK/gradient-path.png, with --fresh
WORK/untrained.md and WORK/untrained.png. With --check it exits with 5 where an untrained model is outside of
expected.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from nmtcli.checkpoint import find_model, load_model
from nmtcli.config import ModelConfig
from nmtcli.data.batching import Sentences
from nmtcli.data.directory import open_data
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import UserError
from nmtcli.metrics.texts import read_text
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.batches import Batch, make_batch
from nmtcli.vocabulary import EOS, PAD

HERE = Path(__file__).parent
LADDER = HERE.parent / "attention-ladder"
sys.path.append(str(LADDER))
from ladder import bleu, quarters  # noqa: E402 - of the recipe beside this one

EXPECTED, FAILED = HERE / "expected.json", 5
SOURCE, TARGET = "en", "de"
JOINED = (1, 2)  # captions joined to one line
SEEDS = (1, 2, 3)  # of untrained models
LEAST = 10  # source tokens of a sentence that is measured
STEP = 4  # distances of one point of a curve
FEWEST = 100  # source tokens of a point
BATCH = 50
# name, legend, colour of Okabe and Ito, line
LINES = {
    "plain": ("one vector", "#d55e00", "-"),
    "plain-reversed": ("one vector, source reversed", "#b87f00", "--"),
    "plain-twice": ("one vector, source read twice", "#aa4f88", ":"),
    "bahdanau": ("attention (Bahdanau)", "#0072b2", "-"),
    "attention-scaled": ("attention (Luong)", "#56b4e9", "--"),
    "transformer": ("Transformer", "#00805e", "-"),
}
FAR, NEAR = "first quarter", "last quarter"


def gradient_norms(model: Seq2Seq, batch: Batch) -> Tensor:
    """Norms [B, S] of the gradients of the last target token's loss; zero on padding.

    Every source token gets a row of its own in the embedding, so that a source that is reversed or read twice needs no
    bookkeeping: what reaches the row is the whole gradient of that token.
    """
    real = batch.source != PAD  # [B, S]
    own = torch.zeros_like(batch.source).masked_scatter(real, torch.arange(1, int(real.sum()) + 1))
    rows = model.source_embedding.weight.detach()[batch.source[real]]
    table = torch.cat([torch.zeros_like(rows[:1]), rows]).requires_grad_()  # the row PAD first
    last = (batch.target_output != PAD).sum(dim=1) - 1  # [B]
    inputs = (own, batch.source_length, batch.target_input)
    replaced = {"source_embedding.weight": table}
    features = functional_call(model, replaced, inputs, tie_weights=False)  # [B, T, E]
    sentence = torch.arange(len(last))
    log_probs = model.log_probs(features[sentence, last])  # [B, V]
    loss = -log_probs[sentence, batch.target_output[sentence, last]].sum()
    (slopes,) = torch.autograd.grad(loss, table)
    return slopes.norm(dim=1)[own] * real


def distances(batch: Batch) -> Tensor:
    """Recurrent steps [B, S] from each source token to the last target token with one vector between them."""
    target = (batch.target_output != PAD).sum(dim=1)
    position = torch.arange(batch.source.size(1))
    return (batch.source_length - 1)[:, None] - position + target[:, None]


@dataclass
class Curve:
    """Sums of norms by distance, and by quarter of the source sentence, of some models together."""

    models: int
    total: dict[int, float] = field(default_factory=dict)
    count: dict[int, int] = field(default_factory=dict)
    quarters: list[float] = field(default_factory=lambda: [0.0] * 4)
    tokens: list[int] = field(default_factory=lambda: [0] * 4)

    def add(self, norms: Tensor, batch: Batch) -> None:
        """Count one batch; EOS, which stays at the end of a reversed source, is no word."""
        real = (batch.source != PAD) & (batch.source != EOS)
        place = (torch.arange(batch.source.size(1)) * 4) // (batch.source_length - 1)[:, None]
        for distance, quarter, norm in zip(
            distances(batch)[real].tolist(), place[real].tolist(), norms[real].tolist(), strict=True
        ):
            point = distance // STEP
            self.total[point] = self.total.get(point, 0.0) + norm
            self.count[point] = self.count.get(point, 0) + 1
            self.quarters[quarter] += norm
            self.tokens[quarter] += 1

    def points(self) -> tuple[list[float], list[float]]:
        """Distances and mean norms, relative to the mean over all tokens."""
        mean = sum(self.total.values()) / sum(self.count.values())
        known = sorted(point for point, count in self.count.items() if count >= FEWEST * self.models)
        middle = [STEP * point + (STEP - 1) / 2 for point in known]
        return middle, [self.total[point] / self.count[point] / mean for point in known]

    @property
    def reach(self) -> float:
        """The mean norm of the first quarter of the source tokens, over that of the last quarter."""
        first, last = (self.quarters[q] / self.tokens[q] for q in (0, 3))
        return first / last


def measure(models: Sequence[Seq2Seq], batches: Sequence[Batch]) -> Curve:
    """The curve of some models together."""
    curve = Curve(len(models))
    for model in models:
        for batch in batches:
            curve.add(gradient_norms(model, batch), batch)
    return curve


def fresh_model(config: ModelConfig, sizes: tuple[int, int], seed: int) -> Seq2Seq:
    """An untrained model, without dropout."""
    torch.manual_seed(seed)
    return Seq2Seq(config, *sizes).eval()


@dataclass(frozen=True)
class Row:
    """What is known of one model."""

    name: str
    fresh: Curve
    trained: Curve | None
    by_length: list[float]  # mean BLEU of each quarter of the test set by source length, then of joined captions
    bleu: list[float]  # of each seed


def row_config(name: str) -> ModelConfig:
    """The model of a row of the ladder."""
    model = load_config(files=[LADDER / "base.yaml", LADDER / "rows" / f"{name}.yaml"]).model
    return model.model_copy(update={"embedding": model.embedding.model_copy(update={"tie": "all"})})


def make_batches(lines: tuple[list[str], list[str]], tokenizers: Tokenizers) -> list[Batch]:
    """The test sentences with at least LEAST source tokens, sorted by length."""
    encoded = [one.encode(side) for one, side in zip((tokenizers.source, tokenizers.target), lines, strict=True)]
    pairs = sorted(zip(*encoded, strict=True), key=lambda pair: max(map(len, pair)))
    pairs = [pair for pair in pairs if len(pair[0]) >= LEAST]
    parts = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    return [make_batch(*(Sentences.of(list(side)) for side in zip(*part, strict=True))) for part in parts]


Texts = dict[int, tuple[list[str], list[str]]]  # sources and references, by captions joined


def read_row(name: str, work: Path, texts: Texts, tokenizers: Tokenizers, fresh_only: bool) -> Row:
    """Measure one row; a model that is not trained has its untrained curve only."""
    batches = make_batches(texts[1], tokenizers)
    config, sizes = row_config(name), (len(tokenizers.source), len(tokenizers.target))
    fresh = measure([fresh_model(config, sizes, seed) for seed in SEEDS], batches)
    seeds = sorted(file.parent for file in work.glob(f"seed*/{name}/score.json"))
    if fresh_only or not seeds:
        return Row(name, fresh, None, [], [])
    trained = measure([load_model(find_model(folder / "run")) for folder in seeds], batches)
    translations = [[read_text(folder / f"{n}.{TARGET}").lines for n in JOINED] for folder in seeds]
    by_length = [mean(values) for values in zip(*(bleu_by_length(one, texts) for one in translations), strict=True)]
    return Row(name, fresh, trained, by_length, [bleu(one[0], texts[1][1]) for one in translations])


def bleu_by_length(translations: Sequence[list[str]], texts: Texts) -> list[float]:
    """BLEU of each quarter of the test set by source length, then of joined captions."""
    words = [len(line.split()) for line in texts[1][0]]
    values = []
    for part in quarters(words):
        inside = [number for number, length in enumerate(words) if length in part]
        values.append(bleu([translations[0][n] for n in inside], [texts[1][1][n] for n in inside]))
    return [*values, bleu(translations[1], texts[2][1])]


def length_names(texts: Texts) -> list[str]:
    """The names of the points of `by_length`."""
    parts = quarters([len(line.split()) for line in texts[1][0]])
    joined = [len(line.split()) for line in texts[2][0]]
    return [*(f"{part[0]}–{part[-1]}" for part in parts), f"two captions ({mean(joined):.0f} words)"]


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The rows as a Markdown table."""
    heads = ["model", f"untrained: {FAR} / {NEAR}", f"trained: {FAR} / {NEAR}", "test BLEU"]
    heads += [*(f"BLEU, {name} words" for name in names[:-1]), f"BLEU, {names[-1]}"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        cells = [f"{row.name} ({legend(row.name)})", f"{row.fresh.reach:.2g}"]
        cells += ["–" if row.trained is None else f"{row.trained.reach:.2g}"]
        cells += [with_deviation(row.bleu)]
        cells += [f"{value:.1f}" for value in row.by_length] or ["–"] * len(names)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def with_deviation(values: Sequence[float]) -> str:
    """Mean and standard deviation of the seeds."""
    if not values:
        return "–"
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def signature() -> str:
    """How a ratio was measured; figures of different signatures are not compared."""
    width = load_config(files=[LADDER / "base.yaml"]).model.decoder.hidden_size
    return (
        f"gradient norm|{FAR}/{NEAR}|untrained|seeds:{len(SEEDS)}|width:{width}|test 2016, at least {LEAST} source"
        " tokens"
    )


def shortfalls(rows: Sequence[Row], expected: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Untrained models whose gradient does not reach as far as expected, or farther."""
    found = []
    for row in rows:
        if row.name not in expected:
            found.append(f"{row.name}: expected.json has no figure of it; it has {', '.join(expected)}")
        for figure in expected.get(row.name, ()):
            if figure["signature"] != signature():
                found.append(f"{row.name}: another signature than {figure['signature']}: {signature()}")
            elif abs(row.fresh.reach - figure["score"]) > figure["tolerance"]:
                limits = f"{figure['score']} ± {figure['tolerance']} ({figure['source']})"
                found.append(f"{row.name}, untrained: {FAR} / {NEAR} {row.fresh.reach:.2g}, expected {limits}")
    return found


def legend(name: str) -> str:
    """What a row is called in the figure."""
    return LINES[name][0] if name in LINES else name


def draw(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Panels: gradients of untrained and of trained models by distance, and BLEU by source length."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra, and slow to import

    plt.switch_backend("agg")
    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10}
    plt.rcParams |= {"axes.titlelocation": "left", "figure.dpi": 144}
    trained = [row for row in rows if row.trained is not None]
    width, columns = (12, 3) if trained else (5, 1)
    figure, panels = plt.subplots(1, columns, figsize=(width, 4.2), layout="constrained", squeeze=False)
    gradients = panels[0][:2]
    for row in rows:
        line(gradients[0], row.name, *row.fresh.points())
    gradients[0].set(
        title="gradient at source tokens, untrained", ylabel="gradient norm (1: mean of all source tokens)"
    )
    for panel in gradients:
        panel.set(yscale="log", xlabel="steps to the last target token, with one vector")
    if trained:
        lengths = panels[0][2]
        for row in trained:
            assert row.trained is not None
            line(gradients[1], row.name, *row.trained.points())
            line(lengths, row.name, range(len(names)), row.by_length, marker="o")
        gradients[1].set_title("gradient at source tokens, trained")
        gradients[1].sharey(gradients[0])
        lengths.set(title="BLEU by source length", xlabel="words in the source (quarters of the test set)")
        lengths.set_xticks(range(len(names)), [name.replace(" (", "\n(") for name in names], fontsize=8)
        lengths.set_ylim(bottom=0)
    for panel in panels[0]:
        panel.grid(axis="y", color="#ececec")
        panel.set_axisbelow(True)
    figure.legend(*gradients[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    figure.savefig(path, facecolor="white")
    plt.close(figure)


def line(panel: Any, name: str, x: Sequence[float], y: Sequence[float], marker: str = "") -> None:
    """One row in one panel."""
    label, colour, dashes = LINES.get(name, (name, "#808080", "-"))
    panel.plot(x, y, dashes, color=colour, label=label, linewidth=1.8, marker=marker, markersize=4)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Gradients by distance, and BLEU by length, of models of the ladder.")
    parser.add_argument("ladder", type=Path, metavar="LADDER", help="the work folder of recipes/attention-ladder")
    parser.add_argument("work", type=Path, metavar="WORK", help="where table and figure are written")
    parser.add_argument("rows", nargs="+", metavar="ROW")
    parser.add_argument("--fresh", action="store_true", help="untrained models only")
    parser.add_argument("--check", action="store_true", help="exit with 5 where a model is outside of expected.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work: Path = options.work
    tokenizers = open_data(options.ladder / "data").tokenizers
    texts: Texts = {}
    for n in JOINED:
        source, target = (read_text(options.ladder / "test" / f"{n}.{language}").lines for language in (SOURCE, TARGET))
        texts[n] = source, target
    rows = [read_row(name, options.ladder, texts, tokenizers, options.fresh) for name in options.rows]
    if untrained := [row.name for row in rows if row.trained is None and not options.fresh]:
        print(f"not trained, only measured as they begin: {', '.join(untrained)}", file=sys.stderr)
    names = length_names(texts)
    text = table(rows, names)
    work.mkdir(parents=True, exist_ok=True)
    name = "untrained" if options.fresh else "gradient-path"
    (work / f"{name}.md").write_text(text, "utf-8")
    print(text)
    draw(rows, names, work / f"{name}.png")
    if options.check and (found := shortfalls(rows, json.loads(EXPECTED.read_text("utf-8")))):
        print("\n".join(found), file=sys.stderr)
        raise SystemExit(FAILED)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit("\n".join(filter(None, (error.message, error.hint))))
