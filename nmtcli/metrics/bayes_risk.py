"""Minimum Bayes risk: of translations drawn from a model, the one most like the others is chosen."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from nmtcli.metrics.scores import score_sentences


def expected_scores(samples: Sequence[str], metric: Literal["chrf", "bleu"] = "chrf") -> list[float]:
    """The mean score (0 to 100) of each sample against all of them, itself among them.

    With samples drawn from the model this estimates the score that each can expect (Eikema and Aziz 2022); the
    risk is least where it is largest. Equal texts are scored once; time grows as the square of the different ones.
    """
    counts = Counter(samples)
    texts = list(counts)
    score = {}
    for hypothesis in texts:
        scores = score_sentences([hypothesis] * len(texts), texts, metric)
        score[hypothesis] = sum(counts[text] * one for text, one in zip(texts, scores, strict=True)) / len(samples)
    return [score[text] for text in samples]
