"""Every setting of `nmt`: type, bounds, default and the description that docs/config.md prints."""

from collections.abc import Iterator

from pydantic import Field

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

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        decoder = self.model.decoder.type
        if self.train.objective == "professor_forcing" and decoder != "rnn":
            yield f"train.objective professor_forcing needs model.decoder.type rnn, not {decoder}"
        if self.train.compile and "transformer" not in (self.model.encoder.type, decoder):
            yield "train.compile needs an encoder or decoder of type transformer"
        if self.search.coverage_penalty and not self.model.attends:
            yield "search.coverage_penalty needs a model with attention"
