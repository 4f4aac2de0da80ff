"""`--verify-resume`: does a killed and resumed run end like an uninterrupted one, with the user's data and settings?"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from nmtcli import checkpoint
from nmtcli.checkpoint import RunDirectory
from nmtcli.errors import ExitCode, UserError

TOLERANCE = 1e-3  # relative to the norm of a tensor, for kernels that are not deterministic
TIMES = {"seconds"}  # keys of the state that differ between any two runs


@dataclass(frozen=True)
class Resumption:
    """The comparison of an uninterrupted run with a killed and resumed one."""

    updates: int
    killed_after: int  # the last checkpoint the killed run had
    tensors: int
    different: dict[str, float]  # name to the norm of the difference, relative
    state: list[str]  # keys of the state that differ

    @property
    def exact(self) -> bool:
        """Whether no bit differs."""
        return not self.different and not self.state


def verify_resume(updates: int, arguments: Sequence[str], scratch: Path) -> Resumption:
    """Train 2N updates in one run; in another, kill it with SIGKILL after N and resume; compare the last checkpoints.

    `arguments` are those of `nmt train`; the runs are made in `scratch`, which must not exist. Where a training fails,
    they are removed. Raises UserError with its exit code.
    """
    if scratch.exists():
        raise UserError(f"{scratch}: exists already", "give --verify-resume a new directory with -o")
    settings = {"max_updates": 2 * updates, "save_every": updates, "valid_every": updates, "max_epochs": "null"}
    given = [part for key, value in settings.items() for part in ("--set", f"train.{key}={value}")]
    straight, killed = RunDirectory(scratch / "straight"), RunDirectory(scratch / "killed")

    def command(run: RunDirectory) -> list[str]:
        return [sys.executable, "-m", "nmtcli", *arguments, "--verify-resume", "0", "-o", str(run.path), *given]

    try:
        _finish(command(straight))
        with _started(command(killed), stderr=subprocess.DEVNULL) as process:
            while not killed.steps() and process.poll() is None:
                time.sleep(0.01)
        killed_after = killed.steps()[-1] if killed.steps() else 0
        _finish(command(killed))
    except BaseException:  # so that the same command starts again
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return compare(straight, killed, updates, killed_after)


@contextmanager
def _started(command: list[str], stderr: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A training in processes of its own; what is left of it at the end of the block is killed, with all its ranks."""
    process = subprocess.Popen(command, stderr=stderr, start_new_session=True)
    try:
        yield process
    finally:  # also where a signal ends the test
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _finish(command: list[str]) -> None:
    with _started(command) as process:
        code = process.wait()
    if code:
        error = UserError(f"--verify-resume: a training run ended with exit code {code}", "see its message above")
        error.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.RESOURCES  # killed: mostly for memory
        raise error


def compare(straight: RunDirectory, killed: RunDirectory, updates: int, killed_after: int) -> Resumption:
    """The last checkpoints of two runs, tensor by tensor."""
    one, other = (run.checkpoint(run.steps()[-1]) for run in (straight, killed))
    different: dict[str, float] = {}
    count = 0
    for file in (checkpoint.WEIGHTS, checkpoint.TENSORS):
        left, right = checkpoint.load_tensors(one / file), checkpoint.load_tensors(other / file)
        count += len(left)
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                different[name] = math.inf
            elif not torch.equal(left[name], right[name]):
                size = max(left[name].double().norm().item(), 1e-12)
                different[name] = (left[name].double() - right[name].double()).norm().item() / size
    states = [checkpoint.read_json(path / checkpoint.STATE) for path in (one, other)]
    keys = [key for key in states[0] if key not in TIMES and states[0][key] != states[1].get(key)]
    return Resumption(2 * updates, killed_after, count, different, keys)
