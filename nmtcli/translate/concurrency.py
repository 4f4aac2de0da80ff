"""Several batches at the same time on a CPU, each in a thread of its own.

The products of a search are small. Threads that share one batch gain little, and often lose; threads with a batch each
gain nearly their number, as PyTorch, ONNX Runtime and CTranslate2 let other threads go on while they compute.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from nmtcli.data.workers import cores

Batch = TypeVar("Batch")
Found = TypeVar("Found")

MOST_BATCHES = 4  # each needs memory of its own, and the search between the products is Python


class Shared(Protocol):
    """An engine that several threads can use at the same time."""

    @property
    def at_once(self) -> int:
        """How many batches; what threads there are beyond that number share in each."""

    def share(self, batches: int) -> None:
        """Set the calling thread up for one of so many batches that are computed at the same time."""


def usable_threads() -> int:
    """What OMP_NUM_THREADS says, as PyTorch takes it, or the processors this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(wanted) if wanted.isdecimal() and int(wanted) else cores()


def batches_at_once(threads: int) -> int:
    """How many batches so many threads compute at the same time."""
    return min(threads, MOST_BATCHES)


def each_batch(engine: Shared, compute: Callable[[Batch], Found], batches: Sequence[Batch]) -> Iterator[Found]:
    """What `compute` makes of each batch, in order; a single one is computed by the calling thread."""
    count = min(engine.at_once, len(batches))
    if count < 2:
        yield from map(compute, batches)
        return
    pool = ThreadPoolExecutor(count, initializer=lambda: engine.share(count))
    try:
        yield from pool.map(compute, batches)
    finally:
        pool.shutdown(cancel_futures=True)
        engine.share(1)  # a thread's share may be that of the whole process, too
