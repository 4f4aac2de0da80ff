"""Every setting of `nmt`: type, bounds, default and the description that docs/config.md prints."""

from typing import Self

from pydantic import Field, model_validator

from nmtcli.config.data import AugmentConfig, CleaningConfig, CorpusConfig, DataConfig, TokenizerConfig
from nmtcli.config.model import AttentionConfig, DecoderConfig, EmbeddingConfig, EncoderConfig, ModelConfig
from nmtcli.config.search import SearchConfig
from nmtcli.config.section import Section
from nmtcli.config.train import ModelPart, Precision, TrainConfig

__all__ = [
    "AttentionConfig",
    "AugmentConfig",
    "CleaningConfig",
    "Config",
    "CorpusConfig",
    "DataConfig",
    "DecoderConfig",
    "EmbeddingConfig",
    "EncoderConfig",
    "ModelConfig",
    "ModelPart",
    "Precision",
    "SearchConfig",
    "Section",
    "TokenizerConfig",
    "TrainConfig",
]


class Config(Section):
    """All settings of a run."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)

    @model_validator(mode="after")
    def _professor_forcing_needs_states(self) -> Self:
        decoder = self.model.decoder.type
        if self.train.objective == "professor_forcing" and decoder != "rnn":
            raise ValueError(f"train.objective professor_forcing needs model.decoder.type rnn, not {decoder}")
        return self

    @model_validator(mode="after")
    def _compiled_layers_exist(self) -> Self:
        if self.train.compile and "transformer" not in (self.model.encoder.type, self.model.decoder.type):
            raise ValueError("train.compile needs an encoder or decoder of type transformer")
        return self

    @model_validator(mode="after")
    def _coverage_needs_attention(self) -> Self:
        if self.search.coverage_penalty and not self.model.attends:
            raise ValueError("search.coverage_penalty needs a model with attention")
        return self
