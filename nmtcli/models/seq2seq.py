"""The whole model: embeddings, encoder, decoder, output layer.

Training calls `forward`, all target positions at once; search calls `start` and `step`. Tests check that the two are
equal.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from nmtcli.config import ModelConfig
from nmtcli.models.cells import flip_index, take
from nmtcli.models.dropout import dropout_mask
from nmtcli.models.interfaces import Decoded, Decoder, Encoder
from nmtcli.models.pretrained import PretrainedEncoder
from nmtcli.models.protocol import Cache, Memory, Step
from nmtcli.models.recurrent import RecurrentDecoder, RecurrentEncoder
from nmtcli.models.selected_attention import AttentionChoice, select_attention
from nmtcli.models.ssru import SsruDecoder
from nmtcli.models.transformer import TransformerDecoder, TransformerEncoder
from nmtcli.vocabulary import BOS, PAD

ENCODERS: dict[str, Callable[[ModelConfig], Encoder]] = {
    "rnn": RecurrentEncoder,
    "transformer": TransformerEncoder,
    "pretrained": PretrainedEncoder,
}
DECODERS: dict[str, Callable[[ModelConfig], Decoder]] = {
    "rnn": RecurrentDecoder,
    "transformer": TransformerDecoder,
    "ssru": SsruDecoder,
}


class Seq2Seq(nn.Module):
    """A model with any encoder and any decoder.

    `source_size` and `target_size` are vocabulary sizes; tie "all" needs a joint vocabulary. A pretrained encoder has a
    source embedding of its own, so the model has none.
    """

    def __init__(self, config: ModelConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.config = config
        width = config.embedding.size
        own_table = config.encoder.type == "pretrained"
        self.source_embedding = None if own_table else nn.Embedding(source_size, width, padding_idx=PAD)
        self.target_embedding = nn.Embedding(target_size, width, padding_idx=PAD)
        self.output = nn.Linear(width, target_size, bias=config.output_bias)
        self.encoder = ENCODERS[config.encoder.type](config)
        self.decoder = DECODERS[config.decoder.type](config)
        self._initialise()
        if config.embedding.tie in ("all", "target"):
            self.output.weight = self.target_embedding.weight
        if config.embedding.tie == "all" and self.source_embedding is not None:
            self.source_embedding.weight = self.target_embedding.weight

    @property
    def embedding_scale(self) -> float:
        """The factor of all embeddings (Vaswani et al. 2017, section 3.4)."""
        return float(self.config.embedding.size**0.5) if self.config.embedding.scale else 1.0

    @property
    def tied(self) -> dict[str, str]:
        """The further names of tied weights, each with the one that `named_parameters` and files have."""
        match self.config.embedding.tie:
            case "all":
                return dict.fromkeys(("target_embedding.weight", "output.weight"), "source_embedding.weight")
            case "target":
                return {"output.weight": "target_embedding.weight"}
            case _:
                return {}

    def _initialise(self) -> None:
        width = self.config.embedding.size
        source = [] if self.source_embedding is None else [self.source_embedding.weight]
        for table in (*source, self.target_embedding.weight, self.output.weight):
            nn.init.normal_(table, std=width**-0.5)
            nn.init.zeros_(table[PAD])
        if self.config.output_bias:
            nn.init.zeros_(self.output.bias)

    def forward(self, source: Tensor, source_length: Tensor, target_input: Tensor) -> Tensor:
        """Teacher forcing: the features [B, T, E] of the output layer.

        source [B, S], source_length [B], target_input [B, T] with BOS first. The loss applies the output layer, at real
        positions only.
        """
        return self.decode(source, source_length, target_input).features

    def decode(
        self, source: Tensor, source_length: Tensor, target_input: Tensor, need_attention: bool = False
    ) -> Decoded:
        """`forward` with attention weights, if needed and if the model has attention."""
        memory, cache = self.start(source, source_length)
        embedded = self._embed_target(target_input)
        return self.decoder.forward(embedded, memory, cache, need_attention)

    def select_attention(self, choice: AttentionChoice) -> None:
        """Select the attention returned by `decode` and `step`. Raises UserError if the model does not have it."""
        layer, head = select_attention(self.config, choice)
        assert layer is not None
        self.decoder.select_attention(layer, head)

    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """Encode; see `StepDecoder.start`."""
        encoder = self.config.encoder
        if encoder.repeat_source:
            source, source_length = repeat(source, source_length)
        order = None
        if encoder.reverse_source:  # all but the EOS at the end
            order = flip_index(source_length - 1, source.size(1))  # [B, S]
            source = source.gather(1, order)
        inputs = source if self.source_embedding is None else self._embed(self.source_embedding, source)
        encoded = self.encoder(inputs, source_length)
        if order is not None:  # attention weights follow the order of the text
            encoded = replace(encoded, states=take(encoded.states, order))
        return self.decoder.start(encoded)

    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """One position; see `StepDecoder.step`."""
        features, cache, attention = self.advance(tokens, memory, cache)
        return Step(self.log_probs(features), cache, attention)

    def advance(self, tokens: Tensor, memory: Memory, cache: Cache) -> tuple[Tensor, Cache, Tensor | None]:
        """`step` up to the features [B, K, E], without the output layer."""
        return self.decoder.step(self._embed_target(tokens), memory, cache)

    def _embed(self, table: nn.Embedding, ids: Tensor) -> Tensor:
        """ids [B, L] to embeddings [B, L, E], with `scale` of initial unit variance (Vaswani et al. 2017, 3.4).

        Word dropout drops whole embeddings (Sennrich, Haddow and Birch 2016, WMT).
        """
        embedded: Tensor = table(ids)
        if self.training and self.config.word_dropout:
            embedded = embedded * dropout_mask(embedded, ids.shape, self.config.word_dropout)[..., None]
        return embedded * self.embedding_scale if self.config.embedding.scale else embedded

    def _embed_target(self, ids: Tensor) -> Tensor:
        """Target ids [B, T] to embeddings [B, T, E]; BOS to zeros with `zero_start`."""
        embedded = self._embed(self.target_embedding, ids)
        return embedded.masked_fill((ids == BOS)[..., None], 0.0) if self.config.embedding.zero_start else embedded

    def log_probs(self, features: Tensor) -> Tensor:
        """Features [..., E] to log-probabilities [..., V] in fp32."""
        if not torch.is_inference_mode_enabled():
            return torch.log_softmax(self.output(features).float(), dim=-1)
        # Outside inference mode the result is an ordinary tensor, which a search can write into.
        with torch.inference_mode(mode=False), torch.no_grad():
            return log_softmax_(self.output(features).float())


def log_softmax_(logits: Tensor) -> Tensor:
    """Log-probabilities of logits [..., V], on a CPU in place: a second array of this size costs more than the sums."""
    return torch.log_softmax(logits, dim=-1, out=logits) if logits.is_cpu else torch.log_softmax(logits, dim=-1)


def repeat(source: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Sentences [B, S] with lengths [B], repeated before their EOS (Zaremba and Sutskever 2014)."""
    position = torch.arange(2 * source.size(1) - 1, device=source.device)[None]  # [1, 2S - 1]
    words = length[:, None] - 1
    index = torch.where(position < words, position, position - words).clamp(max=source.size(1) - 1)
    twice = 2 * length - 1
    return source.gather(1, index).masked_fill(position >= twice[:, None], PAD), twice


def parameter_count(model: nn.Module) -> int:
    """The number of trained parameters; tied ones count once."""
    return sum(weight.numel() for weight in model.parameters())
