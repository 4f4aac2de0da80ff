"""Do batches change translations? `python benchmarks/batch_invariance.py MODEL FILE [OTHER_MODEL]`

Translates FILE with several sizes of batch and every line alone, and counts lines that differ from the default's.
Each difference is shown with the scores of both translations: a tie within floating-point rounding, or not. With
OTHER_MODEL (an export), its translations are compared too, greedy and with the beam.
"""

import sys
import time
from pathlib import Path

from nmtcli.translate.translator import Translation, Translator


def load(model: str, **search: float) -> Translator:
    """A translator on the CPU with other decoding settings."""
    return Translator.load(Path(model), "cpu", **search)


def compare(name: str, expected: list[Translation], found: list[Translation]) -> None:
    """Print how many lines differ, and each of them with the difference of the scores."""
    differing = [pair for pair in zip(expected, found, strict=True) if pair[0].text != pair[1].text]
    print(f"{name}: {len(differing)} of {len(expected)} lines differ")
    for one, other in differing:
        gap = abs(one.candidates[0].score - other.candidates[0].score)
        print(f"  scores {one.candidates[0].score:.6f}, {other.candidates[0].score:.6f}: {gap:.1e} apart")
        print(f"    {one.text}\n    {other.text}")


def main() -> None:
    """Print one line a comparison."""
    model, lines = sys.argv[1], Path(sys.argv[2]).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    start = time.perf_counter()
    expected = load(model).translate(lines)
    print(f"{len(lines) / (time.perf_counter() - start):.0f} lines/s, default batches")
    compare("again", expected, load(model).translate(lines))
    for tokens in (500, 2000, 8000):
        compare(f"batch tokens {tokens}", expected, load(model, batch_tokens=tokens).translate(lines))
    alone = load(model)
    compare("each line alone", expected, [alone.translate([line])[0] for line in lines])
    for other in sys.argv[3:]:
        compare(f"{other}, beam", expected, load(other).translate(lines))
        compare(
            f"{other}, greedy", load(model, beam_size=1).translate(lines), load(other, beam_size=1).translate(lines)
        )


if __name__ == "__main__":
    main()
