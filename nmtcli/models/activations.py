"""Activation functions in the form that is fastest on the device."""

import torch
from torch import Tensor


def tanh(values: Tensor, out: Tensor) -> Tensor:
    """Write tanh of `values` into `out`, which may be `values`. For functions with a hand-written gradient.

    On a CPU it computes 2 σ(2x) - 1: torch.tanh takes 2.3 times as long with AVX2, and up to 9 times with AVX-512. All
    CPUs use it, without a measurement, so a resumed run stays exact. bf16 and fp16 are computed in fp32, because
    2 σ(2x) - 1 loses all significant digits near zero.
    """
    if not values.is_cpu:
        return torch.tanh(values, out=out)
    if values.dtype in (torch.bfloat16, torch.float16):
        single = values.float()
        return out.copy_(tanh(single, single))
    torch.mul(values, 2, out=out).sigmoid_()
    return torch.add(out.new_tensor(-1.0), out, alpha=2, out=out)


def sigmoid_backward(grad: Tensor, output: Tensor, out: Tensor) -> None:
    """Write grad · output (1 - output) into `out`: the gradient of a sigmoid, in one pass."""
    torch.ops.aten.sigmoid_backward.grad_input(grad, output, grad_input=out)


def tanh_backward(grad: Tensor, output: Tensor, out: Tensor) -> None:
    """Write grad · (1 - output²) into `out`: the gradient of a tanh, in one pass."""
    torch.ops.aten.tanh_backward.grad_input(grad, output, grad_input=out)
