"""`nmt prepare`: aligned text files to a data directory."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nmtcli.cli.console import progress, say, stdout
from nmtcli.cli.options import ConfigFiles, Overrides

Files = list[Path] | None


def prepare(
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DATA", help="Directory to make.")],
    train_source: Annotated[
        Files, typer.Option(metavar="FILE", help="Training text, source side; may be compressed. Repeatable.")
    ] = None,
    train_target: Annotated[
        Files,
        typer.Option(metavar="FILE", help="Training text, target side, line by line. Repeatable, in the same order."),
    ] = None,
    valid_source: Annotated[Path | None, typer.Option(metavar="FILE", help="Validation text, source side.")] = None,
    valid_target: Annotated[Path | None, typer.Option(metavar="FILE", help="Validation text, target side.")] = None,
    source_language: Annotated[
        str | None, typer.Option("-s", "--source-language", metavar="LANG", help="Source language code (only a name).")
    ] = None,
    target_language: Annotated[
        str | None, typer.Option("-t", "--target-language", metavar="LANG", help="Target language code (only a name).")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(metavar="N", help="Pieces in a vocabulary (data.tokenizer.vocab_size).")
    ] = None,
    joint: Annotated[
        bool | None,
        typer.Option("--joint/--separate", help="One tokenizer for both sides, or one each (data.tokenizer.joint)."),
    ] = None,
    config: ConfigFiles = None,
    set_: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, check and count; write nothing.")] = False,
) -> None:
    """Make a data directory from aligned text files: clean, train the tokenizer, encode.

    Line n of a source file translates line n of its target file. Files are UTF-8,
    plain or gzip, bzip2, xz; only LF ends a line. Pairs that cannot be used are
    dropped and counted; validation pairs are never dropped for their length.
    The same files and settings give the same data, so a second run stops at once.
    """
    from nmtcli.config import load_config
    from nmtcli.prepare.corpus import PrepareFiles
    from nmtcli.prepare.pipeline import prepare as prepare_data
    from nmtcli.prepare.report import render

    flags = {
        "data.source_language": source_language,
        "data.target_language": target_language,
        "data.tokenizer.vocab_size": vocab_size,
        "data.tokenizer.joint": joint,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    settings = load_config(files=config or (), overrides=[*(set_ or ()), *overrides])
    files = PrepareFiles.pair(train_source or (), train_target or (), valid_source, valid_target)
    with progress() as bars:
        tasks = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total)

        outcome = prepare_data(output, files, settings.data, dry_run=dry_run, on_progress=show)
    stdout.print(render(outcome.report), soft_wrap=True)  # a path is never broken
    if outcome.already_prepared:
        say(f"{output}: already prepared from the same files and settings")
    elif dry_run:
        say("dry run: nothing was written")
    else:
        say(f"{output}: ready; next: nmt train {output} -o RUN")
