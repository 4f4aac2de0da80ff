"""One training by 1, 2 and 4 ranks: is it the same, and how fast is it?

    python benchmarks/ranks.py DATA [--updates 400] [--ranks 1 2 4] [--set KEY=VALUE …] [--out FOLDER]

DATA is made by nmt prepare (the figures are of the phrasebook). An update is four batches: 1 rank × 4, 2 × 2, 4 × 1.
All runs have the same settings, fp32, no dropout (whose random numbers are each rank's own), on a CPU over gloo. Prints
a Markdown table: validation loss and BLEU of each run, the largest relative difference of the training loss from that
of one rank, seconds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training import events, row

TOKENS = 500
SETTINGS = [
    *("model.dropout=0", "model.recurrent_dropout=0", "model.word_dropout=0", "train.precision=fp32"),
    *(f"train.batch_tokens={TOKENS}", f"train.update_tokens={int(3.4 * TOKENS)}", "train.log_every=10"),
    *("train.threads=1", "train.patience=null"),
]


def train(data: Path, run: Path, ranks: int, settings: list[str]) -> float:
    """Train; returns the seconds it took, start and end included."""
    command = [sys.executable, "-m", "nmtcli", "train", str(data), "-o", str(run), "--device", "cpu"]
    given = [part for setting in settings for part in ("--set", setting)]
    begin = time.perf_counter()
    subprocess.run([*command, "--gpus", str(ranks), *given], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Train with each number of ranks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    options = parser.parse_args()
    settings = [*SETTINGS, f"train.max_updates={options.updates}", f"train.valid_every={options.updates}", *options.set]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        print(row(["ranks", "validation loss", "BLEU", "training loss differs by", "seconds"]))
        print("|---:|---:|---:|---:|---:|")
        first: list[float] = []
        for ranks in options.ranks:
            run = folder / str(ranks)
            seconds = train(options.data, run, ranks, settings)
            losses = [event["loss"] for event in events(run) if event["event"] == "updated"]
            first = first or losses
            differs = max(abs(one - other) / one for one, other in zip(first, losses, strict=True))
            found = [event for event in events(run) if event["event"] == "validated"][-1]
            print(row([str(ranks), f"{found['loss']:.4f}", f"{found['bleu']:.2f}", f"{differs:.1e}", f"{seconds:.0f}"]))


if __name__ == "__main__":
    main()
