"""Matrices of a trained model packed once for products on a CPU, in fp32 or quantized.

int8 (dynamic quantization): each row of a matrix [M, K] is integers from -127 to 127 with its own scale. Each row of
the inputs is quantized at run time to integers from -63 to 63 (7 bits, like PyTorch's `reduce_range`). The sum of two
such products then fits in 16 bits, the accumulator of CPUs without VNNI. So sums are exact on every CPU, and the
product of a row depends neither on other rows nor on the kernel. The fastest kernel that is exact on this CPU is used.
torch's dynamically quantized Linear has one scale for all rows: a translation would depend on the rest of its batch.

bf16 and fp16: the numbers are rounded. If the device has instructions for the type, inputs and products are rounded
too, and sums are fp32; otherwise the products are fp32. All results have the type fp32.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Precision = Literal["int8", "bf16", "fp16"]

HALVES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
WEIGHT_LEVEL, INPUT_LEVEL = 127, 63  # largest integers of a weight and of an input
ZERO = 64  # zero point of the inputs: kernels need unsigned integers
CLEARLY_SLOWER = 1.5  # times; timings of less mean nothing on a busy machine
ROUNDS = 7
Kernel = Callable[[Tensor], Tensor]  # quantized inputs [N, K] to their sums times the scales of the columns [N, M]


class PackedMatrix(nn.Module, ABC):
    """A matrix [M, K], as of a linear layer, for products and row look-up; it is not trained."""

    numbers: Tensor  # [M, K]

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers, persistent=False)

    @abstractmethod
    def forward(self, inputs: Tensor, base: Tensor | None = None) -> Tensor:
        """inputs [..., K] times the matrix, plus base (a bias [M], or [N, M] for inputs [N, K]): fp32 [..., M]."""

    @abstractmethod
    def take(self, rows: Tensor) -> Tensor:
        """The rows of an index of any shape [...], as fp32 [..., K]."""

    @abstractmethod
    def select(self, rows: Tensor) -> "PackedMatrix":
        """The matrix of these rows [R] only."""


class FloatMatrix(PackedMatrix):
    """Numbers [M, K] in fp32, bf16 or fp16."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__(numbers)
        self._packed: Tensor | None = None  # packed at the first product: an embedding table may never have one

    def forward(self, inputs: Tensor, base: Tensor | None = None) -> Tensor:
        """See `PackedMatrix`."""
        rows = inputs.flatten(0, -2)
        if not rows.is_cpu:
            products = F.linear(rows.to(self.numbers.dtype), self.numbers).float()
            return _shaped(products if base is None else products.add_(base), inputs)
        if self._packed is None:
            self._packed = _pack(self.numbers)
        kind = self._packed.dtype
        bias = base if base is not None and base.dim() == 1 and kind == torch.float32 else None
        if self._packed.is_mkldnn:
            products = _packed_product(_padded(rows.to(kind)), self._packed, bias)[: len(rows)]
        else:
            products = F.linear(rows.to(kind), self._packed, bias)
        products = products.float()
        return _shaped(products if base is None or bias is not None else products.add_(base), inputs)

    def take(self, rows: Tensor) -> Tensor:
        """See `PackedMatrix`."""
        return self.numbers[rows].float()

    def select(self, rows: Tensor) -> "FloatMatrix":
        """See `PackedMatrix`."""
        return FloatMatrix(self.numbers[rows])


class Int8Matrix(PackedMatrix):
    """Integers [M, K] in int8 and a scale for each row [M] in fp32."""

    scale: Tensor  # [M]

    def __init__(self, numbers: Tensor, scale: Tensor) -> None:
        super().__init__(numbers)
        self.register_buffer("scale", scale, persistent=False)
        self._kernel: Kernel | None = None

    def forward(self, inputs: Tensor, base: Tensor | None = None) -> Tensor:
        """See `PackedMatrix`."""
        numbers, scale = quantize_inputs(inputs.flatten(0, -2))
        if self._kernel is None:  # at the first product, as in `FloatMatrix`
            self._kernel = INT8_KERNELS[best_int8_kernel()](self.numbers, self.scale)
        products = self._kernel(numbers)[: len(scale)]
        scaled = products.mul_(scale) if base is None else torch.addcmul(base, products, scale, out=products)
        return _shaped(scaled, inputs)

    def take(self, rows: Tensor) -> Tensor:
        """See `PackedMatrix`."""
        return self.numbers[rows] * self.scale[rows][..., None]

    def select(self, rows: Tensor) -> "Int8Matrix":
        """See `PackedMatrix`."""
        return Int8Matrix(self.numbers[rows], self.scale[rows])


def quantize(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [M, K] of a matrix as integers [M, K] in int8 and the scale of each row [M, 1]."""
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-20).mul_(1 / WEIGHT_LEVEL)
    return (rows / scale).round_().to(torch.int8), scale


def quantize_inputs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [N, K] as unsigned integers with zero point `ZERO`, and the scale of each row [N, 1].

    The number of rows is rounded up (`_rounded`); the additional ones have any content.
    """
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-20).mul_(1 / INPUT_LEVEL)
    numbers = torch.empty(_rounded(len(rows)), rows.size(1), dtype=torch.int8)
    # Truncation rounds here, as all is above zero. Via int8: PyTorch has no fast conversion to unsigned integers.
    numbers[: len(rows)] = (rows / scale).add_(ZERO + 0.5)
    return numbers.view(torch.uint8), scale


def _rounded(rows: int) -> int:
    """The next power of two or multiple of 16.

    OneDNN generates code for each number of rows, which takes longer than the product, and a search has another number
    at each step.
    """
    return -(-rows // 16) * 16 if rows > 8 else 1 << max(rows - 1, 0).bit_length()


def _padded(rows: Tensor) -> Tensor:
    """Rows [N, K] padded with any content to the `_rounded` number."""
    if _rounded(len(rows)) == len(rows):
        return rows
    padded = rows.new_empty(_rounded(len(rows)), rows.size(1))
    padded[: len(rows)] = rows
    return padded


def _shaped(products: Tensor, inputs: Tensor) -> Tensor:
    return products if inputs.dim() == 2 else products.view(*inputs.shape[:-1], products.size(-1))


def _pack(numbers: Tensor) -> Tensor:
    """The matrix as products want it: in oneDNN's order or as it is, in its own type or in fp32."""
    way = product_of(numbers.dtype)
    numbers = numbers.float() if way.endswith("fp32") else numbers
    return _reordered(numbers) if way.startswith("packed") else numbers


def _reordered(numbers: Tensor) -> Tensor:
    return cast("Tensor", torch.ops.mkldnn._reorder_linear_weight(numbers, None))


def _packed_product(rows: Tensor, packed: Tensor, bias: Tensor | None = None) -> Tensor:
    return cast("Tensor", torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], ""))


@cache
def onednn_fp32() -> bool:
    """Whether this CPU computes fp32 products by oneDNN, with packed weights; otherwise by PyTorch's default, MKL.

    On AMD CPUs with AVX-512, MKL uses half of the register width and oneDNN is 2.2 times as fast. The CPU model
    decides, not a measurement: all processes then give the same bits, and a resumed run stays exact. A check makes sure
    that the products are fp32, since oneDNN computes them in bf16 on CPUs with AMX (PyTorch 2.11 only large ones).
    """
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if "AMD" not in str(features.get("cpu_name")) or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    inputs, matrix = _example(rows=512)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        products = F.linear(inputs, matrix), _packed_product(inputs, _reordered(matrix))
    except (AttributeError, RuntimeError):  # this torch does not have it
        return False
    finally:
        torch.set_float32_matmul_precision(before)
    return all(_error(product, inputs, matrix) < 1e-3 for product in products)


@cache
def product_of(kind: torch.dtype) -> str:
    """How matrices of this type are multiplied: packed, plain, packed fp32 or fp32.

    Without native bf16 or fp16 products, a CPU is many times slower in that type than in fp32, or refuses it. The
    products are then fp32.
    """
    single = "packed fp32" if onednn_fp32() else "fp32"
    if kind == torch.float32:
        return "packed" if onednn_fp32() else "plain"
    inputs, matrix = _example()
    ways: dict[str, Callable[[], Tensor]] = {"fp32": partial(F.linear, inputs, matrix)}
    if onednn_fp32():
        ways = {single: partial(_packed_product, inputs, _reordered(matrix))}
    for name in ("packed", "plain"):
        try:
            rows, numbers = inputs.to(kind), matrix.to(kind)
            way = partial(F.linear, rows, numbers)
            if name == "packed":
                way = partial(_packed_product, rows, _reordered(numbers))
            if _error(way(), inputs, matrix) < torch.finfo(kind).eps * 1000:
                ways[name] = way
        except (AttributeError, RuntimeError):  # this torch or this CPU does not have it
            continue
    seconds = best_seconds(ways)
    # Native or not makes a factor of two or more: two processes do not choose differently.
    return next((name for name in ("packed", "plain") if seconds.get(name, math.inf) < seconds[single]), single)


def _example(rows: int = 64) -> tuple[Tensor, Tensor]:
    """Inputs [rows, 256] and a matrix [768, 256]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 256, generator=generator), torch.randn(768, 256, generator=generator)


def _error(product: Tensor, inputs: Tensor, matrix: Tensor) -> float:
    return float((product.double() - inputs.double() @ matrix.double().t()).abs().max())


def best_seconds(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The time of each on one thread: the best of several rounds in which all take turns."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    best = dict.fromkeys(ways, math.inf)
    try:
        for _ in range(ROUNDS):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                best[name] = min(best[name], time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return best


@cache
def best_int8_kernel() -> str:
    """The fastest kernel that is exact on this CPU; of kernels with similar times the first in `INT8_KERNELS`."""
    seconds = int8_kernel_seconds()
    fastest = min(seconds.values())
    return next(name for name, spent in seconds.items() if spent <= CLEARLY_SLOWER * fastest)


def int8_kernel_seconds() -> dict[str, float]:
    """Seconds of a product [64, 256] · [256, 512] by each kernel that is exact on this CPU.

    A small product first excludes kernels that take a hundred times as long as the fastest: without the right
    instructions, oneDNN computes some products by a reference implementation that takes seconds.
    """
    names = list(INT8_KERNELS)
    for rows, columns, size in ((16, 32, 64), (64, 256, 512)):
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randint(ZERO - INPUT_LEVEL, ZERO + INPUT_LEVEL + 1, (rows, columns), generator=generator)
        matrix = torch.randint(-WEIGHT_LEVEL, WEIGHT_LEVEL + 1, (size, columns), generator=generator)
        # The largest values of either sign, with which kernels that accumulate in 16 bits would saturate.
        inputs[0], inputs[1], matrix[0], matrix[1] = ZERO + INPUT_LEVEL, ZERO - INPUT_LEVEL, WEIGHT_LEVEL, -WEIGHT_LEVEL
        exact = (inputs - ZERO).double() @ matrix.double().t()
        ways: dict[str, Callable[[], Tensor]] = {}
        for name in names:
            try:
                way = partial(INT8_KERNELS[name](matrix.to(torch.int8), torch.ones(size)), inputs.to(torch.uint8))
                if torch.equal(way().double(), exact):
                    ways[name] = way
            except (AttributeError, RuntimeError):  # this torch or this CPU does not have it
                continue
        seconds = best_seconds(ways)
        names = [name for name in ways if seconds[name] < 100 * min(seconds.values())]
    return {name: seconds[name] for name in names}


def _unsigned(numbers: Tensor, scale: Tensor) -> Kernel:
    """OneDNN's product of unsigned inputs and a matrix in oneDNN's layout."""
    return _onednn(numbers, scale, ZERO)


def _signed(numbers: Tensor, scale: Tensor) -> Kernel:
    """OneDNN's product of signed inputs, which some CPUs multiply faster."""
    product = _onednn(numbers, scale, 0)
    return lambda inputs: product(_without_zero(inputs))


def _onednn(numbers: Tensor, scale: Tensor, zero: int) -> Kernel:
    packed = torch.ops.onednn.qlinear_prepack(numbers, None)
    zeros = torch.zeros(len(numbers), dtype=torch.int64)
    fixed: tuple[Any, ...] = (packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    product = torch.ops.onednn.qlinear_pointwise.default
    return cast("Kernel", lambda inputs: product(inputs, 1.0, zero, *fixed))


def _int_mm(numbers: Tensor, scale: Tensor) -> Kernel:
    """PyTorch's product of int8 matrices."""
    columns = numbers.t()
    return lambda inputs: torch._int_mm(_without_zero(inputs), columns).float().mul_(scale)


def _plain(numbers: Tensor, scale: Tensor) -> Kernel:
    """The reference: fp32 holds these sums exactly up to 2,097 columns, and to seven digits above."""
    rows = numbers.float()
    return lambda inputs: F.linear(inputs.float().sub_(ZERO), rows).mul_(scale)


def _without_zero(inputs: Tensor) -> Tensor:
    """Unsigned inputs as signed ones."""
    return inputs.view(torch.int8) - ZERO


# Functions that make a kernel from integers [M, K] and scales [M].
INT8_KERNELS: dict[str, Callable[[Tensor, Tensor], Kernel]] = {
    "onednn": _unsigned,
    "onednn signed": _signed,
    "int_mm": _int_mm,
    "plain": _plain,
}
