"""Recurrent encoder and decoder: stacked LSTMs, the encoder bidirectional, the decoder with attention on top.

The decoder is that of Luong, Pham and Manning 2015 (section 3), without input feeding: the recurrence sees target
tokens only, so training runs it over all target positions in one call.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.config import ModelConfig
from nmtcli.models.attention import Attention
from nmtcli.models.halves import Decoded
from nmtcli.models.protocol import Cache, Memory


class RecurrentEncoder(nn.Module):
    """Stacked LSTM over source embeddings; with `bidirectional` half of each state reads from the right."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder = config.encoder
        self.bidirectional = encoder.bidirectional
        width = encoder.hidden_size // (2 if encoder.bidirectional else 1)
        sizes = [config.embedding.size] + [encoder.hidden_size] * (encoder.layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(size, width, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(size, width, batch_first=True) for size in sizes if self.bidirectional)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, embedded: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, E] and lengths [B] to states [B, S, H] and the last state of the top layer [B, H].

        The right-to-left LSTM runs on each sentence flipped within its own length, so that padding, which is last in
        both directions, never reaches a real position; no packing.
        """
        flip = flip_index(length, embedded.size(1))  # [B, S]
        last = (length - 1)[:, None]  # [B, 1]
        states = embedded
        for layer, forwards in enumerate(self.forwards):
            states = self.dropout(states)
            rightward, _ = forwards(states)  # [B, S, H/2]
            ends = [take(rightward, last)]
            parts = [rightward]
            if self.bidirectional:
                leftward, _ = self.backwards[layer](take(states, flip))
                ends.append(take(leftward, last))
                parts.append(take(leftward, flip))
            states = torch.cat(parts, dim=-1)  # [B, S, H]
        return self.dropout(states), torch.cat(ends, dim=-1)[:, 0]


class RecurrentDecoder(nn.Module):
    """Stacked LSTM over target embeddings, then attention, then tanh(W [context; state]) (eq. 5).

    Its initial state is tanh of a projection of the encoder's last state (the bridge); its initial cells are zero.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        decoder = config.decoder
        sizes = [config.embedding.size] + [decoder.hidden_size] * (decoder.layers - 1)
        self.bridge = nn.Linear(config.encoder.hidden_size, decoder.layers * decoder.hidden_size)
        self.layers = nn.ModuleList(nn.LSTM(size, decoder.hidden_size, batch_first=True) for size in sizes)
        self.attention = Attention(config.attention, config.encoder.hidden_size, decoder.hidden_size)
        self.combine = nn.Linear(config.encoder.hidden_size + decoder.hidden_size, config.embedding.size)
        self.dropout = nn.Dropout(config.dropout)

    def start(self, states: Tensor, last: Tensor, mask: Tensor) -> tuple[Memory, Cache]:
        """What stays fixed for a batch of sentences, and the cache of their first hypotheses.

        The cache is (hidden, cell), each [B, layers, H].
        """
        memory = {"keys": self.attention.keys(states), "states": states, "mask": mask}
        hidden = torch.tanh(self.bridge(last)).reshape(len(last), len(self.layers), -1)  # [B, layers, H]
        return memory, (hidden, torch.zeros_like(hidden))

    def forward(self, embedded: Tensor, memory: Memory, cache: Cache, need_attention: bool = False) -> Decoded:
        """All target positions at once: embedded [B, T, E] to features [B, T, E] for the output layer."""
        hidden, cell = cache
        state = embedded
        for index, layer in enumerate(self.layers):
            first = hidden[:, index][None].contiguous(), cell[:, index][None].contiguous()  # [1, B, H] each
            state, _ = layer(self.dropout(state), first)  # [B, T, H]
        features, attention = self._attend(self.dropout(state), memory)
        return Decoded(features, attention if need_attention else None)

    def step(self, embedded: Tensor, memory: Memory, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        """One position: embedded [B, K, E] to features [B, K, E], the new cache, and attention [B, K, S]."""
        hidden, cell = cache  # [N, layers, H]
        state = self.dropout(embedded.flatten(0, 1))  # [N, E]
        new_hidden, new_cell = [], []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.LSTM)
            state, next_cell = lstm_step(layer, state, hidden[:, index], cell[:, index])
            new_hidden.append(state)
            new_cell.append(next_cell)
            state = self.dropout(state)
        features, attention = self._attend(state.unflatten(0, embedded.shape[:2]), memory)
        return features, (torch.stack(new_hidden, dim=1), torch.stack(new_cell, dim=1)), attention

    def _attend(self, state: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        context, weights = self.attention(state, memory["keys"], memory["states"], memory["mask"])
        features = torch.tanh(self.combine(torch.cat([context, state], dim=-1)))
        return self.dropout(features), weights


def lstm_step(layer: nn.LSTM, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a one-layer `nn.LSTM` with its own weights: inputs [N, E], state [N, H] to the next state."""
    weight_ih, weight_hh, bias_ih, bias_hh = layer.all_weights[0]
    gates = F.linear(inputs, weight_ih, bias_ih) + F.linear(hidden, weight_hh, bias_hh)  # [N, 4H]
    write, forget, candidate, read = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(candidate)
    return torch.sigmoid(read) * torch.tanh(cell), cell


def flip_index(length: Tensor, size: int) -> Tensor:
    """Positions [B, S] that reverse each sentence within its own length and leave its padding in place."""
    position = torch.arange(size, device=length.device)[None]  # [1, S]
    flipped = length[:, None] - 1 - position
    return torch.where(flipped >= 0, flipped, position)


def take(states: Tensor, index: Tensor) -> Tensor:
    """states [B, S, H] at positions index [B, Q]: [B, Q, H]."""
    return states.gather(1, index[..., None].expand(-1, -1, states.size(-1)))
