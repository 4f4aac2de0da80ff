"""Parallel batches on a CPU, each in its own thread.

Matrix products of the search are small, so several threads per batch gain little or lose. One batch per thread gains
nearly the number of threads, as PyTorch, ONNX Runtime and CTranslate2 release Python's global lock.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from nmtcli.data.workers import cores

Batch = TypeVar("Batch")
Result = TypeVar("Result")

MAX_BATCHES = 4  # each needs memory, and the search between the products is Python


class Shared(Protocol):
    """An engine that several threads can use at the same time."""

    @property
    def parallel_batches(self) -> int:
        """Number of batches; further threads are divided among them."""

    def share(self, batches: int) -> None:
        """Set up the calling thread for one of `batches` parallel batches."""


def usable_threads() -> int:
    """OMP_NUM_THREADS, read as PyTorch does, or the number of usable processors."""
    variable = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(variable) if variable.isdecimal() and int(variable) else cores()


def count_parallel_batches(threads: int) -> int:
    """The number of parallel batches for a number of threads."""
    return min(threads, MAX_BATCHES)


def each_batch(engine: Shared, compute: Callable[[Batch], Result], batches: Sequence[Batch]) -> Iterator[Result]:
    """The result of each batch, in order; the calling thread computes a single batch."""
    count = min(engine.parallel_batches, len(batches))
    if count < 2:
        yield from map(compute, batches)
        return
    pool = ThreadPoolExecutor(count, initializer=lambda: engine.share(count))
    try:
        yield from pool.map(compute, batches)
    finally:
        pool.shutdown(cancel_futures=True)
        engine.share(1)  # the setting may be of the whole process
