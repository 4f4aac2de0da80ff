"""`nmt translate`: text in, translations out, line by line."""

import typer

from nmtcli.cli.console import tell
from nmtcli.cli.options import command
from nmtcli.cli.translation_display import TranslationDisplay
from nmtcli.translate.options import TranslateOptions


@command(TranslateOptions)
def translate(context: typer.Context, options: TranslateOptions) -> None:
    """Translate text: one line out for each line in, in order; an empty line stays empty.

    tsv: line number, score, log-probability, translation. jsonl: an object for each
    line. moses: number from 0 ||| translation ||| log-probability ||| score. While
    -o FILE is being written, FILE.progress tells how far it is; after an interruption
    the same command with --resume goes on from there, with --overwrite it begins
    again. docs/translate.md has more, and docs/search.md about the search.
    """
    del context
    from nmtcli.translate.file import translate_file

    with TranslationDisplay(options) as display:
        done = translate_file(options, tell, display.written)
    display.summarize(done, options)
