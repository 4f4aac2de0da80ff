"""Activation functions by the cheapest of their forms."""

import torch
from torch import Tensor


def tanh(values: Tensor, out: Tensor) -> Tensor:
    """tanh into `out`, which may be `values`; for code that computes its gradient by hand.

    On a CPU 2 σ(2x) - 1: PyTorch's tanh takes 2.3 times as long there with AVX2, and up to 9 times with AVX-512. Every
    CPU takes it, without a measurement, so that a resumed run computes what it did before. bf16 and fp16 are computed
    in fp32: next to zero, 1 has no digits left to take away from.
    """
    if not values.is_cpu:
        return torch.tanh(values, out=out)
    if values.dtype in (torch.bfloat16, torch.float16):
        single = values.float()
        return out.copy_(tanh(single, single))
    torch.mul(values, 2, out=out).sigmoid_()
    return torch.add(out.new_tensor(-1.0), out, alpha=2, out=out)
