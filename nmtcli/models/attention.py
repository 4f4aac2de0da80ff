"""Attention of a recurrent decoder to the source: score functions, local windows, several heads.

Bahdanau, Cho and Bengio 2015 (additive); Luong, Pham and Manning 2015 (section 3: dot, general, concat, location; local
windows); Chen et al. 2018 (several additive heads). What depends on the source alone is computed once per sentence.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nmtcli.config import AttentionConfig
from nmtcli.models.activations import tanh
from nmtcli.models.loop import Product, plain_product
from nmtcli.models.multihead import select_head

Source = dict[str, Tensor]  # keys, values and mask, one row per sentence: part of the decoder's memory

CHUNK = 2**18  # elements of the additive score's [B, Q, S, A] worked on at a time: they stay in the CPU's cache


class Attention(nn.Module):
    """Context vectors for queries: a weighted mean of encoder states.

    dot h·s · general h·(W s) · additive v·tanh(W h + U s) · location W h, one weight per position (Luong et al. 2015,
    eq. 8) · scaled_dot and scaled_general: divided by √d (Vaswani et al. 2017, section 3.2.1). With several heads
    (scaled_dot and additive) query, keys and values are projected and split into heads. local-m and local-p attend to a
    window around a position; local-p multiplies by a Gaussian, so its weights sum to less than one (eq. 9 and 10).
    """

    def __init__(self, config: AttentionConfig, encoder_size: int, decoder_size: int) -> None:
        super().__init__()
        self.kind, self.heads, self.window, self.reach = config.type, config.heads, config.window, config.window_size
        self.scaled = self.kind in ("scaled_dot", "scaled_general")
        self.selected_head: int | None = None  # whose weights are returned; None: the mean of all heads
        width = config.hidden_size or decoder_size
        several = config.heads > 1
        self.context_size = width if several else encoder_size
        self.project_query = self.project_keys = self.project_values = None
        if self.kind == "additive" or several:
            self.project_query = nn.Linear(decoder_size, width, bias=False)
            self.project_keys = nn.Linear(encoder_size, width, bias=False)
        elif self.kind in ("general", "scaled_general"):
            self.project_keys = nn.Linear(encoder_size, decoder_size, bias=False)
        if several:
            self.project_values = nn.Linear(encoder_size, width, bias=False)
        if self.kind == "additive":
            self.score = nn.Parameter(torch.empty(self.heads, width // self.heads).normal_(std=width**-0.5))
        if self.kind == "location":
            self.score = nn.Parameter(torch.empty(config.max_length, decoder_size).normal_(std=decoder_size**-0.5))
        if self.window == "local-p":
            self.project_position = nn.Linear(decoder_size, decoder_size, bias=False)
            self.score_position = nn.Linear(decoder_size, 1, bias=False)

    def source(self, states: Tensor, mask: Tensor) -> Source:
        """Encoder states [B, S, H_encoder] and mask [B, S] as `forward` needs them; rows are sentences."""
        if self.kind == "location":  # later positions have no score
            mask = mask & (torch.arange(mask.size(1), device=mask.device) < self.score.size(0))
        source = {"mask": mask, "values": states if self.project_values is None else self.project_values(states)}
        if self.project_keys is not None:
            source["keys"] = self.project_keys(states)
            if self.kind == "additive" and states.is_cpu and torch.is_inference_mode_enabled():
                source["exponentials"] = exponentials(source.pop("keys"))
        return source

    def forward(
        self, query: Tensor, source: Source, position: Tensor | None = None, product: Product = plain_product
    ) -> tuple[Tensor, Tensor]:
        """Contexts and weights for queries.

        query [B, Q, H_decoder], where Q is target positions in training and hypotheses in search: hypotheses of one
        sentence share its keys. position [B, Q], of the target, is for local-m. Returns context [B, Q, context_size]
        and weights [B, Q, S] (of the selected head, or the mean of all), zero on padding.
        """
        mask = source["mask"][:, None, :]  # [B, 1, S]
        centre = self._centre(query, source["mask"], position, product)  # [B, Q, 1]
        if centre is not None:
            distance = torch.arange(mask.size(-1), device=query.device) - centre.float()  # [B, Q, S]
            mask = mask & (distance.abs() <= self.reach)
        scores = self._scores(query, source, product).float()  # [B, heads, Q, S]
        weights = torch.softmax(scores.masked_fill(~mask[:, None], float("-inf")), dim=-1)
        if self.window == "local-p":
            weights = weights * torch.exp(-2 * (distance / self.reach) ** 2)[:, None]  # deviation: half the reach
        values = source["values"]
        if self.heads == 1:
            weights = weights.squeeze(1)
            return product(weights.to(values.dtype), values, transposed=True), weights
        context = torch.matmul(weights.to(values.dtype), self._cut(values))  # [B, heads, Q, A / heads]
        return context.transpose(1, 2).flatten(2), select_head(weights, self.selected_head)

    def _scores(self, query: Tensor, source: Source, product: Product) -> Tensor:
        """[B, heads, Q, S]; undefined on padding."""
        if self.kind == "location":
            scores = product(query, self.score)  # [B, Q, max_length]
            size = source["mask"].size(1)
            missing = max(0, size - scores.size(-1))
            return nn.functional.pad(scores, (0, missing))[:, None, :, :size]
        if self.project_query is not None:
            query = product(query, self.project_query.weight)
        keys = source.get("keys", source["values"])
        if self.kind == "additive":
            score = additive_scores
            if "exponentials" in source:
                score, query, keys = quick_additive_scores, exponentials(query), source["exponentials"]
            if self.heads == 1:
                return score(query, keys, self.score[0])[:, None]
            parts = zip(query.chunk(self.heads, -1), keys.chunk(self.heads, -1), self.score, strict=True)
            return torch.stack([score(*part) for part in parts], dim=1)
        if self.heads == 1:
            return product(query * query.size(-1) ** -0.5 if self.scaled else query, keys)[:, None]
        query = self._cut(query)  # [B, heads, Q, A / heads]
        return torch.matmul(query * query.size(-1) ** -0.5, self._cut(keys).transpose(2, 3))

    def _cut(self, rows: Tensor) -> Tensor:
        """Split [B, L, A] into heads: [B, heads, L, A / heads]."""
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)

    def _centre(self, query: Tensor, mask: Tensor, position: Tensor | None, product: Product) -> Tensor | None:
        """The centre of the window [B, Q, 1], at most one token from a real one; None without a window."""
        if self.window == "global":
            return None
        length = mask.sum(dim=1)[:, None, None]  # [B, 1, 1]
        if self.window == "local-m":
            assert position is not None
            return torch.minimum(position[..., None], length - 1)
        inner = torch.tanh(product(query, self.project_position.weight))
        return length * torch.sigmoid(product(inner, self.score_position.weight).float())


def additive_scores(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """v·tanh(q + k): query [B, Q, A], keys [B, S, A], vector [A] to [B, Q, S]."""
    if torch.is_grad_enabled() and query.requires_grad:
        scores: Tensor = AdditiveScores.apply(query, keys.to(query.dtype), vector.to(query.dtype))  # type: ignore[no-untyped-call]
        return scores
    return plain_additive_scores(query, keys, vector)


def plain_additive_scores(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """The reference implementation, with all of [B, Q, S, A] in memory."""
    return torch.tanh(query[:, :, None] + keys[:, None]) @ vector.to(query.dtype)


def exponentials(states: Tensor) -> Tensor:
    """exp(-2a) of queries or keys for `quick_additive_scores`, clamped to ±40 against overflow of fp32."""
    return states.float().clamp(-40, 40).mul_(-2).exp_()


def quick_additive_scores(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """`plain_additive_scores` plus a constant, from exponentials of queries and keys. Softmax ignores the constant.

    tanh(a) = 2 σ(2a) - 1, and σ(2q + 2k) = 1 / (1 + exp(-2q) exp(-2k)). So Q + S exponentials replace Q · S tanh, the
    most expensive part of a search with additive attention.
    """
    batch, queries, size = query.shape
    scores = query.new_empty(batch, queries, keys.size(1))
    one, double = query.new_ones(()), 2 * vector
    count = max(1, CHUNK // max(1, queries * keys.size(1) * size))
    for start in range(0, batch, count):
        part = slice(start, start + count)
        inner = torch.addcmul(one, query[part, :, None], keys[part, None]).reciprocal_()  # [b, Q, S, A]
        torch.matmul(inner, double, out=scores[part])
    return scores


class AdditiveScores(torch.autograd.Function):
    """`plain_additive_scores`, a few sentences at a time, with a hand-written gradient."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
        """See `plain_additive_scores`."""
        batch, queries, size = query.shape
        inner = query.new_empty(batch, queries, keys.size(1), size)  # tanh(q + k), kept for the gradient
        scores = query.new_empty(batch, queries, keys.size(1))
        for part in _chunks(inner):
            torch.add(query[part, :, None], keys[part, None], out=inner[part])
            tanh(inner[part], out=inner[part])
            torch.matmul(inner[part], vector, out=scores[part])
        ctx.save_for_backward(inner, vector)
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of query, keys and vector."""
        inner, vector = ctx.saved_tensors
        grad = grads[0]  # [B, Q, S]
        batch, queries, size, width = inner.shape
        grad_query = grad.new_empty(batch, queries, width)
        grad_keys = grad.new_empty(batch, size, width)
        grad_vector = torch.zeros(width, dtype=torch.float32, device=grad.device)
        for part in _chunks(inner):
            grad_vector += (grad[part].reshape(1, -1) @ inner[part].reshape(-1, width))[0]
            slope = (1 - inner[part] * inner[part]).mul_(grad[part][..., None])  # v is multiplied at the end
            torch.sum(slope, dim=2, out=grad_query[part])
            torch.sum(slope, dim=1, out=grad_keys[part])
        return grad_query * vector, grad_keys * vector, grad_vector.to(vector.dtype)


def _chunks(inner: Tensor) -> list[slice]:
    """Slices of sentences with about CHUNK elements of [B, Q, S, A] each; a single slice on a GPU."""
    rows = len(inner)
    count = max(1, CHUNK // max(1, inner[0].numel())) if inner.device.type == "cpu" else rows
    return [slice(start, start + count) for start in range(0, rows, count)]
