"""`translate_folder`: translate all documents and text files of a folder into another folder."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from nmtcli.checkpoint import read_json
from nmtcli.config.section import Section
from nmtcli.data.digests import checksum_of
from nmtcli.data.files import as_text, opened
from nmtcli.documents.formats import ENDINGS, is_document, open_document
from nmtcli.errors import DataError, Interrupted, UserError
from nmtcli.options import Tell
from nmtcli.paths import PIPE, require_apart
from nmtcli.staging import write_output, writing
from nmtcli.translate.file import FileProgress, OnWritten, TranslatedFile, translate_one
from nmtcli.translate.job import Job, TranslateWindows
from nmtcli.translate.job_options import files_read
from nmtcli.translate.lines import Report, Tally
from nmtcli.translate.options import TranslateOptions
from nmtcli.translate.outputs import check_settings, collected_path, record_path, refuse_collected, refuse_unfinished
from nmtcli.version import __version__

TEXTS = (".txt", ".text")


class _File(Section):
    """A file that is done: the digest of its input, and what is to be told of it at the end."""

    digest: str
    lines: int
    report: dict[str, Tally]


class _Done(Section):
    """`FOLDER.progress`: the files that are done."""

    nmtcli: str = __version__
    settings: dict[str, Any]
    files: dict[str, _File] = Field(default_factory=dict)


@dataclass(frozen=True)
class TranslatedFolder:
    """Summary of `translate_folder`."""

    lines: int  # lines of text files and segments of documents, translated by this call
    files: int  # translated by this call
    files_reported: dict[Path, TranslatedFile]  # those with warnings, or with lines that have no translation
    closed_early: bool = False


def check_folder(options: TranslateOptions) -> list[Path]:
    """The files to translate, relative to the folder, sorted.

    Raises UserError for options that a folder excludes, DataError that names every document that cannot be read.
    """
    source, output = options.source, options.output
    if output == PIPE:
        raise UserError(f"-i {source}: a folder needs an output folder", "give -o FOLDER")
    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output}: is a file, and -i {source} is a folder", "give another -o FOLDER")
    if output.resolve().is_relative_to(source.resolve()):
        raise UserError(f"-o {output}: lies in the input folder {source}", "give a folder outside it")
    if options.form != "text" or options.alignment is not None or options.attention is not None or options.stream:
        raise UserError(
            "a folder excludes --format, --alignment, --attention and --stream", "leave them out, or translate one file"
        )
    with writing(source):
        paths = sorted(path for path in source.rglob("*") if path.is_file())
    visible = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    chosen = [path for path in visible if is_document(path) or path.suffix.lower() in TEXTS]
    if not chosen:
        raise UserError(f"{source}: has no file to translate", f"endings: {', '.join((*TEXTS, *ENDINGS))}")
    mistakes: list[str] = []
    for path in chosen:
        try:
            if is_document(path):
                open_document(path)
            else:
                with opened(path) as content:
                    as_text(content, path)
        except DataError as error:
            mistakes.append(error.message)
    if mistakes:
        raise DataError("\n".join(mistakes), "correct these files, or move them to another folder")
    files = [path.relative_to(source) for path in chosen]
    if not options.overwrite:
        _refuse_lost(options, files)
    _require_apart(options, files)
    return files


def _refuse_lost(options: TranslateOptions, files: Sequence[Path]) -> None:
    """Raise UserError if another translation into one of the files was interrupted, whose lines would be lost."""
    own = options.resume or record_path(options.output.resolve()).exists()  # unfinished files are of this folder
    for file in files:
        if is_document(file):
            refuse_collected(options.output / file)
        if not own:
            refuse_unfinished(options.output / file)


def _require_apart(options: TranslateOptions, files: Sequence[Path]) -> None:
    """Raise UserError if a file that would be written is one that is read, such as a link to it."""
    targets = [options.output / file for file in files]
    beside = [record_path(target) for target in targets]
    beside += [collected_path(target) for target in targets if is_document(target)]
    written = [*targets, *beside, record_path(options.output.resolve())]
    require_apart([*files_read(options), *(options.source / file for file in files)], written)


def translate_folder(
    options: TranslateOptions,
    files: Sequence[Path],
    job: Job,
    translate: TranslateWindows,
    tell: Tell,
    on_written: OnWritten,
) -> TranslatedFolder:
    """Translate these files of the input folder into the output folder, with the same names.

    After an interruption, `resume` continues: files that are done and have not changed are not translated again.
    """
    source, output = options.source, options.output
    _tell_others(source, files, tell)
    record = record_path(output.resolve())
    settings = job.settings() | {"input_format": options.input_format}
    done = _read(record, output, settings, options)
    sizes = {file: (source / file).stat().st_size for file in files}
    total, before = max(1, sum(sizes.values())), 0
    lines = count = 0
    reported: dict[Path, TranslatedFile] = {}
    for file in files:
        digest = checksum_of(source / file)
        target = output / file
        known = done.files.get(str(file))
        if known is None or known.digest != digest or not target.exists():
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            write_output(record, done.model_dump_json().encode() + b"\n")
            one = replace(options, source=source / file, output=target)
            one = replace(one, resume=options.resume and record_path(target).exists(), overwrite=not one.resume)
            if is_document(file):
                one = replace(one, input_format="auto")

            def moved(progress: FileProgress, size: int = sizes[file], start: int = before, base: int = lines) -> None:
                share = (start + size * (progress.share or 0)) / total
                on_written(FileProgress(base + progress.lines, share, {}))

            try:
                result = translate_one(one, job, translate, tell, moved)
            except Interrupted as stop:
                left = f"{stop.message} of {target}; {count} of {len(files)} files are done"
                raise Interrupted(
                    left, "continue with the same command and --resume", signal=stop.exit_code - 128
                ) from None
            lines, count = lines + result.lines, count + 1
            known = _File(digest=digest, lines=result.lines, report=result.report.tallies)
            done.files[str(file)] = known
        if known.report:
            reported[target] = TranslatedFile(known.lines, Report(known.report), closed_early=False)
        before += sizes[file]
    with suppress(FileNotFoundError):
        record.unlink()
    return TranslatedFolder(lines, count, reported)


def _read(record: Path, output: Path, settings: dict[str, Any], options: TranslateOptions) -> _Done:
    """The files that are done. Raises UserError for an interrupted translation that is not resumed."""
    if not record.exists() or options.overwrite:
        return _Done(settings=settings)
    if not options.resume:
        raise UserError(
            f"{output}: the translation was interrupted (see {record.name})",
            "resume with --resume, or start again with --overwrite",
        )
    try:
        done = _Done.model_validate(read_json(record))
    except ValidationError:
        raise DataError(f"{record}: damaged", "start again with --overwrite") from None
    check_settings(output, {"nmtcli": done.nmtcli, **done.settings}, {"nmtcli": __version__, **settings})
    return done


def _tell_others(source: Path, files: Sequence[Path], tell: Tell) -> None:
    """Say which files of the folder are not translated."""
    chosen = set(files)
    others = [path for path in source.rglob("*") if path.is_file() and path.relative_to(source) not in chosen]
    if others:
        endings = Counter(path.suffix.lower() or "no ending" for path in others)
        kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
        tell(f"{source}: {len(others)} other files are left out: {kinds}", warning=True)
