"""Terminal output: results on stdout, everything else on stderr."""

import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from nmtcli.errors import DataError

_WIDEST = 10_000  # columns of a table


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error; rich would exit with code 1."""
        raise BrokenPipeError


class Unfailing:
    """A stream of messages that are lost where they cannot be written: its terminal or pipe is gone, or a disk is full.

    The work goes on without them.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if possible."""
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# rich honours NO_COLOR and shows no live display if stderr is not a terminal. Markup and emoji are off, because text
# may contain [b] or :100:; styles are set by `Text` only.
stderr = _Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
stdout = _Console(highlight=False, markup=False, emoji=False)


def print_table(table: Table) -> None:
    """Print a table of numbers on stdout: rather wider than the terminal than with cut cells."""
    needed = Measurement.get(stdout, stdout.options.update(width=_WIDEST), table).maximum
    if needed > stdout.width:
        table.width = needed  # unlike that of `print`, which is never more than the console's
    stdout.print(table, crop=False)


def is_live() -> bool:
    """Whether stderr can show a live display: a terminal that can move its cursor."""
    return stderr.is_terminal and not stderr.is_dumb_terminal


def discard_stdout() -> None:
    """Discard the rest of stdout after its reader closed the pipe; Python would print an error for it at exit."""
    with suppress(OSError, ValueError):  # stdout may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def file_of_stdout() -> tuple[int, int] | None:
    """What stdout is, to notice that it was replaced; None if it is no file."""
    with suppress(OSError, ValueError, AttributeError):
        status = os.fstat(sys.stdout.fileno())
        return status.st_dev, status.st_ino
    return None


def output_closed() -> bool:
    """Whether the reader of stdout, such as head, has closed the pipe."""
    poller = select.poll()
    with suppress(OSError, ValueError, AttributeError):  # no file, or closed at the start
        poller.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


def stdout_is_terminal() -> bool:
    """Whether what is printed above a live display is on a terminal. Only then may `rich` put it there: it prints on
    stderr, and the result would be missing in a file or a pipe.
    """
    return sys.stdout is not None and sys.stdout.isatty()


def is_other_rank() -> bool:
    """Whether this is a rank of `nmt train`, and not the first one of its machine, which prints for all."""
    command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)
    return command == "train" and os.environ.get("LOCAL_RANK", "0") != "0"


def require_stdout() -> None:
    """Raise DataError if the process was started without standard output."""
    if sys.stdout is None:
        raise DataError("standard output is closed", "redirect it to a file or a pipe")


def say(message: str) -> None:
    """Print one line on stderr."""
    stderr.print(Text(message))


def warn(message: str) -> None:
    """Print a warning on stderr."""
    stderr.print(Text.assemble(("warning:", "yellow"), f" {message}"))


def tell(message: str, *, warning: bool = False) -> None:
    """Print a message of a library function: the `nmtcli.options.Tell` of the command line."""
    if not is_other_rank():
        (warn if warning else say)(message)


def show_error(message: str, hint: str | None = None) -> None:
    """Print an error on stderr: one line per error, then the hint."""
    for line in message.splitlines():
        stderr.print(Text.assemble(("error:", "bold red"), f" {line}"))
    if hint:
        stderr.print(Text.assemble(("hint:", "cyan"), f" {hint}"))
