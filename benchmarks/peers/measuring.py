"""Other programs, measured from outside: time, CPU time, memory, and what else the machine did meanwhile (Linux).

Every line a program says is kept with the moment it came, so that parts of its work can be measured too.
"""

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
TICK = os.sysconf("SC_CLK_TCK")


class Line(NamedTuple):
    """Resources that a program had used when it printed a line."""

    seconds: float
    cpu: float  # CPU seconds of its processes
    foreign: float  # CPU seconds of all other processes of the machine
    text: str


class Measurement(NamedTuple):
    """One run of a program."""

    code: int  # exit code, negative for a signal
    seconds: float
    cpu: float  # CPU seconds of its processes
    foreign: float  # cores that other processes used, in the mean
    memory: int  # largest resident set of any of its processes, in bytes
    lines: list[Line]


def measure(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, source: Path | None, limit: float
) -> Measurement:
    """Run a command in a folder, with a file as its stdin; one that takes more than `limit` seconds is killed."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl: cannot adopt processes")
    with (source or Path(os.devnull)).open("rb") as stdin:
        busy, start = machine_cpu(), time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
        )
    alarm = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    alarm.start()
    lines = []
    assert process.stdout is not None
    for raw in process.stdout:
        seconds, own, all_busy = time.perf_counter() - start, session_cpu(process.pid), machine_cpu() - busy
        lines.append(Line(seconds, own, max(0.0, all_busy - own), raw.decode("utf-8", "replace").rstrip()))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    usages = [usage, *left_behind()]
    alarm.cancel()
    cpu = sum(one.ru_utime + one.ru_stime for one in usages)
    memory = max(one.ru_maxrss for one in usages) * 1024
    foreign = max(0.0, machine_cpu() - busy - cpu) / seconds
    return Measurement(process.returncode, seconds, cpu, foreign, memory, lines)


def left_behind() -> Iterator[resource.struct_rusage]:
    """CPU seconds of orphaned child processes, which are adopted when they end."""
    while True:
        try:
            yield os.wait4(-1, 0)[2]
        except ChildProcessError:
            return


def machine_cpu() -> float:
    """CPU seconds that all processes of the machine have used since it started."""
    first = Path("/proc/stat").read_text("ascii").partition("\n")[0]
    user, nice, system, _, _, irq, softirq, *_ = map(int, first.split()[1:])
    return (user + nice + system + irq + softirq) / TICK


def session_cpu(session: int) -> float:
    """CPU seconds that the processes of a session have used, with those of their children that have ended."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            total += sum(map(int, fields[11:15]))
    return total / TICK
