"""The job of `nmt translate`, made from its options and checked before any work."""

import math
import sys
from pathlib import Path

from nmtcli.checkpoint import model_files
from nmtcli.config import SearchConfig
from nmtcli.documents.formats import is_document
from nmtcli.errors import DataError, UserError
from nmtcli.interchange.models import local_model
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice
from nmtcli.paths import PIPE, file_format, require_apart
from nmtcli.settings import search_overrides
from nmtcli.staging import check_output
from nmtcli.text.spans import Kind, read_patterns
from nmtcli.translate.alignment import MAX_PNG_MAPS, check_attention_path
from nmtcli.translate.job import Job
from nmtcli.translate.options import TranslateOptions
from nmtcli.translate.outputs import collected_path, record_path
from nmtcli.translate.terminology import read_dictionary, read_phrases, read_terms
from nmtcli.translate.translation import PROTECTED, LineHandling

_MAX_PAGE_MAPS = 100  # lines with heat maps on a web page


def job_of(options: TranslateOptions) -> Job:
    """The job of the options."""
    words = read_dictionary(options.dictionary) if options.dictionary else {} if options.replace_unknown else None
    terms = read_terms(options.terminology) if options.terminology else {}
    banned = read_phrases(options.ban) if options.ban else []
    models = tuple(local_model(Path(model)) for model in options.models)
    named = {name: getattr(options, name, None) for name in SearchConfig.model_fields}
    given = {name: value for name, value in named.items() if value is not None}
    alignment, attention = options.alignment, options.attention_format
    return Job(
        models,
        "cpu" if (options.processes or options.scheduler) and options.device == "auto" else options.device,
        search_overrides(options.overrides) | given,
        LineHandling(
            options.long_lines,
            options.max_source_tokens,
            words,
            terms,
            banned,
            options.split_sentences,
            options.source_language,
            options.target_language,
            options.protect,
            _kinds(options.protect_kinds),
            [one.pattern for one in read_patterns(options.protect_patterns)] if options.protect_patterns else (),
            options.localize_numbers,
            options.tags,
            options.on_violation,
        ),
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
        heat_maps=max_heat_maps(options.attention) if options.attention and attention == "heat maps" else 0,
    )


def _kinds(text: str | None) -> tuple[Kind, ...]:
    """The kinds of spans in `url,tag`."""
    if text is None:
        return PROTECTED
    names = {name.strip() for name in text.split(",")}
    if unknown := sorted(names - set(PROTECTED)):
        raise UserError(f"--protect-kinds: no kind {unknown[0]!r}", f"use some of {','.join(PROTECTED)}")
    return tuple(kind for kind in PROTECTED if kind in names)


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


def gpus_of(devices: str | None) -> list[str]:
    """The device names of the GPU numbers in `0,1`."""
    numbers = [number.strip() for number in devices.split(",")] if devices is not None else []
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--devices {devices}: not numbers of GPUs", "write them as 0,1")
    return [f"cuda:{number}" for number in numbers]


def check_paths(options: TranslateOptions) -> None:
    """Raise UserError or DataError for an output that cannot be written or is an input or another output."""
    output, alignment, attention = options.output, options.alignment, options.attention
    if attention is not None and attention != PIPE and file_format(attention) not in {".json", ".jsonl"}:
        check_attention_path(attention)
    inputs = files_read(options)
    if PIPE in inputs and sys.stdin is None:
        raise DataError("standard input is closed", "give a file by -i FILE")
    if output == PIPE and sys.stdout is None:
        raise DataError("standard output is closed", "give a file by -o FILE")
    named = [path for path in (output, alignment, attention) if path is not None and path != PIPE]
    if collects(options) and output != PIPE:
        named.append(collected_path(output))
    for path in named:
        if not options.source.is_dir():  # a folder makes its output
            check_output(path, replaced=False)
    records = [record_path(output)] if output != PIPE and (not output.exists() or output.is_file()) else []
    require_apart(inputs, [*named, *records, *([PIPE] if PIPE in (output, alignment) else [])])


def files_read(options: TranslateOptions) -> list[Path]:
    """The input files of a translation, and the files of the models and their runs."""
    files = (options.source, options.terminology, options.ban, options.dictionary, options.protect_patterns)
    read = [path for path in files if path is not None]
    return [*read, *(file for model in options.models for file in model_files(model))]


def collects(options: TranslateOptions) -> bool:
    """Whether the output is written as a whole at the end, from translations that are collected in a file beside it."""
    return options.form == "tmx" or (options.form == "text" and is_document(options.source))


def check_model(job: Job, options: TranslateOptions, gpus: list[str]) -> None:
    """Raise UserError for an option that the model does not support."""
    attention, replaces = options.attention, job.handling.dictionary is not None
    infos = job.check([name for name in search_overrides(options.overrides) if getattr(options, name, None) is None])[1]
    if gpus and all(info.kind == "onnx" for info in infos):
        raise UserError("--devices: an ONNX model runs on the CPU", "use --processes")
    if infos[0].model.attends:
        transfers = job.handling.tags == "transfer" or is_document(options.source) or options.source.is_dir()
        used = attention is not None or job.alignment is not None or replaces or transfers
        if job.selected_attention != DEFAULT_ATTENTION and not used:
            raise UserError(
                "--attention-layer and --attention-head need --attention, --alignment, --replace-unknown, --tags"
                " transfer or a document",
                "add --attention FILE, or leave them out",
            )
        return
    if attention is not None:
        raise UserError(f"--attention {attention}: the model has no attention", "leave the option out")
    if job.alignment is not None or replaces:
        option = "--alignment" if job.alignment is not None else "--replace-unknown"
        raise UserError(f"{option}: the model has no attention, which the alignment needs", "leave the option out")


def max_heat_maps(path: Path) -> int:
    """The maximum number of lines, from the first, with heat maps in a file of this type."""
    if path == PIPE:
        return sys.maxsize
    return MAX_PNG_MAPS if path.suffix.lower() == ".png" else _MAX_PAGE_MAPS
