"""Output files that are written in windows, and can be resumed after a crash with the same bytes.

`NAME.progress` beside the first file has the last complete state of all files, the input and the settings. It is
removed at the end.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import Field, ValidationError

from nmtcli.checkpoint import read_json
from nmtcli.config.section import Section
from nmtcli.data.files import compressor
from nmtcli.errors import DataError, UserError
from nmtcli.staging import write_output, writing
from nmtcli.translate.job import TranslatedWindow
from nmtcli.translate.lines import Prefix, PrefixDigest, Report, Tally
from nmtcli.version import __version__

_CHUNK = 2**20
_EVERY = 1.0  # seconds between records: each waits for the disk


class Progress(Section):
    """The contents of `NAME.progress`."""

    nmtcli: str = __version__
    settings: dict[str, Any]
    lines: int = 0
    bytes: int = 0  # bytes of the input that are done
    total: int | None = None  # bytes of the input, if it is a file; estimated if it is compressed
    rate: float | None = None  # lines per second since the start or the resume
    time: str = ""  # of this record
    input: Prefix = Prefix()
    outputs: dict[str, Prefix]
    report: dict[str, Tally] = Field(default_factory=dict)


def record_path(output: Path) -> Path:
    """The progress file of an output file."""
    return output.parent / f"{output.name}.progress"


def collected_path(output: Path) -> Path:
    """The file of translations until a document can be written as a whole."""
    return output.with_name(f"{output.name}.lines")


def read_progress(output: Path, settings: Mapping[str, Any]) -> Progress | None:
    """The progress of an interrupted translation into `output`; None if there is none.

    Raises UserError if the file is complete or has other settings, DataError if the record is damaged.
    """
    record = record_path(output)
    if not record.exists():
        if output.exists() and output.stat().st_size:
            raise UserError(
                f"{output}: nothing to resume: {record.name} does not exist",
                "the file is complete, or nmt translate did not write it; without --resume it is overwritten",
            )
        return None
    try:
        progress = Progress.model_validate(read_json(record))
    except ValidationError:
        raise DataError(f"{record}: damaged", "start again with --overwrite") from None
    check_settings(output, {"nmtcli": progress.nmtcli, **progress.settings}, {"nmtcli": __version__, **settings})
    return progress


def check_settings(output: Path, before: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise UserError that names all settings that changed since a translation was interrupted."""
    changed = [
        f"{output}: was started with {name} {before.get(name)}, not {here.get(name)}"
        for name in dict.fromkeys([*before, *here])
        if before.get(name) != here.get(name)
    ]
    if changed:
        raise UserError("\n".join(changed), "give the same options and model, or start again with --overwrite")


def refuse_collected(output: Path) -> None:
    """Raise UserError if the file in which translations are collected exists and is not of a translation."""
    record, collected = record_path(output), collected_path(output)
    if collected.exists() and not record.exists():
        raise UserError(
            f"{collected}: exists, but is not an interrupted translation (no {record.name})",
            "move it, or replace it with --overwrite",
        )


def refuse_unfinished(output: Path) -> None:
    """Raise UserError if `output` is an interrupted translation, whose lines would be lost."""
    record = record_path(output)
    if not record.exists():
        return
    try:
        lines = Progress.model_validate(read_json(record)).lines
    except (DataError, ValidationError):
        lines = None
    if lines == 0:
        return
    done = f" after line {lines:,}" if lines else ""
    raise UserError(
        f"{output}: the translation was interrupted{done} (see {record.name})",
        "resume with --resume, or start again with --overwrite",
    )


class OutputFiles:
    """The output files of a translation. They are opened for the first window, so earlier errors leave them unchanged.

    Without `record`, as for a pipe, there is no progress file.
    """

    def __init__(
        self,
        files: Mapping[str, Path | BinaryIO],
        settings: Mapping[str, Any],
        record: Path | None,
        resumed: Progress | None = None,
        total: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`total` is the size of the input in bytes, if known; it is called again and again, as it may be an estimate.

        Files are compressed by the endings of their names, window by window.
        """
        self._files, self._record, self._total = files, record, total
        self._began, self._lines_before = time.monotonic(), resumed.lines if resumed else 0
        self.closed_early = False  # the reader closed the pipe
        self._resumed = resumed
        self._progress = resumed or Progress(settings=dict(settings), outputs=dict.fromkeys(files, Prefix()))
        self._compress = {
            name: compressor(place) if isinstance(place, Path) else bytes for name, place in files.items()
        }
        self._written: dict[str, PrefixDigest] = {}
        self._open: dict[str, BinaryIO] = {}
        self._closing = ExitStack()
        self._recorded = 0.0
        self.report = Report(dict(self._progress.report))

    @property
    def lines(self) -> int:
        """The number of input lines that are done."""
        return self._progress.lines

    @property
    def share(self) -> float | None:
        """The share of the input that is done, in bytes; None if its size is unknown."""
        total = self._total()
        return None if total is None else min(1.0, self._progress.input.bytes / max(1, total))

    def write(self, window: TranslatedWindow) -> bool:
        """Write a window to all files, compressed by name; False if the reader closed the pipe. Raises OSError."""
        self.open()
        for name, content in window.written.items():
            file, data = self._open[name], self._compress[name](content)
            try:
                file.write(data)
                file.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # for the rest of the buffer
                self.closed_early = True
                return False
            except OSError as error:
                error.filename = error.filename or getattr(file, "name", None)
                raise
            self._written[name].update(data)
        self.report.add(window.report.tallies)
        self._progress = self._progress.model_copy(
            update={
                "lines": self._progress.lines + window.lines,
                "input": window.end,
                "outputs": {name: written.prefix() for name, written in self._written.items()},
                "report": dict(self.report.tallies),
            }
        )
        if time.monotonic() - self._recorded > _EVERY:
            self.record()
        return True

    def open(self) -> None:
        """Open the files; also needed if there is no window."""
        if self._open:
            return
        if self._resumed is None:
            self.record(flush=False)  # before the old content is removed, so that the file counts as unfinished
        for name, place in self._files.items():
            written = self._written[name] = PrefixDigest()
            if not isinstance(place, Path):
                self._open[name] = place
                continue
            file = self._closing.enter_context(_opened(place, "wb" if self._resumed is None else "r+b"))
            if self._resumed is not None:
                _truncate(file, place, self._resumed.outputs[name], written)
            self._open[name] = file

    def record(self, flush: bool = True) -> None:
        """Write the progress file, after flushing the outputs to the disk."""
        if self._record is None:
            return
        for file in self._open.values() if flush else ():
            os.fsync(file.fileno())
        self._progress = self._progress.model_copy(update=self._clock())
        write_output(self._record, self._progress.model_dump_json().encode() + b"\n", "or give another -o FILE")
        self._recorded = time.monotonic()

    def _clock(self) -> dict[str, Any]:
        """Progress and speed, for other programs that read the record."""
        seconds = time.monotonic() - self._began
        rate = round((self.lines - self._lines_before) / seconds, 1) if seconds > 0 else None
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return {"bytes": self._progress.input.bytes, "total": self._total(), "rate": rate, "time": now}

    def close(self, finished: bool) -> None:
        """Close the files: finished, or to be resumed."""
        if not finished and self._open:
            with suppress(OSError, UserError):  # a full disk: the previous record stays valid
                self.record()
        if finished and not self.lines:
            for name, file in self._open.items():
                file.write(self._compress[name](b""))  # an empty compressed file is valid, one without bytes is not
        self._closing.close()
        if finished and self._record is not None:
            self._record.unlink(missing_ok=True)


def _opened(path: Path, mode: Literal["wb", "r+b"]) -> BinaryIO:
    with writing(path):
        try:
            return path.open(mode)
        except FileNotFoundError:
            if mode == "wb":
                raise
            raise UserError(
                f"{path}: is missing, and the interrupted translation goes on in it",
                "give the same file, or start again with --overwrite",
            ) from None


def _truncate(file: BinaryIO, path: Path, whole: Prefix, written: PrefixDigest) -> None:
    """Truncate a file to its complete part and go to its end. Raises DataError if that part changed."""
    while chunk := file.read(min(_CHUNK, whole.bytes - written.bytes)):
        written.update(chunk)
    if written.prefix() != whole:
        raise DataError(f"{path}: changed since the translation was interrupted", "start again with --overwrite")
    file.truncate(whole.bytes)
    file.seek(whole.bytes)
