"""Does memory grow with the file, and do two kills change a byte? `nmt translate` on a short and a long text.

    python benchmarks/large_files.py MODEL SOURCE [--lines 20000] [--short 2000] [--work DIR] [--options OPTIONS]

OPTIONS go to `nmt translate`, such as "-b 1". SOURCE may be gzip; its first lines are used. The long text is translated
once without interruption and once killed (SIGKILL) at two random moments and gone on with by --resume. Prints a
Markdown table and exits with 1 where a promise is broken: as many lines out as in, peak memory within 10 % of that of
the short text, the same bytes after the kills.
"""

import argparse
import gzip
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

GROWTH = 1.1  # of peak memory, at most


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int  # negative: the signal
    seconds: float
    peak: float  # MiB


def translate(options: list[str], source: Path, output: Path, *more: str, kill_after: float | None = None) -> Ended:
    """One `nmt translate`, killed after so many seconds if it has not ended by then."""
    command = [sys.executable, "-m", "nmtcli", "translate", *options, "-i", str(source), "-o", str(output), *more]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        pid = status = 0
        while not pid:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if kill_after is not None and time.monotonic() - began > kill_after:
                process.send_signal(signal.SIGKILL)
                kill_after = None
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(process.returncode, time.monotonic() - began, usage.ru_maxrss / 1024)


def lines_in(path: Path) -> int:
    """How many lines a file has."""
    return path.read_bytes().count(b"\n")


def cut(source: Path, count: int, output: Path) -> None:
    """The first lines of a text."""
    with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as text:
        output.write_bytes(b"".join(islice(text, count)))


def measure(arguments: argparse.Namespace, work: Path) -> bool:
    """Run everything and print the table; whether all promises are kept."""
    short, long = work / "short", work / "long"
    cut(arguments.source, arguments.short, short)
    cut(arguments.source, arguments.lines, long)
    options = ["-m", str(arguments.model), "--device", "cpu", *shlex.split(arguments.options)]
    first = translate(options, short, work / "short.out")
    whole = translate(options, long, work / "long.out")
    killed = work / "killed.out"
    choose, done, runs = random.Random(arguments.seed), [0], []
    for more in ([], ["--resume"]):
        runs.append(
            translate(options, long, killed, *more, kill_after=whole.seconds * choose.uniform(0.15, 0.45)),
        )
        done.append(lines_in(killed))
    runs.append(translate(options, long, killed, "--resume"))
    texts = [short, *[long] * 4]
    counts = [lines_in(work / "short.out"), lines_in(work / "long.out"), *done[1:], lines_in(killed)]
    names = ("short", "long", "long, killed", "gone on, killed", "gone on")
    runs = [first, whole, *runs]
    print("| run | lines in | lines out | seconds | peak memory, MiB | exit code |\n|---|---:|---:|---:|---:|---:|")
    for name, text, count, run in zip(names, texts, counts, runs, strict=True):
        print(f"| {name} | {lines_in(text)} | {count} | {run.seconds:.1f} | {run.peak:.0f} | {run.code} |")
    kept = {
        "as many lines out as in": all(counts[run] == lines_in(texts[run]) for run in (0, 1, 4)),
        f"peak memory × {whole.peak / first.peak:.3f}": whole.peak <= GROWTH * first.peak,
        "killed twice": [run.code for run in runs[2:]] == [-signal.SIGKILL, -signal.SIGKILL, 0],
        "the same bytes": killed.read_bytes() == (work / "long.out").read_bytes(),
    }
    print("\n" + "; ".join(f"{what}: {'yes' if true else 'NO'}" for what, true in kept.items()))
    return all(kept.values())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Memory, lines and resumption of nmt translate on a large file.")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("--options", default="", help="of nmt translate, in quotation marks")
    parser.add_argument("--lines", type=int, default=20_000, help="lines of the long text (%(default)s)")
    parser.add_argument("--short", type=int, default=2000, help="lines of the short text (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides when it is killed (%(default)s)")
    parser.add_argument("--work", type=Path, help="keep the files in this directory")
    arguments = parser.parse_args()
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
        sys.exit(not measure(arguments, arguments.work))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(not measure(arguments, Path(folder)))


if __name__ == "__main__":
    main()
