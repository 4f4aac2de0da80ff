"""`translate_file`: translate a file of any size, with optional alignment and attention files."""

import io
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nmtcli.checkpoint import find_model, model_files
from nmtcli.config import SearchConfig
from nmtcli.data.files import as_text, compressor, estimated_size, opened
from nmtcli.errors import DataError, Interrupted, UserError, signal_of
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice
from nmtcli.options import Tell, check_rules, silent
from nmtcli.paths import PIPE, file_format, require_apart
from nmtcli.settings import search_overrides
from nmtcli.staging import check_output, write_output
from nmtcli.translate.alignment import MAX_PNG_MAPS, AttentionMap, check_attention_path, write_attention
from nmtcli.translate.formats import attention_json, json_text
from nmtcli.translate.job import Job, translate_windows
from nmtcli.translate.lines import LineReader, Report
from nmtcli.translate.options import RULES, TranslateOptions
from nmtcli.translate.outputs import OutputFiles, read_progress, record_path, refuse_unfinished
from nmtcli.translate.terminology import read_dictionary, read_phrases, read_terms
from nmtcli.translate.translation import LineHandling

_MAX_PAGE_MAPS = 100  # lines with heat maps on a web page


class FileProgress(NamedTuple):
    """Progress of `translate_file`."""

    lines: int  # lines written in all
    share: float | None  # of the input, if its size is known
    maps: Mapping[int, AttentionMap]  # for heat maps: attention of the last lines written, by line number


@dataclass(frozen=True)
class TranslatedFile:
    """Summary of `translate_file`."""

    lines: int  # translated by this call
    report: Report  # lines with warnings, and lines without a translation
    closed_early: bool  # the reader of the output closed the pipe


def translate_file(
    options: TranslateOptions, tell: Tell = silent, on_written: Callable[[FileProgress], None] = lambda _: None
) -> TranslatedFile:
    """Translate a file: one output line for each input line, in order.

    `on_written` is called before the first window and after each. Raises UserError and DataError before anything is
    written, and Interrupted after a signal; `resume` then continues the output.
    """
    check_rules(options, RULES)
    _check_paths(options)
    job = _job(options)
    gpus = _gpus(options.devices)
    _check_model(job, options, gpus)
    output, heat_maps = options.output, options.attention if job.heat_maps else None
    files = {"translations": output}
    files |= {"alignment": options.alignment} if options.alignment and job.alignment == "apart" else {}
    files |= {"attention": options.attention} if options.attention and job.attention else {}
    regular = output != PIPE and (not output.exists() or output.is_file())
    with opened(options.source) as file:
        if typed := file.isatty():
            tell("type one sentence per line; Ctrl-D ends the input")
        lines = as_text(file, options.source)
        if regular and not options.resume and not options.overwrite:
            refuse_unfinished(output)
        settings = job.settings() | {"input_format": options.input_format} if regular else {}
        resumed = read_progress(output, settings) if options.resume else None
        reader = LineReader(lines, options.input_format)
        if resumed is not None:
            reader.skip(resumed.input, resumed.lines)
            tell(f"{output}: resuming after line {resumed.lines:,}")
        streams = {name: sys.stdout.buffer if path == PIPE else path for name, path in files.items()}
        outputs = OutputFiles(
            streams, settings, record_path(output) if regular else None, resumed, partial(_size, lines)
        )
        windows = reader.windows(wait=not (options.stream or typed))
        maps: dict[int, AttentionMap] = {}
        with _resumable(outputs, output if regular else None, tell):
            on_written(FileProgress(outputs.lines, outputs.share, {}))
            for result in translate_windows(job, windows, options.processes, gpus):
                if not outputs.write(result):
                    break  # the reader, such as head, closed the pipe
                on_written(FileProgress(outputs.lines, outputs.share, result.maps))
                if heat_maps not in (None, PIPE):
                    maps |= result.maps
    if heat_maps is not None and heat_maps != PIPE:
        _write_heat_maps(heat_maps, maps, outputs.lines, tell)
    return TranslatedFile(outputs.lines - (resumed.lines if resumed else 0), outputs.report, outputs.closed_early)


def _job(options: TranslateOptions) -> Job:
    """The job of the options."""
    words = read_dictionary(options.dictionary) if options.dictionary else {} if options.replace_unknown else None
    terms = read_terms(options.terminology) if options.terminology else {}
    banned = read_phrases(options.ban) if options.ban else []
    models = tuple(find_model(Path(model)) for model in options.models)
    named = {name: getattr(options, name, None) for name in SearchConfig.model_fields}
    given = {name: value for name, value in named.items() if value is not None}
    alignment, attention = options.alignment, options.attention_format
    return Job(
        models,
        "cpu" if options.processes and options.device == "auto" else options.device,
        search_overrides(options.overrides) | given,
        LineHandling(options.long_lines, options.max_source_tokens, words, terms, banned, options.placeholders),
        _weights(options.weights, len(models)),
        "probability" if options.ensemble_mean == "probability" else "log_probability",
        AttentionChoice(options.attention_layer, options.attention_head),
        quantize=options.quantize,
        shortlist=options.shortlist,
        form=options.form,
        n_best=options.n_best,
        alignment=None if alignment is None else "beside" if alignment == PIPE else "apart",
        attention=attention == "all lines",
        token_scores=options.token_scores,
        heat_maps=_max_heat_maps(options.attention) if options.attention and attention == "heat maps" else 0,
    )


def _weights(text: str | None, models: int) -> tuple[float, ...] | None:
    """The ensemble weights in `2,1`."""
    if text is None:
        return None
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--weights {text}: not numbers", "write them as 2,1, one for each -m MODEL") from None
    if len(weights) != models or not all(0 < weight < math.inf for weight in weights):
        raise UserError(f"--weights {text}: not {models} positive numbers", "give one for each -m MODEL")
    return weights


def _gpus(devices: str | None) -> list[str]:
    """The device names of the GPU numbers in `0,1`."""
    numbers = [number.strip() for number in devices.split(",")] if devices is not None else []
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--devices {devices}: not numbers of GPUs", "write them as 0,1")
    return [f"cuda:{number}" for number in numbers]


def _check_paths(options: TranslateOptions) -> None:
    """Raise UserError or DataError for an output that cannot be written or is an input or another output."""
    output, alignment, attention = options.output, options.alignment, options.attention
    read = [path for path in (options.source, options.terminology, options.ban, options.dictionary) if path is not None]
    if attention is not None and attention != PIPE and file_format(attention) not in {".json", ".jsonl"}:
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
    """Raise UserError for an option that the model does not support."""
    attention, replaces = options.attention, job.handling.dictionary is not None
    infos = job.check([name for name in search_overrides(options.overrides) if getattr(options, name, None) is None])[1]
    if gpus and all(info.kind == "onnx" for info in infos):
        raise UserError("--devices: an ONNX model runs on the CPU", "use --processes")
    if infos[0].model.attends:
        if job.selected_attention != DEFAULT_ATTENTION and attention is None and job.alignment is None and not replaces:
            raise UserError(
                "--attention-layer and --attention-head need --attention, --alignment or --replace-unknown",
                "add --attention FILE, or leave them out",
            )
        return
    if attention is not None:
        raise UserError(f"--attention {attention}: the model has no attention", "leave the option out")
    if job.alignment is not None or replaces:
        option = "--alignment" if job.alignment is not None else "--replace-unknown"
        raise UserError(f"{option}: the model has no attention, which the alignment needs", "leave the option out")


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


def _max_heat_maps(path: Path) -> int:
    """The maximum number of lines, from the first, with heat maps in a file of this type."""
    if path == PIPE:
        return sys.maxsize
    return MAX_PNG_MAPS if path.suffix.lower() == ".png" else _MAX_PAGE_MAPS


def _write_heat_maps(path: Path, maps: dict[int, AttentionMap], lines: int, tell: Tell) -> None:
    if file_format(path) == ".json":
        text = json_text([attention_json(one, line) for line, one in maps.items()]) + "\n"
        write_output(path, compressor(path)(text.encode()))
    else:
        write_attention(path, list(maps.values()))
    if lines > (shown := _max_heat_maps(path)):
        tell(f"{path}: attention of the first {shown} of {lines:,} lines; a .jsonl file has all lines")
