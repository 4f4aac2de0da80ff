"""Recurrent encoder and decoder of the attention literature, from Sutskever et al. 2014 to RNMT+.

A decoder whose recurrence depends on target tokens only runs over all target positions in one call. If a position
depends on the context or output of the previous one (input feeding, `query: previous_state`), training loops over
positions (`nmtcli.models.loop`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nmtcli.config import ModelConfig
from nmtcli.models.attention import Attention
from nmtcli.models.cells import RecurrentLayer, flip_index, last_of, take
from nmtcli.models.dropout import Dropout, dropout_mask
from nmtcli.models.interfaces import Decoded, Encoded, State
from nmtcli.models.loop import Product, compute_dtype, loop_products, plain_product
from nmtcli.models.protocol import Cache, Memory


class RecurrentEncoder(nn.Module):
    """Stacked recurrent layers over source embeddings; in bidirectional layers, half of each state is backward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder = config.encoder
        self.residual = encoder.residual
        self.keep_finals = config.decoder.type == "rnn" and config.decoder.bridge == "copy"
        self.dropout, self.recurrent_dropout = Dropout(config.dropout), config.recurrent_dropout
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        size = config.embedding.size
        for index in range(encoder.layers):
            both = encoder.bidirectional is True or (encoder.bidirectional == "first" and index == 0)
            width = encoder.hidden_size // (2 if both else 1)
            for layers in (self.forwards, self.backwards)[: 1 + both]:
                layers.append(RecurrentLayer(size, width, encoder.cell, encoder.layer_norm))
            size = encoder.hidden_size

    def forward(self, embedded: Tensor, length: Tensor) -> Encoded:
        """[B, S, E] and lengths [B] to states [B, S, H].

        A backward layer reads each sentence reversed within its own length. Padding is then last in both directions and
        does not affect real positions, without packed sequences.
        """
        flip = flip_index(length, embedded.size(1))  # [B, S]
        states = embedded
        finals: list[State] = []
        for index, forwards in enumerate(self.forwards):
            inputs = self.dropout(states)
            if torch.compiler.is_exporting():  # PyTorch's ONNX optimizer would fix the example's length between layers
                inputs = inputs.clone()
            states, final = self._read(forwards, inputs, length)
            if index < len(self.backwards):
                backward, backward_final = self._read(self.backwards[index], take(inputs, flip), length)
                states = torch.cat([states, take(backward, flip)], dim=-1)  # [B, S, H]
                if final and backward_final:
                    final = tuple(torch.cat(parts, dim=-1) for parts in zip(final, backward_final, strict=True))
            if final:
                finals.append(final)
            if self.residual and index:
                states = states + inputs
        ends = last_of(states, length)  # [B, H]
        if len(self.backwards) == len(self.forwards):  # the backward layer ends at the first token
            ends = torch.cat([ends.chunk(2, dim=-1)[0], states[:, 0].chunk(2, dim=-1)[1]], dim=-1)
        mask = torch.arange(embedded.size(1), device=length.device)[None] < length[:, None]  # [B, S]
        return Encoded(self.dropout(states), mask, ends, tuple(finals))

    def _read(self, layer: nn.Module, inputs: Tensor, length: Tensor) -> tuple[Tensor, State | None]:
        assert isinstance(layer, RecurrentLayer)
        mask = unit_mask(inputs, layer.hidden_size, self.recurrent_dropout) if self.training else None
        states, final = layer(inputs, length=length if self.keep_finals else None, mask=mask)
        return states, final


class Bridge(nn.Module):
    """The initial decoder state from the encoder's output, one `State` per layer.

    The cell state of an LSTM starts at zero, except with `copy`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        decoder = config.decoder
        self.kind, self.lstm = decoder.bridge, decoder.cell == "lstm"
        self.layers, self.size = decoder.layers, decoder.hidden_size
        if self.kind in ("dense", "mean", "backward"):
            width = config.encoder.hidden_size // (2 if self.kind == "backward" else 1)
            self.project = nn.Linear(width, decoder.layers * decoder.hidden_size)

    def forward(self, encoded: Encoded) -> tuple[State, ...]:
        """The initial state of each layer, [B, H] each part."""
        if self.kind == "copy":
            return encoded.finals
        summary = encoded.summary
        if self.kind == "zero":
            hidden = summary.new_zeros(summary.size(0), self.layers, self.size)
        else:
            if self.kind == "mean":
                mask = encoded.mask[..., None].to(encoded.states.dtype)
                summary = (encoded.states * mask).sum(dim=1) / mask.sum(dim=1)
            elif self.kind == "backward":
                summary = summary.chunk(2, dim=-1)[1]  # the last backward state: Bahdanau et al. 2015, A.2.2
            hidden = torch.tanh(self.project(summary)).view(-1, self.layers, self.size)  # [B, layers, H]
        cell = [torch.zeros_like(hidden[:, 0], dtype=torch.float32)] if self.lstm else []
        return tuple((state, *cell) for state in hidden.unbind(1))


class Readout(nn.Module):
    """The features [.., E] of the output layer from state, context and previous token."""

    def __init__(self, config: ModelConfig, context_size: int) -> None:
        super().__init__()
        self.kind = config.decoder.readout
        size, width = config.decoder.hidden_size, config.embedding.size
        if self.kind == "attentional":
            self.combine: nn.Module = nn.Linear(size + context_size, width)
        elif self.kind == "state":
            self.combine = nn.Linear(size, width, bias=False) if size != width else nn.Identity()
        else:
            self.combine = nn.Linear(size + width + context_size, width * (2 if self.kind == "maxout" else 1))

    def forward(
        self, state: Tensor, embedded: Tensor, context: Tensor | None, product: Product = plain_product
    ) -> Tensor:
        """state [.., H], embedded [.., E] and context [.., C] or None, to features [.., E]."""
        if isinstance(self.combine, nn.Identity):
            return state
        assert isinstance(self.combine, nn.Linear)
        parts = [state, *([embedded] if self.kind in ("maxout", "deep") else [])]
        if context is not None and self.kind != "state":
            parts.append(context.to(state.dtype))
        features = product(torch.cat(parts, dim=-1), self.combine.weight, self.combine.bias)
        if self.kind == "maxout":  # the maximum of each two neighbours (Goodfellow et al. 2013)
            return features.view(*features.shape[:-1], -1, 2).amax(dim=-1)
        return features if self.kind == "state" else torch.tanh(features)


@dataclass(frozen=True)
class _Masks:
    """Dropout masks [N, H] of each layer at one position of a loop, or None: of its output and of its recurrent
    state."""

    outputs: Sequence[Tensor | None]
    recurrent: Sequence[Tensor | None]


@dataclass(frozen=True)
class _Position:
    """The decoder's result at one position."""

    top: Tensor  # [B, Q, H], the top state with dropout
    context: Tensor | None  # [B, Q, C]
    attention: Tensor | None  # [B, Q, S]


class RecurrentDecoder(nn.Module):
    """Stacked recurrent layers over target embeddings, with or without attention.

    The attention query is the top state (Luong et al. 2015, section 3); the previous top state, with the context as an
    input of the cell (Bahdanau et al. 2015, A.2.2; the readout uses s_i as in their eq. 4); or the first layer's state,
    with the context as an input of all layers above (GNMT; RNMT+ also of the readout). Attention and readout use the
    top state with dropout; a previous state is used without.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        decoder, embedding = config.decoder, config.embedding.size
        self.query, self.feeding, self.residual = decoder.query, decoder.input_feeding, decoder.residual
        self.every_step = decoder.context_every_step
        self.bridge = Bridge(config)
        self.attention: Attention | None = None
        context = config.encoder.hidden_size if self.every_step else 0
        if config.attention.type != "none":
            self.attention = Attention(config.attention, config.encoder.hidden_size, decoder.hidden_size)
            context = self.attention.context_size
        below = decoder.hidden_size + (context if self.query == "first_layer" else 0)
        sizes = [embedding + (context if self.every_step else 0)] + [below] * (decoder.layers - 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(size, decoder.hidden_size, decoder.cell, decoder.layer_norm) for size in sizes
        )
        fed = embedding if self.feeding else context if self.query == "previous_state" else 0
        gates = (4 if decoder.cell == "lstm" else 3) * decoder.hidden_size
        self.feed = nn.Linear(fed, gates, bias=False) if fed else None  # previous output or context to the first layer
        self.readout = Readout(config, context)
        self.dropout, self.recurrent_dropout = Dropout(config.dropout), config.recurrent_dropout

    def select_attention(self, layer: int, head: int | None) -> None:
        """See `Decoder.select_attention`; there is one attention layer, so only the head is selected."""
        if self.attention is not None and self.attention.heads > 1:
            self.attention.selected_head = None if head is None else head - 1

    def start(self, encoded: Encoded) -> tuple[Memory, Cache]:
        """See `Decoder.start`."""
        memory = {}
        if self.attention is not None:
            memory = self.attention.source(encoded.states, encoded.mask)
        elif self.every_step:
            memory = {"summary": encoded.summary}
        cache: dict[str, object] = {"layers": self.bridge(encoded)}
        if self.feeding and self.feed is not None:
            cache["fed"] = encoded.states.new_zeros(encoded.states.size(0), self.feed.in_features)
        if self.attention is not None and self.attention.window == "local-m":
            cache["position"] = torch.zeros_like(encoded.mask[:, 0], dtype=torch.int64)  # [N], of the target
        return memory, cache

    def forward(self, embedded: Tensor, memory: Memory, cache: Cache, need_attention: bool = False) -> Decoded:
        """All target positions at once: embedded [B, T, E] to features [B, T, E]."""
        embedded = self.dropout(embedded)
        if self.feed is not None:
            return self._loop(embedded, memory, cache)
        position = self._parallel(embedded, memory, cache)
        features = self.readout(position.top, embedded, position.context)
        return Decoded(self.dropout(features), position.attention, position.top)

    def step(self, embedded: Tensor, memory: Memory, cache: Cache) -> tuple[Tensor, Cache, Tensor | None]:
        """See `Decoder.step`; without dropout."""
        projected = self._stack()[0].project(self._with_summary(embedded, memory))
        no_masks = [None] * len(self.layers)
        position, cache = self._position(projected, memory, cache, plain_product, _Masks(no_masks, no_masks))
        features = self.readout(position.top, embedded, position.context)
        if self.feeding:
            cache = {**cache, "fed": features.flatten(0, 1)}
        return features, cache, position.attention

    def _parallel(self, embedded: Tensor, memory: Memory, cache: Cache) -> _Position:
        """All positions, layer by layer."""
        batch, size, _ = embedded.shape
        positions = torch.arange(size, device=embedded.device).expand(batch, -1)  # [B, T]
        state = self._with_summary(embedded, memory)
        context = attention = None
        for index, layer in enumerate(self._stack()):
            inputs = state if index == 0 else self.dropout(state)
            if index == 1 and self.query == "first_layer":
                context, attention = self._attend(inputs, memory, positions, plain_product)
            with_context = torch.cat([inputs, context], dim=-1) if index and context is not None else inputs
            mask = unit_mask(inputs, layer.hidden_size, self.recurrent_dropout) if self.training else None
            state, _ = layer(with_context, cache["layers"][index], mask=mask)
            if self.residual and index:
                state = state + inputs
        top = self.dropout(state)
        if self.attention is not None and self.query == "state":
            context, attention = self._attend(top, memory, positions, plain_product)
        return _Position(top, self._context(context, memory, size), attention)

    def _position(
        self, projected: Tensor, memory: Memory, cache: Cache, product: Product, masks: _Masks
    ) -> tuple[_Position, Cache]:
        """One position of K hypotheses per sentence, from the first layer's projected inputs [B, K, 4H] (GRU: 3H)."""
        batch, beam, _ = projected.shape
        position = cache["position"].view(batch, beam) if "position" in cache else None
        projected = projected.flatten(0, 1)  # [N, 4H]
        context = attention = None
        if self.query == "previous_state":
            query = cache["layers"][-1][0].view(batch, beam, -1)
            context, attention = self._attend(query, memory, position, product)
        if self.feed is not None:
            fed = cache["fed"] if self.feeding or context is None else context.flatten(0, 1)
            projected = product(fed, self.feed.weight, projected)
        states: list[State] = []
        state = inputs = projected
        for index, layer in enumerate(self._stack()):
            if index:
                inputs = drop(state, masks.outputs[index - 1])
                if index == 1 and self.query == "first_layer":
                    context, attention = self._attend(inputs.view(batch, beam, -1), memory, position, product)
                contexts = [context.flatten(0, 1)] if context is not None and self.query == "first_layer" else []
                projected = layer.project(torch.cat([inputs, *contexts], dim=-1) if contexts else inputs, product)
            states.append(layer.step(projected, cache["layers"][index], product, masks.recurrent[index]))
            state = states[-1][0] + inputs if self.residual and index else states[-1][0]
        top = drop(state, masks.outputs[-1]).view(batch, beam, -1)
        if self.attention is not None and self.query == "state":
            context, attention = self._attend(top, memory, position, product)
        new_cache = {**cache, "layers": tuple(states)}
        if position is not None:
            new_cache["position"] = cache["position"] + 1
        return _Position(top, self._context(context, memory, beam), attention), new_cache

    def _loop(self, embedded: Tensor, memory: Memory, cache: Cache) -> Decoded:
        """Position by position; what depends on the tokens only is computed for all positions at once."""
        projected = self._stack()[0].project(self._with_summary(embedded, memory).transpose(0, 1))  # [T, B, 4H]
        tokens = embedded.transpose(0, 1)
        results: list[_Position] = []
        fed: list[Tensor] = []
        steps = zip(loop_products(len(projected)), projected.unbind(0), self._draw_masks(embedded), strict=True)
        for number, (product, gates, masks) in enumerate(steps):
            position, cache = self._position(gates[:, None], memory, cache, product, masks)
            results.append(position)
            if self.feeding:
                context = None if position.context is None else position.context[:, 0]
                fed.append(self.readout(position.top[:, 0], tokens[number], context, product))
                cache = {**cache, "fed": fed[-1]}
        top = torch.cat([position.top for position in results], dim=1)
        if self.feeding:
            features = torch.cat([one[:, None] for one in fed], dim=1)
        else:
            contexts = [position.context for position in results if position.context is not None]
            features = self.readout(top, embedded, torch.cat(contexts, dim=1))
        weights = [position.attention for position in results if position.attention is not None]
        return Decoded(self.dropout(features), torch.cat(weights, dim=1) if weights else None, top)

    def _draw_masks(self, embedded: Tensor) -> list[_Masks]:
        """The dropout masks at each position of [B, T, E], sampled at once, which is faster than T times."""
        batch, size, _ = embedded.shape
        count, width = len(self.layers), self._stack()[0].hidden_size
        like = embedded.new_empty(batch, dtype=compute_dtype(embedded))
        recurrent: list[Tensor | None] = [None] * count
        outputs: list[Sequence[Tensor | None]] = [[None] * count] * size
        if self.training and self.recurrent_dropout:
            recurrent = [dropout_mask(like, (batch, width), self.recurrent_dropout) for _ in self.layers]
        if self.training and self.dropout.rate:
            masks = dropout_mask(like, (size, count, batch, width), self.dropout.rate)
            outputs = [of_layers.unbind(0) for of_layers in masks.unbind(0)]
        return [_Masks(of_layers, recurrent) for of_layers in outputs]

    def _stack(self) -> list[RecurrentLayer]:
        return [layer for layer in self.layers if isinstance(layer, RecurrentLayer)]

    def _attend(
        self, query: Tensor, memory: Memory, position: Tensor | None, product: Product
    ) -> tuple[Tensor, Tensor]:
        assert self.attention is not None
        context, weights = self.attention(query, memory, position, product)
        return context, weights

    def _with_summary(self, embedded: Tensor, memory: Memory) -> Tensor:
        """The first layer's inputs: with `context_every_step` each embedding with the summary of the source."""
        if not self.every_step:
            return embedded
        summary = memory["summary"].to(embedded.dtype)[:, None].expand(-1, embedded.size(1), -1)
        return torch.cat([embedded, summary], dim=-1)

    def _context(self, context: Tensor | None, memory: Memory, size: int) -> Tensor | None:
        return memory["summary"][:, None].expand(-1, size, -1) if self.every_step else context


def drop(state: Tensor, mask: Tensor | None) -> Tensor:
    """Apply a dropout mask, if there is one."""
    return state if mask is None else state * mask


def unit_mask(like: Tensor, size: int, share: float) -> Tensor | None:
    """A dropout mask [B, size] for units; None if the share is zero."""
    return dropout_mask(like, (like.size(0), size), share) if share else None
