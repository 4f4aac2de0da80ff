"""`nmt prepare`: aligned text to a data directory."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nmtcli.cli.console import progress, say, stdout
from nmtcli.cli.options import ConfigFiles, Overrides
from nmtcli.errors import UserError

Files = list[str] | None


def prepare(
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DATA", help="Directory to make; not needed to --dry-run.")
    ] = None,
    train_source: Annotated[
        Files, typer.Option(metavar="FILE", help="Training text, source side: a path or a URL. Repeatable.")
    ] = None,
    train_target: Annotated[
        Files,
        typer.Option(metavar="FILE", help="Training text, target side, line by line. Repeatable, in the same order."),
    ] = None,
    train: Annotated[
        Files, typer.Option("--train", metavar="FILE", help="Both sides in a TSV, JSONL, CSV, Parquet or TMX file.")
    ] = None,
    valid_source: Annotated[Files, typer.Option(metavar="FILE", help="Validation text, source side.")] = None,
    valid_target: Annotated[Files, typer.Option(metavar="FILE", help="Validation text, target side.")] = None,
    valid: Annotated[Files, typer.Option("--valid", metavar="FILE", help="Validation text, both sides.")] = None,
    test_source: Annotated[
        Files, typer.Option(metavar="FILE", help="Test text, source side: training pairs like it are dropped.")
    ] = None,
    test_target: Annotated[Files, typer.Option(metavar="FILE", help="Test text, target side.")] = None,
    source_language: Annotated[
        str | None, typer.Option("-s", "--source-language", metavar="LANG", help="Source language code.")
    ] = None,
    target_language: Annotated[
        str | None, typer.Option("-t", "--target-language", metavar="LANG", help="Target language code.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(metavar="N", help="Pieces in a vocabulary (data.tokenizer.vocab_size).")
    ] = None,
    joint: Annotated[
        bool | None,
        typer.Option("--joint/--separate", help="One tokenizer for both sides, or one each (data.tokenizer.joint)."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", metavar="MODEL", help="Use this SentencePiece model, or that of a data directory."),
    ] = None,
    config: ConfigFiles = None,
    set_: Overrides = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the report as a web page there, too.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Processes to use. Changes speed only.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, check, count and report; make nothing.")] = False,
) -> None:
    """Make a data directory from aligned text: clean, train the tokenizer, encode.

    Line n of a source file translates line n of its target file. Files are UTF-8,
    plain or gzip, bzip2, xz, zstd; only LF ends a line. Several corpora with names,
    tags or columns, and data sets of the hub, are listed in a YAML file under
    data.train. Pairs that break a rule of data.cleaning are dropped, counted and
    shown in report.html; --dry-run gives the report alone. The same text and
    settings give the same data, so a second run stops at once.
    """
    from nmtcli.config import CorpusConfig
    from nmtcli.prepare.pipeline import Job, survey
    from nmtcli.prepare.pipeline import prepare as prepare_data
    from nmtcli.prepare.report_page import write_page
    from nmtcli.prepare.report_tables import render
    from nmtcli.settings import load_config

    if output is None and not dry_run:
        raise UserError("-o DATA is needed: the directory to make", "or --dry-run for the report alone")
    flags = {
        "data.source_language": source_language,
        "data.target_language": target_language,
        "data.tokenizer.vocab_size": vocab_size,
        "data.tokenizer.joint": joint,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    data = load_config(files=config or (), overrides=[*(set_ or ()), *overrides]).data
    given = {
        "train": [*_pairs("train", train_source, train_target), *({"path": path} for path in train or ())],
        "valid": [*_pairs("valid", valid_source, valid_target), *({"path": path} for path in valid or ())],
        "test": _pairs("test", test_source, test_target),
    }
    corpora = {split: tuple(map(CorpusConfig.model_validate, items)) for split, items in given.items() if items}
    data = data.model_copy(update=corpora)  # flags beat files
    job = Job(data, tokenizer, processes)
    with progress() as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        if output is None or dry_run:
            found, already_prepared = survey(job, show), False
        else:
            outcome = prepare_data(output, job, show)
            found, already_prepared = outcome.report, outcome.already_prepared
    stdout.print(render(found), soft_wrap=True)  # a path is never broken
    if report is not None:
        write_page(found, report)
    if dry_run:
        say("dry run: nothing was made" if report is None else f"dry run: nothing was made but {report}")
    elif already_prepared:
        say(f"{output}: already prepared from the same text and settings")
    else:
        say(f"{output}: ready; next: nmt train {output} -o RUN")


def _pairs(split: str, sources: Files, targets: Files) -> list[dict[str, str]]:
    """The files of both sides in order. Raises UserError if their numbers differ."""
    if len(sources or ()) != len(targets or ()):
        raise UserError(
            f"{len(sources or ())} --{split}-source and {len(targets or ())} --{split}-target files:"
            " they pair up in order, so there must be as many"
        )
    return [{"source": source, "target": target} for source, target in zip(sources or (), targets or (), strict=True)]
