"""What each export of a model costs and gains: a row a format and precision, and CTranslate2 beside itself.

    python benchmarks/exports.py MODEL… --source FILE --reference FILE --out DIR [--lines N] [--beam N]

MODEL is a run or a checkpoint. Every format and precision that it can have is exported below --out (what is there
already is taken as it is; argos is left out, as it is the CTranslate2 model in a package), and translates the file on
one CPU thread in a process of its own: seconds are CPU time of translating without opening, memory is the most the
process ever had, `alike` is the share of lines translated just as PyTorch does in fp32. An export that fails, as int16
on a CPU without it, has an empty row. CTranslate2 exports are run by `nmt` and by plain CTranslate2 with SentencePiece
in turn, 100 lines at a time in one process, with the same beam and batches of as many tokens; the last column is the
ratio of CPU times. What is done is kept in DIR/results.jsonl and skipped when called again. Prints Markdown.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

from nmtcli.checkpoint import find_model, load_tokenizers, read_info
from nmtcli.export.conditions import PRECISIONS, reachable_formats
from nmtcli.translate.translator import Translator

WARM_UP, CHUNK = 50, 100
Record = dict[str, Any]


def read_lines(path: Path, count: int) -> list[str]:
    """The first lines of a file, which LF alone ends."""
    return path.read_text("utf-8").removesuffix("\n").split("\n")[:count]


def timed(translate: Callable[[Sequence[str]], list[str]], lines: Sequence[str]) -> tuple[float, list[str]]:
    """CPU seconds, and the translations."""
    start = time.process_time()
    found = translate(lines)
    return time.process_time() - start, found


def measure(model: Path, source: Path, count: int, beam: int) -> Record:
    """Translate with one model, in this process."""
    lines = read_lines(source, count)
    start = time.process_time()
    translator = Translator.load(model, "cpu", threads=1, beam_size=beam)
    load = time.process_time() - start

    def ours(part: Sequence[str]) -> list[str]:
        return [one.text for one in translator.translate(part)]

    ours(lines[:WARM_UP])
    seconds, found = timed(ours, lines)
    record = {"load": load, "seconds": seconds, "memory": peak(), "translations": found}
    if not (model / "ctranslate2").is_dir():
        return record
    plain = plain_ctranslate2(model, beam, translator.search.batch_tokens)
    plain(lines[:WARM_UP])
    spent = {"ours": 0.0, "plain": 0.0}
    for number, first in enumerate(range(0, len(lines), CHUNK)):  # by turns
        for name in ("ours", "plain") if number % 2 else ("plain", "ours"):
            spent[name] += timed(ours if name == "ours" else plain, lines[first : first + CHUNK])[0]
    return {**record, "to_plain": spent["ours"] / spent["plain"]}


def plain_ctranslate2(model: Path, beam: int, batch_tokens: int) -> Callable[[Sequence[str]], list[str]]:
    """CTranslate2 and SentencePiece, without nmt."""
    import ctranslate2  # noqa: PLC0415 - memory of other exports is without it
    import sentencepiece  # noqa: PLC0415

    sides = [model / f"tokenizer{side}.model" for side in ("", ".source", ".target")]
    source, target = (sides[0], sides[0]) if sides[0].exists() else sides[1:]
    pieces = [sentencepiece.SentencePieceProcessor(model_file=str(path)) for path in (source, target)]
    precision = json.loads((model / "config.json").read_text())["precision"]
    compute = {"int8": "int8_float32", "int16": "int16"}.get(precision, "float32")
    engine = ctranslate2.Translator(str(model / "ctranslate2"), device="cpu", compute_type=compute, intra_threads=1)

    def translate(lines: Sequence[str]) -> list[str]:
        found = engine.translate_batch(
            pieces[0].encode(list(lines), out_type=str),
            beam_size=beam,
            max_batch_size=batch_tokens,
            batch_type="tokens",
            max_decoding_length=200,
        )
        return [pieces[1].decode(one.hypotheses[0]) for one in found]

    return translate


def peak() -> float:
    """The peak memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exports(model: Path, out: Path) -> Iterator[tuple[str, str, Path]]:
    """Format, precision and directory of the model itself and of each of its exports, made where they are missing.

    There is no directory of an export that failed.
    """
    folder = find_model(model)
    yield "run", "fp32", folder
    for form in reachable_formats(read_info(folder).model, load_tokenizers(folder)):
        for precision in PRECISIONS[form] if form != "argos" else ():
            directory = out / f"{model.name}-{form}-{precision}"
            if not directory.exists():
                command = [sys.executable, "-m", "nmtcli", "export", str(model), "-o", str(directory), "--format", form]
                quantize = [] if precision == "fp32" else ["--quantize", precision]
                subprocess.run([*command, "--force", *quantize], check=False, stdout=subprocess.DEVNULL)
            yield form, precision, directory


def size(directory: Path) -> float:
    """Size in MB of the files needed for translation."""
    kept = (path for path in directory.rglob("*") if path.is_file())
    return sum(one.stat().st_size for one in kept if not one.name.startswith(("trainer.", "state."))) / 1e6


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # the process of one model
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.models[0], options.source, options.lines, options.beam)))
        return
    if options.reference is None or options.out is None:
        parser.error("--reference and --out are needed")
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    records = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for model in options.models:
        for form, precision, directory in exports(model, options.out):
            key = {
                "model": model.name,
                "form": form,
                "precision": precision,
                "lines": options.lines,
                "beam": options.beam,
            }
            if any(key.items() <= record.items() for record in records):
                continue
            if not directory.exists():
                records.append(key)
                continue
            command = [sys.executable, __file__, directory, "--measure", "--source", options.source]
            command += ["--lines", str(options.lines), "--beam", str(options.beam)]
            done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
            records.append({**key, "size": size(directory), **json.loads(done.stdout)})
            with results.open("a") as file:
                file.write(json.dumps(records[-1]) + "\n")
    records = [one for one in records if (one["lines"], one["beam"]) == (options.lines, options.beam)]
    print_table(records, read_lines(options.reference, options.lines), [model.name for model in options.models])


def print_table(records: Sequence[Record], references: Sequence[str], models: Sequence[str]) -> None:
    """Markdown; rows in the order of the models given."""
    from nmtcli.metrics.scores import score_corpus  # noqa: PLC0415 - memory of exports is without sacreBLEU

    columns = ["model", "format", "precision", "BLEU", "alike", "MB", "opened, s", "sentences/s", "memory, MB"]
    print("| " + " | ".join([*columns, "time ÷ plain CTranslate2"]) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for model in models:
        own = [one for one in records if one["model"] == model]
        exact = next(one["translations"] for one in own if one["form"] == "run")
        for one in own:
            if "translations" not in one:
                print(f"| {model} | {one['form']} | {one['precision']} |" + " |" * (len(columns) - 2))
                continue
            found = one["translations"]
            (bleu,) = score_corpus(found, [references[: len(found)]], ("bleu",))
            alike = sum(a == b for a, b in zip(found, exact, strict=True)) / len(found)
            ratio = f"{one['to_plain']:.2f}" if "to_plain" in one else ""
            cells = [
                *(model, one["form"], one["precision"], f"{bleu.value:.2f}", f"{alike:.1%}", f"{one['size']:.1f}"),
                *(f"{one['load']:.2f}", f"{len(found) / one['seconds']:.1f}", f"{one['memory']:.0f}", ratio),
            ]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
