"""Speed of translation with several threads on a CPU: one batch over all threads, or one batch per thread.

    python benchmarks/threads.py MODEL… --source FILE [--quantize int8] [--threads N] [--lines 1000] [--rounds 3]

Each model (a run, a checkpoint or an export) translates the file with one thread, with N that share one batch after the
other (PyTorch models only: the others share out their threads when they are opened), and with N as `nmt translate`
uses them: several batches at the same time. In turn, in one process, the best of the rounds; translations that differ
from those of one thread are counted. Prints Markdown.
"""

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from nmtcli.checkpoint import find_model, read_info
from nmtcli.data.workers import cores
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.translator import Translator

WARM_UP = 40


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--quantize", choices=["int8", "bf16"], help="of PyTorch models")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    lines = asked.source.read_text("utf-8").split("\n")[: asked.lines]
    print(f"{platform.machine()}, {asked.threads} threads, torch {torch.__version__}, {len(lines)} lines, beam 5\n")
    print("| model | threads | lines/s | lines a CPU second | × one thread | other translations |")
    print("|---|---|---:|---:|---:|---:|")
    for model in asked.models:
        for name, found in measure(model, lines, asked.threads, asked.quantize, asked.rounds).items():
            print(f"| {model.name} | {name} | {found}", flush=True)


def measure(model: Path, lines: list[str], threads: int, quantize: Any, rounds: int) -> dict[str, str]:
    """The rest of a row of the table for each way to use threads."""
    torch_model = read_info(find_model(model)).kind == "pytorch"
    wanted = quantize if torch_model else None
    ways = {
        "one": 1,
        **({f"{threads}, of one batch": threads} if torch_model else {}),
        f"{threads}, by batches": threads,
    }
    translators = {
        name: Translator.load(model, "cpu", threads=n, quantize=wanted, beam_size=5) for name, n in ways.items()
    }
    texts: dict[str, list[str]] = {}
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for turn in range(rounds + 1):
        for name, translator in translators.items():
            torch.set_num_threads(ways[name])
            if isinstance(translator.runtime, TorchRuntime) and name.endswith("one batch"):
                translator.runtime.parallel_batches = 1
            start, cpu = time.perf_counter(), time.process_time()
            found = translator.translate(lines[:WARM_UP] if turn == 0 else lines)
            used = time.perf_counter() - start, time.process_time() - cpu
            if turn:
                best[name] = min(best[name][0], used[0]), min(best[name][1], used[1])
                texts[name] = [one.text for one in found]
    return {
        name: f"{len(lines) / clock:.1f} | {len(lines) / cpu:.1f} | {best['one'][0] / clock:.2f}"
        f" | {sum(map(str.__ne__, texts['one'], texts[name]))} |"
        for name, (clock, cpu) in best.items()
    }


if __name__ == "__main__":
    main()
