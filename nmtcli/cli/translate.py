"""`nmt translate`: text in, translations out, line by line."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import nmtcli.cli.search_options as search
from nmtcli.cli.console import say
from nmtcli.cli.options import Device
from nmtcli.cli.translation_display import Reading, lines_drawn, run_job
from nmtcli.errors import DataError, UserError
from nmtcli.paths import PIPE, require_apart

if TYPE_CHECKING:
    from nmtcli.translate.ensemble import Mean
    from nmtcli.translate.job import Job
    from nmtcli.translate.translation import LineHandling

_LINES, _LINKS, _RUNNING = "Long lines and unknown words", "Which words translate which", "How it runs"

Models = Annotated[
    list[Path],
    typer.Option("-m", "--model", metavar="MODEL", help="Run, checkpoint or export; several times for an ensemble."),
]
Weights = Annotated[
    str | None, typer.Option("--weights", metavar="2,1", help="What each model of an ensemble counts; else alike.")
]
EnsembleMean = Annotated[
    Literal["probability", "log-probability"],
    typer.Option("--ensemble-mean", help="What of the models of an ensemble is averaged."),
]
Input = Annotated[Path, typer.Option("-i", "--input", metavar="FILE", help="Text; - is stdin.")]
InputForm = Annotated[
    Literal["auto", "text", "jsonl"],
    typer.Option("--input-format", help='jsonl: objects with "source"; auto: if the first line is one.'),
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Translations; - is stdout.")]
OutputForm = Annotated[
    Literal["text", "tsv", "jsonl", "moses"],
    typer.Option("--format", help="tsv, jsonl and moses carry scores and n-best lists."),
]
LongLines = Annotated[
    Literal["split", "cut", "refuse"],
    typer.Option(
        "--long-lines",
        rich_help_panel=_LINES,
        help="What is done with a longer line; split: at sentences or clauses, then joined.",
    ),
]
MaxSourceTokens = Annotated[
    int,
    typer.Option("--max-source-tokens", rich_help_panel=_LINES, min=1, help="Longest line taken whole."),
]
ReplaceUnknown = Annotated[
    bool,
    typer.Option(
        "--replace-unknown",
        rich_help_panel=_LINES,
        help="Put the source word a translation drew on for a word unknown to it.",
    ),
]
Dictionary = Annotated[
    Path | None,
    typer.Option(
        "--dictionary",
        rich_help_panel=_LINES,
        metavar="TSV",
        help="Its translation instead: source word, tab, target word.",
    ),
]
Alignment = Annotated[
    Path | None,
    typer.Option(
        "--alignment",
        rich_help_panel=_LINKS,
        metavar="FILE",
        help="Linked words, 0-0 1-2, a line each; - is beside the text.",
    ),
]
Attention = Annotated[
    Path | None,
    typer.Option(
        "--attention",
        rich_help_panel=_LINKS,
        metavar="FILE",
        help="Draw where the model looked (.html, .png; - is the terminal), or the numbers (.json; .jsonl, all lines).",
    ),
]
AttentionLayer = Annotated[
    int | None,
    typer.Option(
        "--attention-layer",
        rich_help_panel=_LINKS,
        metavar="N",
        min=1,
        help="Decoder layer whose attention draws, links and replaces words, from 1. Default: the last but one.",
    ),
]
AttentionHead = Annotated[
    int | None,
    typer.Option(
        "--attention-head", rich_help_panel=_LINKS, metavar="N", min=1, help="Its head, from 1. Default: their mean."
    ),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        rich_help_panel=_RUNNING,
        help="Translate a line as soon as it comes; always so where one types.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", rich_help_panel=_RUNNING, help="Go on with -o FILE after a crash, to the same bytes."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", rich_help_panel=_RUNNING, help="Begin an interrupted -o FILE again from its first line."
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        rich_help_panel=_RUNNING,
        metavar="N",
        min=1,
        help="Workers of one thread each, instead of threads; on the CPU unless --device is cuda.",
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        rich_help_panel=_RUNNING,
        metavar="0,1",
        help="A worker on each of these GPUs, counted from 0.",
    ),
]
Quantize = Annotated[
    Literal["int8", "bf16", "fp16"] | None,
    typer.Option(
        "--quantize",
        rich_help_panel=_RUNNING,
        help="Compute in fewer bits: int8 on a CPU, fp16 on a GPU, bf16 on both.",
    ),
]
Shortlist = Annotated[
    bool,
    typer.Option(
        "--shortlist",
        rich_help_panel=_RUNNING,
        help="Keep to tokens likely for each sentence (nmt export --vocabulary-shortlist).",
    ),
]


def translate(
    context: typer.Context,
    models: Models,
    source: Input = PIPE,
    output: Output = PIPE,
    input_format: InputForm = "auto",
    form: OutputForm = "text",
    weights: Weights = None,
    ensemble_mean: EnsembleMean = "probability",
    device: Device = "auto",
    method: search.Method = None,
    beam_size: search.BeamSize = None,
    n_best: search.NBest = 1,
    length_penalty: search.LengthPenalty = None,
    length_normalization: search.LengthNormalization = None,
    coverage_penalty: search.CoveragePenalty = None,
    min_length: search.MinLength = None,
    max_length: search.MaxLength = None,
    max_length_factor: search.MaxLengthFactor = None,
    no_repeat_ngram: search.NoRepeatNgram = None,
    beam_groups: search.BeamGroups = None,
    batch_tokens: search.BatchTokens = None,
    overrides: search.Overrides = None,
    temperature: search.Temperature = None,
    top_k: search.TopK = None,
    top_p: search.TopP = None,
    seed: search.Seed = None,
    terminology: search.Terminology = None,
    ban: search.Ban = None,
    placeholders: search.Placeholders = False,
    long_lines: LongLines = "split",
    max_source_tokens: MaxSourceTokens = 200,
    replace_unknown: ReplaceUnknown = False,
    dictionary: Dictionary = None,
    alignment: Alignment = None,
    attention: Attention = None,
    attention_layer: AttentionLayer = None,
    attention_head: AttentionHead = None,
    stream: Stream = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    processes: Processes = None,
    devices: Devices = None,
    quantize: Quantize = None,
    shortlist: Shortlist = False,
) -> None:
    """Translate text: one line out for each line in, in order; an empty line stays empty.

    tsv: line number, score, log-probability, translation. jsonl: an object for each
    line. moses: number from 0 ||| translation ||| log-probability ||| score. While
    -o FILE is being written, FILE.progress tells how far it is; after an interruption
    the same command with --resume goes on from there, with --overwrite it begins
    again. docs/translate.md has more, and docs/search.md about the search.
    """
    read = [path for path in (source, terminology, ban, dictionary) if path is not None]
    _check_places(models, read, output, alignment, attention)
    _check_together(output, form, n_best, alignment, attention, stream, resume, overwrite, processes)
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    from nmtcli.data.files import as_text, opened
    from nmtcli.translate.terminology import read_dictionary, read_phrases, read_terms
    from nmtcli.translate.translation import LineHandling

    words = read_dictionary(dictionary) if dictionary else {} if replace_unknown else None
    terms, banned = read_terms(terminology) if terminology else {}, read_phrases(ban) if ban else []
    handling = LineHandling(long_lines, max_source_tokens, words, terms, banned, placeholders)
    job = _job(context, handling)
    workers = processes, _gpus(devices, device, processes)
    _check_model(job, attention, gpus=workers[1])
    files = {"translations": output}
    files |= {"alignment": alignment} if alignment and job.alignment == "apart" else {}
    files |= {"attention": attention} if attention and job.attention else {}
    with opened(source) as file:
        if file.isatty():
            stream = True
            say("type a sentence a line; Ctrl-D ends")
        reading = Reading(input_format, stream, resume, overwrite)
        run_job(job, as_text(file, source), files, reading, workers, attention)


def _job(context: typer.Context, handling: "LineHandling") -> "Job":
    """What the options ask for; all settings of search are checked."""
    from nmtcli.checkpoint import find_model, read_info
    from nmtcli.models.told_attention import AttentionChoice
    from nmtcli.settings import replace_search
    from nmtcli.translate.job import Job

    options = context.params
    models = tuple(find_model(Path(model)) for model in options["models"])
    given, overridden = search.search_settings(options, options["overrides"] or [])
    replace_search(read_info(models[0]).search, given, overridden)
    alignment, attention = options["alignment"], options["attention"]
    numbers = attention is not None and attention.suffix.lower() == ".jsonl"
    return Job(
        models,
        "cpu" if options["processes"] and options["device"] == "auto" else options["device"],
        given,
        handling,
        options["form"],
        options["n_best"],
        alignment=None if alignment is None else "beside" if alignment == PIPE else "apart",
        attention=numbers,
        drawn=0 if attention is None or numbers else sys.maxsize if attention == PIPE else lines_drawn(attention),
        weights=_weights(options["weights"], len(models)),
        quantize=options["quantize"],
        shortlist=options["shortlist"],
        mean=_mean(options["ensemble_mean"], len(models)),
        told=AttentionChoice(options["attention_layer"], options["attention_head"]),
    )


def _weights(text: str | None, models: int) -> tuple[float, ...] | None:
    """The numbers in `2,1`."""
    if text is None:
        return None
    if models == 1:
        raise UserError(f"--weights {text}: one model is no ensemble", "give -m MODEL several times")
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--weights {text}: not numbers", "write them as 2,1, one for each -m MODEL") from None
    if len(weights) != models or not all(0 < weight < math.inf for weight in weights):
        raise UserError(f"--weights {text}: not a positive number for each of {models} models", "one for each -m MODEL")
    return weights


def _mean(name: str, models: int) -> "Mean":
    """The ensemble's mean by the name of the option."""
    if name == "probability":
        return "probability"
    if models == 1:
        raise UserError(f"--ensemble-mean {name}: one model is no ensemble", "give -m MODEL several times")
    return "log_probability"


def _check_places(
    models: list[Path], read: list[Path], output: Path, alignment: Path | None, attention: Path | None
) -> None:
    """Every file named can be written, and none is another one or one that is read."""
    from nmtcli.checkpoint import model_files
    from nmtcli.staging import check_output
    from nmtcli.translate.alignment import check_attention_path
    from nmtcli.translate.outputs import record_path

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
    inputs = [*read, *(file for model in models for file in model_files(model))]
    require_apart(inputs, [*named, *records, *([PIPE] if PIPE in (output, alignment) else [])])


def _check_together(
    output: Path,
    form: str,
    n_best: int,
    alignment: Path | None,
    attention: Path | None,
    stream: bool,
    resume: bool,
    overwrite: bool,
    processes: int | None,
) -> None:
    """Options that exclude each other."""
    if n_best > 1 and form == "text":
        raise UserError(
            f"--n-best {n_best} would break one line out for each line in", "use --format tsv or jsonl, or moses"
        )
    if alignment == PIPE and form == "text":
        raise UserError("--alignment - has no place beside plain text", "--alignment FILE, or --format tsv or jsonl")
    if stream and (processes or 1) > 1:
        raise UserError("--stream is for one process", "leave --processes out")
    if resume and output == PIPE:
        raise UserError("--resume goes on with a file", "give it by -o FILE")
    if overwrite and output == PIPE:
        raise UserError("--overwrite begins a file again", "give it by -o FILE, or leave the option out")
    if resume and stream:
        raise UserError("--resume and --stream exclude each other: what comes together is no matter of the text alone")
    if resume and attention is not None and attention.suffix.lower() != ".jsonl":
        raise UserError(
            f"--attention {attention}: is drawn when all is done, and cannot go on",
            "a .jsonl file can, or leave it out",
        )


def _check_model(job: "Job", attention: Path | None, gpus: list[str]) -> None:
    """The model can do what is asked of it."""
    from nmtcli.checkpoint import read_info
    from nmtcli.models.told_attention import USUAL
    from nmtcli.translate.engines import check_onnx_device, check_told

    info, replaces = read_info(job.models[0]), job.handling.dictionary is not None
    if gpus and all(read_info(model).kind == "onnx" for model in job.models):
        raise UserError("--devices: an ONNX model runs on the CPU", "use --processes")
    check_onnx_device([read_info(model) for model in job.models], job.device)
    if info.model.attends:
        check_told(info, job.told)
        if job.told != USUAL and attention is None and job.alignment is None and not replaces:
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


def _gpus(devices: str | None, device: str, processes: int | None) -> list[str]:
    """The names of the devices in `0,1`."""
    if devices is None:
        return []
    if processes is not None or device == "cpu":
        raise UserError("--devices is for GPUs; it excludes --processes and --device cpu")
    numbers = [number.strip() for number in devices.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--devices {devices}: not numbers of GPUs", "write them as 0,1")
    return [f"cuda:{number}" for number in numbers]
