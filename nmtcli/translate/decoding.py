"""Decoding of a batch by the settings: beam search, sampling, or minimum Bayes risk."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from nmtcli.config import SearchConfig
from nmtcli.models.protocol import Array, StepDecoder
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.constraints import Constraint
from nmtcli.translate.sampling import SamplingOptions
from nmtcli.translate.search import Hypothesis, SearchOptions, beam_search, sample

Detokenizer = Callable[[Iterable[Sequence[int]]], list[str]]


def decode(
    decoder: StepDecoder,
    source: Array,
    source_length: Array,
    lengths: Sequence[int],
    config: SearchConfig,
    detokenize: Detokenizer,
    *,
    n_best: int = 1,
    keep_attention: bool = False,
    keep_log_probs: bool = False,
    numbers: Sequence[int] | None = None,
    constraints: Sequence[Constraint | None] | None = None,
    byte_pieces: BytePieces | None = None,
    target_language: str = "",
) -> list[list[Hypothesis]]:
    """At most `n_best` hypotheses of each sentence by `config.method`; exactly `n_best` with method sampling.

    source and source_length are passed to the decoder; length limits depend on `lengths`, in source tokens. `numbers`
    seed the sampling of each sentence (their lines in the file); `detokenize` makes the texts that minimum Bayes risk
    compares by the metric for `target_language`. Constraints with required phrases need method beam. `byte_pieces` are
    those of the target vocabulary.
    """
    options = search_options(config, n_best, keep_attention, byte_pieces, keep_log_probs)
    shortest, longest = length_limits(config, lengths)
    if config.method == "beam":
        return beam_search(
            decoder, source, source_length, longest, options, min_length=shortest, constraints=constraints
        )
    count = max(n_best, config.mbr_samples) if config.method == "mbr" else n_best
    sampling = SamplingOptions(count, config.temperature, config.top_k, config.top_p, config.seed)
    numbers = range(len(lengths)) if numbers is None else numbers
    samples = sample(
        decoder,
        source,
        source_length,
        longest,
        sampling,
        options,
        numbers,
        min_length=shortest,
        constraints=constraints,
    )
    if config.method == "mbr":
        return [minimum_bayes_risk(pool, detokenize, config, target_language)[:n_best] for pool in samples]
    return samples


def minimum_bayes_risk(
    samples: Sequence[Hypothesis], detokenize: Detokenizer, config: SearchConfig, target_language: str = ""
) -> list[Hypothesis]:
    """Samples of one sentence, each text once, by expected metric; that is their `score`."""
    from nmtcli.metrics.scores import expected_scores  # noqa: PLC0415 - imports sacreBLEU

    texts = detokenize(hypothesis.tokens for hypothesis in samples)
    scores = expected_scores(texts, config.mbr_metric, target_language)
    different = {text: (score, one) for text, score, one in zip(texts, scores, samples, strict=True)}
    ranked = sorted(different.values(), key=lambda pair: -pair[0])
    return [replace(hypothesis, score=score) for score, hypothesis in ranked]


def search_options(
    config: SearchConfig,
    n_best: int = 1,
    keep_attention: bool = False,
    byte_pieces: BytePieces | None = None,
    keep_log_probs: bool = False,
) -> SearchOptions:
    """Options with a beam size of at least `n_best`, a multiple of the groups."""
    groups = config.beam_groups
    return SearchOptions(
        beam_size=max(config.beam_size, -(-n_best // groups) * groups),
        n_best=n_best,
        length_penalty=config.length_penalty,
        keep_attention=keep_attention,
        keep_log_probs=keep_log_probs,
        length_normalization=config.length_normalization,
        coverage_penalty=config.coverage_penalty,
        no_repeat_ngram=config.no_repeat_ngram,
        stopping=config.stopping,
        groups=groups,
        diversity=config.beam_diversity,
        byte_pieces=byte_pieces,
    )


def length_limits(config: SearchConfig, source_length: Sequence[int]) -> tuple[list[int], list[int]]:
    """The minimum and maximum length of each translation in tokens, with EOS on both sides."""
    shortest = [max(1, config.min_length, int(length * config.min_length_factor)) for length in source_length]
    longest = [int(length * config.max_length_factor) + config.max_length_offset for length in source_length]
    if config.max_length is not None:
        longest = [min(limit, config.max_length) for limit in longest]
    return shortest, longest
