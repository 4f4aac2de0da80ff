"""SIGTERM and SIGHUP end a command like Ctrl-C: with clean-up and one message."""

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
    """Context in which a signal raises `Stopped`, and a second one ends the process at once."""
    # no warning when semaphores of a killed process are removed
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
        if signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number in SIGNALS:
            if signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_DFL)  # no clean-up is left
