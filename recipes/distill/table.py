"""Teacher and students side by side: `python table.py TABLE.md SOURCE REFERENCE "NAME=MODEL=BEAM" …`.

Each model translates the source on one thread three times; the best counts, in CPU time, without loading. Size is that
of the files of weights. BLEU is sacreBLEU's, its signature below the table.
"""

import sys
import time
from pathlib import Path

from nmtcli import Translator
from nmtcli.checkpoint import find_model
from nmtcli.metrics.scores import score_corpus

ROUNDS = 3
WEIGHTS = (".safetensors", ".onnx", ".bin")


def size(model: Path) -> float:
    """Megabytes of weights of a run's best checkpoint or of an export."""
    files = [path for path in find_model(model).iterdir() if path.suffix in WEIGHTS and path.stem != "trainer"]
    return sum(path.stat().st_size for path in files) / 1e6


def main(table: Path, source: Path, reference: Path, systems: list[str]) -> None:
    sources, references = (path.read_text("utf-8").rstrip("\n").split("\n") for path in (source, reference))
    lines = ["| model | beam | BLEU | MB | sentences per CPU second |", "|---|---:|---:|---:|---:|"]
    for system in systems:
        name, model, beam = system.rsplit("=", 2)
        translator = Translator.load(Path(model), "cpu", threads=1, beam_size=int(beam))
        seconds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            translations = [translation.text for translation in translator.translate(sources)]
            seconds.append(time.process_time() - start)
        [score] = score_corpus(translations, [references], ["bleu"])
        rate = len(sources) / min(seconds)
        lines.append(f"| {name} | {beam} | {score.value:.1f} | {size(Path(model)):.1f} | {rate:.0f} |")
    text = "\n".join([*lines, "", f"`{score.name}|{score.signature}`"]) + "\n"
    table.write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
