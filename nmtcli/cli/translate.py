"""`nmt translate`: translate text line by line."""

from typing import TYPE_CHECKING

import typer

from nmtcli.cli.console import tell
from nmtcli.cli.options import command
from nmtcli.cli.translation_display import TranslationDisplay

if TYPE_CHECKING:
    from nmtcli.translate.options import TranslateOptions


def _options() -> "type[TranslateOptions]":
    from nmtcli.translate.options import TranslateOptions

    return TranslateOptions


@command(_options)
def translate(context: typer.Context, options: "TranslateOptions") -> None:
    """Translate text: one output line for each input line, in order; empty lines stay empty.

    Formats: tsv: line number, score, log-probability, translation. jsonl: one object
    per line. moses: number from 0 ||| translation ||| log-probability ||| score.
    FILE.progress stores the progress of -o FILE; after an interruption, the same
    command with --resume continues, and with --overwrite starts again.
    See docs/translate.md, and docs/search.md for decoding.
    """
    del context
    from nmtcli.translate.translate import translate_file

    with TranslationDisplay(options) as display:
        done = translate_file(options, tell, display.written)
    display.summarize(done, options)
