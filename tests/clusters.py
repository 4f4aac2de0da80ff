"""A Dask scheduler and workers as processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT

QUIET = ["--no-dashboard", "--host", "127.0.0.1"]


class TestCluster:
    """A scheduler and its workers; `file` is for `--scheduler`."""

    __test__ = False

    def __init__(self, folder: Path, scheduler: dict[str, str], settings: dict[str, str]) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.environment |= {"DASK_TEMPORARY_DIRECTORY": str(folder)}
        self.environment |= {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}  # to a dead worker; usually 30
        self.workers: list[subprocess.Popen] = []
        self.scheduler = self._start("scheduler", *QUIET, "--port", "0", "--scheduler-file", self.file, **scheduler)
        self._wait_for(self.file.exists)

    def _start(self, *words: object, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *map(str, words)]
        log = (self.folder / f"{words[0]}.log").open("ab")
        own = {**self.environment, **environment}
        return subprocess.Popen(command, env=own, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def _wait_for(self, condition) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, (self.folder / "scheduler.log").read_text()
            time.sleep(0.02)

    @property
    def joined(self) -> int:
        """How many workers have joined since the start."""
        return (self.folder / "scheduler.log").read_text().count("Register worker")

    def add(self, count: int = 1, *options: str, wait: bool = True, **environment: str) -> None:
        """Start workers."""
        before = self.joined
        words = ["--scheduler-file", self.file, "--nthreads", "1", "--memory-limit", "0", *QUIET, *options]
        self.workers += [self._start("worker", *words, **environment) for _ in range(count)]
        if wait:
            self._wait_for(lambda: self.joined >= before + count)

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL a process and its children, as the loss of a machine."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """End everything."""
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                self.kill(process)


@contextmanager
def cluster(
    folder: Path, workers: int = 0, *options: str, scheduler: dict[str, str] | None = None, **settings: str
) -> Iterator[TestCluster]:
    """A cluster of so many workers, for a block; `settings` are variables of all, `scheduler` of that only."""
    folder.mkdir(exist_ok=True)
    made = TestCluster(folder, scheduler or {}, settings)
    try:
        made.add(workers, *options)
        yield made
    finally:
        made.close()
