"""What a person sees of `nmt translate`: the bar, attention in the terminal, what was odd about the lines."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.text import Text

from nmtcli.cli.console import say, stderr, warn
from nmtcli.cli.progress import Progress
from nmtcli.errors import DataError
from nmtcli.paths import PIPE
from nmtcli.translate.options import TranslateOptions

if TYPE_CHECKING:
    from nmtcli.translate.file import TranslatedFile, Written
    from nmtcli.translate.lines import Report


class TranslationDisplay(ExitStack):
    """A bar from the first window on, and attention as characters where that was asked for."""

    def __init__(self, options: TranslateOptions) -> None:
        super().__init__()
        closed = sys.stdout is None  # refused later, in words
        quiet = options.output == PIPE and not closed and sys.stdout.isatty()  # it would stand between the translations
        self._progress, self._maps = Progress(quiet=quiet), options.attention == PIPE
        self._started = self._named = False

    def written(self, written: "Written") -> None:
        """Move the bar, after the attention of what was written."""
        if not self._started:
            self.enter_context(self._progress)
            self._started = True
        self._progress.move("lines", written.lines, share=written.share)
        for one in written.maps.values() if self._maps else ():
            from nmtcli.translate.terminal_map import terminal_map

            if one.of and not self._named:
                say(f"attention: {one.of}")
                self._named = True
            stderr.print(Text(terminal_map(one, stderr.width)), end="")

    def summarize(self, done: "TranslatedFile", options: TranslateOptions) -> None:
        """The speed, and what was odd about the lines. Raises DataError where some have no translation."""
        if not done.closed_early:
            self._progress.summary(done.lines, "lines", "translated")
        tell_of_lines(done.report, options.max_source_tokens)


def tell_of_lines(report: "Report", max_source_tokens: int) -> None:
    """What was odd about the lines. Raises DataError where some are left without a translation."""
    longer = f"more than {max_source_tokens} tokens"
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
