"""Teacher and students side by side: `python table.py TABLE.md SOURCE REFERENCE "NAME=MODEL=BEAM" …`.

Each model translates the source on one thread three times; the best counts, in CPU time, without loading. Size is that
of the files of weights. BLEU is sacreBLEU's, plain and lower-cased, its signatures below the table.
"""

import sys
import time
from pathlib import Path

from nmtcli import Translator
from nmtcli.score.metrics import Variant, score_corpus

ROUNDS = 3
VARIANTS = (Variant(), Variant(lowercase=True))
WEIGHTS = (".safetensors", ".onnx", ".data", ".bin")


def size(model: Path) -> float:
    """Megabytes of weights of a run's best checkpoint or of an export."""
    folder = model / "checkpoints" / "best" if (model / "checkpoints").is_dir() else model
    files = [path for path in folder.rglob("*") if path.suffix in WEIGHTS and path.stem != "trainer"]
    return sum(path.stat().st_size for path in files) / 1e6


def main(table: Path, source: Path, reference: Path, systems: list[str]) -> None:
    sources, references = (path.read_text("utf-8").rstrip("\n").split("\n") for path in (source, reference))
    rows = []
    for system in systems:
        name, model, beam = system.rsplit("=", 2)
        translator = Translator.load(Path(model), "cpu", threads=1, beam_size=int(beam))
        seconds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            translations = [translation.text for translation in translator.translate(sources)]
            seconds.append(time.process_time() - start)
        plain, lower = (score_corpus(translations, [references], ["bleu"], variant=v)[0] for v in VARIANTS)
        rows.append((name, beam, plain.value, lower.value, size(Path(model)), len(sources) / min(seconds)))
        signatures = [plain.signature, lower.signature]
    lines = ["| model | beam | BLEU | BLEU, lower-cased | MB | sentences per CPU second |", "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {name} | {beam} | {a:.1f} | {b:.1f} | {mb:.1f} | {rate:.0f} |" for name, beam, a, b, mb, rate in rows]
    text = "\n".join([*lines, "", *(f"`{signature}`" for signature in signatures)]) + "\n"
    table.write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
