"""Matrix products inside a loop over target positions, whose weight gradients are computed after the loop.

Each step of the loop multiplies small activations by the same matrices: weights, attention keys, encoder states. The
gradient of such a matrix is a sum of outer products over steps. Autograd computes and adds each of them, T times the
size of the matrix. Here each step only records its inputs and gradients, and one product over all steps follows. The
code of a step is the same in both cases: it receives one of two `Product`s.
"""

from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nmtcli.models.packed import PackedMatrix

Matrix = Tensor | PackedMatrix  # a trained weight, or its packed form in search


class Product(Protocol):
    """inputs [..., K] times a matrix that stays fixed in the loop, plus `base` if given.

    matrix is [M, K], as of a linear layer, or one per sentence [B, M, K] for inputs [B, Q, K]; with `transposed` it is
    [K, M]. Returns [..., M].
    """

    def __call__(self, inputs: Tensor, matrix: Matrix, base: Tensor | None = None, transposed: bool = False) -> Tensor:
        """One product."""


def plain_product(inputs: Tensor, matrix: Matrix, base: Tensor | None = None, transposed: bool = False) -> Tensor:
    """The reference implementation, with autograd's gradient."""
    if isinstance(matrix, PackedMatrix):
        return cast("Tensor", matrix(inputs, base))
    if matrix.dim() == 2 and not transposed and (base is None or base.dim() == 1):
        return F.linear(inputs, matrix, base)
    other = matrix if transposed else matrix.transpose(-1, -2)
    if base is not None and inputs.dim() == 2:
        return torch.addmm(base, inputs, other)
    output = torch.matmul(inputs, other)
    return output if base is None else output + base


def loop_products(steps: int) -> Iterator[Product]:
    """The product for each step of one pass through a loop: deferred if gradients are enabled."""
    deferred = DeferredProduct()
    for _ in range(steps):
        deferred.begin_step()
        yield deferred if torch.is_grad_enabled() else plain_product


def compute_dtype(inputs: Tensor) -> torch.dtype:
    """The type of products: autocast's if it is on."""
    kind = inputs.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype


class DeferredProduct:
    """A `Product` for one forward pass through a loop, whose steps have the same products in the same order.

    So the place of a product in its step tells its matrix. A matrix with two places, such as encoder states that are
    keys and values, is recorded twice.
    """

    def __init__(self) -> None:
        self._fixed: list[tuple[Tensor, list[tuple[Tensor, Tensor]]]] = []  # of each place: the matrix and its uses
        self._place = 0

    def begin_step(self) -> None:
        """The next product is the first of a step."""
        self._place = 0

    def __call__(self, inputs: Tensor, matrix: Matrix, base: Tensor | None = None, transposed: bool = False) -> Tensor:
        """See `Product`; in autocast's type if it is on."""
        assert isinstance(matrix, Tensor)  # packed matrices are not trained
        dtype = compute_dtype(inputs)
        if self._place == len(self._fixed):  # in the first step
            uses: list[tuple[Tensor, Tensor]] = []
            self._fixed.append((_Fixed.apply(matrix, dtype, transposed, uses), uses))  # type: ignore[no-untyped-call]
        fixed, uses = self._fixed[self._place]
        self._place += 1
        base = None if base is None else base.to(dtype)
        output: Tensor = _Product.apply(inputs.to(dtype), fixed, base, transposed, uses)  # type: ignore[no-untyped-call]
        return output


class _Fixed(torch.autograd.Function):
    """A matrix as an input of the loop: autograd runs its backward after all uses have recorded their gradients."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, dtype: torch.dtype, transposed: bool, uses: list[Any]) -> Tensor:
        """The matrix in `dtype`; `uses` collects the inputs and gradients of each use."""
        ctx.set_materialize_grads(False)
        ctx.uses, ctx.transposed, ctx.dtype, ctx.per_sentence = uses, transposed, matrix.dtype, matrix.dim() == 3
        return matrix.to(dtype) if matrix.dtype != dtype else matrix.view_as(matrix)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the matrix, from all uses at once."""
        inputs, grads = zip(*ctx.uses, strict=True)
        ctx.uses.clear()
        left, right = torch.cat(grads, dim=-2), torch.cat(inputs, dim=-2)  # [T·N, M], [T·N, K]; or [B, T, ·]
        if not ctx.per_sentence:
            left, right = left.flatten(0, -2), right.flatten(0, -2)
        if ctx.transposed:
            left, right = right, left
        return torch.matmul(left.transpose(-1, -2), right).to(ctx.dtype), None, None, None


class _Product(torch.autograd.Function):
    """One use of a matrix: records the gradient instead of computing that of the matrix."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, matrix: Tensor, base: Tensor | None, transposed: bool, uses: list[Any]
    ) -> Tensor:
        """See `Product`."""
        ctx.save_for_backward(inputs, matrix)
        ctx.transposed, ctx.uses = transposed, uses
        ctx.base_shape = None if base is None else base.shape
        return plain_product(inputs, matrix, base, transposed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of inputs and base."""
        inputs, matrix = ctx.saved_tensors
        (grad,) = grads
        if ctx.needs_input_grad[1]:
            # Detached: with its graph, the inputs of a step would hold the list that holds them.
            ctx.uses.append((inputs.detach(), grad))
        grad_inputs = torch.matmul(grad, matrix.transpose(-1, -2) if ctx.transposed else matrix)
        grad_base = None
        if ctx.base_shape is not None:
            grad_base = grad if grad.shape == ctx.base_shape else grad.flatten(0, -2).sum(0)
        return grad_inputs, None, grad_base, None, None
