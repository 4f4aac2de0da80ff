"""Random MarianMT models against transformers and CTranslate2's own converter: a row for each, as Markdown.

    python benchmarks/interchange.py [--models N]

Each model has random weights and SentencePiece models of invented words; sizes, activation, vocabularies and ties are
drawn by chance. Columns: pieces and number of different ones of 50 greedy translations; the largest difference of a
token's log-probability between `nmt` and transformers, for the folder and for its export back to Marian; how many
translations are the same, greedy and with beam 4, by transformers, by transformers from the export, by CTranslate2
from the export; and by `nmt` in int8.
"""

import argparse
import contextlib
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from nmtcli.export.exporter import export
from nmtcli.export.options import ExportOptions
from tests.interchange.marian import make, random_kind
from tests.interchange.test_marian import Ours, Theirs, converted, found_by, lines

COLUMNS = "model", "pieces", "different", "log-probs", "exported", "greedy", "beam 4", "exported", "CTranslate2", "int8"


def row(seed: int, folder: Path) -> list[str]:
    kind = random_kind(seed)
    kind = replace(kind, heads=(kind.heads[0],) * 2)  # CTranslate2's converter reads one number
    model, output = make(folder / "model", kind), folder / "export"
    export(ExportOptions(run=model, output=output, form="marian"))
    sources, targets = lines(kind)
    ours, theirs, again = Ours(model), Theirs(model), Theirs(output)
    scores = ours.log_probs(sources, targets)
    greedy = ours.pieces(sources, 1)
    engine = converted(output, folder / "ctranslate2")
    return [
        f"{seed}: {kind.width}, {kind.activation}",
        f"{sum(map(len, greedy)) / len(greedy):.1f}",
        str(len(set(map(tuple, greedy)))),
        f"{largest(scores, theirs.log_probs(sources, targets)):.1e}",
        f"{largest(scores, again.log_probs(sources, targets)):.1e}",
        same(greedy, theirs.pieces(sources, 1)),
        same(ours.pieces(sources, 4), theirs.pieces(sources, 4)),
        same(greedy, again.pieces(sources, 1)),
        same(greedy, found_by(engine, again.tokenizer, sources)),
        same(greedy, Ours(model, "int8").pieces(sources, 1)),
    ]


def largest(ours: list[list[float]], theirs: list[list[float]]) -> float:
    return max(
        abs(one - other)
        for left, right in zip(ours, theirs, strict=True)
        for one, other in zip(left, right, strict=True)
    )


def same(ours: list[list[str]], theirs: list[list[str]]) -> str:
    return f"{sum(map(list.__eq__, ours, theirs))}/{len(ours)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20)
    given = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for seed in range(given.models):
        with TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
            os.environ["XDG_CACHE_HOME"] = place
            print(f"| {' | '.join(row(seed, Path(place)))} |", flush=True)


if __name__ == "__main__":
    main()
