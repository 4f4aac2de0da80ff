"""A Transformer decoder with a simple recurrent unit in place of self-attention (Kim et al. 2019).

The cost of a step and the size of its cache do not depend on the position.
"""

import torch
from torch import Tensor, nn

from nmtcli.config import ModelConfig
from nmtcli.models.protocol import Cache
from nmtcli.models.transformer import LayeredDecoder


class Ssru(nn.Module):
    """Simpler simple recurrent unit.

    f_t = σ(W_f x_t + b_f), c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ W x_t, and the output is ReLU(c_t). c is not multiplied by
    a matrix, so one product serves all positions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * width, bias=False)  # W_f above W
        self.forget_bias = nn.Parameter(torch.zeros(width))

    def begin(self, like: Tensor) -> Cache:
        """c before the first position: zeros [B, H], with B and device of `like` and the dtype of the weights."""
        return like.new_zeros(like.size(0), len(self.forget_bias), dtype=self.forget_bias.dtype)

    def extend(self, inputs: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Further positions: inputs [N, T, H] to outputs [N, T, H], and c [N, H] after them."""
        forget, value = self.project(inputs).chunk(2, dim=-1)  # [N, T, H] each
        forget = torch.sigmoid(forget + self.forget_bias)  # fp32 under autocast, as its bias is; so c is fp32 too
        gated = (1 - forget) * value
        cell, cells = cache, []
        # One elementwise operation per position: on a CPU 4 to 7 times faster than a parallel scan.
        for forget_t, gated_t in zip(forget.unbind(1), gated.unbind(1), strict=True):
            cell = torch.addcmul(gated_t, forget_t, cell)
            cells.append(cell)
        return torch.relu(torch.stack(cells, dim=1)), cell


class SsruDecoder(LayeredDecoder):
    """The decoder with SSRUs; its cache is c [N, H] of each layer. A recurrence needs no position encoding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, [Ssru(config.decoder.hidden_size) for _ in range(config.decoder.layers)])
