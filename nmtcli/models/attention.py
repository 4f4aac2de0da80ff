"""Attention of a decoder on the source (Luong, Pham and Manning 2015, section 3.1).

What does not depend on the decoder is worked out once a sentence: `keys` [B, S, H]. After that a score is a product.
"""

import torch
from torch import Tensor, nn

from nmtcli.config import AttentionConfig


class Attention(nn.Module):
    """Global attention with the `dot` or the `general` score.

    general: score(h_t, s) = h_t · W s (eq. 8), so the keys are W s; dot: the keys are the encoder states themselves.
    """

    def __init__(self, config: AttentionConfig, encoder_size: int, decoder_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_size, decoder_size, bias=False) if config.type == "general" else nn.Identity()

    def keys(self, states: Tensor) -> Tensor:
        """Encoder states [B, S, H_encoder] to keys [B, S, H_decoder]."""
        keys: Tensor = self.project(states)
        return keys

    def forward(self, query: Tensor, keys: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Context and weights for queries.

        query [B, Q, H_decoder], where Q is target positions in training and hypotheses in search: hypotheses of one
        sentence share its keys. mask [B, S]. Returns context [B, Q, H_encoder] and weights [B, Q, S], zero on padding.
        """
        # bmm, not scaled_dot_product_attention: at sentence lengths its CPU kernel is 4 to 35 times slower.
        scores = torch.bmm(query, keys.transpose(1, 2))  # [B, Q, S]
        scores = scores.float().masked_fill(~mask[:, None, :], float("-inf"))
        weights = torch.softmax(scores, dim=-1)  # [B, Q, S]
        context = torch.bmm(weights.to(states.dtype), states)  # [B, Q, H_encoder]
        return context, weights
