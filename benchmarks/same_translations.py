"""One Transformer, translated by nmt, transformers, CTranslate2 and Argos Translate: are the translations the same?

    python benchmarks/same_translations.py RUN --source FILE [--lines 500] [--argos PYTHON] [--argos-lines 100]

Exports the run with --format marian. transformers opens that folder, CTranslate2 its conversion by CTranslate2's own
converter; both translate FILE greedily and with beam 4, and so does nmt, from the run. Each differing line is scored by
nmt: a *tie* has two translations whose mean log-probabilities of a piece differ by less than 1e-4; the others are
searches that end differently, with how often the translation of nmt is the more probable one.

--argos is the python of an environment with argostranslate: there the package of --format argos is installed into a
directory of its own and translates the first lines, beside nmt and plain CTranslate2 with the same beam and length
penalty. nmt ranks the finished translations of CTranslate2 again, with EOS counted in their length.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import ctranslate2
import torch
import transformers
from ctranslate2.converters import TransformersConverter

from nmtcli import Translator
from nmtcli.export.exporter import export
from nmtcli.export.options import ExportOptions
from nmtcli.score.pairs import PairScorer
from nmtcli.translate.engines import ModelOptions

TIE = 1e-4
LONGEST = 128  # pieces of a translation
INSTALL = """
import json, sys
import ctranslate2
from argostranslate import package, translate
class Whole:  # argostranslate would download a model that splits text into sentences; each line is one
    def split_sentences(self, text): return [text]
package.install_from_path(sys.argv[1])
(installed,) = package.get_installed_packages()
model = ctranslate2.Translator(str(installed.package_path / "model"), device="cpu")
lines = json.load(sys.stdin)
found = [translate.apply_packaged_translation(installed, line, model, Whole(), 1)[0].value for line in lines]
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Judge:
    """Scores pairs of lines by the model of a run."""

    scorer: PairScorer

    @classmethod
    def of(cls, run: Path) -> "Judge":
        """Open the run."""
        options = ModelOptions((run,), "cpu")
        (engine,) = options.open_engines(options.check(), packed=False)
        return cls(PairScorer(engine.forced, Translator.load(run, "cpu").tokenizers, 2000))

    def row(self, name: str, sources: list[str], ours: list[str], theirs: list[str]) -> str:
        """A row of the table."""
        different = [row for row, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        scores = [
            [one.per_token if one else math.nan for one in self.scorer.score([sources[row] for row in different], side)]
            for side in ([ours[row] for row in different], [theirs[row] for row in different])
        ]
        gaps = [own - other for own, other in zip(*scores, strict=True)]
        ties = sum(abs(gap) < TIE for gap in gaps)
        better = sum(gap >= TIE for gap in gaps)
        return f"| {name} | {len(ours) - len(different)}/{len(ours)} | {ties} | {len(gaps) - ties} | {better} |"


def by_transformers(folder: Path, lines: list[str], beam: int) -> list[str]:
    """The translations of `generate`."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for start in range(0, len(lines), 50):
        read = tokenizer(lines[start : start + 50], return_tensors="pt", padding=True)
        with torch.no_grad():
            rows = model.generate(**read, num_beams=beam, length_penalty=1.0, max_length=LONGEST)
        found += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return found


def by_ctranslate2(folder: Path, model: Path, lines: list[str], beam: int) -> list[str]:
    """The translations of the folder converted by CTranslate2."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    engine = ctranslate2.Translator(str(model), device="cpu")
    read = [tokenizer.convert_ids_to_tokens(row) for row in tokenizer(lines).input_ids]
    found = engine.translate_batch(read, beam_size=beam, max_batch_size=2000, batch_type="tokens")
    rows = [tokenizer.convert_tokens_to_ids(one.hypotheses[0]) for one in found]
    return list(tokenizer.batch_decode(rows, skip_special_tokens=True))


def by_argos(python: Path, package: Path, lines: list[str], home: Path) -> list[str]:
    """The translations of the package, installed by argostranslate."""
    environment = os.environ | {f"XDG_{kind}_HOME": str(home / kind) for kind in ("DATA", "CONFIG", "CACHE")}
    command = [python, "-c", INSTALL, str(package)]
    done = subprocess.run(
        command, input=json.dumps(lines), capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: list[str] = json.loads(done.stdout)
    return found


def piece_text(translator: Translator, pieces: list[str]) -> str:
    """The text of target pieces."""
    tokenizer = translator.tokenizers.target
    known = {piece: number for number, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}
    return tokenizer.decode([known[piece] for piece in pieces])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=500)
    parser.add_argument("--argos", type=Path, metavar="PYTHON")
    parser.add_argument("--argos-lines", type=int, default=100)
    given = parser.parse_args()
    lines = given.source.read_text("utf-8").split("\n")[: given.lines]
    judge = Judge.of(given.run)
    versions = transformers.__version__, ctranslate2.__version__, torch.__version__
    print("transformers {}, CTranslate2 {}, torch {}\n".format(*versions))
    print("| engine | the same | ties | others | nmt more probable |\n|---|---:|---:|---:|---:|")
    with TemporaryDirectory() as place:
        folder, model = Path(place, "marian"), Path(place, "ct2")
        export(ExportOptions(run=given.run, output=folder, form="marian"))
        TransformersConverter(str(folder)).convert(str(model))
        for beam in (1, 4):
            search = {"stopping": "bound"} if beam > 1 else {}
            own = Translator.load(
                given.run, "cpu", beam_size=beam, length_normalization="average", max_length=LONGEST, **search
            )
            ours = [one.text for one in own.translate(lines)]
            kind = f"beam {beam}" if beam > 1 else "greedy"
            for name, theirs in (
                ("transformers", by_transformers(folder, lines, beam)),
                ("CTranslate2", by_ctranslate2(folder, model, lines, beam)),
            ):
                print(judge.row(f"{name}, {kind}", lines, ours, theirs), flush=True)
        if given.argos:
            package = Path(place, "model.argosmodel")
            export(ExportOptions(run=given.run, output=package, form="argos"))
            export(ExportOptions(run=given.run, output=Path(place, "ours"), form="ctranslate2"))
            some = lines[: given.argos_lines]
            own = Translator.load(
                Path(place, "ours"), "cpu", beam_size=4, length_normalization="average", length_penalty=0.2
            )
            ours = [one.text.replace("_", " ") for one in own.translate(some)]
            theirs = by_argos(given.argos, package, some, Path(place, "home"))
            print(judge.row("Argos Translate, beam 4", some, ours, theirs))
            engine = ctranslate2.Translator(str(Path(place, "ours", "ctranslate2")), device="cpu")
            read = [own.tokenizers.source.pieces(row) for row in own.tokenizers.source.encode(some)]
            found = engine.translate_batch(read, beam_size=4, length_penalty=0.2)
            plain = [piece_text(own, one.hypotheses[0]).replace("_", " ") for one in found]
            equal = sum(map(str.__eq__, plain, theirs))
            print(f"\nArgos Translate and plain CTranslate2: {equal} of {len(some)} equal")


if __name__ == "__main__":
    main()
