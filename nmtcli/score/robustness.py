"""Robustness of a model: scores of translations of changed source text, beside those of the original text.

A change of case or punctuation may change the translation in the same way, which is no mistake. So translations of
such texts are compared with the reference without case or without punctuation, and so is that of the original text.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from nmtcli.metrics.scores import Score, Variant, make_metrics, score_system
from nmtcli.text.noise import lower_start, title, typos, upper, without_punctuation
from nmtcli.translate.translator import Translator

ORIGINAL = "original"
_SEED = 1
_WINDOW = 1000  # lines that are translated together


@dataclass(frozen=True)
class TextRobustness:
    """The scores of the translation of one source text.

    `compared` says how it is compared with the reference, `changed` how many lines differ from the original text.
    `differences` from the scores of the original, compared in the same way, are by the name of the metric; none for
    the original itself.
    """

    text: str
    compared: str
    changed: int
    scores: list[Score]
    differences: dict[str, float]


@dataclass(frozen=True)
class Robustness:
    """The scores of a model on original and changed source text, grouped by the kind of comparison."""

    model: str
    lines: int
    texts: list[TextRobustness]


# By kind of comparison, the changes of the source: the text, its number from 1 and the symbols of the tokenizer that
# must not change.
_Change = Callable[[str, int, Sequence[str]], str]
_CHANGES: dict[str, dict[str, _Change]] = {
    "as it is": {
        "typing errors": lambda line, number, symbols: typos(line, random.Random(f"{_SEED} {number}"), symbols),
    },
    "without case": {
        "upper case": lambda line, _, symbols: upper(line, symbols),
        "title case": lambda line, _, symbols: title(line, symbols),
        "lower-case start": lambda line, _, symbols: lower_start(line, symbols),
    },
    "without punctuation": {
        "no punctuation": lambda line, _, symbols: without_punctuation(line, symbols),
    },
}


def robustness(
    translator: Translator,
    model: str,
    source: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str],
    variant: Variant,
    on_progress: Callable[[int, int], None],
) -> Robustness:
    """Translate the source text and its changed versions and score them.

    Typing errors depend on the text of a line and its number only. `on_progress` gets the number of translated lines
    and the total.
    """
    symbols = sorted(translator.tokenizers.source.symbols)
    versions = {ORIGINAL: list(source)}
    for changes in _CHANGES.values():
        for name, change in changes.items():
            versions[name] = [change(line, number, symbols) for number, line in enumerate(source, 1)]
    lines = [line for version in versions.values() for line in version]
    translated = iter(_translate(translator, lines, on_progress))
    translations = {name: [next(translated) for _ in source] for name in versions}
    texts = []
    for compared, changes in _CHANGES.items():
        adapted = replace(variant, lowercase=True) if compared == "without case" else variant
        adapt = _without_punctuation if compared == "without punctuation" else list
        scorers = make_metrics(metrics, [adapt(reference) for reference in references], adapted)
        original: list[Score] = []
        for name in (ORIGINAL, *changes):
            scores = score_system(scorers, adapt(translations[name]))
            original = original or scores
            pairs = zip(scores, original, strict=True)
            differences = {one.name: one.value - other.value for one, other in pairs} if name != ORIGINAL else {}
            changed = sum(map(str.__ne__, versions[name], source))
            texts.append(TextRobustness(name, compared, changed, scores, differences))
    return Robustness(model, len(source), texts)


def _translate(translator: Translator, lines: Sequence[str], on_progress: Callable[[int, int], None]) -> Iterator[str]:
    """The best translation of each line."""
    on_progress(0, len(lines))
    for start in range(0, len(lines), _WINDOW):
        window = lines[start : start + _WINDOW]
        yield from (translation.text for translation in translator.translate(window))
        on_progress(start + len(window), len(lines))


def _without_punctuation(lines: Sequence[str]) -> list[str]:
    return [without_punctuation(line) for line in lines]
