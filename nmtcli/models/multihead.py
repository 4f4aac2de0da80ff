"""Multi-head attention (Vaswani et al. 2017, section 3.2): self-attention and cross-attention.

Further shape letters: A heads, each of width d = H / A.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.models.loop import compute_dtype
from nmtcli.models.positions import RotaryPositions
from nmtcli.models.protocol import Cache

MASKED = -(2.0**15)  # added to a score; finite also in fp16 and times log2 e, by which kernels multiply it


def score_mask(real: Tensor, like: Tensor) -> Tensor:
    """The mask [B, 1, 1, S] of real source positions [B, S], in the form that `attend` wants for `like`.

    On a CPU it is boolean. On a GPU it is added to the scores, and made once for all layers.
    """
    mask = real[:, None, None]
    if like.is_cpu:
        return mask
    added = torch.full(mask.shape, MASKED, dtype=compute_dtype(like), device=like.device)
    return added.masked_fill_(mask, 0.0)


def attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, need_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """softmax(query keysᵀ / √d) values (eq. 1), by the faster implementation for the device.

    query [B, A, Q, d], keys and values [B, A, S, d], mask [B or 1, 1, Q or 1, S] or None for all: true for what is
    attended to, or added to the scores. Returns the context [B, A, Q, d], and weights [B, A, Q, S] if needed. A fully
    masked query gets some finite context.
    """
    if not query.is_cpu and not need_weights:
        return fused_attention(query, keys, values, mask), None
    return plain_attention(query, keys, values, mask)


def fused_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
    """`attend` by PyTorch's kernel; on a CPU it is 4 to 35 times slower at sentence lengths.

    With `causal`, Q and S are equal and there is no mask: a query attends to the keys up to its own position.
    """
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=causal)


def plain_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """`attend` by separate products, with the softmax in fp32."""
    scores = (query * query.size(-1) ** -0.5) @ keys.transpose(-2, -1)  # [B, A, Q, S]
    scores = scores.float()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores, dim=-1)
    return weights.to(values.dtype) @ values, weights


class SelfAttention(nn.Module):
    """Self-attention, with query, keys and values from one product."""

    def __init__(self, width: int, heads: int, rotary: bool) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.rotary = RotaryPositions(width // heads) if rotary else None
        self.output = nn.Linear(width, width)

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Attention of all positions to all real ones: inputs [B, S, H] and `score_mask` [B, 1, 1, S] to [B, S, H]."""
        context, _ = attend(*self._project(inputs, 0), mask)
        return self._merge(context)

    def begin(self, like: Tensor) -> Cache:
        """The empty cache: keys and values [B, A, 0, d], with B, dtype and device of `like`."""
        width = self.output.in_features // self.heads
        return {name: like.new_zeros(like.size(0), self.heads, 0, width) for name in ("keys", "values")}

    def extend(self, inputs: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Causal self-attention of T further positions: inputs [N, T, H] to [N, T, H].

        The cache holds keys and values [N, A, t, d] of the t previous positions; the returned one those of t + T.
        """
        past, count = cache["keys"].size(2), inputs.size(1)
        query, keys, values = self._project(inputs, past)
        if count > 1 and past == 0 and not query.is_cpu:
            context = fused_attention(query, keys, values, None, causal=True)
            return self._merge(context), {"keys": keys, "values": values}
        keys = torch.cat([cache["keys"], keys], dim=2)  # [N, A, t + T, d]
        values = torch.cat([cache["values"], values], dim=2)
        mask = None
        if count > 1:  # a single position attends to all
            mask = torch.ones(count, past + count, dtype=torch.bool, device=inputs.device).tril(past)[None, None]
        context, _ = attend(query, keys, values, mask)
        return self._merge(context), {"keys": keys, "values": values}

    def _project(self, inputs: Tensor, past: int) -> tuple[Tensor, Tensor, Tensor]:
        """inputs [N, T, H], after `past` positions, to query, keys and values [N, A, T, d]."""
        parts = self.project(inputs).unflatten(-1, (3, self.heads, -1))  # [N, T, 3, A, d]
        parts = parts.permute(2, 0, 3, 1, 4)  # [3, N, A, T, d]
        if self.rotary is None:
            query, keys, values = parts.unbind(0)
            return query, keys, values
        query, keys = self.rotary(parts[:2], past)
        return query, keys, parts[2]

    def _merge(self, context: Tensor) -> Tensor:
        output: Tensor = self.output(merge_heads(context))
        return output


class CrossAttention(nn.Module):
    """Attention of a decoder to the source, whose keys and values are computed once per sentence."""

    def __init__(self, width: int, heads: int, source_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.selected_head: int | None = None  # whose weights are returned; None: the mean of all heads
        self.query = nn.Linear(width, width)
        self.project = nn.Linear(source_width, 2 * width)
        self.output = nn.Linear(width, width)

    def keys_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder states [B, S, H_encoder] to keys and values [B, A, S, d]."""
        # Not a reshape: above an LSTM the ONNX exporter would fix it to the length of its example. The copy in this
        # order saves one in each step of a search.
        parts = self.project(states).split(self.output.in_features // self.heads, dim=-1)  # 2 A of [B, S, d]
        keys, values = torch.stack(parts[: self.heads], dim=1), torch.stack(parts[self.heads :], dim=1)
        return keys, values

    def forward(
        self, inputs: Tensor, keys: Tensor, values: Tensor, mask: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """inputs [B, Q, H] to [B, Q, H], and if needed the weights [B, Q, S] of the selected head or the mean of all.

        Q is target positions in training and hypotheses in search, which share the keys of their sentence. mask
        [B, 1, 1, S] is a `score_mask`.
        """
        query = self.query(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, A, Q, d]
        context, weights = attend(query, keys, values, mask, need_weights)
        selected = select_head(weights, self.selected_head) if need_weights and weights is not None else None
        return self.output(merge_heads(context)), selected


def select_head(weights: Tensor, head: int | None) -> Tensor:
    """The weights [B, A, Q, S] of one head, counted from 0, or the mean of all: [B, Q, S]."""
    return weights.mean(dim=1) if head is None else weights[:, head]


def merge_heads(context: Tensor) -> Tensor:
    """[B, A, Q, d] to [B, Q, H]."""
    return context.transpose(1, 2).flatten(2)
