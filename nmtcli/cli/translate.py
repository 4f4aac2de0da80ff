"""`nmt translate`: text in, translations out, line by line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from nmtcli.cli.console import say
from nmtcli.cli.options import Device
from nmtcli.cli.translation_display import DRAWN, PIPE, Reading, run_job
from nmtcli.errors import DataError, UserError

if TYPE_CHECKING:
    from nmtcli.translate.job import Job

Model = Annotated[Path, typer.Option("-m", "--model", metavar="MODEL", help="Run directory, checkpoint or export.")]
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
BeamSize = Annotated[int | None, typer.Option("-b", "--beam-size", help="1 is greedy. Default: the model's, 5.")]
NBest = Annotated[int, typer.Option("--n-best", min=1, help="Translations of a line; not for text.")]
LengthPenalty = Annotated[
    float | None, typer.Option("--length-penalty", help="Higher for longer translations. Default: the model's, 1.")
]
MaxLengthFactor = Annotated[
    float | None,
    typer.Option("--max-length-factor", help="Most target tokens for each source token. Default: the model's, 2."),
]
BatchTokens = Annotated[
    int | None, typer.Option("--batch-tokens", help="Source tokens at a time. Default: the model's, 2000.")
]
LongLines = Annotated[
    Literal["split", "cut", "refuse"],
    typer.Option("--long-lines", help="What is done with a longer line; split: at sentences or clauses, then joined."),
]
MaxSourceTokens = Annotated[int, typer.Option("--max-source-tokens", min=1, help="Longest line taken whole.")]
ReplaceUnknown = Annotated[
    bool, typer.Option("--replace-unknown", help="Put the source word a translation drew on for a word unknown to it.")
]
Dictionary = Annotated[
    Path | None,
    typer.Option("--dictionary", metavar="TSV", help="Its translation instead: source word, tab, target word."),
]
Alignment = Annotated[
    Path | None,
    typer.Option("--alignment", metavar="FILE", help="Linked words, 0-0 1-2, a line each; - is beside the text."),
]
Attention = Annotated[
    Path | None,
    typer.Option(
        "--attention",
        metavar="FILE",
        help="Draw where the model looked (.html, .png; - is the terminal), or the numbers (.json; .jsonl, all lines).",
    ),
]
Stream = Annotated[
    bool, typer.Option("--stream", help="Translate a line as soon as it comes; always so where one types.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with -o FILE after a crash, to the same bytes.")]
Processes = Annotated[
    int | None,
    typer.Option("--processes", metavar="N", min=1, help="CPU workers of one thread each, instead of threads."),
]
Devices = Annotated[
    str | None, typer.Option("--devices", metavar="0,1", help="A worker on each of these GPUs, counted from 0.")
]


def translate(
    model: Model,
    source: Input = PIPE,
    output: Output = PIPE,
    input_format: InputForm = "auto",
    form: OutputForm = "text",
    beam_size: BeamSize = None,
    n_best: NBest = 1,
    length_penalty: LengthPenalty = None,
    max_length_factor: MaxLengthFactor = None,
    batch_tokens: BatchTokens = None,
    long_lines: LongLines = "split",
    max_source_tokens: MaxSourceTokens = 200,
    replace_unknown: ReplaceUnknown = False,
    dictionary: Dictionary = None,
    alignment: Alignment = None,
    attention: Attention = None,
    stream: Stream = False,
    resume: Resume = False,
    processes: Processes = None,
    devices: Devices = None,
    device: Device = "auto",
) -> None:
    """Translate text: one line out for each line in, in order; an empty line stays empty.

    tsv: line number, score, log-probability, translation. jsonl: an object for each
    line. moses: number from 0 ||| translation ||| log-probability ||| score. While
    -o FILE is being written, FILE.progress tells how far it is; after a crash the
    same command with --resume goes on from there. docs/translate.md has more.
    """
    if n_best > 1 and form == "text":
        raise UserError(
            f"--n-best {n_best} would break one line out for each line in", "use --format tsv or jsonl, or moses"
        )
    _check_places(source, output, alignment, attention)
    _check_together(output, form, alignment, attention, stream, resume, processes)
    from nmtcli.checkpoint import find_model
    from nmtcli.translate.job import Job
    from nmtcli.translate.translation import LineHandling

    given = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length_factor": max_length_factor,
        "batch_tokens": batch_tokens,
    }
    words = _read_dictionary(dictionary) if dictionary else {} if replace_unknown else None
    numbers = attention is not None and attention.suffix.lower() == ".jsonl"
    job = Job(
        find_model(model),
        device,
        given,
        LineHandling(long_lines, max_source_tokens, words),
        form,
        n_best,
        alignment=None if alignment is None else "beside" if alignment == PIPE else "apart",
        attention=numbers,
        drawn=0 if attention is None or numbers else sys.maxsize if attention == PIPE else DRAWN,
    )
    workers = processes, _gpus(devices, device, processes)
    _check_model(job, attention, gpus=workers[1])
    files = {"translations": output}
    files |= {"alignment": alignment} if alignment and job.alignment == "apart" else {}
    files |= {"attention": attention} if attention and job.attention else {}
    with _open_input(source) as lines:
        if lines.isatty():
            stream = True
            say("type a sentence a line; Ctrl-D ends")
        run_job(job, lines, files, Reading(input_format, stream, resume), workers, attention)


def _check_places(source: Path, output: Path, alignment: Path | None, attention: Path | None) -> None:
    """Every file named can be written, and none is another one or the input."""
    from nmtcli.translate.alignment import check_attention_path
    from nmtcli.translate.outputs import check_writable

    if attention is not None and attention != PIPE and attention.suffix.lower() not in {".json", ".jsonl"}:
        check_attention_path(attention)
    named = [path for path in (output, alignment, attention) if path is not None and path != PIPE]
    for path in named:
        check_writable(path)
    places = [path.resolve() for path in (source, *named) if path != PIPE and (not path.exists() or path.is_file())]
    for place in places:
        if places.count(place) > 1:
            raise UserError(f"{place}: named twice", "input, output, alignment and attention are files of their own")


def _check_together(
    output: Path,
    form: str,
    alignment: Path | None,
    attention: Path | None,
    stream: bool,
    resume: bool,
    processes: int | None,
) -> None:
    """Options that exclude each other."""
    if alignment == PIPE and form == "text":
        raise UserError("--alignment - has no place beside plain text", "--alignment FILE, or --format tsv or jsonl")
    if stream and (processes or 1) > 1:
        raise UserError("--stream is for one process", "leave --processes out")
    if resume and output == PIPE:
        raise UserError("--resume goes on with a file", "give it by -o FILE")
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

    info = read_info(job.model)
    if gpus and info.kind == "onnx":
        raise UserError("--devices: an ONNX model runs on the CPU", "use --processes")
    if info.model.attends:
        return
    if attention is not None:
        raise UserError(f"--attention {attention}: the model has no attention to draw", "leave the option out")
    if job.alignment is not None or job.handling.dictionary is not None:
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


def _read_dictionary(path: Path) -> dict[str, str]:
    """Source word and target word, a tab between them; of several target words the first one counts."""
    words: dict[str, str] = {}
    try:
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the dictionary is not UTF-8 (byte {error.start})") from None
    for number, line in enumerate(lines, 1):
        source, tab, target = line.partition("\t")
        if line.strip() and not (tab and source.strip() and target.strip()):
            raise DataError(f"{path}:{number}: not a source word, a tab and a target word")
        words.setdefault(source.strip(), " ".join(target.split()))
    return words


@contextmanager
def _open_input(path: Path) -> Iterator[BinaryIO]:
    """A file of bytes; - is stdin."""
    if path == PIPE:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from None
    with file:
        yield file
