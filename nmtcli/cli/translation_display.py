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
    from pathlib import Path

    from nmtcli.translate.file import FileProgress, TranslatedFile
    from nmtcli.translate.folder import TranslatedFolder
    from nmtcli.translate.lines import Report
    from nmtcli.translate.options import TranslateOptions


_MANY = 0.1  # share of lines with several sentences that is worth a warning
_READ_BY_ALL = 200  # tokens; the limits of engines and pretrained encoders are above it


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

    def summarize(self, done: "TranslatedFile | TranslatedFolder", options: "TranslateOptions") -> None:
        """Print the speed and warnings about lines. Raises DataError if some have no translation."""
        if not done.closed_early:
            self._progress.summary(done.lines, "lines", "translated")
        errors = [
            error
            for path, file in done.files_reported.items()
            for error in warn_of_lines(file.report, options, file.lines, path)
        ]
        if errors:
            raise DataError("\n".join(errors), f"{_left(options)}; all others are translated")


def _left(options: "TranslateOptions") -> str:
    """What became of lines without a translation."""
    from nmtcli.documents.formats import is_document

    if options.form == "tmx":
        return "these lines are left out of the translation memory"
    if options.source.is_dir():
        return "these lines are empty, and these segments of documents keep their text"
    return "these segments keep their text" if is_document(options.source) else "these lines are empty in the output"


def warn_of_lines(report: "Report", options: "TranslateOptions", lines: int, file: "Path | None" = None) -> list[str]:
    """Print warnings about lines of a file; return errors about lines that have no translation."""
    longer = f"more than {options.max_source_tokens} tokens"
    if options.max_source_tokens > _READ_BY_ALL:
        longer += " or more than the model can read"
    warnings = {
        "json": "looks like JSON without text under source, src, text, sentence or input (one object per line);"
        " translated as plain text",
        "misspelt": "ignored a key similar to prefix, required or banned; correct its spelling",
        "invalid-utf8": "not UTF-8; invalid bytes were translated as U+FFFD",
        "control-characters": "control characters, replaced by spaces",
        "cut": f"{longer}; the rest was not translated",
        "unmet": "no translation meets all constraints; the output is the closest one",
        "incomplete": "CTranslate2 output bytes that form no character; they were removed",
        "missing-span": "protected text or a tag is missing in the translation",
        "repeated-span": "protected text or a tag occurs too often in the translation",
        "added-span": "the translation has a tag or placeholder symbol that the source does not have",
        "malformed-tags": "tags in the translation are not properly nested",
        "kept-source": "protected text or tags were lost; the source was written instead",
        "unwritable": "required words or protected text that the target tokenizer cannot encode, ignored",
    }
    lost = {
        "refused": f"{longer}, not translated because of --long-lines refuse",
        "overlong": "longer than a megabyte, not translated",
        "malformed": 'not a JSON object with text under "source" and valid constraints, not translated',
        "violation": "protected text or tags were lost, not translated because of --on-violation fail",
        "not-numbers": "not translated: the model's log-probabilities are NaN or infinite; the model is damaged, or"
        " overflows in this precision",
        "contradiction": "contradictory constraints, or constraints with sampling or a CTranslate2 model; not"
        " translated",
    }
    for kind, sentence in warnings.items():
        if kind in report.tallies:
            warn(f"{_place(*report.tallies[kind], file)}: {sentence}")
    several = report.tallies.get("several-sentences")
    if several is not None and several.lines > _MANY * lines:
        warn(
            f"{_place(*several, file)}: several sentences, and the model was trained on single ones, so"
            " it may leave some out; use --split-sentences"
        )
    if "split" in report.tallies:
        say(f"{_place(*report.tallies['split'], file)}: {longer}; translated in parts")
    return [f"{_place(*report.tallies[kind], file)}: {text}" for kind, text in lost.items() if kind in report.tallies]


def _place(count: int, first: int, file: "Path | None") -> str:
    place = f"line {first:,}" if count == 1 else f"{count:,} lines (first: line {first:,})"
    return place if file is None else f"{file}, {place}"
