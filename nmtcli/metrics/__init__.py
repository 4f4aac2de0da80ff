"""Metrics: BLEU, chrF and TER, alignment error rate, minimum Bayes risk."""

METRICS = ("bleu", "chrf", "ter", "comet")  # names of `nmt score --metric`
