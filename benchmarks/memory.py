"""Resident memory of training on a CPU: does it grow with the number of updates? Linux only.

    python benchmarks/memory.py DATA [--preset NAME] [-c FILE] [--set KEY=VALUE] [--updates 500 1500 3000]

DATA is made by nmt prepare. Trains as `nmt train` does, but without validation and checkpoints, and prints a Markdown
table: resident memory after each of the given updates, and the peak until then. `shapes` counts the distinct batch
shapes (sentences, source length, target length): libraries that keep a kernel or a buffer for each shape grow with it.
A smaller `train.batch_tokens` is quicker. Other programs on the machine do not change the result.
"""

import argparse
import os
import tempfile
from itertools import islice
from pathlib import Path

if Path("/sys/kernel/mm/transparent_hugepage").exists():  # as `nmt train`, before torch is imported
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from training import cpu, row

from nmtcli.checkpoint import RunDirectory
from nmtcli.data.directory import open_data
from nmtcli.models.device import open_device
from nmtcli.settings import load_config
from nmtcli.train.memory import keep_freed_memory, limit_kernel_cache
from nmtcli.train.run import resolve
from nmtcli.train.trainer import Trainer


def memory(field: str) -> float:
    """Megabytes of this process: VmRSS, resident now, or VmHWM, the peak."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(status[field].split()[0]) * 1024 / 1e6


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset")
    parser.add_argument("-c", "--config", type=Path, action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--updates", type=int, nargs="+", default=[100, 500, 1500, 3000])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    limit_kernel_cache()
    keep_freed_memory()
    data = open_data(options.data)
    given = [*options.set, f"train.max_updates={max(options.updates)}"]
    base = {"data": data.manifest.data.model_dump()}
    device = open_device("cpu", options.threads)
    config = resolve(load_config(options.preset, options.config, given, base=base), data, device, None)
    print(f"{cpu()}; train.batch_tokens {config.train.batch_tokens}, {config.train.precision}\n")
    print(row(["updates", "MB resident", "peak MB", "shapes"]))
    print(row(["---:"] * 4), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(config, data, RunDirectory(Path(scratch)), device, ())
        shapes = set[tuple[int, ...]]()
        updates = islice(trainer.feed.updates(trainer.state), max(options.updates))
        for step, batches in enumerate(updates, 1):
            trainer.update(batches)
            shapes.update((*batch.source.shape, batch.target_input.size(1)) for batch in batches)
            if step in options.updates:
                figures = memory("VmRSS"), memory("VmHWM"), len(shapes)
                print(row([f"{number:,.0f}" for number in (step, *figures)]), flush=True)


if __name__ == "__main__":
    main()
