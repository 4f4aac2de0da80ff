"""After SIGINT, SIGTERM or SIGHUP the trainer saves and stops. A second SIGINT stops at once.

With several ranks, one Ctrl-C may reach each twice, from the terminal and the launcher; there a second is ignored.
"""

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from nmtcli.data.workers import SIGNALS
from nmtcli.errors import Interrupted


class Interrupts:
    """Context that records a signal in `received` instead of ending the process."""

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.received: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread receives signals
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGINT:  # under nohup, a hang-up is none
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.alone and self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)


def interrupted(number: int, run: Path, step: int, saved_step: int) -> Interrupted:
    """The exception for a signal at an update."""
    saved = f"saved update {saved_step} in {run}"
    if saved_step != step:
        saved = (
            f"update {step} is not saved, since gradients are not finite; the last checkpoint in {run} is of update"
            f" {saved_step}"
        )
    return Interrupted(f"{signal.Signals(number).name}: {saved}", "run the same command again to resume", signal=number)
