"""The command line: five verbs and a demonstration, one short file each.

Heavy imports wait inside the commands, so `--help` is quick.
"""

import errno
import io
import os
import sys
from typing import Annotated, Any

import typer

from nmtcli import __version__
from nmtcli.cli.console import show_error
from nmtcli.cli.demo import demo
from nmtcli.cli.export import export
from nmtcli.cli.prepare import prepare
from nmtcli.cli.score import score
from nmtcli.cli.train import train
from nmtcli.cli.translate import translate
from nmtcli.errors import REPORT_IT, ExitCode, RankLost, ResourceError, UserError

# What users of other toolkits type; not shown in --help.
ALIASES = {
    "--lenpen": "--length-penalty",
    "--max-tokens": "--batch-tokens",
    "--nbest": "--n-best",
    "--beam": "--beam-size",
}

_UsageError: Any = typer.BadParameter.__base__  # Typer does not name it

app = typer.Typer(
    name="nmt",
    help="Neural machine translation from the command line: prepare → train → translate → score → export.",
    epilog="Exit codes: 0 done, 1 our bug, 2 usage or config, 3 data, 4 out of memory or disk, 5 a check failed,"
    " 130/143 interrupted after saving.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (prepare, train, translate, score, export, demo):
    app.command()(command)


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
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the Python traceback of an error.")] = False,
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
    del traceback, version, verbose  # run() reads the first, since errors of parsing obey it too


def main() -> None:
    """Run `nmt` with the arguments of this process and exit."""
    # Spinning OpenMP threads collapse on a busy machine; must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal shows ? for an arrow, not an error
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error becomes words on stderr."""
    keep_traceback = "--traceback" in arguments
    known = [ALIASES.get(argument, argument) for argument in arguments]
    try:
        return int(app(known, prog_name="nmt", obj=known, standalone_mode=False) or 0)
    except _UsageError as error:
        if words := error.format_message().rstrip("."):  # without any argument the help has been shown instead
            show_error(words, f"{error.ctx.command_path if error.ctx else 'nmt'} --help lists the options")
        return ExitCode.USAGE
    except UserError as error:
        if keep_traceback:
            raise
        # of several processes that train together and find the same mistake, one says so
        if os.environ.get("RANK", "0") == "0" or (isinstance(error, ResourceError) and not isinstance(error, RankLost)):
            show_error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        show_error("SIGINT: stopped")
        return ExitCode.INTERRUPTED
    except Exception as error:
        if keep_traceback:
            raise
        message, hint, code = _explain(error)
        show_error(message, hint)
        return code


def _explain(error: Exception) -> tuple[str, str, ExitCode]:
    """Words, a hint and the exit code for what is no UserError."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("nmtcli"):
        missing = f"this needs the package {error.name.partition('.')[0]}, which is not installed"
        return missing, "pip install nmtcli brings it; docs/export.md tells what runs without PyTorch", ExitCode.USAGE
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write the result: {error.strerror}", "free some space", ExitCode.RESOURCES
    words = f"this is a bug in nmt: {type(error).__name__}: {error}"
    return words, f"nmt --traceback … shows where; {REPORT_IT}", ExitCode.BUG
