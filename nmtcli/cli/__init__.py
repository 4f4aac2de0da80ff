"""The command line: five verbs and a demonstration, one short file each.

Heavy imports wait inside the commands, so `--help` is quick.
"""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Annotated, Any

import typer

from nmtcli.cli.console import show_error
from nmtcli.cli.demo import demo
from nmtcli.cli.export import export
from nmtcli.cli.prepare import prepare
from nmtcli.cli.score import score
from nmtcli.cli.signals import stopping
from nmtcli.cli.train import train
from nmtcli.cli.translate import translate
from nmtcli.errors import (
    REPORT_IT,
    ExitCode,
    Interrupted,
    RankLost,
    ResourceError,
    UserError,
    memory_ran_out,
    out_of_memory,
    signal_of,
)
from nmtcli.version import __version__

_UsageError: Any = typer.BadParameter.__base__  # Typer does not name it

app = typer.Typer(
    name="nmt",
    help="Neural machine translation from the command line: prepare → train → translate → score → export.",
    epilog="Exit codes: 0 done, 1 our bug, 2 usage or config, 3 data, 4 out of memory or disk, 5 a check failed,"
    " 129/130/143 interrupted after saving.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _in_words(command: Callable[..., None]) -> Callable[..., None]:
    """The command, of which a signal becomes an error like any; Typer would end without a word."""

    @wraps(command)
    def interruptible(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as stop:
            number = signal_of(stop)
            words = f"{number.name}: stopped; nothing was written"
            raise Interrupted(words, "run the same command again", signal=number) from None

    return interruptible


for command in (prepare, train, translate, score, export, demo):
    app.command()(_in_words(command))


def _print_version(context: typer.Context, wanted: bool) -> None:
    """Called after --verbose, which is eager, was read."""
    verbose = bool(context.params.get("verbose"))
    if wanted and verbose:
        from nmtcli.cli.version import describe

        for name, value in describe():
            print(f"{name:<18} {value}")
    elif wanted:
        print(f"nmt {__version__}")
    elif verbose:
        raise UserError("--verbose goes with --version", "nmt --version --verbose")
    if wanted:
        raise typer.Exit


@app.callback()
def _main(
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the Python traceback of an error too; also behind the verb.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            is_eager=True,
            help="With --version: also the platform, packages, CPU features and kernels, for a bug report.",
        ),
    ] = False,
) -> None:
    del show_traceback, version, verbose  # run() takes the first, wherever it stands


def main() -> None:
    """Run `nmt` with the arguments of this process and exit."""
    # Spinning OpenMP threads collapse on a busy machine; must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal shows ? for an arrow, not an error
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")  # results are files for programs, whatever the locale
    with stopping():
        code = run(sys.argv[1:])
        try:
            _flush()  # after an error too
        except OSError:
            _read_no_more()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error becomes words on stderr."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    rest = [one for one in options if one != "--traceback"] + arguments[len(options) :]
    try:
        code = int(app(rest, prog_name="nmt", obj=arguments, standalone_mode=False) or 0)
        _flush()
    except Exception as error:
        if len(rest) < len(arguments):
            traceback.print_exc()
        code = _tell(error)
    return code


def _flush() -> None:
    """Write what stdout still holds: whether there is room for it is known only then."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _read_no_more() -> None:
    """What stdout still holds goes nowhere; otherwise Python would complain of it at its end."""
    with suppress(OSError, ValueError):  # it may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: Exception) -> ExitCode:
    """Put an error into words, on stderr; returns its exit code."""
    if isinstance(error, _UsageError):
        if words := error.format_message().rstrip("."):  # without any argument the help has been shown instead
            show_error(words, f"{error.ctx.command_path if error.ctx else 'nmt'} --help lists the options")
        return ExitCode.USAGE
    if isinstance(error, BrokenPipeError):  # whoever reads, head for example, has had enough
        _read_no_more()
        return ExitCode.DONE
    found = error if isinstance(error, UserError) else _explain(error)
    # of several processes that train together and find the same mistake, one says so
    own = isinstance(found, ResourceError) and not isinstance(found, RankLost)
    if os.environ.get("RANK", "0") == "0" or own or not isinstance(error, UserError):
        show_error(found.message, found.hint)
    return found.exit_code


class _Bug(UserError):
    exit_code = ExitCode.BUG


def _explain(error: Exception) -> UserError:
    """What is no UserError as one."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("nmtcli"):
        hint = "pip install nmtcli brings it"
        if error.name.partition(".")[0] == "torch":
            hint = "pip install torch; without it nmt translates exports to ONNX and CTranslate2 only (docs/export.md)"
        return UserError(f"this needs the package {error.name.partition('.')[0]}, which is not installed", hint)
    if memory_ran_out(error):
        return out_of_memory(error, "free some memory, or ask for less at a time: --batch-tokens, --processes")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f"{error.filename}: " if error.filename else ""
        return ResourceError(f"{place}cannot write the result: {error.strerror}", "free some space")
    if isinstance(error, OSError) and error.filename:
        return UserError(f"{error.filename}: {error.strerror}", "mend that, or give another place")
    words = f"this is a bug in nmt: {type(error).__name__}: {error}"
    return _Bug(words, f"nmt --traceback … shows where; {REPORT_IT}")
