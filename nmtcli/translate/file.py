"""Translate one file of any size: text line by line, or a document."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nmtcli.checkpoint import read_info
from nmtcli.data.files import as_text, compressor, estimated_size, opened
from nmtcli.documents.document import Document
from nmtcli.documents.formats import is_document, open_document
from nmtcli.documents.tmx import tmx
from nmtcli.errors import Interrupted, UserError, signal_of
from nmtcli.options import Tell
from nmtcli.paths import PIPE, file_format, quoted
from nmtcli.staging import exclusive, write_output
from nmtcli.translate.alignment import AttentionMap, write_attention
from nmtcli.translate.formats import attention_json, json_text
from nmtcli.translate.job import Job, TranslateWindows
from nmtcli.translate.job_options import collects, max_heat_maps
from nmtcli.translate.lines import LineReader, Report
from nmtcli.translate.options import TranslateOptions
from nmtcli.translate.outputs import (
    OutputFiles,
    collected_path,
    read_progress,
    record_path,
    refuse_collected,
    refuse_unfinished,
)
from nmtcli.translate.segments import SegmentReader, collected


class FileProgress(NamedTuple):
    """Progress of `translate_one`."""

    lines: int  # lines written in all
    share: float | None  # of the input, if its size is known
    maps: Mapping[int, AttentionMap]  # for heat maps: attention of the last lines written, by line number


@dataclass(frozen=True)
class TranslatedFile:
    """Summary of `translate_one`."""

    lines: int  # translated by this call
    report: Report  # lines with warnings, and lines without a translation
    closed_early: bool  # the reader of the output closed the pipe

    @property
    def files_reported(self) -> "Mapping[None, TranslatedFile]":
        """This file; without a name, as there is only one."""
        return {None: self}


OnWritten = Callable[[FileProgress], None]


def translate_one(
    options: TranslateOptions, job: Job, translate: TranslateWindows, tell: Tell, on_written: OnWritten
) -> TranslatedFile:
    """Translate the file of `options`, which are checked: one output line for each input line, or a document.

    `on_written` is called before the first window and after each. Raises UserError and DataError before anything is
    written, and Interrupted after a signal; `resume` then continues the output.
    """
    output, heat_maps = options.output, options.attention if job.heat_maps else None
    regular = output != PIPE and (not output.exists() or output.is_file())
    whole = collects(options)
    files = {"translations": collected_path(output) if whole and regular else output}
    files |= {"alignment": options.alignment} if options.alignment and job.alignment == "apart" else {}
    files |= {"attention": options.attention} if options.attention and job.attention else {}
    with ExitStack() as stack:
        if regular:
            stack.enter_context(_only_writer(output))
        reader, document, size = _reader(options, tell, stack)
        if regular and whole and not options.overwrite:
            refuse_collected(output)
        if regular and not options.resume and not options.overwrite:
            refuse_unfinished(output)
        settings = job.settings() | {"input_format": options.input_format} if regular else {}
        resumed = read_progress(output, settings) if options.resume else None
        if resumed is not None:
            reader.skip(resumed.input, resumed.lines)
            tell(f"{output}: resuming after line {resumed.lines:,}")
        streams: dict[str, Path | BinaryIO] = {
            name: sys.stdout.buffer if path == PIPE else path for name, path in files.items()
        }
        memory = io.BytesIO()
        if whole and not regular:
            streams["translations"] = memory
        outputs = OutputFiles(streams, settings, record_path(output) if regular else None, resumed, size)
        maps: dict[int, AttentionMap] = {}
        with _resumable(outputs, output if regular else None, tell):
            on_written(FileProgress(outputs.lines, outputs.share, {}))
            for result in translate(reader.windows()):
                if not outputs.write(result):
                    break  # the reader, such as head, closed the pipe
                on_written(FileProgress(outputs.lines, outputs.share, result.maps))
                if heat_maps not in (None, PIPE):
                    maps |= result.maps
            if whole:
                outputs.open()  # for an empty input
                _write_whole(options, job, document, memory.getvalue() if not regular else None)
    if whole and regular:
        files["translations"].unlink()
    if heat_maps is not None and heat_maps != PIPE:
        _write_heat_maps(heat_maps, maps, outputs.lines, tell)
    return TranslatedFile(outputs.lines - (resumed.lines if resumed else 0), outputs.report, outputs.closed_early)


def _reader(
    options: TranslateOptions, tell: Tell, stack: ExitStack
) -> tuple[LineReader | SegmentReader, Document | None, Callable[[], int | None]]:
    """The reader of the input, the document if it is one, and what gives its size in bytes."""
    if is_document(options.source):
        if options.stream or options.input_format != "auto":
            raise UserError(
                f"{options.source}: is a document, which --stream and --input-format exclude",
                f"leave them out; for its lines as text: nmt translate … < {quoted(options.source)}",
            )
        document = open_document(options.source)
        segments = SegmentReader(document, options.source)
        return segments, document, lambda: segments.size
    file = stack.enter_context(opened(options.source))
    if typed := file.isatty():
        if options.several_workers:
            raise UserError(
                "sentences typed at a terminal are translated one by one, not by several workers",
                "leave --processes, --devices and --scheduler out, or give a file by -i FILE",
            )
        tell("type one sentence per line; Ctrl-D ends the input")
    lines = as_text(file, options.source)
    return LineReader(lines, options.input_format, wait=not (options.stream or typed)), None, partial(_size, lines)


def _write_whole(options: TranslateOptions, job: Job, document: Document | None, content: bytes | None) -> None:
    """Write a document or translation memory from the collected translations, in a file or in memory."""
    info = read_info(job.models[0])
    source = options.source_language or info.source_language
    target = options.target_language or info.target_language
    with io.BytesIO(content) if content is not None else collected_path(options.output).open("rb") as file:
        pairs = collected(file)
        if options.form == "tmx":
            written = "".join(tmx(((one, other or ()) for one, other in pairs), source, target)).encode()
        else:
            assert document is not None
            translations = [source if translation is None else translation for source, translation in pairs]
            written = document.write(translations, None if target == "target" or "+" in target else target)
    if options.output == PIPE:
        sys.stdout.buffer.write(written)
        sys.stdout.buffer.flush()
    else:
        write_output(options.output, compressor(options.output)(written))


def _size(stream: BinaryIO) -> int | None:
    """The size of a file in bytes, estimated for a compressed file; None for a pipe."""
    if not isinstance(getattr(stream, "raw", None), io.FileIO):
        return estimated_size(stream)
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # not a file of the operating system
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _only_writer(output: Path) -> Iterator[None]:
    """Context in which no other process translates to this file. Raises UserError where one does."""
    with exclusive(output.with_name(f".{output.name}.lock")) as holder:
        if holder is not None:
            raise UserError(f"{output}: {holder} is writing it", "wait for it, or give another -o FILE")
        yield


@contextmanager
def _resumable(outputs: OutputFiles, output: Path | None, tell: Tell) -> Iterator[None]:
    """Context that closes the files so that an interrupted translation can be resumed, and says so."""
    finished = False
    try:
        yield
        outputs.open()  # for an empty input
        finished = True
    except KeyboardInterrupt as stop:
        number = signal_of(stop)
        done = f"{number.name}: {outputs.lines:,} lines are translated"
        hint = "resume with the same command and --resume" if output and outputs.lines else "run the same command again"
        raise Interrupted(done, hint, signal=number) from None
    finally:
        outputs.close(finished)
        if not finished and output is not None and outputs.lines and not isinstance(sys.exception(), Interrupted):
            tell(f"{output}: {outputs.lines:,} lines are done; resume with the same command and --resume")


def _write_heat_maps(path: Path, maps: dict[int, AttentionMap], lines: int, tell: Tell) -> None:
    if file_format(path) == ".json":
        text = json_text([attention_json(one, line) for line, one in maps.items()]) + "\n"
        write_output(path, compressor(path)(text.encode()))
    elif any(one.weights.size for one in maps.values()):
        write_attention(path, list(maps.values()))
    else:
        tell(f"{path}: not written: the first {max_heat_maps(path)} lines have no attention", warning=True)
        return
    if lines > (shown := max_heat_maps(path)):
        tell(f"{path}: attention of the first {shown} of {lines:,} lines; a .jsonl file has all lines")
