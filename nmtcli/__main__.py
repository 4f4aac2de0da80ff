"""`python -m nmtcli` and the command `nmt`: a signal ends it without a traceback, even during imports."""

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _quit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"error: {signal.Signals(number).name}: stopped before anything was done\n".encode())
    os._exit(128 + number)


def main() -> None:
    """Run `nmt` with the arguments of this process and exit."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _quit)
    from nmtcli.cli import main as run  # noqa: PLC0415 - imports take a second, during which a signal may come

    run()


if __name__ == "__main__":
    main()
