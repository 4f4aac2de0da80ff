"""Workers on a cluster of machines, through Dask: a scheduler that users start, and an executor of its client.

Imported by `workers.connected` only, as it needs the extra `cluster`.

Items travel as tasks. What a task needs besides its item, such as a model, is built once in each worker, also in one
that joins late. Dask starts a task again elsewhere when its worker is lost. An item that kills several is named.
"""

import asyncio
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import distributed
from distributed import Client, KilledWorker, WorkerPlugin, get_worker
from distributed.versions import VersionMismatchWarning

from nmtcli.data.workers import AHEAD, Task, Waiting, Workers, require_versions
from nmtcli.errors import DataError, ResourceError, UserError
from nmtcli.options import Tell
from nmtcli.version import __version__

Result = TypeVar("Result")

PATIENCE = 60.0  # seconds that the scheduler may be without workers
_CONNECTING = 10.0  # seconds for the first connection
_TRIES = 5  # of a connection, and to read a scheduler's file
_WRITING = 0.25  # seconds between two of these
_CLOSING = 5.0
_EVERY = 1.0  # seconds between two looks at the workers
_ADDRESS = re.compile(r"\w+://.+|[^/\s]+:\d+")
_LOST = "start the scheduler and its workers again, then run the same command"


class Cluster:
    """A connected scheduler."""

    def __init__(self, client: Client, scheduler: str, tell: Tell) -> None:
        """`scheduler` is its name in messages."""
        self.scheduler = scheduler
        self._client, self._tell = client, tell
        self._looked = self._seen = time.monotonic()  # when the workers were counted, and when there were some
        self._count = 0

    def check_scheduler(self) -> None:
        """Raise UserError if the scheduler has other versions than this machine."""
        name = f"the scheduler {self.scheduler}"
        try:
            found = self._client.run_on_scheduler(_versions)
        except Exception as error:  # of whatever is missing there
            raise _of_worker(name, error) from None
        require_versions(_versions(), found, name)

    def wait_for_workers(self, resources: Mapping[str, float]) -> list[str]:
        """Wait until a worker is there; the addresses of those with the resources.

        Raises UserError if none has them, ResourceError if no worker comes.
        """
        with self._reporting_loss():
            told, end = False, time.monotonic() + PATIENCE
            while not (threads := self._client.nthreads()):
                if not told:
                    self._tell(f"{self.scheduler}: has no workers yet; waiting {PATIENCE:.0f} s")
                    told = True
                if time.monotonic() > end:
                    raise ResourceError(
                        f"{self.scheduler}: has no workers", f"start some: dask worker {self.scheduler} --nthreads 1"
                    )
                time.sleep(0.2)
            if several := sum(number > 1 for number in threads.values()):
                self._tell(
                    f"{several} of {len(threads)} workers have several threads but use only one; start them with"
                    " --nthreads 1",
                    warning=True,
                )
            workers = self._client.scheduler_info()["workers"]
        able = [
            address
            for address, one in workers.items()
            if all(one["resources"].get(name, 0) >= amount for name, amount in resources.items())
        ]
        if not able:
            needed = ",".join(f"{name}={amount:g}" for name, amount in resources.items())
            raise UserError(
                f"{self.scheduler}: no worker has the resource {needed}",
                f"start one worker for each: dask worker {self.scheduler} --nthreads 1 --resources {needed}",
            )
        return able

    def run(self, function: Callable[[], Result], workers: Sequence[str]) -> dict[str, Result]:
        """The result of a function on each of the workers, by address. Raises the UserError of one with its name."""
        with self._reporting_loss():
            found = self._client.run(_in_thread, function, workers=list(workers), on_error="return")
        failed = {worker: result for worker, result in found.items() if isinstance(result, BaseException)}
        for worker, error in failed.items():
            others = f" (and {len(failed) - 1} other workers)" if len(failed) > 1 else ""
            raise _of_worker(f"worker {worker}{others}", error)
        return dict(found)

    @property
    def workers_count(self) -> int:
        """The number of workers, at most a second ago. Raises ResourceError if there were none for a minute."""
        now = time.monotonic()
        if not self._count or now - self._looked >= _EVERY:
            with self._reporting_loss():
                self._count = len(self._client.nthreads())
            self._looked = now
            if self._count:
                self._seen = now
            elif now - self._seen > PATIENCE:
                raise ResourceError(
                    f"{self.scheduler}: has lost all its workers", "start new workers, then run the same command"
                )
        return self._count

    def workers(
        self, make_task: Callable[[], Task], name: Callable[[Any], str], resources: Mapping[str, float] | None = None
    ) -> "ClusterWorkers":
        """Workers that make a task once each. `name` names an item in messages; each needs the `resources` of Dask."""
        maker = _Maker(f"nmt-{uuid4().hex}", make_task)
        with self._reporting_loss():
            self._client.register_plugin(maker, maker.name)
        executor = self._client.get_executor(pure=False, resources=dict(resources or {}))
        return ClusterWorkers(self, executor, maker.name, name)

    def forget(self, maker: str) -> None:
        """Let the workers free the task of this name; a scheduler that is lost has none."""
        if self._client.status == "running":
            with suppress(Exception):  # the work is done or has failed already
                self._client.unregister_worker_plugin(maker)

    def check(self) -> None:
        """Raise ResourceError if the connection to the scheduler is lost."""
        if self._client.status != "running":
            raise self.lost()

    def lost(self) -> ResourceError:
        """The error for a lost scheduler. Its tasks are lost with it, also if it comes back."""
        return ResourceError(f"{self.scheduler}: the scheduler was lost or restarted", _LOST)

    @contextmanager
    def _reporting_loss(self) -> Iterator[None]:
        self.check()
        try:
            yield
        except (OSError, CancelledError, asyncio.CancelledError):
            raise self.lost() from None


class ClusterWorkers(Workers):
    """The workers of a cluster with a task."""

    def __init__(self, cluster: Cluster, executor: Executor, maker: str, name: Callable[[Any], str]) -> None:
        super().__init__(executor, partial(_work, maker))
        self._cluster, self._maker, self._name = cluster, maker, name

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            self._executor.shutdown()
        else:
            with suppress(Exception):  # nobody wants the rest
                self._executor.shutdown(wait=False)
        self._cluster.forget(self._maker)

    @property
    def ahead(self) -> int:
        """See `Workers`; workers may come and go."""
        return AHEAD * max(1, self._cluster.workers_count)

    def submit(self, item: Any) -> "Future[Any]":
        """See `Workers`."""
        self._cluster.check()
        return super().submit(item)

    def result(self, item: Any, future: "Future[Any]", others: Waiting) -> Any:
        """See `Workers`. Raises ResourceError for a lost scheduler, and for an item that loses several workers."""
        try:
            return self._wait(future)
        except (KilledWorker, TypeError):
            # Dask counts a lost worker against all items that waited there; alone, an item shows whether it is to blame
            # Dask's executor makes a TypeError of a result whose worker is lost just then
            for _, other in others:
                self._wait_for_end(other)
        try:
            return self._wait(self.submit(item))
        except KilledWorker as error:
            raise ResourceError(
                f"{self._name(item)}: {error.allowed_failures + 1} workers in a row were killed while processing it",
                "look in the logs of the workers for the reason; most often their memory ran out",
            ) from None

    def _wait_for_end(self, future: "Future[Any]") -> None:
        while not wait([future], _EVERY).done:
            self._cluster.check()
            _ = self._cluster.workers_count

    def _wait(self, future: "Future[Any]") -> Any:
        self._wait_for_end(future)
        try:
            return future.result()
        except (CancelledError, asyncio.CancelledError):
            raise self._cluster.lost() from None


class _Maker(WorkerPlugin):  # type: ignore[misc]
    """Makes a task in a worker for its first item, and keeps it.

    All items are computed in one thread: settings of PyTorch for denormals and threads belong to a thread.
    """

    def __init__(self, name: str, make_task: Callable[[], Task]) -> None:
        self.name, self._make = name, make_task

    def setup(self, worker: Any) -> None:
        """Dask calls this in each worker."""
        self._address: str = worker.address
        self._task: Task | None = None
        self._thread = ThreadPoolExecutor(1)

    def teardown(self, worker: Any) -> None:
        """Dask calls this at the end."""
        del worker
        self._thread.shutdown(wait=False)
        self._task = None

    def __call__(self, item: Any) -> Any:
        """The result for an item."""
        return self._thread.submit(self._computed, item).result()

    def _computed(self, item: Any) -> Any:
        if self._task is None:
            try:
                self._task = self._make()
            except UserError as error:
                raise _of_worker(f"worker {self._address}", error) from None
        return self._task(item)


def _work(maker: str, item: Any) -> Any:
    return get_worker().plugins[maker](item)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """In a worker: not in the thread that answers the scheduler."""
    return await asyncio.to_thread(function)


def _versions() -> dict[str, str]:
    """On the scheduler: what must be the same there, as it reads the tasks."""
    return {"nmtcli": __version__, "distributed": distributed.__version__}


def _of_worker(worker: str, error: BaseException) -> BaseException:
    """The error of a worker, or of the scheduler, for the user; a bug stays one."""
    if isinstance(error, UserError):
        hint = error.hint or "all machines need the same files at the same path: use shared storage"
        return type(error)(f"{worker}: {error.message}", hint)
    text = f"{type(error).__name__}: {error}"
    if any(name in text for name in ("ImportError", "ModuleNotFoundError", "AttributeError", "deserialization")):
        first = text.splitlines()[0].rstrip()
        return UserError(
            f"{worker}: nmtcli, or a package that it needs, is missing or has another version there ({first})",
            "install the same packages on all machines: pip install 'nmtcli[cluster]'",
        )
    return error


@contextmanager
def connected(scheduler: str, tell: Tell) -> Iterator[Cluster]:
    """The cluster of a scheduler, given by its address or by the file that `dask scheduler --scheduler-file` wrote.

    Raises UserError or DataError for a file that is missing or damaged, ResourceError if the scheduler does not answer.
    """
    address = _address(scheduler)
    _silence()
    try:
        client = _client(address)
    except Exception as error:  # any other program may answer there
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        where = scheduler if scheduler == address else f"{scheduler} ({address})"
        raise ResourceError(
            f"{where}: no Dask scheduler answers: {reason}", "start it: dask scheduler, and its workers: dask worker"
        ) from None
    try:
        cluster = Cluster(client, scheduler, tell)
        cluster.check_scheduler()
        yield cluster
    finally:
        with suppress(Exception):
            client.close(_CLOSING)


def _client(address: str) -> Client:
    """Connect to the scheduler, in several tries.

    Dask's client asserts that its scheduler's first message comes alone, but on a busy machine a second one joins it.
    """
    connect = partial(Client, address, timeout=_CONNECTING, set_as_default=False, name="nmt")
    for _ in range(_TRIES - 1):
        with suppress(AssertionError):
            return connect()
    return connect()


def _address(scheduler: str) -> str:
    """The address, from a file if `scheduler` is none itself."""
    path = Path(scheduler)
    if _ADDRESS.fullmatch(scheduler) and not path.exists():
        return scheduler
    try:
        address = _written(path)["address"]
    except FileNotFoundError:
        raise UserError(
            f"--scheduler {scheduler}: no such file, and not an address",
            "give tcp://HOST:PORT, or the file of dask scheduler --scheduler-file FILE",
        ) from None
    except OSError as error:
        raise UserError(f"--scheduler {scheduler}: cannot read it: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"--scheduler {scheduler}: not a file of a Dask scheduler", "make it: dask scheduler --scheduler-file FILE"
        ) from None
    return str(address)


def _written(path: Path) -> Any:
    """The content of a scheduler's file, which Dask writes in place: one that is not whole is read again."""
    for _ in range(_TRIES - 1):
        with suppress(ValueError):
            return json.loads(path.read_text("utf-8"))
        time.sleep(_WRITING)
    return json.loads(path.read_text("utf-8"))


def _silence() -> None:
    """Keep the log of Dask's client from the user: what matters is an error of ours."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", VersionMismatchWarning)
