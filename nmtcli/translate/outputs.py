"""Files that are written window by window, and go on after a crash to the same bytes.

Beside the first of them lies `NAME.progress` until all is written: how far every file was when it was last known to be
whole, of which input, and with what settings.
"""

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import xxhash
from pydantic import Field, ValidationError

from nmtcli.checkpoint import read_json
from nmtcli.config.section import Section
from nmtcli.errors import DataError, UserError
from nmtcli.staging import write_output, writing
from nmtcli.translate.job import TranslatedWindow
from nmtcli.translate.lines import Prefix, Report, Tally
from nmtcli.version import __version__

_CHUNK = 2**20
_EVERY = 1.0  # seconds between records: more would wait for the disk too often


class Progress(Section):
    """What `NAME.progress` says."""

    nmtcli: str = __version__
    settings: dict[str, Any]
    lines: int = 0
    bytes: int = 0  # of the input that are done
    total: int | None = None  # bytes of the input, where it is a file
    rate: float | None = None  # lines a second since translating began or went on
    time: str = ""  # when this was written
    input: Prefix = Prefix()
    outputs: dict[str, Prefix]
    report: dict[str, Tally] = Field(default_factory=dict)


def record_path(output: Path) -> Path:
    """Where the progress of an output file is told."""
    return output.with_name(f"{output.name}.progress")


def read_progress(output: Path, settings: Mapping[str, Any]) -> Progress | None:
    """How far a translation into `output` had come; None if it was not begun.

    Raises UserError if the file is complete or was begun with other settings, DataError if the record is damaged.
    """
    record = record_path(output)
    if not record.exists():
        if output.exists() and output.stat().st_size:
            raise UserError(
                f"{output}: nothing to go on with: no {record.name} is beside it",
                "it is complete, or was not begun by nmt translate -o; without --resume it is written anew",
            )
        return None
    try:
        progress = Progress.model_validate(read_json(record))
    except ValidationError:
        raise DataError(f"{record}: damaged", "begin again without --resume") from None
    here = {"nmtcli": __version__, **settings}
    before = {"nmtcli": progress.nmtcli, **progress.settings}
    changed = [
        f"{output}: begun with {name} {before.get(name)}, now it is {here.get(name)}"
        for name in dict.fromkeys([*before, *here])
        if before.get(name) != here.get(name)
    ]
    if changed:
        raise UserError("\n".join(changed), "give the same options and model, or begin again without --resume")
    return progress


def refuse_unfinished(output: Path) -> None:
    """Raise UserError where `output` was interrupted and has translations that would be lost."""
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
        f"{output}: its translation was interrupted{done} ({record.name} is beside it)",
        "--resume goes on from there, --overwrite begins again and loses what is done",
    )


class OutputFiles:
    """The files of one translation. They are opened with the first window, so that a mistake before it costs nothing.

    Without `record`, as for a pipe, no progress is kept.
    """

    def __init__(
        self,
        files: Mapping[str, Path | BinaryIO],
        settings: Mapping[str, Any],
        record: Path | None,
        begun: Progress | None = None,
        total: int | None = None,
    ) -> None:
        """`total` are the bytes of the input, where that is known."""
        self._files, self._record, self._total = files, record, total
        self._began, self._lines_before = time.monotonic(), begun.lines if begun else 0
        self.closed_early = False  # whoever reads has had enough
        self._begun = begun
        self._progress = begun or Progress(settings=dict(settings), outputs=dict.fromkeys(files, Prefix()))
        self._digests: dict[str, xxhash.xxh3_128] = {}
        self._open: dict[str, BinaryIO] = {}
        self._closing = ExitStack()
        self._recorded = 0.0
        self.report = Report(dict(self._progress.report))

    @property
    def lines(self) -> int:
        """Lines of the input that are done."""
        return self._progress.lines

    @property
    def share(self) -> float | None:
        """What part of the input is done, by its bytes; None where its size is not known."""
        return None if self._total is None else min(1.0, self._progress.input.bytes / max(1, self._total))

    def write(self, window: TranslatedWindow) -> bool:
        """One more window, in every file; False where nobody reads any more. Raises OSError."""
        self.open()
        for name, data in window.written.items():
            file = self._open[name]
            try:
                file.write(data)
                file.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # what is left in the buffer goes there
                self.closed_early = True
                return False
            except OSError as error:
                error.filename = error.filename or getattr(file, "name", None)
                raise
            self._digests[name].update(data)
        self.report.add(window.report.found)
        before = self._progress.outputs
        outputs = {
            name: Prefix(bytes=before[name].bytes + len(data), digest=self._digests[name].hexdigest())
            for name, data in window.written.items()
        }
        self._progress = self._progress.model_copy(
            update={
                "lines": self._progress.lines + window.lines,
                "input": window.end,
                "outputs": outputs,
                "report": dict(self.report.found),
            }
        )
        if time.monotonic() - self._recorded > _EVERY:
            self.record()
        return True

    def open(self) -> None:
        """Open the files where writing begins; needed where there is no window."""
        if self._open:
            return
        if self._begun is None:
            self.record(flush=False)  # before the old content goes: what is there then is known to be unfinished
        for name, place in self._files.items():
            digest = self._digests[name] = xxhash.xxh3_128()
            if not isinstance(place, Path):
                self._open[name] = place
                continue
            file = self._closing.enter_context(_opened(place, "wb" if self._begun is None else "r+b"))
            if self._begun is not None:
                _go_back(file, place, self._begun.outputs[name], digest)
            self._open[name] = file

    def record(self, flush: bool = True) -> None:
        """Write down how far everything is, once it is on the disk."""
        if self._record is None:
            return
        for file in self._open.values() if flush else ():
            os.fsync(file.fileno())
        self._progress = self._progress.model_copy(update=self._clock())
        write_output(self._record, self._progress.model_dump_json().encode() + b"\n", "or give another place by -o")
        self._recorded = time.monotonic()

    def _clock(self) -> dict[str, Any]:
        """How far and how fast it is, for whoever looks at the record meanwhile."""
        seconds = time.monotonic() - self._began
        rate = round((self.lines - self._lines_before) / seconds, 1) if seconds > 0 else None
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return {"bytes": self._progress.input.bytes, "total": self._total, "rate": rate, "time": now}

    def close(self, finished: bool) -> None:
        """The end, or an interruption that `--resume` can mend."""
        if not finished and self._open:
            with suppress(OSError, UserError):  # a full disk: the record before this one will do
                self.record()
        self._closing.close()
        if finished and self._record is not None:
            self._record.unlink(missing_ok=True)


def _opened(path: Path, mode: Literal["wb", "r+b"]) -> BinaryIO:
    with writing(path):
        return path.open(mode)


def _go_back(file: BinaryIO, path: Path, whole: Prefix, digest: "xxhash.xxh3_128") -> None:
    """To the end of what is whole. Raises DataError if that is not there any more."""
    left = whole.bytes
    while left and (chunk := file.read(min(_CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    if digest.hexdigest() != whole.digest:
        raise DataError(f"{path}: changed since the translation was interrupted", "begin again without --resume")
    file.truncate(whole.bytes)
    file.seek(whole.bytes)
