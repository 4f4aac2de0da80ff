"""What scores measure: BLEU, chrF and TER, word alignment, minimum Bayes risk."""

METRICS = ("bleu", "chrf", "ter", "comet")  # by the names of `nmt score --metric`
