"""The optimizer that the settings name, and its state by the names of the weights."""

from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nmtcli.config import TrainConfig

BETAS, EPSILON = (0.9, 0.98), 1e-9  # Vaswani et al. 2017, section 5.3
MOMENTS = {"adam": 2, "adamw": 2, "sgd": 0}  # tensors of a weight's size that an optimizer keeps of it


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer of the weights that are trained; its learning rate is set before each update.

    Weight decay takes lr · decay · w away from a matrix beside the gradient's step (Loshchilov and Hutter 2019), which
    for SGD is the same as an L2 penalty.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [{"params": weights}]
    if config.weight_decay:
        matrices = [weight for weight in weights if is_matrix(weight)]
        vectors = [weight for weight in weights if not is_matrix(weight)]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
    match config.optimizer:
        case "adam":
            return Adam(groups, betas=BETAS, eps=EPSILON, fused=True)
        case "adamw":
            return AdamW(groups, betas=BETAS, eps=EPSILON, weight_decay=0.0, fused=True)
        case "sgd":
            return SGD(groups, fused=True)


def is_matrix(weight: Tensor) -> bool:
    """Whether a weight is more than a vector: gains, biases and score vectors are not, however they are laid out."""
    return sum(size > 1 for size in weight.shape) > 1


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer state of each weight: `adam.exp_avg.decoder.feed.weight` and so on."""
    kind = _kind(optimizer)
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {
        f"{kind}.{key}.{names[id(weight)]}": value
        for weight, memory in optimizer.state.items()
        for key, value in memory.items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load what `optimizer_tensors` returned; other tensors are ignored, a weight without tensors starts anew."""
    kind = _kind(optimizer)
    saved: dict[str, dict[str, Tensor]] = {}  # name of the weight, key, value
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        key, _, weight_name = rest.partition(".")
        if prefix == kind:
            saved.setdefault(weight_name, {})[key] = tensor
    names = {id(weight): name for name, weight in model.named_parameters()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]  # in the order of state_dict
    state = {number: saved.get(names[id(weight)], {}) for number, weight in enumerate(weights)}
    state = {number: memory for number, memory in state.items() if memory}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def state_bytes(model: nn.Module, config: TrainConfig) -> int:
    """Memory of weights, their gradients, the optimizer's moments and the moving average."""
    trained = sum(weight.nbytes for weight in model.parameters() if weight.requires_grad)
    everything = sum(weight.nbytes for weight in model.parameters())
    return everything + trained * (1 + MOMENTS[config.optimizer] + (config.ema is not None))


def _kind(optimizer: Optimizer) -> str:
    return type(optimizer).__name__.lower()
