"""Products inside a loop over target positions, with the gradients of what is fixed worked out after the loop.

A step of such a loop multiplies small activations by the same matrices again and again: weights, attention keys,
encoder states. By the chain rule the gradient of such a matrix is a sum over steps of outer products; autograd forms
each and adds it, T times the size of the matrix. Here the steps only note their inputs and gradients, and one product
over all of them follows at the end. What a step computes is the same code either way: it is given one of two
`Product`s.
"""

from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nmtcli.models.packed import PackedMatrix

Matrix = Tensor | PackedMatrix  # a trained weight, or what a search has in its place


class Product(Protocol):
    """inputs [..., K] times a matrix that stays the same through the loop, plus `base` if given.

    matrix is [M, K], as of a linear layer, or one a sentence [B, M, K] for inputs [B, Q, K]; with `transposed` it is
    stored the other way round ([K, M]). Returns [..., M].
    """

    def __call__(self, inputs: Tensor, matrix: Matrix, base: Tensor | None = None, transposed: bool = False) -> Tensor:
        """One product."""


def plain_product(inputs: Tensor, matrix: Matrix, base: Tensor | None = None, transposed: bool = False) -> Tensor:
    """The reference: autograd does the rest."""
    if isinstance(matrix, PackedMatrix):
        return cast("Tensor", matrix(inputs, base))
    if matrix.dim() == 2 and not transposed and (base is None or base.dim() == 1):
        return F.linear(inputs, matrix, base)
    other = matrix if transposed else matrix.transpose(-1, -2)
    if base is not None and inputs.dim() == 2:
        return torch.addmm(base, inputs, other)
    found = torch.matmul(inputs, other)
    return found if base is None else found + base


def loop_product() -> Product:
    """The product for one run through a loop: deferred where gradients are wanted."""
    return DeferredProduct() if torch.is_grad_enabled() else plain_product


def compute_dtype(inputs: Tensor) -> torch.dtype:
    """The type products run in: autocast's where it is on."""
    kind = inputs.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype


class DeferredProduct:
    """A `Product` for one forward pass through a loop."""

    def __init__(self) -> None:
        # A matrix may be used both ways round, as encoder states are by dot attention: as keys and as values.
        self._fixed: dict[tuple[int, bool], tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]] = {}

    def __call__(self, inputs: Tensor, matrix: Matrix, base: Tensor | None = None, transposed: bool = False) -> Tensor:
        """See `Product`; in autocast's type where it is on."""
        assert isinstance(matrix, Tensor)  # what is packed is not trained
        dtype = compute_dtype(inputs)
        key = (id(matrix), transposed)
        if key not in self._fixed:
            uses: list[tuple[Tensor, Tensor]] = []
            # The matrix itself is kept too, so that its id stays its own.
            self._fixed[key] = (matrix, _Fixed.apply(matrix, dtype, transposed, uses), uses)  # type: ignore[no-untyped-call]
        _, fixed, uses = self._fixed[key]
        base = None if base is None else base.to(dtype)
        found: Tensor = _Product.apply(inputs.to(dtype), fixed, base, transposed, uses)  # type: ignore[no-untyped-call]
        return found


class _Fixed(torch.autograd.Function):
    """A matrix on its way into the loop: autograd comes back here once all its uses have noted their gradients."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, dtype: torch.dtype, transposed: bool, uses: list[Any]) -> Tensor:
        """The matrix in `dtype`; `uses` will hold the inputs and gradients of each use."""
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
    """One use of a matrix: its own gradient is noted, not worked out."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, matrix: Tensor, base: Tensor | None, transposed: bool, uses: list[Any]
    ) -> Tensor:
        """See `Product`."""
        ctx.save_for_backward(inputs, matrix)
        ctx.transposed, ctx.uses = transposed, uses
        ctx.base_shape = None if base is None else base.shape
        other = matrix if transposed else matrix.transpose(-1, -2)
        if base is not None and inputs.dim() == 2:
            return torch.addmm(base, inputs, other)
        found = torch.matmul(inputs, other)
        return found if base is None else found + base

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of inputs and base."""
        inputs, matrix = ctx.saved_tensors
        (grad,) = grads
        ctx.uses.append((inputs, grad))
        grad_inputs = torch.matmul(grad, matrix.transpose(-1, -2) if ctx.transposed else matrix)
        grad_base = None
        if ctx.base_shape is not None:
            grad_base = grad if grad.shape == ctx.base_shape else grad.flatten(0, -2).sum(0)
        return grad_inputs, None, grad_base, None, None
