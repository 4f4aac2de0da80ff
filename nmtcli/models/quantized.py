"""A model for translation with packed matrices (`nmtcli.models.packed`), from trained or stored weights.

Trained weights have the names of `Seq2Seq`. `reduce_weights` converts them to tensors for a file: a matrix `NAME` in
int8 becomes `NAME` [M, K] in int8 and `NAME.scale` [M] in fp32, one in half precision `NAME` in bf16 or fp16; vectors
(biases, gains) stay fp32. `assemble` builds a model from such tensors without an fp32 copy. So a model quantized at
load time and one stored quantized are the same, bit for bit:

    tensors = reduce_weights(model, checkpoint.model_weights(model), "int8")    # to a safetensors file
    model = assemble(config, source_size, target_size, tensors)                 # from it
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nmtcli.config import ModelConfig
from nmtcli.models.packed import HALVES, FloatMatrix, Int8Matrix, PackedMatrix, Precision, quantize
from nmtcli.models.seq2seq import Seq2Seq

SCALE = ".scale"
MIN_ROWS = 8  # packing a smaller matrix saves nothing


class PackedLinear(nn.Linear):
    """A linear layer with a packed matrix."""

    def __init__(self, like: nn.Linear, matrix: PackedMatrix) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = like.in_features, like.out_features, like.bias
        self.weight = matrix  # type: ignore[assignment]

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., K] to [..., M]."""
        return cast("Tensor", self.weight(inputs, self.bias))  # type: ignore[operator]


class PackedEmbedding(nn.Module):
    """An embedding table with a packed matrix."""

    def __init__(self, matrix: PackedMatrix) -> None:
        super().__init__()
        self.weight = matrix

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] to [..., E]."""
        return self.weight.take(ids)


class PackedRecurrent(nn.Module):
    """The weights of a recurrent layer for `RecurrentLayer`; it has no kernel for whole sequences."""

    def __init__(self, like: nn.RNNBase, matrices: Mapping[str, PackedMatrix]) -> None:
        super().__init__()
        self.weight_ih_l0, self.weight_hh_l0 = matrices["weight_ih_l0"], matrices["weight_hh_l0"]
        self.bias_ih_l0, self.bias_hh_l0 = cast("nn.Parameter", like.bias_ih_l0), cast("nn.Parameter", like.bias_hh_l0)

    @property
    def all_weights(self) -> list[list[PackedMatrix | Tensor]]:
        """The same as in `nn.LSTM` and `nn.GRU` of one layer."""
        return [[self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]]


def _places(model: Seq2Seq) -> Iterator[tuple[str, nn.Module, dict[str, str]]]:
    """Each module with matrices: its path and, by attribute, their names in `named_parameters`."""
    for path, module in list(model.named_modules()):
        attributes: tuple[str, ...] = ()
        if isinstance(module, nn.RNNBase):
            attributes = "weight_ih_l0", "weight_hh_l0"
        elif isinstance(module, nn.Linear | nn.Embedding):
            attributes = ("weight",)
        if attributes:
            yield path, module, {one: model.tied.get(f"{path}.{one}", f"{path}.{one}") for one in attributes}


def matrices(model: Seq2Seq) -> dict[str, nn.Module]:
    """The names of the weights that can be packed, each with its module; of a tied weight the first name."""
    return {
        name: module
        for _, module, names in _places(model)
        for attribute, name in names.items()
        if len(getattr(module, attribute)) >= MIN_ROWS
    }


def reduce_weights(model: Seq2Seq, weights: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Trained weights by name in a lower precision, as tensors for a file.

    `model` only says which of them are matrices; its values are not used.
    """
    packed = matrices(model).keys()
    reduced: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name not in packed:
            reduced[name] = weight.float()
        elif precision == "int8":
            reduced[name], scale = quantize(weight.float())
            reduced[name + SCALE] = scale[:, 0].contiguous()
        else:
            reduced[name] = weight.to(HALVES[precision])
    return reduced


def stored_precision(tensors: Mapping[str, Tensor]) -> Precision | None:
    """The precision of tensors made by `reduce_weights`; None for trained weights in fp32."""
    kinds = {tensor.dtype for tensor in tensors.values()}
    if torch.int8 in kinds:
        return "int8"
    halves: list[Precision] = [name for name, kind in HALVES.items() if kind in kinds]
    return halves[0] if halves else None


def empty_model(config: ModelConfig, source_size: int, target_size: int) -> Seq2Seq:
    """A model in evaluation mode on the meta device: weights have shapes but no memory."""
    with torch.device("meta"), _NoRandomInit():
        return Seq2Seq(config, source_size, target_size).eval()


class _NoRandomInit(TorchFunctionMode):
    """Skips random initialisation on the meta device, for which PyTorch would load its compiler (a second or more)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `TorchFunctionMode`."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):  # of tensors and of nn.init
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def assemble(config: ModelConfig, source_size: int, target_size: int, tensors: Mapping[str, Tensor]) -> Seq2Seq:
    """The model of tensors made by `reduce_weights`, on the CPU, for translation only.

    Raises ValueError with the names of missing, unknown or misshapen tensors.
    """
    model = empty_model(config, source_size, target_size)
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    whole = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    scales = {name + SCALE: shapes[name][:1] for name in matrices(model) if name in whole}
    expected = {**shapes, **scales}
    wrong = sorted(expected.keys() ^ tensors.keys()) or [n for n in expected if tensors[n].shape != expected[n]]
    if wrong:
        raise ValueError(", ".join(wrong[:3]))
    packed: dict[str, PackedMatrix] = {}
    rest = {name: tensor for name, tensor in tensors.items() if name not in scales}
    for name, owner in matrices(model).items():
        scale = tensors.get(name + SCALE)
        matrix = FloatMatrix(tensors[name]) if scale is None else Int8Matrix(tensors[name], scale)
        if isinstance(owner, nn.RNNBase) and name.startswith("encoder."):
            # PyTorch's kernel for whole sequences needs fp32, and takes a fraction of the time of single steps.
            rest[name] = matrix.take(torch.arange(len(tensors[name])))
        else:
            packed[name] = matrix
            del rest[name]
    for path, module, names in _places(model):
        _pack(model, path, module, {one: packed[name] for one, name in names.items() if name in packed})
    model.load_state_dict(rest, strict=True, assign=True)
    return model.requires_grad_(requires_grad=False)


def pack_floats(model: Seq2Seq) -> Seq2Seq:
    """Pack the matrices of a model in place for a search in fp32 on a CPU; returns the model.

    Embeddings stay as they are, and so do recurrent encoder layers, which have a kernel for whole sequences.
    """
    for path, module, names in _places(model):
        if isinstance(module, nn.Linear) or (isinstance(module, nn.RNNBase) and path.startswith("decoder.")):
            _pack(model, path, module, {one: FloatMatrix(getattr(module, one).detach()) for one in names})
    return model.requires_grad_(requires_grad=False)


def _pack(model: Seq2Seq, path: str, module: nn.Module, packed: Mapping[str, PackedMatrix]) -> None:
    """Replace the module at `path` by its packed counterpart, if any matrix is packed."""
    if not packed:
        return
    parent, _, last = path.rpartition(".")
    new: nn.Module
    if isinstance(module, nn.RNNBase):
        new = PackedRecurrent(module, packed)
    elif isinstance(module, nn.Linear):
        new = PackedLinear(module, packed["weight"])
    else:
        new = PackedEmbedding(packed["weight"])
    setattr(model.get_submodule(parent), last, new)
