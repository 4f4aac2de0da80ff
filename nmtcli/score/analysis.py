"""Analysis of scores: by length, by word frequency, and of single sentences.

Scores by length are Bahdanau et al. 2015, section 5 and figure 2; scores by frequency follow Neubig et al. 2019
(compare-mt), section 2.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from nmtcli.errors import UserError
from nmtcli.metrics.scores import Score, Variant, score_corpus, score_sentences

SHOWN = 10  # sentences in a list of the worst or the most different
_MOST_BUCKETS = 6
_FEWEST_SENTENCES = 20  # in a bucket; BLEU of fewer is unreliable
_FREQUENCIES = (0, 1, 5, 20, 100, 1000)  # lower edges of buckets, in occurrences of a word in the training text
_CHARACTERS_PER_BLANK = 20  # with more, spaces do not delimit words

Lines = Sequence[str]


@dataclass(frozen=True)
class Bucket:
    """A part of the sentences (or words) of a test set, with scores of each system."""

    label: str
    size: int
    scores: dict[str, list[float]]  # by metric, one per system


@dataclass(frozen=True)
class Breakdown:
    """A test set in buckets.

    `title` names the property that defines the buckets, `unit` the unit of their labels, `counted` that of their sizes.
    """

    title: str
    unit: str
    counted: str
    buckets: list[Bucket]

    @property
    def metrics(self) -> list[str]:
        """The metrics that the buckets have."""
        return list(self.buckets[0].scores) if self.buckets else []


@dataclass(frozen=True)
class Sentence:
    """A sentence of the test set with the translation of each system; `scores` is chrF, one per system."""

    line: int  # from 1
    source: str | None
    reference: str
    hypotheses: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Analysis:
    """The analysis of one or several systems."""

    breakdowns: list[Breakdown]
    sentence_scores: list[list[float]]  # chrF, [systems][sentences]
    worst: list[Sentence]  # with the lowest mean score over the systems, lowest first
    different: list[Sentence]  # with the largest difference between two systems, largest first; empty for one system


@dataclass(frozen=True)
class _Scoring:
    """How sentences of a bucket are scored together."""

    variant: Variant
    metrics: Sequence[str]


def analyse(
    systems: Sequence[Lines],
    references: Sequence[Lines],
    source: Lines | None = None,
    training: Iterable[str] | None = None,
    variant: Variant | None = None,
    metrics: Sequence[str] = ("bleu", "chrf"),
) -> Analysis:
    """Analyse systems, each given by its translations; `training` is the target side of the training text.

    Buckets have those of `metrics` that are BLEU or chrF, which are fast; chrF if none is.

    BLEU and chrF use all references; scores of sentences and words the first one.
    """
    scoring = _Scoring(variant or Variant(), [name for name in ("bleu", "chrf") if name in metrics] or ["chrf"])
    reference = references[0]
    by_length = [("source length", source), ("reference length", reference)]
    breakdowns = [
        _by_length(title, lines, systems, references, scoring) for title, lines in by_length if lines is not None
    ]
    if training is not None:
        breakdowns += _by_frequency(training, systems, references, scoring)
    scores = [score_sentences(system, reference, "chrf", scoring.variant) for system in systems]
    columns = list(zip(*scores, strict=True))  # one per sentence

    def sentence(row: int) -> Sentence:
        hypotheses = [system[row] for system in systems]
        return Sentence(row + 1, source[row] if source else None, reference[row], hypotheses, list(columns[row]))

    worst = sorted(range(len(reference)), key=lambda row: (sum(columns[row]), row))[:SHOWN]
    spread = {row: max(column) - min(column) for row, column in enumerate(columns)}
    different = sorted((row for row in spread if spread[row]), key=lambda row: (-spread[row], row))[:SHOWN]
    return Analysis(breakdowns, scores, [sentence(row) for row in worst], [sentence(row) for row in different])


def has_words(lines: Lines) -> bool:
    """Whether spaces delimit words in a text, unlike in Chinese, Japanese or Thai."""
    blanks = sum(line.count(" ") + 1 for line in lines)
    return sum(map(len, lines)) <= _CHARACTERS_PER_BLANK * blanks


def length_edges(lengths: Sequence[int]) -> list[int]:
    """The lower edges of buckets with about equal numbers of sentences, except the first."""
    ordered = sorted(lengths)
    buckets = min(_MOST_BUCKETS, max(1, len(ordered) // _FEWEST_SENTENCES))
    edges = {ordered[len(ordered) * number // buckets] for number in range(1, buckets)}
    return sorted(edges - {ordered[0]})


def _by_length(
    title: str, lines: Lines, systems: Sequence[Lines], references: Sequence[Lines], scoring: _Scoring
) -> Breakdown:
    words = has_words(lines)
    lengths = [len(line.split()) if words else len(line) for line in lines]
    edges = length_edges(lengths)
    rows: list[list[int]] = [[] for _ in range(len(edges) + 1)]
    for row, length in enumerate(lengths):
        rows[bisect_right(edges, length)].append(row)
    labels = [_range(min(lengths[row] for row in part), max(lengths[row] for row in part)) for part in rows]
    parts = zip(labels, rows, strict=True)
    buckets = [_bucket(label, part, systems, references, scoring) for label, part in parts]
    return Breakdown(title, "words" if words else "characters", "sentences", buckets)


def _bucket(
    label: str, rows: Sequence[int], systems: Sequence[Lines], references: Sequence[Lines], scoring: _Scoring
) -> Bucket:
    part = [[reference[row] for row in rows] for reference in references]
    scored = [
        score_corpus([system[row] for row in rows], part, scoring.metrics, variant=scoring.variant)
        for system in systems
    ]
    by_metric: list[tuple[Score, ...]] = list(zip(*scored, strict=True))
    return Bucket(label, len(rows), {scores[0].name: [score.value for score in scores] for scores in by_metric})


def _by_frequency(
    training: Iterable[str], systems: Sequence[Lines], references: Sequence[Lines], scoring: _Scoring
) -> list[Breakdown]:
    """Sentences by the rarest word of their reference, and words by their frequency in the training text."""
    cut = _words(scoring.variant)
    reference = [cut(line) for line in references[0]]
    translated = [[cut(line) for line in system] for system in systems]
    vocabulary = set(chain(*reference, *(words for lines in translated for words in lines)))
    frequency: Counter[str] = Counter()
    for line in training:
        frequency.update(word for word in cut(line) if word in vocabulary)
    kind = {word: bisect_right(_FREQUENCIES, frequency[word]) - 1 for word in vocabulary}
    rows: list[list[int]] = [[] for _ in _FREQUENCIES]
    for row, words in enumerate(reference):
        if words:
            rows[min(kind[word] for word in words)].append(row)
    labels = [*(_range(low, high - 1) for low, high in pairwise(_FREQUENCIES)), f"{_FREQUENCIES[-1]:,}+"]
    sentences = [
        _bucket(label, part, systems, references, scoring) for label, part in zip(labels, rows, strict=True) if part
    ]
    counts = Counter(kind[word] for words in reference for word in words)
    scores = [_word_scores(lines, reference, kind) for lines in translated]
    word_buckets = [
        Bucket(label, counts[number], {"word F1": [score[number] for score in scores]})
        for number, label in enumerate(labels)
        if counts[number]
    ]
    unit = "times in training text"
    return [
        Breakdown("rarest word of the reference", unit, "sentences", sentences),
        Breakdown("word frequency", unit, "words", word_buckets),
    ]


def _words(variant: Variant) -> Callable[[str], list[str]]:
    """The function that splits a line into words like BLEU; if that needs a missing package, like BLEU in training."""
    try:
        tokenizer = variant.bleu().tokenizer
    except UserError:
        tokenizer = Variant.in_training(variant.target_language, variant.lowercase).bleu().tokenizer

    def cut(line: str) -> list[str]:
        words: list[str] = tokenizer(line.lower() if variant.lowercase else line).split()
        return words

    return cut


def _word_scores(lines: Sequence[list[str]], reference: Sequence[list[str]], kind: dict[str, int]) -> list[float]:
    """F1 of the words of each frequency class, 0 to 100, with clipped counts as in BLEU."""
    matched, produced, expected = ([0] * len(_FREQUENCIES) for _ in range(3))
    for words, true in zip(lines, reference, strict=True):
        hypothesis, target = Counter(words), Counter(true)
        for counts, totals in ((hypothesis, produced), (target, expected), (hypothesis & target, matched)):
            for word, count in counts.items():
                totals[kind[word]] += count
    sums = (made + due for made, due in zip(produced, expected, strict=True))
    return [200 * hits / total if total else 0.0 for hits, total in zip(matched, sums, strict=True)]


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
