"""nmt beside other toolkits: training, translation with a beam, `--help`, memory. Some 20 minutes on an idle machine.

    benchmarks/peers/install.sh FOLDER
    python benchmarks/peers/compare.py FOLDER [--corpus MULTI30K] [--threads 2] [--rounds 3] [--only WORDS …]

The same models, data, pieces, batches and threads for all. In each round every tool runs once, one after another. What
was measured is kept in FOLDER; the same command goes on from there. Prints Markdown: medians, in brackets the range.
README.md tells what is the same and what is not.
"""

import argparse
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import sentencepiece
from measuring import Line, Measurement, measure
from report import report
from tools import MODELS, ROOT, CTranslate2, Eole, JoeyNMT, Nmt, OpenNMTpy, Tool, Workplace

from nmtcli.vocabulary import SPECIAL

TOOLS: tuple[type[Tool], ...] = (Eole, OpenNMTpy, JoeyNMT, CTranslate2, Nmt)
VALID = 32  # lines: the validation at the end of our training is not what is measured
# JoeyNMT's Transformer reads all of a translation anew at each step: a share of the sentences takes long enough.
SHARES = {("joeynmt", "transformer"): 4}
# Workers share windows of a thousand lines: each has two.
REPEATED = 8
LIMIT = 600  # seconds that a command may take
Record = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What is measured once in a round: train; start, to translate one line; translate; help."""

    what: str
    tool: Tool
    model: str
    kind: str  # precision; of help, the command

    @property
    def name(self) -> str:
        """What the results call it."""
        return " ".join(part for part in (self.what, self.tool.name, self.model, self.kind) if part)


class Failed(Exception):
    """A tool failed; the message says how."""


def works(tools: list[Tool]) -> Iterator[Work]:
    """All that is measured, in order: translations are by what was trained before."""
    for model in MODELS:
        for tool in tools:
            yield from (Work("train", tool, model, precision) for precision in tool.precisions)
    for model in MODELS:
        for tool in tools:
            kinds = tool.kinds if model in tool.models else ()
            for kind in kinds if tool.place.threads > 1 else (one for one in kinds if "process" not in one):
                yield from (Work(what, tool, model, kind) for what in ("start", "translate"))
    for tool in tools:
        yield from (Work("help", tool, "", shlex.join(command)) for command in tool.helps())


def main() -> None:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where install.sh put the peers")
    corpus = Path(
        os.environ.get("NMT_DATA", "recipes/multi30k/work/text"), "multi30k" if "NMT_DATA" in os.environ else ""
    )
    parser.add_argument("--corpus", type=Path, default=corpus, help="train, valid and test .en and .de, plain or .gz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=8, help="of one training")
    parser.add_argument("--warm-up", type=int, default=4, help="those of them that do not count")
    parser.add_argument("--sentences", type=int, default=500, help="to translate, at most 1,000")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="as in: rnn, 'train nmt'")
    options = parser.parse_args()
    folder = options.folder.resolve()
    place = Workplace(folder, folder, options.threads, options.updates, save_every=options.updates)
    prepare(place, options.corpus, VALID, options.sentences)
    tools = [kind(place) for kind in TOOLS]
    setting = f"{options.threads}-threads-{options.warm_up}-of-{options.updates}-{options.sentences}"
    path = place.folder / f"results-{setting}.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    done = {(record["name"], record["round"]) for record in records}
    failures: dict[str, str] = {}
    begin = time.monotonic()
    for number in range(1, options.rounds + 1):
        for work in works(tools):
            wanted = not options.only or any(f" {words} " in f" {work.name} " for words in options.only)
            if not wanted or (work.name, number) in done:
                continue
            print(f"{time.monotonic() - begin:5.0f} s  round {number}  {work.name}", file=sys.stderr, flush=True)
            try:
                record = do(work, place, options.warm_up, options.sentences)
            except Failed as problem:
                failures[work.name] = str(problem)
                print(f"         {problem}", file=sys.stderr, flush=True)
                continue
            records.append({"name": work.name, "round": number, **record})
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(records[-1]) + "\n")
    print(report(records, failures, versions(tools), vars(options)))


def prepare(place: Workplace, corpus: Path, valid: int | None, sentences: int) -> None:
    """Data for nmt, with so many validation lines; its tokenizer makes the pieces that the others read."""
    place.text.mkdir(parents=True, exist_ok=True)
    source, target = place.sides
    texts = {
        (part, side): read(corpus, f"{part}.{side}") for part in ("train", "valid", "test") for side in place.sides
    }
    if not (place.data / "manifest.json").exists():
        command = [sys.executable, "-m", "nmtcli", "prepare", "-o", str(place.data), "-s", source, "-t", target]
        for (part, side), lines in texts.items():
            if part != "test":
                file = place.text / f"{part}.{side}.txt"
                write(file, lines if part == "train" else lines[:valid])
                command += [f"--{part}-{'source' if side == source else 'target'}", str(file)]
        subprocess.run(
            [*command, "--joint", "--vocab-size=8000"], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(place.data / "tokenizer.model"))
    write(place.text / "pieces", [tokenizer.id_to_piece(number) for number in range(SPECIAL, len(tokenizer))])
    for (part, side), lines in texts.items():
        pieces = [" ".join(line) for line in tokenizer.encode(lines, out_type=str)]
        write(place.text / f"{part}.{side}", pieces)
        if part == "valid":
            write(place.text / f"few.{side}", pieces[:10])
        if (part, side) == ("test", source):
            for name, end in (("start", 1), ("translate", sentences)):
                write(place.text / f"{name}.{side}", pieces[:end])
                write(place.text / f"{name}.txt", lines[:end])


def read(corpus: Path, name: str) -> list[str]:
    """The lines of a file, plain or gzip."""
    path = corpus / name
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{name}.gz").read_bytes())
    return data.decode("utf-8").removesuffix("\n").split("\n")


def write(path: Path, lines: list[str]) -> None:
    """Lines, each ended by LF."""
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")


def do(work: Work, place: Workplace, warm_up: int, sentences: int) -> Record:
    """Measure one task; raises Failed with the last output of the tool."""
    tool, run = work.tool, place.run(work.tool.name, work.model, work.kind)
    if work.what == "train":
        shutil.rmtree(run, ignore_errors=True)
        measured = call(work, place, tool.train(work.model, work.kind))
        windows = [window for window in training_windows(tool.logged, measured.lines) if window["step"] > warm_up]
        if not windows:
            raise Failed(f"no figures in its log: {last_words(measured)}")
        return {**figures(measured), "windows": windows}
    if work.what == "help":
        return figures(call(work, place, shlex.split(work.kind)))
    if isinstance(tool, CTranslate2) and not tool.model.is_dir():
        call(work, place, Nmt(place).export(tool.model))
    source, output = place.text / f"{work.what}.{tool.reads}", place.folder / "translated"
    count = 1 if work.what == "start" else sentences // SHARES.get((tool.name, work.model), 1)
    if count > 1 and "process" in work.kind:
        count *= REPEATED
    if count not in (1, sentences):
        lines = read(source.parent, source.name) * (count // sentences or 1)
        write(part := source.with_name(f"part.{tool.reads}"), lines[:count])
        source = part
    output.unlink(missing_ok=True)
    measured = call(work, place, tool.translate(work.model, work.kind, source, output), source)
    done = output.read_bytes().count(b"\n") if output.exists() else 0
    if done != count:
        raise Failed(f"{done} of {count} lines translated: {last_words(measured)}")
    return {**figures(measured), "sentences": count}


def call(work: Work, place: Workplace, command: list[str], source: Path | None = None) -> Measurement:
    """Run a command in the same environment for all tools; raises Failed if it fails."""
    measured = measure(command, work.tool.environment(), place.folder, source, LIMIT)
    if measured.code:
        raise Failed(f"exit code {measured.code}: {last_words(measured)}")
    return measured


def last_words(measured: Measurement) -> str:
    """The end of a tool's output."""
    said = [line.text.strip() for line in measured.lines if line.text.strip()]
    return said[-1][:200] if said else "nothing was said"


def figures(measured: Measurement) -> Record:
    """What of a measurement is kept."""
    return {
        "when": int(time.time()),
        "seconds": measured.seconds,
        "cpu": measured.cpu,
        "foreign": measured.foreign,
        "memory": measured.memory,
    }


def training_windows(logged: re.Pattern[str], lines: list[Line]) -> list[Record]:
    """From each line of a training log to the next: real target tokens, seconds, CPU seconds, foreign cores."""
    marks = [(line, match) for line in lines if (match := logged.search(line.text))]
    windows = []
    for (before, first), (line, second) in pairwise(marks):
        found = {name: float(value.replace(",", "")) for name, value in second.groupdict().items()}
        seconds = line.seconds - before.seconds
        updates = found["step"] - float(first["step"].replace(",", ""))
        tokens = found["tokens"] * updates if "tokens" in found else found["rate"] * seconds
        cpu, foreign = line.cpu - before.cpu, (line.foreign - before.foreign) / seconds
        windows.append({"step": found["step"], "tokens": tokens, "seconds": seconds, "cpu": cpu, "foreign": foreign})
    return windows


def versions(tools: list[Tool]) -> dict[str, str]:
    """Each tool's version, with its torch's where it has one."""
    ask = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    found = {}
    for tool in tools:
        said = [
            subprocess.run(
                [str(tool.python), "-c", ask, name], capture_output=True, text=True, check=False
            ).stdout.strip()
            for name in (tool.package, "torch")
        ]
        found[tool.name] = f"{tool.package} {said[0] or 'not installed'}" + (f", torch {said[1]}" if said[1] else "")
    return found


if __name__ == "__main__":
    main()
