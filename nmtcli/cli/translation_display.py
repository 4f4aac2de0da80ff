"""Display of `nmt translate`: progress bar, heat maps in the terminal, warnings about lines."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.text import Text

from nmtcli.cli.console import say, stderr, warn
from nmtcli.cli.progress import Progress
from nmtcli.errors import DataError
from nmtcli.paths import PIPE

if TYPE_CHECKING:
    from nmtcli.translate.file import FileProgress, TranslatedFile
    from nmtcli.translate.lines import Report
    from nmtcli.translate.options import TranslateOptions


class TranslationDisplay(ExitStack):
    """A progress bar, and with --attention - a heat map of each line."""

    def __init__(self, options: "TranslateOptions") -> None:
        super().__init__()
        closed = sys.stdout is None  # reported later
        quiet = options.output == PIPE and not closed and sys.stdout.isatty()  # no bar between translations
        self._progress, self._maps = Progress(quiet=quiet), options.attention == PIPE
        self._started = self._named = False

    def written(self, written: "FileProgress") -> None:
        """Print the heat maps of what was written, and move the bar."""
        if not self._started:
            self.enter_context(self._progress)
            self._started = True
        self._progress.move("lines", written.lines, share=written.share)
        for one in written.maps.values() if self._maps else ():
            from nmtcli.translate.alignment import terminal_map

            if one.of and not self._named:
                say(f"attention: {one.of}")
                self._named = True
            stderr.print(Text(terminal_map(one, stderr.width)), end="")

    def summarize(self, done: "TranslatedFile", options: "TranslateOptions") -> None:
        """Print the speed and warnings about lines. Raises DataError if some have no translation."""
        if not done.closed_early:
            self._progress.summary(done.lines, "lines", "translated")
        warn_of_lines(done.report, options.max_source_tokens)


def warn_of_lines(report: "Report", max_source_tokens: int) -> None:
    """Print warnings about lines. Raises DataError if some have no translation."""
    longer = f"more than {max_source_tokens} tokens"
    warnings = {
        "json": "looks like JSON without text under source, src, text, sentence or input (one object per line);"
        " translated as plain text",
        "misspelt": "ignored a key similar to prefix, required, banned or placeholders; correct its spelling",
        "invalid-utf8": "not UTF-8; invalid bytes were translated as U+FFFD",
        "control-characters": "control characters, replaced by spaces",
        "cut": f"{longer}; the rest was not translated",
        "unmet": "no translation meets all constraints; the output is the closest one",
        "incomplete": "removed bytes by CTranslate2 that are not a character",
        "unwritable": "required words or placeholders that the target tokenizer cannot write, ignored",
    }
    lost = {
        "refused": f"{longer}, not translated because of --long-lines refuse",
        "overlong": "longer than a megabyte, not translated",
        "malformed": 'not a JSON object with text under "source" and valid constraints, not translated',
        "contradiction": "contradictory constraints, or constraints with sampling; not translated",
    }
    for kind, sentence in warnings.items():
        if kind in report.tallies:
            warn(f"{_place(*report.tallies[kind])}: {sentence}")
    if "split" in report.tallies:
        say(f"{_place(*report.tallies['split'])}: {longer}; translated in parts")
    if errors := [
        f"{_place(*report.tallies[kind])}: {sentence}" for kind, sentence in lost.items() if kind in report.tallies
    ]:
        raise DataError(
            "\n".join(errors), "correct these lines; they are empty in the output, all others are translated"
        )


def _place(count: int, first: int) -> str:
    return f"line {first:,}" if count == 1 else f"{count:,} lines (first: line {first:,})"
