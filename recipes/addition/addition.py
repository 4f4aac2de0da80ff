"""Addition as translation, digit by digit: the data of the recipe, and its picture.

    python recipes/addition/addition.py write OUTPUT_DIR [--seed 1] [--pairs 40000] [--reverse]

writes train.question train.answer valid.question valid.answer test.question test.answer: 535+61 and 596. Each number is
below 10, 100 or 1,000, drawn as often. No two questions add the same two numbers, in whichever order: what validation
and test ask never occurs in training. The same seed and number of pairs give the same bytes everywhere. With
--reverse a question is written from its end, 16+535 (Sutskever et al. 2014, section 3.3).

    python recipes/addition/addition.py draw WORK_DIR TEST_ANSWERS

reads WORK_DIR/NAME/metrics.jsonl and the answers WORK_DIR/NAME.answer of each model, draws WORK_DIR/addition.png and
prints a table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

# imported here, so that an error comes before training, not after it
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LIMITS = (10, 100, 1000)  # of numbers; without short numbers the model learns much later
VALID, TEST = 2000, 2000
MOST_PAIRS = 200_000  # there are half a million questions; near this number, sampling a new one takes long
PASSED = 0.98
# name, legend, colour (safe for colour-blind readers), line
MODELS = (
    ("attention", "attention: a new context at every step", "#0072b2", "-"),
    ("context", "the same context at every step", "#d55e00", "--"),
    ("plain", "the context at the first step alone", "#404040", ":"),
)


def questions(random: Random) -> Iterator[tuple[int, int]]:
    """An endless sequence of different pairs of numbers, in any order."""
    asked = set()
    while True:
        first, second = (random.randrange(random.choice(LIMITS)) for _ in range(2))
        numbers = (min(first, second), max(first, second))
        if numbers not in asked:
            asked.add(numbers)
            yield first, second


def write(directory: Path, seed: int, pairs: int, reverse: bool) -> None:
    """Write the six files; shuffled at the end, so that short numbers, which are few, are in all splits."""
    random = Random(seed)
    drawn = list(islice(questions(random), pairs + VALID + TEST))
    random.shuffle(drawn)
    directory.mkdir(parents=True, exist_ok=True)
    rest = iter(drawn)
    for part, size in (("train", pairs), ("valid", VALID), ("test", TEST)):
        sums = list(islice(rest, size))
        asked = [f"{first}+{second}" for first, second in sums]
        lines = {"question": [text[::-1] for text in asked] if reverse else asked}
        lines["answer"] = [str(first + second) for first, second in sums]
        for side, texts in lines.items():
            (directory / f"{part}.{side}").write_text("".join(f"{text}\n" for text in texts), "ascii", newline="\n")


@dataclass(frozen=True)
class Curve:
    """The validation results of one model, and its final score on the test questions."""

    epochs: list[float]
    exact: list[float]  # exact-match share of validation answers, by greedy decoding
    accuracy: list[float]  # token accuracy on validation text with teacher forcing
    parameters: int
    test: float  # exact-match share of test answers

    @classmethod
    def read(cls, run: Path, answers: Path, references: Path) -> Curve:
        # by update: what an interrupted run did again stands there twice
        events: dict[str, dict[int, dict[str, Any]]] = {"started": {}, "updated": {}, "validated": {}}
        for line in (run / "metrics.jsonl").read_text("utf-8").splitlines():
            record = json.loads(line)
            events.setdefault(record["event"], {})[record["step"]] = record
        measured = sorted(events["validated"])
        return cls(
            [events["updated"][step]["epoch"] for step in measured],
            [events["validated"][step]["exact_match"] for step in measured],
            [events["validated"][step]["accuracy"] for step in measured],
            next(iter(events["started"].values()))["parameters"],
            exact_match(answers.read_text("utf-8").splitlines(), references.read_text("utf-8").splitlines()),
        )

    def passed(self) -> float | None:
        """The epoch at which the exact match first was PASSED or more."""
        return next((epoch for epoch, exact in zip(self.epochs, self.exact, strict=True) if exact >= PASSED), None)


def exact_match(answers: list[str], references: list[str]) -> float:
    return sum(answer == reference for answer, reference in zip(answers, references, strict=True)) / len(references)


def table(curves: dict[str, Curve]) -> Iterator[str]:
    heads = ("parameters", 10), (f"epoch of {PASSED}", 14), ("valid exact", 12), ("test exact", 11), ("accuracy", 9)
    yield " ".join([f"{'model':<10}", *(f"{head:>{width}}" for head, width in heads)])
    for name, curve in curves.items():
        epoch = curve.passed()
        when = "never" if epoch is None else f"{epoch:.1f}"
        yield (
            f"{name:<10} {curve.parameters:>10,} {when:>14} {curve.exact[-1]:>12.3f} {curve.test:>11.3f}"
            f" {curve.accuracy[-1]:>9.3f}"
        )


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Two panels over epochs: whole answers, and single tokens."""
    figure = Figure(figsize=(9, 4), dpi=144, layout="constrained")
    whole, single = figure.subplots(1, 2, sharex=True, sharey=True)
    for name, label, colour, line in MODELS:
        curve = curves[name]
        whole.plot(curve.epochs, curve.exact, line, color=colour, linewidth=2, label=label)
        single.plot(curve.epochs, curve.accuracy, line, color=colour, linewidth=2)
    for panel in (whole, single):
        panel.axhline(PASSED, color="#808080", linewidth=0.8)
        panel.set(xlabel="epoch", ylim=(0, 1.02), xlim=(0, None))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(axis="y", color="#e4e4e4", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    whole.set_title("whole answers without a mistake (greedy search)", fontsize=10)
    single.set_title("single tokens, each after the right ones", fontsize=10)
    whole.set_ylabel(f"share of {VALID:,} unseen questions")
    whole.text(0.2, PASSED - 0.01, f"{PASSED}", va="top", fontsize=8, color="#606060")
    single.legend(*whole.get_legend_handles_labels(), loc="lower right", frameon=False, fontsize=9)
    FigureCanvasAgg(figure).print_png(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description="The data and the picture of the addition recipe.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write", help="write questions and answers")
    writing.add_argument("directory", type=Path, metavar="OUTPUT_DIR")
    writing.add_argument("--seed", type=int, default=1)
    writing.add_argument("--pairs", type=int, default=40_000, help="questions for training (%(default)s)")
    writing.add_argument("--reverse", action="store_true", help="write questions from their end")
    drawing = verbs.add_parser("draw", help="draw what the three models learned")
    drawing.add_argument("work", type=Path, metavar="WORK_DIR")
    drawing.add_argument("references", type=Path, metavar="TEST_ANSWERS")
    options = parser.parse_args()
    if options.verb == "write":
        if not 1 <= options.pairs <= MOST_PAIRS:
            parser.error(f"--pairs must be 1 to {MOST_PAIRS}")
        write(options.directory, options.seed, options.pairs, options.reverse)
        return
    names = [name for name, *_ in MODELS]
    work, references = options.work, options.references
    curves = {name: Curve.read(work / name, work / f"{name}.answer", references) for name in names}
    draw(curves, work / "addition.png")
    print("\n".join(table(curves)))
    print(work / "addition.png")


if __name__ == "__main__":
    main()
