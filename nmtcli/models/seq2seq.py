"""The whole model: embeddings, an encoder, a decoder, an output layer.

Training calls `forward`, all target positions at once; search calls `start` and `step`. A law in the tests holds the
two equal.
"""

from typing import cast

import torch
from torch import Tensor, nn

from nmtcli.config import ModelConfig
from nmtcli.models.halves import Decoded
from nmtcli.models.protocol import Cache, Memory, Step
from nmtcli.models.recurrent import RecurrentDecoder, RecurrentEncoder
from nmtcli.vocabulary import PAD


class Seq2Seq(nn.Module):
    """Any encoder with any decoder, as the settings say.

    `source_size` and `target_size` are the vocabularies' sizes; tie "all" needs them to be one vocabulary.
    """

    def __init__(self, config: ModelConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.config = config
        width = config.embedding.size
        self.source_embedding = nn.Embedding(source_size, width, padding_idx=PAD)
        self.target_embedding = nn.Embedding(target_size, width, padding_idx=PAD)
        self.output = nn.Linear(width, target_size, bias=False)
        self.encoder = RecurrentEncoder(config)
        self.decoder = RecurrentDecoder(config)
        self._initialise()
        if config.embedding.tie in ("all", "target"):
            self.output.weight = self.target_embedding.weight
        if config.embedding.tie == "all":
            self.source_embedding.weight = self.target_embedding.weight

    def _initialise(self) -> None:
        width = self.config.embedding.size
        for table in (self.source_embedding.weight, self.target_embedding.weight, self.output.weight):
            nn.init.normal_(table, std=width**-0.5)
            nn.init.zeros_(table[PAD])
        for name, weight in self.named_parameters():
            if "bias_hh" in name:
                nn.init.zeros_(weight)
            elif "bias_ih" in name:
                nn.init.zeros_(weight)
                nn.init.ones_(weight.view(4, -1)[1])  # the forget gate starts open (Jozefowicz et al. 2015)

    def forward(self, source: Tensor, source_length: Tensor, target_input: Tensor) -> Tensor:
        """Teacher forcing: features [B, T, E] whose product with the output layer are the logits.

        source [B, S], source_length [B], target_input [B, T] which starts with BOS. The output layer is left to the
        loss, which needs it at real positions only.
        """
        return self.decode(source, source_length, target_input).features

    def decode(
        self, source: Tensor, source_length: Tensor, target_input: Tensor, need_attention: bool = False
    ) -> Decoded:
        """The same with the attention of each target position, where asked for."""
        memory, cache = self.start(source, source_length)
        embedded = self._embed(self.target_embedding, target_input)
        return cast(Decoded, self.decoder(embedded, memory, cache, need_attention))

    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """Encode; see `StepDecoder.start`."""
        mask = torch.arange(source.size(1), device=source.device)[None] < source_length[:, None]  # [B, S]
        states, last = self.encoder(self._embed(self.source_embedding, source), source_length)
        return self.decoder.start(states, last, mask)

    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """One position; see `StepDecoder.step`."""
        features, cache, attention = self.decoder.step(self._embed(self.target_embedding, tokens), memory, cache)
        return Step(self.log_probs(features), cache, attention)

    def _embed(self, table: nn.Embedding, ids: Tensor) -> Tensor:
        """ids [B, L] to embeddings [B, L, E], with `scale` of unit variance at the start (Vaswani et al. 2017, 3.4)."""
        embedded: Tensor = table(ids)
        return embedded * self.config.embedding.size**0.5 if self.config.embedding.scale else embedded

    def log_probs(self, features: Tensor) -> Tensor:
        """Features [..., E] to log-probabilities [..., V] in fp32."""
        return torch.log_softmax(self.output(features).float(), dim=-1)


def parameter_count(model: nn.Module) -> int:
    """Trained weights, tied ones counted once."""
    return sum(weight.numel() for weight in model.parameters())
