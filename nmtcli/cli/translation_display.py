"""What a person sees of `nmt translate`: files written window by window, the bar, what was odd about the lines."""

import io
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from rich.text import Text

from nmtcli.cli.console import say, stderr, warn
from nmtcli.cli.progress import Progress
from nmtcli.cli.signals import signal_of
from nmtcli.errors import DataError, Interrupted
from nmtcli.paths import PIPE

if TYPE_CHECKING:
    from nmtcli.translate.alignment import AttentionMap
    from nmtcli.translate.job import Job, TranslatedWindow
    from nmtcli.translate.lines import Report
    from nmtcli.translate.outputs import OutputFiles

_DRAWN = 100  # the attention of so many lines is drawn on a page, at most


class Reading(NamedTuple):
    """How the input is read."""

    form: Literal["auto", "text", "jsonl"]
    stream: bool
    resume: bool
    overwrite: bool


def run_job(
    job: "Job",
    lines: BinaryIO,
    files: Mapping[str, Path],
    reading: Reading,
    workers: tuple[int | None, list[str]],
    drawing: Path | None,
) -> None:
    """Translate all lines into the files, then tell what was odd about them."""
    from nmtcli.translate.job import translate_windows
    from nmtcli.translate.lines import LineReader
    from nmtcli.translate.outputs import OutputFiles, read_progress, record_path, refuse_unfinished

    output = files["translations"]
    regular = output != PIPE and (not output.exists() or output.is_file())
    if regular and not reading.resume and not reading.overwrite:
        refuse_unfinished(output)
    settings = job.settings() | {"input_format": reading.form} if regular else {}
    begun = read_progress(output, settings) if reading.resume else None
    reader = LineReader(lines, reading.form)
    if begun is not None:
        reader.skip(begun.input, begun.lines)
        say(f"{output}: going on after line {begun.lines:,}")
    opened = {name: sys.stdout.buffer if path == PIPE else path for name, path in files.items()}
    outputs = OutputFiles(opened, settings, record_path(output) if regular else None, begun, _size(lines))
    results = translate_windows(job, reader.windows(wait=not reading.stream), *workers)
    quiet = output == PIPE and sys.stdout.isatty()  # it would stand between the translations
    with _kept(outputs, output if regular else None), Progress(quiet=quiet) as progress:
        maps = _write(results, outputs, progress, drawing if job.drawn else None)
    if not outputs.closed_early:
        progress.summary(outputs.lines - (begun.lines if begun else 0), "lines", "translated")
    if drawing is not None and drawing != PIPE and job.drawn:
        _draw(drawing, maps, outputs.lines)
    _tell(outputs.report, job)


def _write(
    results: "Iterator[TranslatedWindow]", outputs: "OutputFiles", progress: Progress, drawing: Path | None
) -> "dict[int, AttentionMap]":
    """Write each window as it is done; returns what is to be drawn at the end, by number of the line."""
    from nmtcli.translate.terminal_map import terminal_map

    maps: dict[int, AttentionMap] = {}
    named = False
    progress.move("lines", outputs.lines, share=outputs.share)
    for result in results:
        if not outputs.write(result):
            break  # whoever reads, head for example, has had enough
        progress.move("lines", outputs.lines, share=outputs.share)
        if drawing == PIPE:
            for one in result.maps.values():
                if one.of and not named:
                    say(f"attention: {one.of}")
                    named = True
                stderr.print(Text(terminal_map(one, stderr.width)), end="")
        elif drawing is not None:
            maps |= result.maps
    return maps


def _size(stream: BinaryIO) -> int | None:
    """The bytes of text in a file; None for a pipe or a compressed file."""
    if not isinstance(getattr(stream, "raw", None), io.FileIO):
        return None
    try:
        found = os.fstat(stream.fileno())
    except OSError:  # no file of the system
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


@contextmanager
def _kept(outputs: "OutputFiles", output: Path | None) -> Iterator[None]:
    """Leave the files so that an interrupted translation can go on, and say so."""
    finished = False
    try:
        yield
        outputs.open()  # there may have been no window
        finished = True
    except KeyboardInterrupt as stop:
        number = signal_of(stop)
        done = f"{number.name}: {outputs.lines:,} lines are translated"
        goes_on = "the same command with --resume goes on" if output and outputs.lines else "run the same command again"
        raise Interrupted(done, goes_on, signal=number) from None
    finally:
        outputs.close(finished)
        if not finished and output is not None and outputs.lines and not isinstance(sys.exception(), Interrupted):
            say(f"{output}: {outputs.lines:,} lines are done; the same command with --resume goes on")


def lines_drawn(path: Path) -> int:
    """Of how many lines at most, from the first, the attention is drawn in a file of that kind."""
    from nmtcli.translate.alignment import MOST_PNG_MAPS

    return MOST_PNG_MAPS if path.suffix.lower() == ".png" else _DRAWN


def _draw(path: Path, maps: "dict[int, AttentionMap]", lines: int) -> None:
    from nmtcli.staging import write_output
    from nmtcli.translate.alignment import write_attention
    from nmtcli.translate.formats import attention_json, json_text

    if path.suffix.lower() == ".json":
        write_output(path, json_text([attention_json(one, line) for line, one in maps.items()]).encode() + b"\n")
    else:
        write_attention(path, list(maps.values()))
    if lines > (drawn := lines_drawn(path)):
        say(f"{path}: attention of the first {drawn} lines of {lines:,}; a .jsonl file has that of all")


def _tell(report: "Report", job: "Job") -> None:
    """What was odd about the lines. Raises DataError where some are left without a translation."""
    longer = f"more than {job.handling.max_source_tokens} tokens"
    words = {
        "json": "looks like JSON without text under source, src, text, sentence or input (an object a line);"
        " translated as plain text",
        "misspelt": "with a key nearly like prefix, required, banned or placeholders, which asks nothing",
        "invalid-utf8": "not UTF-8; what could not be read was translated as U+FFFD",
        "control-characters": "with control characters, which were read as blanks",
        "cut": f"{longer}; what is behind was not translated",
        "unmet": "the translation has not all that it must; the one that comes closest is written",
        "incomplete": "CTranslate2 wrote bytes that form no character; they are left out",
        "unwritable": "with words or placeholders that the target tokenizer cannot write, asked for in vain",
    }
    lost = {
        "refused": f"{longer}, not translated as --long-lines refuse has it",
        "overlong": "longer than a megabyte, not translated",
        "malformed": 'not a JSON object with text under "source" and what may be asked of it, not translated',
        "contradiction": "the translation must have what it must not, or samples must have words; not translated",
    }
    for what, sentence in words.items():
        if what in report.found:
            warn(f"{_place(*report.found[what])}: {sentence}")
    if "split" in report.found:
        say(f"{_place(*report.found['split'])}: {longer}; translated in parts")
    if errors := [
        f"{_place(*report.found[what])}: {sentence}" for what, sentence in lost.items() if what in report.found
    ]:
        raise DataError("\n".join(errors), "all other lines are translated; these are empty in the output")


def _place(count: int, first: int) -> str:
    return f"line {first:,}" if count == 1 else f"{count:,} lines (the first is line {first:,})"
