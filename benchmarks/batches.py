"""How fast batches come: `python benchmarks/batches.py DATA [--pairs N] [--batch-tokens N] [--subword-sampling ALPHA]`

Opens a data directory made by nmt prepare, plans an epoch, loads batches. With `--pairs` it does so on a temporary data
directory that repeats the training rows to so many pairs, deleted at the end.
"""

import argparse
import platform
import queue
import resource
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table

from nmtcli.config import TrainConfig
from nmtcli.data.batching import training_length
from nmtcli.data.directory import TRAIN, VALID, CorpusSize, SplitSize, open_data
from nmtcli.data.shards import ShardWriter, record_batch
from nmtcli.train.batches import Batch, BatchPlan, Updates
from nmtcli.train.feed import SubwordSampling

RECORD_BATCH = 10_000  # rows, as nmt prepare writes them
SECONDS = 5.0  # of loading for each figure


def tile(data: Path, output: Path, pairs: int) -> None:
    """A data directory with the training rows of `data` repeated."""
    prepared = open_data(data)
    prepared.tokenizers.save(output)
    (output / VALID).symlink_to((data / VALID).resolve())
    vocabulary = max(len(prepared.tokenizers.source), len(prepared.tokenizers.target))
    with ShardWriter(output / TRAIN, vocabulary, with_text=False, fingerprint="0" * 16) as writer:
        for start in range(0, pairs, RECORD_BATCH):
            rows = np.arange(start, min(start + RECORD_BATCH, pairs)) % len(prepared.train)
            writer.write(record_batch(*prepared.train.gather(rows), None, vocabulary))
    size = SplitSize(pairs=pairs, source_tokens=0, target_tokens=0)
    corpora = (CorpusSize(name="tiled", pairs=pairs),)
    prepared.manifest.model_copy(update={"train": size, "corpora": corpora}).save(output)


def padding(plan: BatchPlan, blocks: list[Updates]) -> float:
    """Share of the cells of all batches that are padding."""
    real = cells = 0
    for updates in blocks:
        counts = np.diff(updates.bounds)
        for lengths in plan.shards.lengths(updates.rows):
            real += int(lengths.sum()) + len(lengths)
            longest = np.maximum.reduceat(lengths, updates.bounds[:-1]) + 1
            cells += int((counts * [training_length(length) for length in longest.tolist()]).sum())
    return 1 - real / cells


def prefetched(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches, prefetched by a thread."""
    ready: queue.Queue[Batch | None] = queue.Queue(maxsize=8)

    def load() -> None:
        for batch in batches:
            ready.put(batch)
        ready.put(None)

    threading.Thread(target=load, daemon=True).start()
    while (batch := ready.get()) is not None:
        yield batch


def loaded(plan: BatchPlan, updates: Updates, sampling: SubwordSampling | None) -> Iterator[Batch]:
    """Batches for some seconds, repeating a short block."""
    end = time.perf_counter() + SECONDS
    position = 0
    while time.perf_counter() < end:
        for number, rows in enumerate(updates[position % len(updates)]):
            yield from sampling.load(rows, (0, 0, position, number)) if sampling else [plan.load(rows)]
        position += 1


def rate(batches: Iterable[Batch]) -> str:
    """Target tokens and pairs a second."""
    start, tokens, pairs = time.perf_counter(), 0, 0
    for batch in batches:
        tokens, pairs = tokens + batch.target_tokens, pairs + len(batch.source)
    seconds = time.perf_counter() - start
    return f"{tokens / seconds:,.0f} target tokens/s, {pairs / seconds:,.0f} pairs/s"


def peak_memory() -> float:
    """GiB, pages of mapped files counted."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(data: Path, settings: TrainConfig) -> Table:
    """A table of figures."""
    table = Table("what", "measured", title=f"batches of {settings.batch_tokens:,} tokens")
    before, start = peak_memory(), time.perf_counter()
    prepared = open_data(data)
    plan = BatchPlan.training(prepared, settings)
    first = plan.block(0, 0)
    plan.load(first[0][0])
    table.add_row("opening to first batch", f"{time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    blocks = [plan.block(0, number) for number in range(plan.epochs.blocks(0))]
    table.add_row("plan of an epoch", f"{time.perf_counter() - start:.2f} s")
    pairs, batches = sum(len(block.rows) for block in blocks), sum(len(block.order) for block in blocks)
    table.add_row("an epoch", f"{pairs:,} pairs in {batches:,} batches in {len(blocks)} blocks")
    table.add_row("padding", f"{padding(plan, blocks):.2%} of source and target tokens")
    table.add_row("loading", rate(loaded(plan, first, None)))
    table.add_row("loading, a thread ahead", rate(prefetched(loaded(plan, first, None))))
    if settings.subword_sampling is not None:
        sampling = SubwordSampling(plan, prepared.tokenizers, settings.subword_sampling, settings.seed)
        table.add_row("loading, subwords sampled", rate(loaded(plan, first, sampling)))
        table.add_row("the same, a thread ahead", rate(prefetched(loaded(plan, first, sampling))))
    table.add_row("peak memory", f"{peak_memory():.2f} GiB; {before:.2f} before opening")
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, Arrow {pa.__version__}"
    table.add_row("with", f"{versions}, torch {torch.__version__}")
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, help="repeat the training rows to so many")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--subword-sampling", type=float, help="also load with sampled segmentations")
    options = parser.parse_args()
    settings = TrainConfig(batch_tokens=options.batch_tokens, subword_sampling=options.subword_sampling)
    with tempfile.TemporaryDirectory() as directory:
        data = options.data
        if options.pairs:
            data = Path(directory)
            # in a process of its own, so that its memory is not counted
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                pool.submit(tile, options.data, data, options.pairs).result()
        Console().print(measure(data, settings))


if __name__ == "__main__":
    main()
