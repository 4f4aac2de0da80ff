"""SIGINT and SIGTERM ask for a stop; the trainer saves and obeys. A second SIGINT does not wait.

Of several ranks each may hear one Ctrl-C twice, from the terminal and from what launched it, so there it does wait.
"""

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """While entered, notes the first signal in `received` instead of dying of it."""

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
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
