"""Settings of decoding."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from nmtcli.config.section import Section

SAMPLING_SETTINGS = ("temperature", "top_k", "top_p", "seed")
_OWNERS = {  # settings of some methods only
    "beam": ("coverage_penalty", "beam_groups", "beam_diversity", "stopping"),
    "sampling or mbr": SAMPLING_SETTINGS,
    "mbr": ("mbr_samples", "mbr_metric"),
}


class SearchConfig(Section):
    """Decoding: beam search, sampling, minimum Bayes risk."""

    method: Literal["beam", "sampling", "mbr"] = Field(
        "beam",
        description="Decoding method: beam search, random sampling, or minimum Bayes risk over samples (mbr).",
    )
    beam_size: int = Field(5, ge=1, le=10_000, description="Beam size: hypotheses kept at each step (1 = greedy).")
    length_normalization: Literal["gnmt", "average"] = Field(
        "gnmt",
        description="Length normalisation: a log-probability is divided by (5 + length) / 6 (gnmt) or length (average),"
        " to the power length_penalty.",
    )
    length_penalty: float = Field(
        1.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Exponent of the length normalisation; higher values favour longer translations, 0 is none."
        " Not used by mbr.",
    )
    coverage_penalty: float = Field(
        0.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="Weight of GNMT's coverage penalty for source tokens with little attention; 0 for none. Needs a"
        " model with attention.",
    )
    min_length: int = Field(0, ge=0, le=1_000_000, description="Minimum length in target tokens, EOS included.")
    min_length_factor: float = Field(
        0.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="Minimum length in target tokens for each source token.",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Maximum length in target tokens, EOS included, in addition to the limit of max_length_factor.",
    )
    max_length_factor: float = Field(
        2.0, gt=0, le=1_000, allow_inf_nan=False, description="Maximum length in target tokens for each source token."
    )
    max_length_offset: int = Field(
        10, ge=1, le=1_000_000, description="Tokens added to the limit of max_length_factor."
    )
    no_repeat_ngram: int = Field(
        0,
        ge=0,
        le=1_000,
        description="Length in tokens of n-grams that may not repeat; 0 for off.",
    )
    stopping: Literal["count", "best", "bound"] = Field(
        "best",
        description="Stopping rule of a sentence. count: beam_size hypotheses are finished; best: also, the best of"
        " them scores at least as high as the most probable unfinished one; bound: no unfinished hypothesis can still"
        " reach the scores of the n-best (slower, never worse in score).",
    )
    beam_groups: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Groups of diverse beam search; 1 for an ordinary beam.",
    )
    beam_diversity: float = Field(
        0.5,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Diverse beam search: subtracted from a token's log-probability for each hypothesis of an earlier"
        " group that chose it at the same step.",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        le=1_000,
        allow_inf_nan=False,
        description="Sampling temperature, which divides log-probabilities; below 1 favours probable tokens.",
    )
    top_k: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Top-k sampling: sample from the k most probable tokens only."
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Nucleus sampling: smallest set of tokens with this total probability."
    )
    seed: int = Field(1, ge=0, le=9_223_372_036_854_775_807, description="Random seed of sampling.")
    mbr_samples: int = Field(32, ge=2, le=10_000, description="Samples for minimum Bayes risk.")
    mbr_metric: Literal["chrf", "bleu"] = Field(
        "chrf", description="Sentence metric of minimum Bayes risk, by sacreBLEU."
    )
    batch_tokens: int = Field(
        2000,
        ge=1,
        le=1_000_000_000,
        description="Batch size in source tokens, padding included. Affects speed and memory only.",
    )

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        if self.beam_size % self.beam_groups:
            yield f"beam_size {self.beam_size} is not a multiple of beam_groups {self.beam_groups}"
        if self.max_length is not None and self.min_length > self.max_length:
            yield f"min_length {self.min_length} is over max_length {self.max_length}"
        if self.beam_groups == 1 and self.beam_diversity != type(self).model_fields["beam_diversity"].default:
            yield "beam_diversity needs beam_groups 2 or more"
        for owner, names in _OWNERS.items():
            for name in names if self.method not in owner.split(" or ") else ():
                if getattr(self, name) != type(self).model_fields[name].default:
                    yield f"{name} needs method {owner}, not {self.method}"

    def without_others(self, method: str, beam_groups: int) -> dict[str, Any]:
        """The settings as a tree, with default values for those that another method or a plain beam does not have."""
        others = {name for owner, names in _OWNERS.items() if method not in owner.split(" or ") for name in names}
        if beam_groups == 1:
            others.add("beam_diversity")
        return {name: type(self).model_fields[name].default if name in others else value for name, value in self}
