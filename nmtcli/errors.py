"""Errors of users and exit codes.

A `UserError` becomes one line, a hint, and a documented exit code. Any other exception is a bug of `nmt` (exit code 1).
"""

import difflib
import errno
from collections.abc import Callable, Iterable
from enum import IntEnum
from signal import SIGINT, Signals
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
REPORT_IT = "please report it, with the output of nmt --version --verbose"  # the hint for a bug


class ExitCode(IntEnum):
    """The exit codes of `nmt`; docs/exit-codes.md explains them."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    RESOURCES = 4
    CHECK_FAILED = 5
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """An error that the user can fix: what is wrong and where, and a hint what to do."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DataError(UserError):
    """An error in a file of the user."""

    exit_code = ExitCode.DATA


class ResourceError(UserError):
    """Out of memory or out of disk space, after all attempts to recover."""

    exit_code = ExitCode.RESOURCES


# Messages, in lower case, of PyTorch and oneDNN (on the host; on a GPU), ONNX Runtime and CTranslate2.
_OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
    "allocation_failed",
    "can't start new thread",
)


def memory_ran_out(error: BaseException) -> bool:
    """Whether an allocation failed, in any engine."""
    if isinstance(error, UserError):
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return any(words in text for words in _OUT_OF_MEMORY)


def out_of_memory(error: BaseException, hint: str) -> ResourceError:
    """The ResourceError for a failed allocation."""
    first = next(iter(str(error).splitlines()), "")
    return ResourceError(f"out of memory{f': {first}' if first else ''}", hint)


class RankLost(ResourceError):
    """Another rank of a distributed training ended."""


class CheckFailed(UserError):
    """The work was done, but a check failed."""

    exit_code = ExitCode.CHECK_FAILED


class Interrupted(UserError):
    """SIGINT, SIGTERM or SIGHUP, after what can be saved was saved."""

    def __init__(self, message: str, hint: str | None = None, *, signal: int = 2) -> None:
        super().__init__(message, hint)
        self.exit_code = ExitCode(128 + signal)


class Stopped(KeyboardInterrupt):
    """A signal that ends the process, handled like Ctrl-C."""

    def __init__(self, signal: int) -> None:
        super().__init__()
        self.signal = signal


def nearest(word: str, valid: Iterable[str]) -> str:
    """A suggestion of the most similar valid word, as the end of a message; empty if none is similar."""
    words = {one.lower(): one for one in valid}
    match = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.4)
    return f"; did you mean {words[match[0]]}?" if match else ""


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results for all items. Raises one DataError with the messages of all DataErrors."""
    results: list[Result] = []
    errors: list[DataError] = []
    for item in items:
        try:
            results.append(function(item))
        except DataError as error:
            errors.append(error)
    if errors:
        messages = dict.fromkeys(error.message for error in errors)
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        raise DataError("\n".join(messages), "; ".join(hints) or None)
    return results


def signal_of(stop: KeyboardInterrupt) -> Signals:
    """Which signal it was."""
    return Signals(stop.signal if isinstance(stop, Stopped) else SIGINT)
