"""`nmt demo`: all commands on a generated corpus."""

import shlex
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from nmtcli.cli.console import say, stderr, stdout
from nmtcli.cli.options import TRACEBACK, command
from nmtcli.errors import UserError
from nmtcli.options import Option
from nmtcli.paths import as_argument, quoted

_SHOWN = 5  # sentences


@dataclass(frozen=True, kw_only=True)
class _Options:
    output: Annotated[Path, Option("Directory of text, data, run and model.", ("-o", "--output"), metavar="DIR")] = (
        Path("nmt-demo")
    )
    text_only: Annotated[bool, Option("Only write the text and its settings, recipe.yaml.")] = False
    pairs: Annotated[int, Option("Number of training pairs.", metavar="N", min=2000)] = 20_000
    overrides: Annotated[
        tuple[str, ...],
        Option("One setting, for example train.learning_rate=3e-4; overrides files.", ("--set",), metavar="KEY=VALUE"),
    ] = ()


@command(lambda: _Options)
def demo(context: typer.Context, options: _Options) -> None:
    """Train a small English-Korean model on a generated phrasebook, in a few minutes on one core.

    Runs the other commands and prints each one. The same command resumes an interrupted demo. A grammar generates the
    text; test sentences have combinations of words that are not in the training text. --set is passed to nmt train.
    """
    from nmtcli.staging import check_name

    output = options.output
    check_name(output)
    text, settings = output / "text", output / "recipe.yaml"
    _write_text(text, settings, options.pairs)
    if options.text_only:
        say(f"{text}: train, valid and test text, English (.en) and Korean (.ko); {settings}: their settings")
        return
    data, run, model, translated = output / "data", output / "run", output / "model", output / "test.ko"
    files = [
        argument
        for part in ("train", "valid", "test")
        for side, language in (("source", "en"), ("target", "ko"))
        for argument in (f"--{part}-{side}", text / f"{part}.{language}")
    ]
    train_settings = [argument for override in options.overrides for argument in ("--set", override)]
    source, heat_maps = text / "test.en", output / "attention.html"
    commands: list[list[str | Path]] = [
        ["prepare", "-o", data, "-c", settings, *files],
        ["train", data, "-o", run, "-c", settings, *train_settings],
        ["translate", "-m", run, "-i", source, "-o", translated, "--attention", heat_maps, "--overwrite"],
        ["score", translated, "-r", text / "test.ko"],
    ]
    for line in commands:
        _run(line, context)
    if _is_outdated(model, run):
        shutil.rmtree(model)
    if not model.exists():
        _run(["export", run, "-o", model], context)
    _show(source, text / "test.ko", translated)
    say(f"Attention heat maps: {heat_maps}")
    say(f"Try it: echo 'My friend bought three apples at the market.' | nmt translate -m {quoted(model)} --attention -")


def _write_text(text: Path, settings: Path, pairs: int) -> None:
    """Write text and settings, each file atomically. Raises UserError if a file is there and has other content."""
    from nmtcli.demo.phrasebook import contents, generate
    from nmtcli.staging import write_whole, writing

    files = {settings: (resources.files("nmtcli.demo") / "recipe.yaml").read_bytes()}
    files |= {text / name: content for name, content in contents(generate(seed=1, pairs=pairs)).items()}
    for path, content in files.items():
        with writing(path):
            if path.exists() and (not path.is_file() or path.read_bytes() != content):
                raise UserError(
                    f"{path}: exists, and its content is not what this command writes", "choose another -o, or move it"
                )
    for path, content in files.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_whole(path, content)


def _is_outdated(model: Path, run: Path) -> bool:
    """Whether `model` is an export of another checkpoint than the best one of the run, which was continued."""
    from nmtcli.checkpoint import REPORT, find_model, read_json

    report = model / REPORT
    return report.is_file() and read_json(report).get("checkpoints") != [find_model(run).name]


def _run(line: list[str | Path], context: typer.Context) -> None:
    """Run one command in this process; exits with its exit code if that is not 0."""
    from nmtcli.cli import run, traceback_requested

    arguments = [as_argument(part) if isinstance(part, Path) else part for part in line]
    stderr.print(f"\n$ nmt {shlex.join(arguments)}", style="bold cyan")
    if code := run([*arguments, *([TRACEBACK] if traceback_requested(context.obj) else [])]):
        raise typer.Exit(code)


def _show(source: Path, reference: Path, translated: Path) -> None:
    """Print some test sentences with their translations."""
    stdout.print("\nTest sentences, with combinations of words that are not in the training text:", style="bold")
    texts = (path.read_text("utf-8").split("\n")[:_SHOWN] for path in (source, reference, translated))
    for english, korean, translation in zip(*texts, strict=True):
        for name, sentence in (("English", english), ("reference", korean), ("translation", translation)):
            stdout.print(f"  {name:11}  {sentence}", soft_wrap=True)
        stdout.print()
