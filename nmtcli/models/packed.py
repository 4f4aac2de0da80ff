"""Matrices of a trained model in fewer bits, packed once, and the products of a search with them.

int8: each row of a matrix [M, K] is whole numbers times a scale of its own, and so is each row of what it is multiplied
by, at the time (dynamic quantisation). The sums are exact, so a row's product does not depend on the rows beside it:
not on the batch, nor on the kernel. Two kernels compute them, oneDNN's with the matrix packed once, and
`torch._int_mm`; the first that is exact here is taken. torch's own quantised Linear is left out: it has one scale for
all rows, so a sentence would be translated by what else is in its batch.

bf16 and fp16: the numbers are rounded, sums are fp32. All results are fp32.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Precision = Literal["int8", "bf16", "fp16"]

HALVES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
Kernel = Callable[[Tensor], Tensor]  # int8 inputs [N, K] to whole sums times the scales of the columns [N, M]


class PackedMatrix(nn.Module, ABC):
    """A matrix [M, K], as of a linear layer, that products are made with and rows are taken of; it is not trained."""

    numbers: Tensor  # [M, K]

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers, persistent=False)

    @abstractmethod
    def forward(self, inputs: Tensor, base: Tensor | None = None) -> Tensor:
        """inputs [..., K] times the matrix, plus base (a bias [M], or [N, M] for inputs [N, K]): fp32 [..., M]."""

    @abstractmethod
    def take(self, rows: Tensor) -> Tensor:
        """Rows, at any shape of places [...], as fp32 [..., K]."""

    @abstractmethod
    def select(self, rows: Tensor) -> "PackedMatrix":
        """The matrix of these rows [R] alone."""


class Int8Matrix(PackedMatrix):
    """Whole numbers [M, K] in int8 and a scale for each row [M] in fp32."""

    scale: Tensor  # [M]

    def __init__(self, numbers: Tensor, scale: Tensor) -> None:
        super().__init__(numbers)
        self.register_buffer("scale", scale, persistent=False)
        self._kernel: Kernel | None = None

    def forward(self, inputs: Tensor, base: Tensor | None = None) -> Tensor:
        """See `PackedMatrix`."""
        numbers, scale = quantize(inputs.flatten(0, -2))
        if self._kernel is None:  # at the first product: a table of embeddings may never have one
            self._kernel = _kernels()[best_kernel()](self.numbers, self.scale)
        found = self._kernel(_in_sixteens(numbers))[: len(numbers)]
        found = found.mul_(scale) if base is None else torch.addcmul(base, found, scale, out=found)
        return found.view(*inputs.shape[:-1], len(self.numbers))

    def take(self, rows: Tensor) -> Tensor:
        """See `PackedMatrix`."""
        return self.numbers[rows] * self.scale[rows][..., None]

    def select(self, rows: Tensor) -> "Int8Matrix":
        """See `PackedMatrix`."""
        return Int8Matrix(self.numbers[rows], self.scale[rows])


class HalfMatrix(PackedMatrix):
    """Numbers [M, K] in bf16 or fp16."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__(numbers)
        self._packed: Tensor | None = None

    def forward(self, inputs: Tensor, base: Tensor | None = None) -> Tensor:
        """See `PackedMatrix`."""
        halves = inputs.flatten(0, -2).to(self.numbers.dtype)
        if halves.is_cpu and _packs_halves():
            if self._packed is None:
                self._packed = torch.ops.mkldnn._reorder_linear_weight(self.numbers, None)
            padded = _in_sixteens(halves)
            found = torch.ops.mkldnn._linear_pointwise(padded, self._packed, None, "none", [], "")[: len(halves)]
        else:
            found = F.linear(halves, self.numbers)
        found = found.float() if base is None else found.float().add_(base)
        return cast("Tensor", found.view(*inputs.shape[:-1], len(self.numbers)))

    def take(self, rows: Tensor) -> Tensor:
        """See `PackedMatrix`."""
        return self.numbers[rows].float()

    def select(self, rows: Tensor) -> "HalfMatrix":
        """See `PackedMatrix`."""
        return HalfMatrix(self.numbers[rows])


def _in_sixteens(rows: Tensor) -> Tensor:
    """Rows [N, K] with zeros below, to a multiple of 16.

    OneDNN makes code for each number of rows, which takes longer than the product, and a search has another at each
    step.
    """
    missing = -len(rows) % 16
    return F.pad(rows, (0, 0, 0, missing)) if missing else rows


def quantize(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [N, K] as int8 numbers [N, K], from -127 to 127, and the scale of each row [N, 1]."""
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-20).mul_(1 / 127)
    return (rows / scale).round_().to(torch.int8), scale


@cache
def best_kernel() -> str:
    """The first of the int8 kernels that is exact on this machine, tried on a small product."""
    generator = torch.Generator().manual_seed(0)
    inputs, matrix = (
        torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8) for shape in ((64, 256), (128, 256))
    )
    inputs[0], matrix[0] = 127, 127  # older kernels would saturate here
    exact = inputs.double() @ matrix.double().t()
    for name, make in _kernels().items():
        try:
            if torch.equal(make(matrix, torch.ones(len(matrix)))(inputs).double(), exact):
                return name
        except (AttributeError, RuntimeError):  # this torch or this CPU does not have it
            continue
    return "plain"


def _kernels() -> dict[str, Callable[[Tensor, Tensor], Kernel]]:
    """What makes a kernel of numbers [M, K] and scales [M]; the fastest first: one pass less over the results."""
    return {"onednn": _onednn, "int_mm": _int_mm, "plain": _plain}


def _onednn(numbers: Tensor, scale: Tensor) -> Kernel:
    """OneDNN's product by a matrix packed in its own order."""
    packed = torch.ops.onednn.qlinear_prepack(numbers, None)
    zero = torch.zeros(len(numbers), dtype=torch.int64)
    fixed: tuple[Any, ...] = (packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], "")
    product = torch.ops.onednn.qlinear_pointwise.default
    return cast("Kernel", lambda inputs: product(inputs, 1.0, 0, *fixed))


def _int_mm(numbers: Tensor, scale: Tensor) -> Kernel:
    """PyTorch's product of int8 matrices."""
    columns = numbers.t()
    return lambda inputs: torch._int_mm(inputs, columns).float().mul_(scale)


def _plain(numbers: Tensor, scale: Tensor) -> Kernel:
    """The reference: fp32 holds these sums exactly up to 1,040 columns, and to seven digits beyond."""
    rows = numbers.float()
    return lambda inputs: F.linear(inputs.float(), rows).mul_(scale)


@cache
def _packs_halves() -> bool:
    """Whether oneDNN packs bf16 matrices here and multiplies them to the same bits."""
    matrix, inputs = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(matrix, None)
        found = torch.ops.mkldnn._linear_pointwise(inputs, packed, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found, F.linear(inputs, matrix))
