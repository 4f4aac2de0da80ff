"""`nmt prepare`: aligned text to a data directory."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nmtcli.cli.console import say, stdout
from nmtcli.cli.options import ConfigFiles, Overrides
from nmtcli.cli.progress import Progress
from nmtcli.errors import DataError, UserError
from nmtcli.paths import PIPE, quoted, require_apart

Files = list[str] | None


def _files(name: str, words: str) -> Any:
    return typer.Option(f"--{name}", metavar="FILE", help=words)


Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DATA", help="Directory to make; not for --dry-run.")
]
HoldOut = Annotated[
    int | None, typer.Option("--hold-out", metavar="N", min=1, help="Draw N training pairs for validation.")
]
HoldOutTest = Annotated[
    int | None,
    typer.Option("--hold-out-test", metavar="N", min=1, help="Draw N for a test set: text files in DATA."),
]
SourceLanguage = Annotated[
    str | None, typer.Option("-s", "--source-language", metavar="LANG", help="Source language code.")
]
TargetLanguage = Annotated[
    str | None, typer.Option("-t", "--target-language", metavar="LANG", help="Target language code.")
]
VocabSize = Annotated[int | None, typer.Option(metavar="N", help="Pieces in a vocabulary (data.tokenizer.vocab_size).")]
Joint = Annotated[
    bool | None,
    typer.Option("--joint/--separate", help="One tokenizer for both sides, or one each (data.tokenizer.joint)."),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option("--tokenizer", metavar="MODEL", help="Use this SentencePiece model, or that of data or a run."),
]
Merge = Annotated[
    list[Path] | None,
    typer.Option("--merge", metavar="DATA", help="Only join data prepared apart with one tokenizer. Repeatable."),
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.html", help="Write the report as a web page there, too.")
]
Processes = Annotated[
    int | None, typer.Option("--processes", metavar="N", min=1, help="Processes to use. Changes speed only.")
]


def prepare(
    *,
    output: Output = None,
    train_source: Annotated[Files, _files("train-source", "Training text, source side: a path or a URL.")] = None,
    train_target: Annotated[Files, _files("train-target", "Training text, target side, line by line.")] = None,
    train_alignment: Annotated[Files, _files("train-alignment", "Its word alignment, such as 0-0 1-2.")] = None,
    train: Annotated[Files, _files("train", "Training text, both sides: TSV, JSONL, CSV, Parquet or TMX.")] = None,
    valid_source: Annotated[Files, _files("valid-source", "Validation text, source side.")] = None,
    valid_target: Annotated[Files, _files("valid-target", "Validation text, target side.")] = None,
    valid: Annotated[Files, _files("valid", "Validation text, both sides.")] = None,
    test_source: Annotated[Files, _files("test-source", "Test text: training pairs like it are dropped.")] = None,
    test_target: Annotated[Files, _files("test-target", "Test text, target side.")] = None,
    hold_out: HoldOut = None,
    hold_out_test: HoldOutTest = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    vocab_size: VocabSize = None,
    joint: Joint = None,
    tokenizer: Tokenizer = None,
    merge: Merge = None,
    config: ConfigFiles = None,
    set_: Overrides = None,
    report: Report = None,
    processes: Processes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, check, count and report; make nothing.")] = False,
) -> None:
    """Make a data directory from aligned text: clean, train the tokenizer, encode.

    Line n of a source file translates line n of its target file. Files are UTF-8,
    plain or gzip, bzip2, xz, zstd; only LF ends a line. Options for files can be
    repeated. Corpora with names, tags or columns, and data sets of the hub, are
    listed in a YAML file under data.train. Without validation text of your own,
    --hold-out draws some from the corpus. Pairs that break a rule of data.cleaning
    are dropped, counted and shown in report.html; --dry-run gives the report alone.
    The same text and settings give the same data: a second run stops at once.
    """
    if output is None and not dry_run:
        raise UserError("-o DATA is needed: the directory to make", "or --dry-run for the report alone")
    if merge:
        text = (train_source, train_target, train_alignment, train, valid_source, valid_target, valid)
        settings = (
            hold_out,
            hold_out_test,
            source_language,
            target_language,
            vocab_size,
            joint,
            tokenizer,
            config,
            set_,
            report,
            processes,
        )
        if any(option not in (None, False) for option in (*text, test_source, test_target, *settings, dry_run)):
            raise UserError("--merge joins data directories as they are: beside it there is only -o DATA")
        _merge(output, merge)
        return
    flags = {
        "data.source_language": source_language,
        "data.target_language": target_language,
        "data.tokenizer.vocab_size": vocab_size,
        "data.tokenizer.joint": joint,
        "data.hold_out": hold_out,
        "data.hold_out_test": hold_out_test,
    }
    given = {
        "train": _corpora("train", train_source, train_target, train, train_alignment),
        "valid": _corpora("valid", valid_source, valid_target, valid),
        "test": _corpora("test", test_source, test_target),
    }
    data = _settings(config or [], set_ or [], flags, given)
    _run(data, config or [], tokenizer, processes, None if dry_run else output, report)


def _merge(output: Path | None, parts: list[Path]) -> None:
    from nmtcli.prepare.merging import merge

    assert output is not None
    manifest = merge(output, parts)
    then = f"next: nmt train {quoted(output)} -o RUN"
    say(f"{output}: {manifest.train.pairs:,} training pairs of {len(parts)} parts; {then}")


def _run(
    data: Any,
    config: list[Path],
    tokenizer: Path | None,
    processes: int | None,
    output: Path | None,
    page: Path | None,
) -> None:
    """Prepare, or only survey where there is no `output`; print the report and write its page if asked for."""
    from nmtcli.checkpoint import RunDirectory, find_model, model_files
    from nmtcli.prepare.hold_out import names
    from nmtcli.prepare.pipeline import Job, survey
    from nmtcli.prepare.pipeline import prepare as prepare_data
    from nmtcli.prepare.report.page import page as page_of
    from nmtcli.prepare.report.tables import render
    from nmtcli.staging import check_output, write_output

    if page is not None and page.suffix.lower() != ".html":
        raise UserError(f"--report {page}: not the name of a web page", "name the file .html")
    corpora = (*data.train, *data.valid, *data.test)
    texts = [text for one in corpora for text in (one.source, one.target, one.path, one.alignment) if text is not None]
    inputs = [*map(Path, texts), *config, *((model_files(tokenizer) or [tokenizer]) if tokenizer else ())]
    require_apart(inputs, [PIPE, *([page] if page is not None else [])])
    if page is not None:
        check_output(page)
    if tokenizer is not None and RunDirectory(tokenizer).checkpoints.is_dir():
        tokenizer = find_model(tokenizer)  # a run keeps its tokenizers with its checkpoints
    if tokenizer is not None:
        data = _with_languages(data, tokenizer)
    job = Job(data, tokenizer, processes)
    with Progress() as progress:
        outcome = prepare_data(output, job, progress.move) if output else None
        report = outcome.report if outcome else survey(job, progress.move)
    stdout.print(render(report), soft_wrap=True)  # a path is never broken
    if outcome is None or not outcome.already_prepared:
        progress.summary(report.train.pairs_read + report.valid.pairs_read, "pairs", "read")
    if page is not None:
        write_output(page, page_of(report).encode())
        say(f"{page}: the report")
    if outcome is None:
        say("dry run: no data directory was made")
        if not report.train.pairs_kept or not report.valid.pairs_kept:
            raise DataError(f"no {'validation' if report.train.pairs_kept else 'training'} pair would be left")
        return
    assert output is not None
    if outcome.already_prepared:
        say(f"{output}: already prepared from the same text and settings")
    else:
        if data.hold_out_test:
            say(f"test text: {' and '.join(quoted(output / name) for name in names('test', data))}")
        say(f"{output}: ready; next: nmt train {quoted(output)} -o RUN")


def _with_languages(data: Any, tokenizer: Path) -> Any:
    """The settings, where they name no languages with those of the data or model that the tokenizer comes from."""
    from nmtcli.checkpoint import INFO, read_info
    from nmtcli.data.directory import MANIFEST_FILE, Manifest

    if (tokenizer / MANIFEST_FILE).is_file():
        known: Any = Manifest.load(tokenizer).data
    elif (tokenizer / INFO).is_file():
        known = read_info(tokenizer)
    else:
        return data
    sides = ("source_language", "target_language")
    missing = [side for side in sides if getattr(data, side) == type(data).model_fields[side].default]
    return data.model_copy(update={side: getattr(known, side) for side in missing})


def _settings(
    config: list[Path], overrides: list[str], flags: dict[str, Any], given: dict[str, list[dict[str, str]]]
) -> Any:
    """The data settings; options of their own win, and corpora of the command line take the place of those in files."""
    from nmtcli.config import CorpusConfig
    from nmtcli.settings import load_config

    named = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    data = load_config(files=config, overrides=[*overrides, *named]).data
    corpora = {split: tuple(map(CorpusConfig.model_validate, items)) for split, items in given.items() if items}
    return data.model_copy(update=corpora)


def _corpora(
    split: str, sources: Files, targets: Files, both: Files = None, alignments: Files = None
) -> list[dict[str, str]]:
    """Files of each side in order, with their alignments if any, then files of both.

    Raises UserError if they do not pair up.
    """
    if len(sources or ()) != len(targets or ()):
        raise UserError(
            f"{len(sources or ())} --{split}-source and {len(targets or ())} --{split}-target files:"
            " they pair up in order, so there must be as many"
        )
    if alignments and len(alignments) != len(sources or ()):
        raise UserError(
            f"{len(alignments)} --{split}-alignment and {len(sources or ())} --{split}-source files:"
            " they go together in order, so there must be as many",
            "where only some corpora have one, list them in a YAML file under data.train",
        )
    pairs = [{"source": source, "target": target} for source, target in zip(sources or (), targets or (), strict=True)]
    if alignments:
        pairs = [pair | {"alignment": name} for pair, name in zip(pairs, alignments, strict=True)]
    return [*pairs, *({"path": path} for path in both or ())]
