"""Minimum Bayes risk decoding: expected scores of samples."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from nmtcli.metrics.scores import score_sentences


def expected_scores(samples: Sequence[str], metric: Literal["chrf", "bleu"] = "chrf") -> list[float]:
    """The mean score (0 to 100) of each sample against all samples, itself included.

    For samples from the model this estimates the expected score of each (Eikema and Aziz 2022); the highest one has
    minimum risk. Equal texts are scored once; time is quadratic in the number of different texts.
    """
    counts = Counter(samples)
    texts = list(counts)
    score = {}
    for hypothesis in texts:
        scores = score_sentences([hypothesis] * len(texts), texts, metric)
        score[hypothesis] = sum(counts[text] * one for text, one in zip(texts, scores, strict=True)) / len(samples)
    return [score[text] for text in samples]
