"""`nmt translate`: text in, translations out, line by line."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from nmtcli.cli.console import progress, say, warn
from nmtcli.cli.options import Device
from nmtcli.errors import DataError, UserError

if TYPE_CHECKING:
    from nmtcli.translate.alignment import AttentionMap
    from nmtcli.translate.lines import Format, LineReader
    from nmtcli.translate.translator import Translator

WINDOW = 2000  # lines read, sorted by length and translated before the next ones are read
DRAWN = 100  # sentences in an attention file, at most


def translate(
    model: Annotated[Path, typer.Option("-m", "--model", metavar="MODEL", help="Run directory, checkpoint or export.")],
    source: Annotated[Path, typer.Option("-i", "--input", metavar="FILE", help="Text; - is stdin.")] = Path("-"),
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Translations; - is stdout.")] = Path(
        "-"
    ),
    beam_size: Annotated[
        int | None, typer.Option("-b", "--beam-size", help="1 is greedy. Default: the model's, 5.")
    ] = None,
    n_best: Annotated[int, typer.Option("--n-best", min=1, help="Translations of a line; tsv and jsonl.")] = 1,
    length_penalty: Annotated[
        float | None,
        typer.Option("--length-penalty", help="Higher for longer translations. Default: the model's, 1."),
    ] = None,
    max_length_factor: Annotated[
        float | None,
        typer.Option("--max-length-factor", help="Most target tokens for each source token. Default: the model's, 2."),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", help="Source tokens at a time. Default: the model's, 2000."),
    ] = None,
    form: Annotated[
        Literal["text", "tsv", "jsonl"], typer.Option("--format", help="tsv and jsonl carry scores and n-best lists.")
    ] = "text",
    attention: Annotated[
        Path | None, typer.Option("--attention", metavar="FILE.html|.png", help="Draw where the model looked.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Translate text: one line out for each line in, in order; an empty line stays empty.

    tsv: line number, score, log-probability, translation. jsonl: an object for each line.
    """
    if n_best > 1 and form == "text":
        raise UserError(f"--n-best {n_best} would break one line out for each line in", "use --format tsv or jsonl")
    from nmtcli.checkpoint import find_model, read_info
    from nmtcli.settings import replace_search
    from nmtcli.translate.alignment import check_attention_path, write_attention
    from nmtcli.translate.lines import LineReader
    from nmtcli.translate.translator import Translator

    if attention is not None:
        check_attention_path(attention)
        if not read_info(find_model(model)).model.attends:
            raise UserError(f"--attention {attention}: the model has no attention to draw", "leave the option out")
    given = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length_factor": max_length_factor,
        "batch_tokens": batch_tokens,
    }
    with _open(source, "rb") as stream:
        translator = Translator.load(model, device, lambda search: replace_search(search, given))
        reader = LineReader(stream)
        if stream.isatty():
            say("type a sentence a line; Ctrl-D ends")
        with _open(output, "wb") as sink:
            maps = _translate_lines(translator, reader, sink, form, n_best, DRAWN if attention else 0)
    if reader.invalid:
        warn(
            f"{reader.invalid:,} lines were not UTF-8 (the first is line {reader.first_invalid:,});"
            " what could not be read was translated as U+FFFD"
        )
    if attention is not None:
        write_attention(attention, maps)
        if len(maps) < reader.lines:
            say(f"{attention}: attention of the first {len(maps)} translated lines of {reader.lines:,}")


def _translate_lines(
    translator: "Translator", reader: "LineReader", sink: BinaryIO, form: "Format", n_best: int, drawn: int
) -> "list[AttentionMap]":
    """Translate window after window, writing each as it is done; returns the attention of the first lines."""
    from nmtcli.translate.lines import render

    maps: list[AttentionMap] = []
    with progress() as bar:
        task = bar.add_task("lines", total=None)
        # a person who types wants each line at once
        for window in reader.windows(1 if reader.stream.isatty() else WINDOW):
            first = reader.lines - len(window) + 1
            translations = translator.translate(window, n_best, attention=len(maps) < drawn)
            text = "".join(render(translation, first + row, form) for row, translation in enumerate(translations))
            try:
                sink.write(text.encode("utf-8"))
                sink.flush()
            except BrokenPipeError:  # whoever reads, head for example, has had enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())
                break
            bar.update(task, completed=reader.lines)
            found = (t.candidates[0].attention for t in translations if t.candidates)
            maps += [attention for attention in found if attention is not None]
    return maps[:drawn]


@contextmanager
def _open(path: Path, mode: Literal["rb", "wb"]) -> Iterator[BinaryIO]:
    """A file of bytes; - is stdin or stdout."""
    if path == Path("-"):
        yield sys.stdin.buffer if mode == "rb" else sys.stdout.buffer
        return
    try:
        file = path.open(mode)
    except OSError as error:
        raise DataError(f"{path}: cannot {'read' if mode == 'rb' else 'write'}: {error.strerror}") from None
    with file:
        yield file
