"""`translate_file`: a text of any size from a file to a file, with everything that is asked for beside it."""

import io
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nmtcli.checkpoint import find_model, model_files, read_info
from nmtcli.config import SearchConfig
from nmtcli.data.files import as_text, opened
from nmtcli.errors import DataError, Interrupted, UserError, signal_of
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice
from nmtcli.options import Tell, check_rules, silent
from nmtcli.paths import PIPE, require_apart
from nmtcli.settings import replace_search, search_overrides
from nmtcli.staging import check_output, write_output
from nmtcli.translate.alignment import MOST_PNG_MAPS, AttentionMap, check_attention_path, write_attention
from nmtcli.translate.engines import check_onnx_device, check_told
from nmtcli.translate.formats import attention_json, json_text
from nmtcli.translate.job import Job, translate_windows
from nmtcli.translate.lines import LineReader, Report
from nmtcli.translate.options import RULES, TranslateOptions
from nmtcli.translate.outputs import OutputFiles, read_progress, record_path, refuse_unfinished
from nmtcli.translate.terminology import read_dictionary, read_phrases, read_terms
from nmtcli.translate.translation import LineHandling

_MOST_PAGE_MAPS = 100  # the attention of so many lines is drawn on a page, at most


class Written(NamedTuple):
    """How far a translation is."""

    lines: int  # all that are written
    share: float | None  # of the input, where its size is known
    maps: Mapping[int, AttentionMap]  # attention of the lines written last, by number, where it is drawn


@dataclass(frozen=True)
class TranslatedFile:
    """What became of a text."""

    lines: int  # translated by this call
    report: Report  # lines that were treated, and lines without a translation
    closed_early: bool  # whoever read the output stopped reading


def translate_file(
    options: TranslateOptions, tell: Tell = silent, on_written: Callable[[Written], None] = lambda _: None
) -> TranslatedFile:
    """Translate a text: one line out for each line in, in order.

    `on_written` is called before the first window and after each. Raises UserError and DataError before anything is
    written for what cannot be, and Interrupted after a signal; the output can then be gone on with.
    """
    check_rules(options, RULES)
    _check_places(options)
    job = _job(options)
    gpus = _gpus(options.devices)
    _check_model(job, options, gpus)
    output, drawing = options.output, options.attention if job.drawn else None
    files = {"translations": output}
    files |= {"alignment": options.alignment} if options.alignment and job.alignment == "apart" else {}
    files |= {"attention": options.attention} if options.attention and job.attention else {}
    regular = output != PIPE and (not output.exists() or output.is_file())
    with opened(options.source) as file:
        if typed := file.isatty():
            tell("type a sentence a line; Ctrl-D ends")
        lines = as_text(file, options.source)
        if regular and not options.resume and not options.overwrite:
            refuse_unfinished(output)
        settings = job.settings() | {"input_format": options.input_format} if regular else {}
        begun = read_progress(output, settings) if options.resume else None
        reader = LineReader(lines, options.input_format)
        if begun is not None:
            reader.skip(begun.input, begun.lines)
            tell(f"{output}: going on after line {begun.lines:,}")
        streams = {name: sys.stdout.buffer if path == PIPE else path for name, path in files.items()}
        outputs = OutputFiles(streams, settings, record_path(output) if regular else None, begun, _size(lines))
        windows = reader.windows(wait=not (options.stream or typed))
        maps: dict[int, AttentionMap] = {}
        with _kept(outputs, output if regular else None, tell):
            on_written(Written(outputs.lines, outputs.share, {}))
            for result in translate_windows(job, windows, options.processes, gpus):
                if not outputs.write(result):
                    break  # whoever reads, head for example, has had enough
                on_written(Written(outputs.lines, outputs.share, result.maps))
                if drawing not in (None, PIPE):
                    maps |= result.maps
    if drawing is not None and drawing != PIPE:
        _draw(drawing, maps, outputs.lines, tell)
    return TranslatedFile(outputs.lines - (begun.lines if begun else 0), outputs.report, outputs.closed_early)


def _job(options: TranslateOptions) -> Job:
    """What the options ask for; all settings of search are checked."""
    words = read_dictionary(options.dictionary) if options.dictionary else {} if options.replace_unknown else None
    terms = read_terms(options.terminology) if options.terminology else {}
    banned = read_phrases(options.ban) if options.ban else []
    models = tuple(find_model(Path(model)) for model in options.models)
    named = {name: getattr(options, name, None) for name in SearchConfig.model_fields}
    given = {name: value for name, value in named.items() if value is not None}
    overridden = search_overrides(options.overrides)
    search = overridden | given
    replace_search(read_info(models[0]).search, search, [name for name in overridden if name not in given])
    alignment, attention = options.alignment, options.attention_format
    return Job(
        models,
        "cpu" if options.processes and options.device == "auto" else options.device,
        search,
        LineHandling(options.long_lines, options.max_source_tokens, words, terms, banned, options.placeholders),
        options.form,
        options.n_best,
        alignment=None if alignment is None else "beside" if alignment == PIPE else "apart",
        attention=attention == "all lines",
        drawn=_lines_drawn(options.attention) if options.attention and attention == "drawing" else 0,
        weights=_weights(options.weights, len(models)),
        quantize=options.quantize,
        shortlist=options.shortlist,
        mean="probability" if options.ensemble_mean == "probability" else "log_probability",
        told=AttentionChoice(options.attention_layer, options.attention_head),
    )


def _weights(text: str | None, models: int) -> tuple[float, ...] | None:
    """The numbers in `2,1`."""
    if text is None:
        return None
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--weights {text}: not numbers", "write them as 2,1, one for each -m MODEL") from None
    if len(weights) != models or not all(0 < weight < math.inf for weight in weights):
        raise UserError(f"--weights {text}: not a positive number for each of {models} models", "one for each -m MODEL")
    return weights


def _gpus(devices: str | None) -> list[str]:
    """The names of the devices in `0,1`."""
    numbers = [number.strip() for number in devices.split(",")] if devices is not None else []
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--devices {devices}: not numbers of GPUs", "write them as 0,1")
    return [f"cuda:{number}" for number in numbers]


def _check_places(options: TranslateOptions) -> None:
    """Every file named can be written, and none is another one or one that is read."""
    output, alignment, attention = options.output, options.alignment, options.attention
    read = [path for path in (options.source, options.terminology, options.ban, options.dictionary) if path is not None]
    if attention is not None and attention != PIPE and attention.suffix.lower() not in {".json", ".jsonl"}:
        check_attention_path(attention)
    if PIPE in read and sys.stdin is None:
        raise DataError("standard input is closed", "give a file by -i FILE")
    if output == PIPE and sys.stdout is None:
        raise DataError("standard output is closed", "give a file by -o FILE")
    named = [path for path in (output, alignment, attention) if path is not None and path != PIPE]
    for path in named:
        check_output(path)
    records = [record_path(output)] if output != PIPE and (not output.exists() or output.is_file()) else []
    inputs = [*read, *(file for model in options.models for file in model_files(model))]
    require_apart(inputs, [*named, *records, *([PIPE] if PIPE in (output, alignment) else [])])


def _check_model(job: Job, options: TranslateOptions, gpus: list[str]) -> None:
    """The model can do what is asked of it."""
    attention, replaces = options.attention, job.handling.dictionary is not None
    infos = [read_info(model) for model in job.models]
    if gpus and all(info.kind == "onnx" for info in infos):
        raise UserError("--devices: an ONNX model runs on the CPU", "use --processes")
    check_onnx_device(infos, job.device)
    if infos[0].model.attends:
        check_told(infos[0], job.told)
        if job.told != DEFAULT_ATTENTION and attention is None and job.alignment is None and not replaces:
            raise UserError(
                "--attention-layer and --attention-head choose what --attention, --alignment and --replace-unknown"
                " show, and none of these is given",
                "add --attention FILE, or leave them out",
            )
        return
    if attention is not None:
        raise UserError(f"--attention {attention}: the model has no attention to draw", "leave the option out")
    if job.alignment is not None or replaces:
        option = "--alignment" if job.alignment is not None else "--replace-unknown"
        raise UserError(f"{option}: the model has no attention, and so links no words", "leave the option out")


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
def _kept(outputs: OutputFiles, output: Path | None, tell: Tell) -> Iterator[None]:
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
            tell(f"{output}: {outputs.lines:,} lines are done; the same command with --resume goes on")


def _lines_drawn(path: Path) -> int:
    """Of how many lines at most, from the first, the attention is drawn in a file of that kind."""
    if path == PIPE:
        return sys.maxsize
    return MOST_PNG_MAPS if path.suffix.lower() == ".png" else _MOST_PAGE_MAPS


def _draw(path: Path, maps: dict[int, AttentionMap], lines: int, tell: Tell) -> None:
    if path.suffix.lower() == ".json":
        write_output(path, json_text([attention_json(one, line) for line, one in maps.items()]).encode() + b"\n")
    else:
        write_attention(path, list(maps.values()))
    if lines > (drawn := _lines_drawn(path)):
        tell(f"{path}: attention of the first {drawn} lines of {lines:,}; a .jsonl file has that of all")
