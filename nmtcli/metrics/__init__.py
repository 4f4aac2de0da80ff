"""Metrics: BLEU, chrF and TER, perplexity, alignment error rate, minimum Bayes risk."""

import math

METRICS = ("bleu", "chrf", "ter", "comet")  # names of `nmt score --metric`


def perplexity(log_prob_per_token: float) -> float:
    """exp(-x) of a mean natural log-probability x a token; infinite where that exceeds the range of a float."""
    return math.exp(-log_prob_per_token) if log_prob_per_token > -700 else math.inf
