"""SIGTERM and SIGHUP end a command as Ctrl-C does: what was begun is cleared away, and one line tells of it."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nmtcli.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopping() -> Iterator[None]:
    """While in it, a signal raises `Stopped`; a second one ends the process at once, and so does any after it."""
    # Semaphores of workers that a killed process leaves behind are cleared away without a warning.
    sys.warnoptions.append("ignore:resource_tracker")
    warnings.filterwarnings("ignore", "resource_tracker")
    received = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 1:
            os._exit(128 + number)
        raise Stopped(number)

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number in SIGNALS:
            if signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_DFL)  # nothing is left to be done
