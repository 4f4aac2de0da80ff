"""Position encodings of a Transformer: sinusoidal, added to embeddings, and rotary, applied to queries and keys.

Both use the same angles: position p times 10000^(-2i/width), for i = 0, 1, … up to half the width.
"""

import torch
from torch import Tensor, nn


class _Angles(nn.Module):
    """The angles of both encodings."""

    frequencies: Tensor  # [width / 2]

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        # On the CPU even for a model on the meta device (`nmtcli.models.quantized`): no checkpoint holds it.
        exponents = torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width
        self.register_buffer("frequencies", (10000.0**-exponents).float(), persistent=False)

    def angles(self, first: int, count: int) -> Tensor:
        """Angles [count, width / 2] of the positions `first`, `first` + 1, …"""
        positions = torch.arange(count, device=self.frequencies.device) + first
        return positions[:, None] * self.frequencies


class SinusoidalPositions(_Angles):
    """Sines of the angles in the even columns, cosines in the odd ones (Vaswani et al. 2017, section 3.5)."""

    def forward(self, first: int, count: int) -> Tensor:
        """Positions `first`, `first` + 1, … as vectors [count, width]."""
        angles = self.angles(first, count)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[:, : self.width]


class RotaryPositions(_Angles):
    """Rotates each pair of columns by its angle (Su et al. 2021, eq. 34), so that the product of two rotated vectors
    depends on their distance only. `width` is that of a head, and even.
    """

    def forward(self, vectors: Tensor, first: int) -> Tensor:
        """Rotate vectors [..., T, width], the first of which is at position `first`."""
        angles = self.angles(first, vectors.size(-2))
        cosine, sine = angles.cos(), angles.sin()  # [T, width / 2]
        even, odd = vectors[..., 0::2], vectors[..., 1::2]  # [..., T, width / 2]
        rotated = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
        return rotated.flatten(-2).to(vectors.dtype)
