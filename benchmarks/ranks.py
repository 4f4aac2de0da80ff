"""One training by 1, 2 and 4 ranks: is it the same, and how fast is it?

    python benchmarks/ranks.py DATA [--updates 400] [--ranks 1 2 4] [--finetune-from MODEL] [--set KEY=VALUE …]

DATA is made by nmt prepare (the figures are of the phrasebook). An update is four batches: 1 rank × 4, 2 × 2, 4 × 1.
All runs have the same settings, fp32, no dropout (whose random numbers are each rank's own), on a CPU over gloo. Prints
a Markdown table: the largest relative difference of the training loss from that of the first run, in the first hundred
updates and in all, validation loss and BLEU at the end, seconds. Sums in another order round otherwise, and training
multiplies such differences: they are at the rounding of fp32 at first, and later as large as those of another seed. A
trained model (`--finetune-from`) at a low rate multiplies them little.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training import events, row

TOKENS, EVERY = 500, 10
SETTINGS = [
    *("model.dropout=0", "model.recurrent_dropout=0", "model.word_dropout=0", "train.precision=fp32"),
    *(f"train.batch_tokens={TOKENS}", f"train.update_tokens={int(3.4 * TOKENS)}", f"train.log_every={EVERY}"),
    *("train.threads=1", "train.patience=null"),
]


def train(data: Path, run: Path, ranks: int, settings: list[str], first: Path | None) -> float:
    """Train; returns the seconds it took, start and end included."""
    command = [sys.executable, "-m", "nmtcli", "train", str(data), "-o", str(run), "--device", "cpu"]
    given = [part for setting in settings for part in ("--set", setting)]
    given += ["--finetune-from", str(first)] if first else []
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
    parser.add_argument("--finetune-from", type=Path, metavar="MODEL")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    options = parser.parse_args()
    settings = [*SETTINGS, f"train.max_updates={options.updates}", f"train.valid_every={options.updates}", *options.set]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        print(row(["ranks", "first 100 updates", "all", "validation loss", "BLEU", "seconds"]))
        print("|---:|---:|---:|---:|---:|---:|")
        first: list[float] = []
        for ranks in options.ranks:
            run = folder / str(ranks)
            seconds = train(options.data, run, ranks, settings, options.finetune_from)
            losses = [event["loss"] for event in events(run) if event["event"] == "updated"]
            first = first or losses
            differ = [abs(one - other) / one for one, other in zip(first, losses, strict=True)]
            found = [event for event in events(run) if event["event"] == "validated"][-1]
            cells = [
                f"{max(differ[: 100 // EVERY]):.1e}",
                f"{max(differ):.1e}",
                f"{found['loss']:.4f}",
                f"{found['bleu']:.2f}",
            ]
            print(row([str(ranks), *cells, f"{seconds:.0f}"]))


if __name__ == "__main__":
    main()
