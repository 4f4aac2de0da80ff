"""Transformer encoder and decoder (Vaswani et al. 2017), and the layers shared with the SSRU decoder.

Dropout as in the paper (section 5.4): on embeddings with positions, and on the output of each sublayer.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.config import DecoderConfig, EncoderConfig, ModelConfig
from nmtcli.models.dropout import Dropout, Share
from nmtcli.models.interfaces import Decoded, Encoded
from nmtcli.models.multihead import CrossAttention, SelfAttention, score_mask
from nmtcli.models.positions import SinusoidalPositions
from nmtcli.models.protocol import Cache, Memory

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}


class Residual(nn.Module):
    """The residual connection of a sublayer: x + f(norm(x)) with norm `pre`, norm(x + f(x)) with `post`."""

    def __init__(self, width: int, norm: Literal["pre", "post"], dropout: Share) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def read(self, state: Tensor) -> Tensor:
        """The input of the sublayer."""
        inputs: Tensor = self.norm(state) if self.pre else state
        return inputs

    def add(self, state: Tensor, output: Tensor) -> Tensor:
        """The state plus the sublayer's output."""
        state = state + self.dropout(output)
        return state if self.pre else self.norm(state)


class FeedForward(nn.Module):
    """The position-wise feed-forward sublayer (section 3.3), or SwiGLU.

    SwiGLU has a third matrix, so its inner width is two thirds for the same number of weights (Shazeer 2020, section
    2), rounded up to a multiple of 8 for fast products.
    """

    def __init__(self, width: int, settings: EncoderConfig | DecoderConfig) -> None:
        super().__init__()
        self.activation = settings.activation
        inner = settings.feedforward_size or 4 * width
        if self.activation == "swiglu":
            inner = 8 * math.ceil(inner * 2 / 3 / 8)
        self.inner = nn.Linear(width, inner * (2 if self.activation == "swiglu" else 1))
        self.output = nn.Linear(inner, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., H] to [..., H]."""
        inner = self.inner(inputs)
        if self.activation == "swiglu":
            gate, value = inner.chunk(2, dim=-1)
            inner = F.silu(gate) * value
        else:
            inner = _ACTIVATIONS[self.activation](inner)
        output: Tensor = self.output(inner)
        return output


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, settings: EncoderConfig, dropout: Share) -> None:
        super().__init__()
        width = settings.hidden_size
        self.attention = SelfAttention(width, settings.heads, settings.positions == "rotary")
        self.feedforward = FeedForward(width, settings)
        self.around_attention = Residual(width, settings.norm, dropout)
        self.around_feedforward = Residual(width, settings.norm, dropout)

    def forward(self, state: Tensor, mask: Tensor) -> Tensor:
        """state [B, S, H] and `score_mask` [B, 1, 1, S] to the state above [B, S, H]."""
        around = self.around_attention
        state = around.add(state, self.attention(around.read(state), mask))
        around = self.around_feedforward
        return around.add(state, self.feedforward(around.read(state)))


class TransformerEncoder(nn.Module):
    """Stacked layers of self-attention and feed-forward; see `Encoder`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        settings = config.encoder
        self.project = fit_width(config.embedding.size, settings.hidden_size)
        self.positions = SinusoidalPositions(settings.hidden_size) if settings.positions == "sinusoidal" else None
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(settings, self.dropout.share) for _ in range(settings.layers))
        self.norm = final_norm(settings)
        self.apply(initialise)

    def forward(self, embedded: Tensor, length: Tensor) -> Encoded:
        """embedded [B, S, E], length [B]."""
        count = embedded.size(1)
        mask = torch.arange(count, device=embedded.device)[None] < length[:, None]  # [B, S]
        state = self.project(embedded)  # [B, S, H]
        if self.positions is not None:
            state = state + self.positions(0, count)
        state = self.dropout(state)
        attended = score_mask(mask, state)
        for layer in self.layers:
            state = layer(state, attended)
        state = self.norm(state)
        summary = (state * mask[..., None]).sum(dim=1) / length.clamp(min=1)[:, None]  # [B, H]
        return Encoded(state, mask, summary)


class Mixer(Protocol):
    """The sublayer that mixes target positions: causal self-attention or a recurrence."""

    def begin(self, like: Tensor) -> Cache:
        """The empty cache, with a row for each of `like` [B, ...]."""

    def extend(self, inputs: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Further positions: inputs [N, T, H] to outputs [N, T, H] and the cache after them."""


class DecoderLayer(nn.Module):
    """A mixer, cross-attention and feed-forward."""

    def __init__(self, settings: DecoderConfig, source_width: int, dropout: Share, mixer: Mixer) -> None:
        super().__init__()
        width = settings.hidden_size
        self.mixer = mixer
        self.cross = CrossAttention(width, settings.heads, source_width)
        self.feedforward = FeedForward(width, settings)
        self.around_mixer = Residual(width, settings.norm, dropout)
        self.around_cross = Residual(width, settings.norm, dropout)
        self.around_feedforward = Residual(width, settings.norm, dropout)

    def forward(
        self, state: Tensor, source: tuple[Tensor, Tensor, Tensor], cache: Cache, one_step: bool, need_weights: bool
    ) -> tuple[Tensor, Cache, Tensor | None]:
        """The layer's output, the new cache, and the attention weights [B, Q, S] if needed.

        state [B, T, H] is all positions of a sentence, or with `one_step` [B, K, H] one position of K hypotheses.
        source is keys and values [B, A, S, d] and the `score_mask` [B, 1, 1, S].
        """
        around = self.around_mixer
        inputs = around.read(state)
        rows = inputs.flatten(0, 1)[:, None] if one_step else inputs  # [N, 1, H] or [B, T, H]
        mixed, cache = self.mixer.extend(rows, cache)
        state = around.add(state, mixed.reshape(state.shape))
        around = self.around_cross
        context, weights = self.cross(around.read(state), *source, need_weights)
        state = around.add(state, context)
        around = self.around_feedforward
        return around.add(state, self.feedforward(around.read(state))), cache, weights


class LayeredDecoder(nn.Module):
    """Decoder layers with the given mixers, one per layer; see `Decoder`.

    It returns the attention of the last layer but one by default, the mean of its heads: this layer agrees best with
    manual word alignments (Garg et al. 2019). A single layer returns its own.
    """

    def __init__(self, config: ModelConfig, mixers: Sequence[Mixer]) -> None:
        super().__init__()
        settings, source_width = config.decoder, config.encoder.hidden_size
        self.selected_layer = max(len(mixers) - 2, 0)  # from 0
        self.project = fit_width(config.embedding.size, settings.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(settings, source_width, self.dropout.share, mixer) for mixer in mixers)
        self.norm = final_norm(settings)
        self.output = fit_width(settings.hidden_size, config.embedding.size)
        self.apply(initialise)

    def select_attention(self, layer: int, head: int | None) -> None:
        """See `Decoder.select_attention`."""
        self.selected_layer = layer - 1
        selected = self.layers[self.selected_layer]
        assert isinstance(selected, DecoderLayer)
        selected.cross.selected_head = None if head is None else head - 1

    def start(self, encoded: Encoded) -> tuple[Memory, Cache]:
        """Keys and values of the source [B, A, S, d] and an empty cache for each layer."""
        sources, caches = [], []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            sources.append(layer.cross.keys_and_values(encoded.states))
            caches.append(layer.mixer.begin(sources[-1][0]))
        return {"sources": tuple(sources), "mask": encoded.mask}, tuple(caches)

    def forward(self, embedded: Tensor, memory: Memory, cache: Cache, need_attention: bool = False) -> Decoded:
        """Embedded target input [B, T, E], all positions at once."""
        features, _, attention = self._decode(embedded, memory, cache, False, need_attention)
        return Decoded(features, attention)

    def step(self, embedded: Tensor, memory: Memory, cache: Cache) -> tuple[Tensor, Cache, Tensor | None]:
        """See `Decoder.step`."""
        return self._decode(embedded, memory, cache, True, True)

    def _decode(
        self, embedded: Tensor, memory: Memory, cache: Cache, one_step: bool, need_attention: bool
    ) -> tuple[Tensor, Cache, Tensor | None]:
        state = self.dropout(self._place(self.project(embedded), cache, one_step))
        mask = score_mask(memory["mask"], state)  # [B, 1, 1, S]
        attention, caches = None, []
        for index, layer in enumerate(self.layers):
            source = (*memory["sources"][index], mask)
            need_weights = need_attention and index == self.selected_layer
            state, layer_cache, weights = layer(state, source, cache[index], one_step, need_weights)
            attention = weights if need_weights else attention
            caches.append(layer_cache)
        return self.output(self.norm(state)), tuple(caches), attention

    def _place(self, state: Tensor, cache: Cache, one_step: bool) -> Tensor:
        """Add position encodings to states [B, T, H], or [B, K, H] of one position."""
        return state


class TransformerDecoder(LayeredDecoder):
    """The decoder with self-attention; its cache is keys and values [N, A, t, d] of each layer."""

    def __init__(self, config: ModelConfig) -> None:
        settings = config.decoder
        width, rotary = settings.hidden_size, settings.positions == "rotary"
        super().__init__(config, [SelfAttention(width, settings.heads, rotary) for _ in range(settings.layers)])
        self.positions = None if rotary else SinusoidalPositions(width)

    def _place(self, state: Tensor, cache: Cache, one_step: bool) -> Tensor:
        if self.positions is None:
            return state
        placed: Tensor = state + self.positions(cache[0]["keys"].size(2), 1 if one_step else state.size(1))
        return placed


def fit_width(inputs: int, outputs: int) -> nn.Module:
    """A projection from one width to another, if they differ."""
    return nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)


def final_norm(settings: EncoderConfig | DecoderConfig) -> nn.Module:
    """The layer normalisation of the top layer's output with norm `pre`; with `post` it is normalised already."""
    return nn.LayerNorm(settings.hidden_size) if settings.norm == "pre" else nn.Identity()


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases.

    With norm `pre`, gradients are then bounded at any depth (Xiong et al. 2020, section 3), and encoders of 30 layers
    have been trained so (Wang et al. 2019): no layer needs its own scale. Query, keys and values are one matrix, whose
    larger output makes them smaller by √2, the scale that fairseq found to converge better.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
