"""Settings of the search."""

from typing import Literal, Self

from pydantic import Field, model_validator

from nmtcli.config.section import Section

DRAWING = ("temperature", "top_k", "top_p", "seed")


class SearchConfig(Section):
    """How translations are searched for, or drawn."""

    method: Literal["beam", "sampling", "mbr"] = Field(
        "beam",
        description="beam for the likeliest translations, sampling for translations drawn at random, mbr for the drawn"
        " translation most like the others (minimum Bayes risk).",
    )
    beam_size: int = Field(5, ge=1, le=10_000, description="Hypotheses kept at each step; 1 is greedy search.")
    length_normalization: Literal["gnmt", "average"] = Field(
        "gnmt",
        description="What a log-probability is divided by for its score: gnmt ((5 + length) / 6), average length;"
        " both to the power length_penalty.",
    )
    length_penalty: float = Field(
        1.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Exponent of the length normalisation; 0 for none.",
    )
    coverage_penalty: float = Field(
        0.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="Weight of GNMT's penalty for source tokens that got little attention; 0 for none. Needs a model"
        " with attention.",
    )
    min_length: int = Field(0, ge=0, le=1_000_000, description="Fewest tokens of a translation, its end mark counted.")
    min_length_factor: float = Field(
        0.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="Fewest target tokens for each source token.",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Most tokens of a translation, its end mark counted; null for the relative limit alone.",
    )
    max_length_factor: float = Field(
        2.0, gt=0, le=1_000, allow_inf_nan=False, description="Longest translation, in tokens for each source token."
    )
    max_length_offset: int = Field(10, ge=1, le=1_000_000, description="Tokens added to that limit.")
    no_repeat_ngram: int = Field(
        0,
        ge=0,
        le=1_000,
        description="No sequence of so many tokens occurs twice in a translation; 0 for no such rule.",
    )
    stopping: Literal["count", "best", "bound"] = Field(
        "best",
        description="A sentence is done when beam_size translations are finished (count); when, besides, the best of"
        " them scores no less than the likeliest unfinished one does as it stands (best); or when no unfinished one can"
        " still reach the score of those wanted (bound: slower, never worse in score).",
    )
    beam_groups: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Groups the beam is split into, each kept unlike those before it; 1 for an ordinary beam.",
    )
    beam_diversity: float = Field(
        0.5,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Taken from a token's log-probability for each hypothesis of an earlier group that takes it at the"
        " same step.",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        le=1_000,
        allow_inf_nan=False,
        description="Log-probabilities are divided by it before drawing: below 1 for likelier translations.",
    )
    top_k: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Draws among so many likeliest tokens only; null for all."
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draws among the fewest likeliest tokens that have this much probability together."
    )
    seed: int = Field(1, ge=0, le=9_223_372_036_854_775_807, description="Seed of what is drawn.")
    mbr_samples: int = Field(32, ge=2, le=10_000, description="Translations drawn for minimum Bayes risk.")
    mbr_metric: Literal["chrf", "bleu"] = Field(
        "chrf", description="How alike two translations are, by sacreBLEU, sentence by sentence."
    )
    batch_tokens: int = Field(
        2000,
        ge=1,
        le=1_000_000_000,
        description="Source tokens translated together, padding counted. Changes speed and memory only.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.beam_size % self.beam_groups:
            raise ValueError(f"beam_size {self.beam_size} is not a multiple of beam_groups {self.beam_groups}")
        if self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is over max_length {self.max_length}")
        owners = {
            "beam": ("coverage_penalty", "beam_groups", "beam_diversity", "stopping"),
            "sampling or mbr": DRAWING,
            "mbr": ("mbr_samples", "mbr_metric"),
        }
        for owner, names in owners.items():
            for name in names if self.method not in owner.split(" or ") else ():
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is for method {owner}, not {self.method}")
        return self
