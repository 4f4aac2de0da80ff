"""Apply a task to many items, in order, in this process or in several.

Results come in the order of the items, so output files do not depend on the number of processes.
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
_AHEAD = 3  # items per process that may be queued, so that memory stays bounded

_task: Callable[[Any], Any]  # of a worker process


def cores() -> int:
    """The number of CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _signals_handled_by(handler: Any) -> Iterator[None]:
    """Handle signals so in the block; only the main thread can."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in SIGNALS} if main else {}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


@contextmanager
def _delayed_signals() -> Iterator[None]:
    """Delay signals to the end of the block. (Blocking them does not work: multiprocessing unblocks SIGINT.)"""
    received: list[int] = []
    with _signals_handled_by(lambda number, _: received.append(number)):
        yield
    for number in received:
        signal.raise_signal(number)


def warm_up(processes: int, preload: str | None = None) -> None:
    """Start the fork server in the background, if there will be several workers.

    `preload` is a module that the server imports once for all workers.
    """
    context = _context()
    if processes > 1 and context.get_start_method() == "forkserver":
        if preload is not None:
            context.set_forkserver_preload([preload])
        with _signals_handled_by(signal.SIG_IGN):  # the fork server and the resource tracker inherit it
            forkserver.ensure_running()


class Workers:
    """A context manager of worker processes. `make_task` builds the task once in each process; it must be picklable."""

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

    def __exit__(self, error: object, *_: object) -> None:
        if self._pool is None:
            return
        if error is not None:  # nobody wants the rest; a worker that dies while the pool waits for it may hang the pool
            for process in list((self._pool._processes or {}).values()):  # 3.14 has kill_workers
                process.kill()
        self._pool.shutdown(cancel_futures=True)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The results, in order. Raises the errors of the task; ResourceError if a process is killed."""
        if self._pool is None:
            yield from map(self._task, items)
            return
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                with _delayed_signals():  # a signal while a process starts would leave it behind
                    waiting.append(self._pool.submit(_work, item))
                if len(waiting) >= _AHEAD * self._processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ResourceError(
                "a worker process was killed, most likely because memory ran out", "use fewer: --processes N"
            ) from None


@cache
def _context() -> Any:
    """The start method: workers fork from a server without threads that has the imports.

    Forking this process, which has threads of SentencePiece and Arrow, may hang.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    return get_context("forkserver")


def _start(make_task: Callable[[], Callable[[Any], Any]]) -> None:
    global _task  # noqa: PLW0603 — a pool has no other place for state of each process
    for number in SIGNALS:  # they may reach the whole process group; the parent handles them
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _task = make_task()


def _end_with_parent() -> None:
    """Exit when the parent process ends; a killed parent cannot stop its workers."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(item: Any) -> Any:
    return _task(item)
