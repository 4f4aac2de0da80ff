"""Does the memory of training on a CPU grow? Resident memory of this process after so many updates (Linux).

    python benchmarks/memory.py DATA [--preset NAME] [-c FILE] [--set KEY=VALUE] [--updates 500 1500 3000]

DATA is made by nmt prepare. Trains the model by real updates, without validation and without a run directory of its
own, and prints a Markdown table: resident memory at each of the given updates and the largest there was. `shapes` are
the different batches (sentences, source length, target length) until then, padding counted: libraries that keep a
kernel or a buffer for each shape grow with them. `--set train.batch_tokens=500` makes it quick. The growth does not
depend on what else the machine does.
"""

import argparse
import os
import resource
import tempfile
from itertools import islice
from pathlib import Path

from training import cpu, row

from nmtcli.checkpoint import RunDirectory
from nmtcli.models.device import open_device
from nmtcli.prepare.directory import open_data
from nmtcli.settings import load_config
from nmtcli.train.run import resolve
from nmtcli.train.trainer import Trainer

MEGABYTE = 1e6


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def largest() -> int:
    """The most bytes there were."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
    data = open_data(options.data)
    given = [*options.set, f"train.max_updates={max(options.updates)}"]
    base = {"data": data.manifest.data.model_dump()}
    device = open_device("cpu", options.threads)
    config = resolve(load_config(options.preset, options.config, given, base=base), data, device, None)
    print(f"{cpu()}; train.batch_tokens {config.train.batch_tokens}, {config.train.precision}\n")
    print(row(["updates", "MB resident", "largest", "shapes"]))
    print(row(["---:"] * 4), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(config, data, RunDirectory(Path(scratch)), device, ())
        shapes = set[tuple[int, ...]]()
        updates = islice(trainer.feed.updates(trainer.state), max(options.updates))
        for step, batches in enumerate(updates, 1):
            trainer.update(batches)
            shapes.update((*batch.source.shape, batch.target_input.size(1)) for batch in batches)
            if step in options.updates:
                figures = resident() / MEGABYTE, largest() / MEGABYTE, len(shapes)
                print(row([f"{number:,.0f}" for number in (step, *figures)]), flush=True)


if __name__ == "__main__":
    main()
