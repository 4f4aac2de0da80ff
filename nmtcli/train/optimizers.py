"""The optimizer that the settings name, and its state by the names of the weights."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nmtcli.config import TrainConfig

BETAS, EPSILON = (0.9, 0.98), 1e-9  # Vaswani et al. 2017, section 5.3
ENCODER = "encoder"  # marks a group of parameters with the encoder's learning rate
MOMENTS = {"adam": 2, "adamw": 2, "sgd": 0}  # tensors of a weight's size that an optimizer keeps of it


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer of the weights that are trained; its learning rate is set before each update.

    Weight decay takes lr · decay · w away from a matrix beside the gradient's step (Loshchilov and Hutter 2019), which
    for SGD is the same as an L2 penalty.
    """
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [{"params": weights}]
    if config.encoder_learning_rate is not None:
        of_encoder = [(name, weight) for name, weight in weights if name.startswith("encoder.")]
        others = [(name, weight) for name, weight in weights if not name.startswith("encoder.")]
        groups = [{"params": others}, {"params": of_encoder, ENCODER: True}]
    if config.weight_decay:
        groups = [part for group in groups for part in _decayed(group, config.weight_decay)]
    groups = [group for group in groups if group["params"]]
    match config.optimizer:
        case "adam":
            return Adam(groups, betas=BETAS, eps=EPSILON, fused=True)
        case "adamw":
            return AdamW(groups, betas=BETAS, eps=EPSILON, weight_decay=0.0, fused=True)
        case "sgd":
            return SGD(groups, fused=not config.sharded)  # PyTorch's fused SGD takes no sharded weights


def _decayed(group: dict[str, Any], decay: float) -> Iterator[dict[str, Any]]:
    """A group in two: its matrices, with weight decay, and the rest."""
    matrices = [(name, weight) for name, weight in group["params"] if is_matrix(weight)]
    vectors = [(name, weight) for name, weight in group["params"] if not is_matrix(weight)]
    yield {**group, "params": matrices, "weight_decay": decay}
    yield {**group, "params": vectors, "weight_decay": 0.0}


def set_rate(optimizer: Optimizer, rate: float, encoder_share: float) -> None:
    """Set the learning rate; that of the encoder's own groups is a share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * encoder_share if group.get(ENCODER) else rate


def is_matrix(weight: Tensor) -> bool:
    """Whether a weight is more than a vector: gains, biases and score vectors are not, however they are laid out."""
    return sum(size > 1 for size in weight.shape) > 1


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer state of each weight: `adam.exp_avg.decoder.feed.weight` and so on."""
    kind = _kind(optimizer)
    return {
        f"{kind}.{key}.{name}": value
        for name, weight in _named_weights(optimizer)
        for key, value in optimizer.state.get(weight, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load what `optimizer_tensors` returned; other tensors are ignored, a weight without tensors starts anew."""
    kind = _kind(optimizer)
    saved: dict[str, dict[str, Tensor]] = {}  # name of the weight, key, value
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        key, _, weight_name = rest.partition(".")
        if prefix == kind:
            saved.setdefault(weight_name, {})[key] = tensor
    state = {number: saved[name] for number, (name, _) in enumerate(_named_weights(optimizer)) if name in saved}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def state_bytes(model: nn.Module, config: TrainConfig) -> int:
    """Memory of weights, their gradients, the optimizer's moments and the moving average."""
    trained = sum(weight.nbytes for weight in model.parameters() if weight.requires_grad)
    everything = sum(weight.nbytes for weight in model.parameters())
    return everything + trained * (1 + MOMENTS[config.optimizer] + (config.ema is not None))


def _named_weights(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The weights by the names they had in `make_optimizer`, in the order of `state_dict`."""
    for group in optimizer.param_groups:
        yield from zip(group["param_names"], group["params"], strict=True)


def _kind(optimizer: Optimizer) -> str:
    return type(optimizer).__name__.lower()
