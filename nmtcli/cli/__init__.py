"""The command line, one module per command. Commands import heavy packages when they run, so `--help` is fast."""

import errno
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TextIO, cast

import typer

from nmtcli.cli.console import Unfailing, discard_stdout, file_of_stdout, is_other_rank, output_closed, show_error
from nmtcli.cli.demo import demo
from nmtcli.cli.export import export
from nmtcli.cli.options import TRACEBACK, LateCommand, interruptible
from nmtcli.cli.prepare import prepare
from nmtcli.cli.score import score
from nmtcli.cli.train import train
from nmtcli.cli.translate import translate
from nmtcli.errors import (
    REPORT_IT,
    ExitCode,
    RankLost,
    ResourceError,
    Stopped,
    UserError,
    memory_ran_out,
    out_of_memory,
)
from nmtcli.version import __version__

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_UsageError: Any = typer.BadParameter.__base__  # Typer does not name it

app = typer.Typer(
    name="nmt",
    help="Neural machine translation from the command line: prepare → train → translate → score → export.",
    epilog="Exit codes: 0 success, 1 bug in nmt, 2 usage or config, 3 data, 4 out of memory or disk, 5 check failed,"
    " 129/130/143 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


for command in (prepare, train, translate, score, export, demo):
    app.command(cls=LateCommand)(command)


def _print_version(context: typer.Context, version: bool) -> None:
    """Callback of --version; --verbose is eager, so it has been read."""
    if context.resilient_parsing:  # of shell completion
        return
    verbose = bool(context.params.get("verbose"))
    if version and verbose:
        with interruptible():
            from nmtcli.cli.version import describe

            for name, value in describe():
                print(f"{name:<18} {value}")
    elif version:
        print(f"nmt {__version__}")
    elif verbose:
        raise UserError("--verbose needs --version", "nmt --version --verbose")
    if version:
        raise typer.Exit


@app.callback()
def _main(
    show_traceback: Annotated[
        bool,
        typer.Option(TRACEBACK, help="Also show the Python traceback of an error; allowed after the command too."),
    ] = False,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            is_eager=True,
            help="With --version: also print platform, packages, CPU features and kernels, for a bug report.",
        ),
    ] = False,
) -> None:
    del show_traceback, version, verbose  # run() reads --traceback, also for a usage error


def main() -> None:
    """Run `nmt` with the arguments of this process and exit."""
    # Spinning OpenMP threads collapse on a busy machine; must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal shows ? for an arrow
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # files and pipes are UTF-8 in any locale
    if sys.stderr is not None:
        sys.stderr = cast("TextIO", Unfailing(sys.stderr))
    with _stopping():
        code = run(sys.argv[1:])
        try:
            _flush()  # also after an error
        except OSError:
            discard_stdout()
    if code >= ExitCode.HUNG_UP:
        from nmtcli.data.workers import native_code_runs

        if native_code_runs():
            os._exit(code)  # sys.exit would wait for it
    sys.exit(code)


@contextmanager
def _stopping() -> Iterator[None]:
    """Context in which a signal raises `Stopped`: SIGTERM and SIGHUP end a command like Ctrl-C, with one message.

    A second signal ends the process at once.
    """
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

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            if signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_DFL)  # no clean-up is left


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are printed on stderr."""
    before = file_of_stdout()
    try:
        code = int(app(arguments, prog_name="nmt", obj=arguments, standalone_mode=False) or 0)
        _flush()
    except SystemExit as stop:
        if stop.code != 1:  # of shell completion; 1 is Typer's answer to a closed pipe
            raise
        if traceback_requested(arguments):
            traceback.print_exc()
        closed = output_closed() or file_of_stdout() != before  # rich has replaced it
        code = _report(BrokenPipeError() if closed else RuntimeError(f"{stop.__context__!r}"))
    except Exception as error:
        if traceback_requested(arguments):
            traceback.print_exc()
        code = _report(error)
    return code


def traceback_requested(arguments: list[str]) -> bool:
    """Whether --traceback is among the options, wherever an error stopped reading them."""
    return TRACEBACK in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _flush() -> None:
    """Flush stdout, which may fail: the disk may be full."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _report(error: Exception) -> ExitCode:
    """Print an error on stderr and return its exit code."""
    if isinstance(error, _UsageError):
        if message := error.format_message().rstrip("."):  # empty without arguments: Typer printed the help
            show_error(message, f"{error.ctx.command_path if error.ctx else 'nmt'} --help lists the options")
        return ExitCode.USAGE
    if isinstance(error, BrokenPipeError):  # the reader, such as head, closed the pipe
        discard_stdout()
        return ExitCode.DONE
    explained = error if isinstance(error, UserError) else _explain(error)
    # ranks of a distributed training raise the same UserError, so only the first one of each machine prints it
    of_rank = isinstance(explained, ResourceError) and not isinstance(explained, RankLost)
    if not is_other_rank() or of_rank or not isinstance(error, UserError):
        show_error(explained.message, explained.hint)
    return explained.exit_code


def _has_directory() -> bool:
    """Whether the working directory exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


class _Bug(UserError):
    exit_code = ExitCode.BUG


def _explain(error: Exception) -> UserError:
    """The UserError for any other exception."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("nmtcli"):
        hint = "install nmt with its dependencies: pip install nmtcli"
        if error.name.partition(".")[0] == "torch":
            hint = "pip install torch; without it nmt translates exports to ONNX and CTranslate2 only (docs/export.md)"
        return UserError(f"the package {error.name.partition('.')[0]} is not installed", hint)
    if memory_ran_out(error):
        return out_of_memory(error, "free some memory, or lower --batch-tokens or --processes")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f"{error.filename}: " if error.filename else ""
        return ResourceError(f"{place}cannot write the result: {error.strerror}", "free some disk space")
    if isinstance(error, OSError) and error.filename:
        return UserError(f"{error.filename}: {error.strerror}", "correct that, or use another path")
    if isinstance(error, FileNotFoundError) and not _has_directory():
        return UserError("the working directory does not exist any more", "change to another one")
    message = f"this is a bug in nmt: {type(error).__name__}: {error}"
    return _Bug(message, f"nmt --traceback … shows where; {REPORT_IT}")
