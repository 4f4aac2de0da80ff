"""The same work on many items, in order, in this process or in several.

Results come in the order of the items whatever the number of processes, so nothing that is written depends on it.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, get_all_start_methods, get_context, parent_process
from typing import Any

from nmtcli.errors import ResourceError

SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AHEAD = 3  # items a process may be ahead of what is taken, so that memory stays bounded

_task: Callable[[Any], Any]  # in a worker process: its work


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait until the block is done. (Blocking them would not do: multiprocessing unblocks SIGINT again.)"""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal comes here
        return
    received: list[int] = []
    before = {number: signal.signal(number, lambda one, _: received.append(one)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in received:
        signal.raise_signal(number)


def _start_server() -> None:
    """The server that workers are forked from, and what clears semaphores away: they inherit that no signal is for
    them.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS} if main else {}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def warm_up(processes: int, preload: str | None = None) -> None:
    """Start the server that workers are forked from, if there will be several, while this process goes on.

    `preload` is a module that the server imports once, so that all workers share what takes time to load.
    """
    context = _context()
    if processes > 1 and context.get_start_method() == "forkserver":
        if preload is not None:
            context.set_forkserver_preload([preload])
        _start_server()


class Workers:
    """A context manager; `make_task` builds the work once in each process, so it must be one that can be sent there."""

    def __init__(self, processes: int, make_task: Callable[[], Callable[[Any], Any]]) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        if processes > 1:
            warm_up(processes)
            self._pool = ProcessPoolExecutor(processes, _context(), _start, (make_task,))
        else:
            self._task = make_task()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The results, in order. Raises what the work raises; ResourceError if a process is killed."""
        if self._pool is None:
            yield from map(self._task, items)
            return
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                with _undisturbed():  # the first ones start processes, which must not be forgotten half-way
                    waiting.append(self._pool.submit(_work, item))
                if len(waiting) >= _AHEAD * self._processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ResourceError(
                "a worker process was killed, most likely for want of memory", "use fewer with --processes"
            ) from None


@cache
def _context() -> Any:
    """Workers fork from a server that has imported what they need and has no threads.

    Forking this process, which has those of SentencePiece and Arrow, may hang.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    return get_context("forkserver")


def _start(make_task: Callable[[], Callable[[Any], Any]]) -> None:
    global _task  # noqa: PLW0603 — the one place a pool offers for what each process needs once
    for number in SIGNALS:  # they may reach the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _task = make_task()


def _end_with_parent() -> None:
    """A parent that is killed cannot tell its workers."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(item: Any) -> Any:
    return _task(item)
