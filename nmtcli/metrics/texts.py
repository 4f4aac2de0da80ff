"""The texts of `nmt score`: reading, as in sacreBLEU, and warnings of text that would distort scores."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmtcli.data import files
from nmtcli.errors import DataError

# Share of lines with a sign above which there is a warning. Subword marks do not occur in real text; detached commas
# sometimes do.
_SUBWORD_SHARE = 0.01
_TOKENISED_SHARE = 0.1
_EMPTY_SHARE = 0.01

_SENTENCEPIECE = re.compile("\N{LOWER ONE EIGHTH BLOCK}")
_BPE = re.compile(r"\S@@(?: |$)")
# Detached full stop or comma, split English contractions, Moses escapes, Moses' split hyphens. Not ! ? : ; » which have
# a space before them in French and other languages.
_TOKENISED = re.compile(
    r"\S [.,\u3002\uff0c\u3001](?= |$)| '(?:s|t|re|ve|ll|d|m)\b| n't\b|&(?:apos|quot|amp|lt|gt|#91|#93|#124);"
    r"| @[-/.,]@ "
)

_KANA = re.compile("[\u3041-\u30ff]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
# Thai, Lao, Burmese, Khmer: marks above and below letters count as well
_UNSPACED = re.compile("[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]")


@dataclass(frozen=True)
class Text:
    """A hypothesis or reference: its name in messages, and one line per sentence."""

    name: str
    lines: list[str]


def read_text(path: Path) -> Text:
    """The lines of a UTF-8 text file, or of standard input for `-`.

    It may be compressed. Only LF ends a line, as in training data; white space at the end of a line is removed, as in
    the `sacrebleu` command. Raises DataError for a file that cannot be read or is not UTF-8.
    """
    lines = files.read_text(path).split("\n")
    if lines[-1] == "":  # the LF of the last line does not start another line
        lines.pop()
    return Text(files.name_of(path), [line.rstrip() for line in lines])


def require_parallel(hypothesis: Text, reference: Text) -> None:
    """Raise DataError unless both texts have the same number of lines, and at least one."""
    if len(hypothesis.lines) != len(reference.lines):
        raise DataError(
            f"{hypothesis.name} has {len(hypothesis.lines)} lines, {reference.name} {len(reference.lines)}:"
            " the files must be line-aligned",
            "nmt translate keeps empty lines; check the steps before and after it for lost or added lines",
        )
    if not hypothesis.lines:
        raise DataError(f"{hypothesis.name} and {reference.name} are empty", "give texts with at least one line")


def warnings(
    systems: Sequence[Text], references: Sequence[Text], metrics: Sequence[str], tokenize: str | None
) -> list[str]:
    """Warnings of text that makes scores wrong or not comparable, with evidence.

    `tokenize` is BLEU's tokenizer: with "none", tokenised text is expected.
    """
    messages: list[str] = []
    for text in (*systems, *references):
        messages += _subword_warnings(text)
        if tokenize != "none":
            messages += _tokenised_warnings(text)
    for system in systems:
        messages += _empty_warnings(system)
    if "bleu" in metrics and tokenize in {None, "13a", "intl"}:
        messages += _script_warnings(references[0], tokenize or "13a")
    return messages


def _subword_warnings(text: Text) -> Iterator[str]:
    for sign, marks in ((_SENTENCEPIECE, "SentencePiece marks (▁)"), (_BPE, "BPE marks (@@)")):
        if evidence := _evidence(sign, text.lines, _SUBWORD_SHARE):
            yield f"{text.name} has {marks}: {evidence}; join the subwords before scoring"


def _tokenised_warnings(text: Text) -> Iterator[str]:
    if evidence := _evidence(_TOKENISED, text.lines, _TOKENISED_SHARE):
        yield (
            f"{text.name} looks tokenised, with detached punctuation or Moses escapes: {evidence}; scores of"
            " tokenised text are not comparable, so detokenise it first"
        )


def _empty_warnings(text: Text) -> Iterator[str]:
    empty = text.lines.count("")
    if empty > _EMPTY_SHARE * len(text.lines):
        yield f"{text.name}: {empty} of {len(text.lines)} lines are empty; each counts as a missing translation"


def _script_warnings(reference: Text, tokenize: str) -> Iterator[str]:
    """13a and intl split words at spaces: in a script without spaces a whole clause counts as one word."""
    text = "".join(reference.lines)
    half = sum(map(str.isalpha, text)) / 2
    kana, han, hangul, unspaced = (len(script.findall(text)) for script in (_KANA, _HAN, _HANGUL, _UNSPACED))
    used = f"BLEU's tokenizer {tokenize}"
    if kana + han > half and kana > han / 10:  # Japanese always has kana, Chinese hardly any
        yield f"{used} does not split Japanese: use --tokenize ja-mecab (pip install 'sacrebleu[ja]'), or compare chrF"
    elif han > half:
        yield f"{used} does not split Chinese: use --tokenize zh, or compare chrF"
    elif unspaced > half:
        yield f"{used} does not split this script, which has no spaces: use --tokenize flores200, or compare chrF"
    elif hangul > half:
        yield (
            f"{used} counts a Korean word with its particles as one: trust chrF more, or use --tokenize ko-mecab"
            " (pip install 'sacrebleu[ko]')"
        )


def _evidence(sign: re.Pattern[str], lines: Sequence[str], share: float) -> str | None:
    hits = [number for number, line in enumerate(lines) if sign.search(line)]
    if len(hits) <= share * len(lines):
        return None
    line = lines[hits[0]]
    match = sign.search(line)
    assert match is not None
    start, end = max(0, match.start() - 12), match.end() + 12
    excerpt = f"{'…' if start else ''}{line[start:end].strip()}{'…' if end < len(line) else ''}"
    return f"{len(hits)} of {len(lines)} lines, the first in line {hits[0] + 1} (“{excerpt}”)"
