"""Apply a task to many items, in order: in this process, in several, or on a cluster.

The work is spread by an executor of `concurrent.futures`; that of a cluster is in `data/cluster.py`. Results come in
the order of the items, so output files do not depend on the executor or on the number of workers.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from multiprocessing import forkserver, get_all_start_methods, get_context, parent_process
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from nmtcli.errors import ResourceError, UserError
from nmtcli.options import Tell

if TYPE_CHECKING:
    from nmtcli.data.cluster import Cluster

SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AHEAD = 3  # items per worker that may be queued, so that memory stays bounded
_NATIVE = "native"  # the name of threads in native code

Task: TypeAlias = Callable[[Any], Any]
Waiting: TypeAlias = deque[tuple[Any, "Future[Any]"]]  # items in work, in order

_task: Task  # of a worker process


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


def interruptible_call(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call native code that runs for long and releases the GIL. A signal ends the wait for it, but not the call.

    Python handles a signal between two instructions of the main thread, so after a native call of that thread only.
    """
    pool = ThreadPoolExecutor(1, _NATIVE)
    try:
        return pool.submit(function, **arguments).result()
    finally:
        pool.shutdown(wait=False)


def native_code_runs() -> bool:
    """Whether an interrupted `interruptible_call` still runs; Python would wait for its end before it exits."""
    return any(thread.name.startswith(_NATIVE) for thread in threading.enumerate())


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
    """A context manager of workers that apply a task: an executor, and how far it works ahead of the results."""

    def __init__(self, executor: Executor, task: Task) -> None:
        """`task` is called by the executor, where it must be picklable if that has other processes."""
        self._executor, self._task = executor, task

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._executor.shutdown()

    @property
    def ahead(self) -> int:
        """The number of items that may be in work; 1: each result is returned before the next item is read."""
        return 1

    def submit(self, item: Any) -> "Future[Any]":
        """Start the work on an item."""
        return self._executor.submit(self._task, item)

    def result(self, item: Any, future: "Future[Any]", others: Waiting) -> Any:
        """Wait for the result of an item, while the others are in work. Raises the errors of the task."""
        del item, others
        return future.result()

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The results, in order. Raises the errors of the task; ResourceError if a worker is lost."""
        waiting: Waiting = deque()
        for item in items:
            waiting.append((item, self.submit(item)))
            while len(waiting) >= self.ahead:
                yield self.result(*waiting.popleft(), waiting)
        while waiting:
            yield self.result(*waiting.popleft(), waiting)


def local_workers(processes: int, make_task: Callable[[], Task]) -> Workers:
    """Workers on this machine. `make_task` builds the task once in each process; it must be picklable."""
    return _Processes(processes, make_task) if processes > 1 else Workers(_ThisProcess(), make_task())


def connected(scheduler: str, tell: Tell) -> "AbstractContextManager[Cluster]":
    """The cluster of a scheduler: see `data/cluster.py`. Raises UserError if Dask is not installed."""
    try:
        from nmtcli.data import cluster  # noqa: PLC0415 - an extra, and heavy
    except ImportError:
        raise UserError(
            "--scheduler needs the package distributed, which is not installed", "pip install 'nmtcli[cluster]'"
        ) from None
    return cluster.connected(scheduler, tell)


def require_versions(expected: Mapping[str, str], found: Mapping[str, str], where: str = "") -> None:
    """Raise UserError if a worker, or another place, has another version of a package than expected."""
    for name, version in expected.items():
        if (other := found.get(name, "none")) != version:
            of = f"{where}: " if where else ""
            raise UserError(f"{of}has {name} {other}, not {version}", "install the same versions on all machines")


class _ThisProcess(Executor):
    """Computes at once, in the calling thread."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))  # an error is the caller's at once
        return future


class _Processes(Workers):
    """Worker processes that have made the task when they start."""

    _executor: ProcessPoolExecutor

    def __init__(self, processes: int, make_task: Callable[[], Task]) -> None:
        warm_up(processes)
        super().__init__(ProcessPoolExecutor(processes, _context(), _start, (make_task,)), _work)
        self._processes = processes

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:  # nobody wants the rest; a worker that dies while the pool waits for it may hang the pool
            for process in list((self._executor._processes or {}).values()):  # 3.14 has kill_workers
                process.kill()
            # A worker killed while it sends a result sends a part of it: without a writer nobody waits for the rest.
            if (results := getattr(self._executor, "_result_queue", None)) is not None:
                results._writer.close()
            # Older versions also wait until somebody has read all that was to be sent to the workers (gh-94777).
            if sys.version_info < (3, 11, 5) and (calls := getattr(self._executor, "_call_queue", None)) is not None:
                calls._reader.close()
        self._executor.shutdown(cancel_futures=True)

    @property
    def ahead(self) -> int:
        return AHEAD * self._processes

    def submit(self, item: Any) -> "Future[Any]":
        with _delayed_signals(), _reporting_kills():  # a signal while a process starts would leave it behind
            return super().submit(item)

    def result(self, item: Any, future: "Future[Any]", others: Waiting) -> Any:
        with _reporting_kills():
            return super().result(item, future, others)


@contextmanager
def _reporting_kills() -> Iterator[None]:
    try:
        yield
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


def _start(make_task: Callable[[], Task]) -> None:
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
