"""Multi-head attention (Vaswani et al. 2017, section 3.2): of a sequence on itself, and of a decoder on the source.

One more shape letter: A heads, each of width d = H / A.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.models.positions import RotaryPositions
from nmtcli.models.protocol import Cache


def attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, need_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """softmax(query keysᵀ / √d) values (eq. 1), by what is faster on the device.

    query [B, A, Q, d], keys and values [B, A, S, d], mask [B or 1, 1, Q or 1, S] or None for all. Returns the context
    [B, A, Q, d], and weights [B, A, Q, S] if needed. A query that may look at nothing gets some finite context.
    """
    if query.is_cuda and not need_weights:
        return fused_attention(query, keys, values, mask), None
    return plain_attention(query, keys, values, mask)


def fused_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """`attend` by PyTorch's kernel; on a CPU it is 4 to 35 times slower at the lengths of sentences."""
    bias = None
    if mask is not None:
        # Not minus infinity: a row of nothing else would not be a number. Half, as kernels multiply it by log2 e.
        lowest = torch.finfo(query.dtype).min / 2
        bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, lowest)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)


def plain_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """`attend` in three steps, with the softmax in fp32."""
    scores = (query * query.size(-1) ** -0.5) @ keys.transpose(-2, -1)  # [B, A, Q, S]
    scores = scores.float()
    if mask is not None:
        scores = scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1)
    return weights.to(values.dtype) @ values, weights


class SelfAttention(nn.Module):
    """Attention of a sequence on itself, query, keys and values from one product."""

    def __init__(self, width: int, heads: int, rotary: bool) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.rotary = RotaryPositions(width // heads) if rotary else None
        self.output = nn.Linear(width, width)

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """All positions look at all real ones: inputs [B, S, H] and mask [B, 1, 1, S] to [B, S, H]."""
        context, _ = attend(*self._project(inputs, 0), mask)
        return self._merge(context)

    def begin(self, like: Tensor) -> Cache:
        """The cache of no position yet: keys and values [B, A, 0, d], B and kind taken from `like`."""
        width = self.output.in_features // self.heads
        return {name: like.new_zeros(like.size(0), self.heads, 0, width) for name in ("keys", "values")}

    def extend(self, inputs: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """More positions, each of which looks at itself and what came before: inputs [N, T, H] to [N, T, H].

        The cache holds keys and values [N, A, t, d] of the t positions before; that handed back those of t + T.
        """
        past, count = cache["keys"].size(2), inputs.size(1)
        query, keys, values = self._project(inputs, past)
        keys = torch.cat([cache["keys"], keys], dim=2)  # [N, A, t + T, d]
        values = torch.cat([cache["values"], values], dim=2)
        mask = None
        if count > 1:  # a single position may look at all there is
            mask = torch.ones(count, past + count, dtype=torch.bool, device=inputs.device).tril(past)[None, None]
        context, _ = attend(query, keys, values, mask)
        return self._merge(context), {"keys": keys, "values": values}

    def _project(self, inputs: Tensor, past: int) -> tuple[Tensor, Tensor, Tensor]:
        """inputs [N, T, H], after `past` others, to query, keys and values [N, A, T, d]."""
        parts = self.project(inputs).unflatten(-1, (3, self.heads, -1))  # [N, T, 3, A, d]
        parts = parts.permute(2, 0, 3, 1, 4)  # [3, N, A, T, d]
        if self.rotary is None:
            return parts[0], parts[1], parts[2]
        query, keys = self.rotary(parts[:2], past)
        return query, keys, parts[2]

    def _merge(self, context: Tensor) -> Tensor:
        output: Tensor = self.output(merge_heads(context))
        return output


class CrossAttention(nn.Module):
    """Attention of a decoder on the source, whose keys and values are worked out once a sentence."""

    def __init__(self, width: int, heads: int, source_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.told_head: int | None = None  # whose weights are told; None: the mean of all
        self.query = nn.Linear(width, width)
        self.project = nn.Linear(source_width, 2 * width)
        self.output = nn.Linear(width, width)

    def keys_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder states [B, S, H_encoder] to keys and values [B, A, S, d]."""
        # Not a reshape: the exporter to ONNX would write into it the length that its example has above an LSTM. A copy
        # in this order, as else each step of a search would make one.
        parts = self.project(states).split(self.output.in_features // self.heads, dim=-1)  # 2 A of [B, S, d]
        keys, values = torch.stack(parts[: self.heads], dim=1), torch.stack(parts[self.heads :], dim=1)
        return keys, values

    def forward(
        self, inputs: Tensor, keys: Tensor, values: Tensor, mask: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """inputs [B, Q, H] to [B, Q, H], with the weights [B, Q, S] of the told head, or all heads' mean, if needed.

        Q is target positions in training and hypotheses in search: those of a sentence share its keys. mask
        [B, 1, 1, S].
        """
        query = self.query(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, A, Q, d]
        context, weights = attend(query, keys, values, mask, need_weights)
        told = of_head(weights, self.told_head) if need_weights and weights is not None else None
        return self.output(merge_heads(context)), told


def of_head(weights: Tensor, head: int | None) -> Tensor:
    """The weights [B, A, Q, S] of one head, counted from 0, or the mean of all: [B, Q, S]."""
    return weights.mean(dim=1) if head is None else weights[:, head]


def merge_heads(context: Tensor) -> Tensor:
    """[B, A, Q, d] to [B, Q, H]."""
    return context.transpose(1, 2).flatten(2)
