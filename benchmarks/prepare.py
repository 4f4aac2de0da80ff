"""How much slower than bare SentencePiece is `nmt prepare`, and does its memory grow with the corpus?

    python benchmarks/prepare.py SOURCE TARGET --pairs 1000000 --pairs 5000000

SOURCE and TARGET are aligned text, plain or gzip. Corpora of as many pairs as asked for are made by repeating it with
edits (a word of another line put in), so that no pair comes twice. In turn, `--runs` times: SentencePiece alone encodes
both sides with two threads, from text that is in memory already; and `nmt prepare` with two processes, the tokenizer
given and all default rules on, goes from the files to the finished data directory, starting Python included. Memory is
the proportional set size of all processes together, sampled ten times a second (Linux).
"""

import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import sentencepiece
import typer
from rich.console import Console
from rich.table import Table

import nmtcli
from nmtcli.cli import run

CHUNK = 10_000


def read(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        return file.read().decode("utf-8").removesuffix("\n").split("\n")


def edited(lines: list[str], other: list[str], choose: random.Random) -> Iterator[str]:
    """Each line with a word of another line in it; a few characters where words are not spaced."""
    for line in lines:
        words = choose.choice(other).split(" ")
        word = choose.choice(words)[:12]
        if " " in line:
            place = choose.choice([n for n, character in enumerate(line) if character == " "])
            yield f"{line[:place]} {word}{line[place:]}"
        else:
            place = choose.randrange(len(line) + 1)
            yield line[:place] + word + line[place:]


def make_corpus(source: list[str], target: list[str], pairs: int, folder: Path) -> tuple[Path, Path]:
    paths = folder / f"{pairs}.source", folder / f"{pairs}.target"
    for path, lines, seed in zip(paths, (source, target), (1, 2), strict=True):
        choose = random.Random(seed)
        with path.open("w", encoding="utf-8", newline="") as file:
            for start in range(0, pairs, len(lines)):
                part = lines[: pairs - start]
                file.writelines(f"{line}\n" for line in (edited(part, lines, choose) if start else part))
    return paths


def native(model: Path, paths: tuple[Path, Path]) -> float:
    """Seconds in which SentencePiece encodes both files with two threads."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    seconds = 0.0
    for path in paths:
        with path.open(encoding="utf-8", newline="\n") as file:
            while lines := [line.removesuffix("\n") for line in islice(file, CHUNK)]:
                begin = time.perf_counter()
                processor.encode(lines, num_threads=2)
                seconds += time.perf_counter() - begin
    return seconds


def family(process: int) -> list[int]:
    found = [process]
    try:
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += family(int(child))
    except OSError:
        pass  # it has ended
    return found


def memory(process: int) -> int:
    """Bytes of a process; shared pages count in parts."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def prepare(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak bytes of one `nmt prepare`."""
    begin, peak = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, "-m", "nmtcli", "prepare", *arguments], stdout=subprocess.DEVNULL) as child:
        while child.poll() is None:
            peak = max(peak, sum(map(memory, family(child.pid))))
            time.sleep(0.1)
    seconds = time.perf_counter() - begin
    if child.returncode:
        raise SystemExit(child.returncode)
    return seconds, peak


def main(
    source: Path,
    target: Path,
    pairs: Annotated[list[int] | None, typer.Option(help="Sizes of corpora to make. Repeatable.")] = None,
    runs: int = 3,
    vocab_size: int = 16_000,
) -> None:
    lines = read(source), read(target)
    table = Table(
        title=f"nmtcli {nmtcli.__version__}, sentencepiece {sentencepiece.__version__}, {os.cpu_count()} cores"
    )
    for column in ("pairs", "SentencePiece, 2 threads", "nmt prepare, 2 processes", "ratio", "peak memory"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = make_corpus(*lines, min(50_000, len(lines[0])), folder)
        valid = make_corpus(lines[0][-1000:], lines[1][-1000:], 1000, folder)
        held = ["--valid-source", str(valid[0]), "--valid-target", str(valid[1])]
        first = ["--train-source", str(small[0]), "--train-target", str(small[1]), "--vocab-size", str(vocab_size)]
        assert run(["prepare", "-o", f"{name}/first", *first, *held]) == 0
        for size in pairs or [1_000_000]:
            corpus = make_corpus(*lines, size, folder)
            alone, whole, peaks = [], [], []
            for number in range(runs):
                alone.append(native(folder / "first" / "tokenizer.model", corpus))
                files = ["--train-source", str(corpus[0]), "--train-target", str(corpus[1])]
                more = ["--tokenizer", f"{name}/first", "--processes", "2"]
                seconds, peak = prepare(["-o", f"{name}/{size}-{number}", *files, *held, *more])
                whole.append(seconds)
                peaks.append(peak)
            speeds = [size / statistics.median(times) for times in (alone, whole)]
            ratios = [one / other for one, other in zip(alone, whole, strict=True)]
            table.add_row(
                f"{size:,}",
                *(f"{speed:,.0f} pairs/s" for speed in speeds),
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
                f"{max(peaks) / 2**20:,.0f} MiB",
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
