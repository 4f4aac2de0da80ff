"""A model for translation whose matrices are packed (`nmtcli.models.packed`), made of trained weights or stored ones.

Trained weights and their names are those of `Seq2Seq`. `reduce_weights` makes tensors for a file of them: of a matrix
`NAME` in int8 there is `NAME` [M, K] in int8 and `NAME.scale` [M] in fp32, and a half-precision one is `NAME` in bf16
or fp16; vectors (biases, gains) stay fp32. `assemble` makes a model of such tensors, without ever having it in fp32. So
a model that is quantised as it is loaded and one that was stored so are the same, bit for bit:

    tensors = reduce_weights(model, checkpoint.model_weights(model), "int8")    # to a safetensors file
    model = assemble(config, source_size, target_size, tensors)                 # from it
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nmtcli.config import ModelConfig
from nmtcli.models.packed import HALVES, FloatMatrix, Int8Matrix, PackedMatrix, Precision, quantize
from nmtcli.models.seq2seq import Seq2Seq

SCALE = ".scale"
LEAST_ROWS = 8  # fewer save nothing


class PackedLinear(nn.Linear):
    """A linear layer by a packed matrix."""

    def __init__(self, like: nn.Linear, matrix: PackedMatrix) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = like.in_features, like.out_features, like.bias
        self.weight = matrix  # type: ignore[assignment]

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., K] to [..., M]."""
        return cast("Tensor", self.weight(inputs, self.bias))  # type: ignore[operator]


class PackedEmbedding(nn.Module):
    """A table of embeddings."""

    def __init__(self, matrix: PackedMatrix) -> None:
        super().__init__()
        self.weight = matrix

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] to [..., E]."""
        return self.weight.take(ids)


class PackedRecurrent(nn.Module):
    """The weights of a recurrent layer as `RecurrentLayer` asks for them; it has no kernel for whole sequences."""

    def __init__(self, like: nn.RNNBase, matrices: Mapping[str, PackedMatrix]) -> None:
        super().__init__()
        self.weight_ih_l0, self.weight_hh_l0 = matrices["weight_ih_l0"], matrices["weight_hh_l0"]
        self.bias_ih_l0, self.bias_hh_l0 = cast("nn.Parameter", like.bias_ih_l0), cast("nn.Parameter", like.bias_hh_l0)

    @property
    def all_weights(self) -> list[list[PackedMatrix | Tensor]]:
        """As of `nn.LSTM` and `nn.GRU` of one layer."""
        return [[self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]]


def matrices(model: Seq2Seq) -> dict[str, nn.Module]:
    """The names of the weights of a model that can be packed, and whose they are; of a tied one the first name."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    found: dict[str, nn.Module] = {}
    for module in model.modules():
        for name in _matrix_names(module):
            weight = getattr(module, name)
            if isinstance(weight, nn.Parameter) and len(weight) >= LEAST_ROWS:
                found[names[id(weight)]] = module
    return found


def reduce_weights(model: Seq2Seq, weights: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Trained weights of a model, by their names, in a lower precision, as tensors for a file.

    `model` only tells which of them are matrices; its own weights are not looked at.
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
    """What `reduce_weights` made these tensors in; None for trained weights in fp32."""
    kinds = {tensor.dtype for tensor in tensors.values()}
    if torch.int8 in kinds:
        return "int8"
    halves: list[Precision] = [name for name, kind in HALVES.items() if kind in kinds]
    return halves[0] if halves else None


def empty_model(config: ModelConfig, source_size: int, target_size: int) -> Seq2Seq:
    """A model in evaluation mode whose weights have shapes but no memory."""
    with torch.device("meta"), _NothingDrawn():
        return Seq2Seq(config, source_size, target_size).eval()


class _NothingDrawn(TorchFunctionMode):
    """No random numbers for weights without memory: for these PyTorch would load its compiler, a second or more."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `TorchFunctionMode`."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):  # of tensors and of nn.init
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def assemble(config: ModelConfig, source_size: int, target_size: int, tensors: Mapping[str, Tensor]) -> Seq2Seq:
    """The model of tensors that `reduce_weights` made, on the CPU, for translation only.

    Raises ValueError with the names of tensors that do not fit.
    """
    model = empty_model(config, source_size, target_size)
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    whole = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    scales = {name + SCALE: shapes[name][:1] for name in matrices(model) if name in whole}
    expected = {**shapes, **scales}
    wrong = sorted(expected.keys() ^ tensors.keys()) or [n for n in expected if tensors[n].shape != expected[n]]
    if wrong:
        raise ValueError(", ".join(wrong[:3]))
    names = {id(weight): name for name, weight in model.named_parameters()}
    packed: dict[str, PackedMatrix] = {}
    rest = {name: tensor for name, tensor in tensors.items() if name not in scales}
    for name, owner in matrices(model).items():
        scale = tensors.get(name + SCALE)
        matrix = FloatMatrix(tensors[name]) if scale is None else Int8Matrix(tensors[name], scale)
        if isinstance(owner, nn.RNNBase) and name.startswith("encoder."):
            # PyTorch's kernel for whole sequences has fp32 alone, and takes a fraction of what single steps would.
            rest[name] = matrix.take(torch.arange(len(tensors[name])))
        else:
            packed[name] = matrix
            del rest[name]
    for path, module in list(model.named_modules(remove_duplicate=False)):
        own = {name: packed.get(names.get(id(getattr(module, name)), "")) for name in _matrix_names(module)}
        given = {name: matrix for name, matrix in own.items() if matrix is not None}
        if given:
            parent, _, last = path.rpartition(".")
            setattr(model.get_submodule(parent), last, _packed(module, given))
    model.load_state_dict(rest, strict=True, assign=True)
    return model.requires_grad_(requires_grad=False)


def pack_floats(model: Seq2Seq) -> Seq2Seq:
    """The same model with its matrices packed for a search in fp32 on a CPU; returns it.

    Embeddings stay, and recurrent layers of the encoder, which have a kernel for whole sequences.
    """
    packed: dict[int, PackedMatrix] = {}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.Linear) or (isinstance(module, nn.RNNBase) and path.startswith("decoder.")):
            given = {}
            for name in _matrix_names(module):
                weight = getattr(module, name)
                if id(weight) not in packed:
                    packed[id(weight)] = FloatMatrix(weight.detach())
                given[name] = packed[id(weight)]
            parent, _, last = path.rpartition(".")
            setattr(model.get_submodule(parent), last, _packed(module, given))
    return model.requires_grad_(requires_grad=False)


def _matrix_names(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.RNNBase):
        return "weight_ih_l0", "weight_hh_l0"
    return ("weight",) if isinstance(module, nn.Linear | nn.Embedding) else ()


def _packed(module: nn.Module, own: Mapping[str, PackedMatrix]) -> nn.Module:
    """The module with packed matrices in the place of its own."""
    if isinstance(module, nn.RNNBase):
        return PackedRecurrent(module, own)
    if isinstance(module, nn.Linear):
        return PackedLinear(module, own["weight"])
    return PackedEmbedding(own["weight"])
