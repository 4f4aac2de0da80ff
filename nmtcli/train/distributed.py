"""Distributed training: the ranks, what they exchange on the host, and sharded weights.

Each process is a rank with a device of its own. Gradients travel over NCCL or gloo by PyTorch's own engines; what the
processes agree on beside them (token counts, a signal, scores) goes through gloo on the host, so that no GPU is waited
for. One process alone is the same code with nothing to agree on.
"""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from nmtcli.errors import RankLost, UserError
from nmtcli.models.device import DeviceName
from nmtcli.models.transformer import EncoderLayer, FeedForward

PATIENCE = timedelta(hours=1)  # for a rank that saves or translates while the others wait
LOST = ("Connection closed by peer", "Connection reset by peer", "gloo", "NCCL", "Broken pipe")


def launched() -> bool:
    """Whether torchrun or `--gpus` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """The number of this process among those that train together; 0 alone."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of this process among those on this machine: which GPU it uses."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def check_gpus(device: DeviceName) -> None:
    """Raise UserError on all ranks of a machine if it has fewer GPUs than ranks."""
    ranks, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device != "cpu" and torch.cuda.is_available() and ranks > gpus:
        raise UserError(
            f"{ranks} processes on this machine, and PyTorch sees {gpus} GPUs only",
            f"give torchrun --nproc-per-node {gpus}, or train with --device cpu",
        )


class Ranks:
    """The processes that train together, as one of them sees it."""

    def __init__(self, rank: int = 0, size: int = 1, host: dist.ProcessGroup | None = None) -> None:
        """`host` is a group over gloo; None for one process alone."""
        self.rank, self.size, self.host = rank, size, host

    @property
    def first(self) -> bool:
        """Whether this rank writes files and output."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Each value summed over the ranks; in float64, so counts stay exact."""
        if self.host is None:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.host)
        return total.tolist()

    def most(self, value: int) -> int:
        """The largest value that a rank has."""
        if self.host is None:
            return value
        largest = torch.tensor(value)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.host)
        return int(largest)

    def gather(self, value: Any) -> list[Any]:
        """What each rank has, in their order, on all of them. JSON: nothing that is received is ever run."""
        if self.host is None:
            return [value]
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        padded = torch.zeros(self.most(len(content)), dtype=torch.uint8)
        padded[: len(content)] = content
        sizes = [torch.zeros((), dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor(len(content)), group=self.host)
        everyone = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(everyone, padded, group=self.host)
        return [json.loads(bytes(one[:size].tolist())) for one, size in zip(everyone, sizes, strict=True)]

    def share(self, objective: nn.Module, sharded: bool, device: torch.device) -> "Parallel":
        """The objective as the ranks compute it together: replicated, or with its weights divided among them."""
        if self.host is None:
            return Parallel(objective)
        return Sharded(objective, self, device) if sharded else Replicated(objective, self)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun started, of which this process is one; this process alone where it was not torchrun.

    Raises RankLost where another rank ends meanwhile.
    """
    if not launched():
        yield Ranks()
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        host = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(dist.get_rank(), dist.get_world_size(), host)
        dist.barrier(host)  # who leaves first would look lost to the others
        dist.destroy_process_group()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or any(word in str(error) for word in LOST)):
            raise
        raise RankLost(
            f"rank {rank()}: another rank ended, or the connection failed: {_reason(error)}",
            "run the same command to resume from the last checkpoint",
        ) from error


def _reason(error: RuntimeError) -> str:
    """The line of an error of gloo or NCCL that says most."""
    _, _, last = str(error).partition("Last error:")  # of NCCL
    return (last.strip() or str(error) or type(error).__name__).splitlines()[0]


class Parallel:
    """How gradients of the ranks become one: called like the objective, its gradients are means over the ranks.

    This class is one process, with nothing to average.
    """

    even = False  # whether every rank must call it equally often

    def __init__(self, module: nn.Module) -> None:
        """`module` is the objective."""
        self.module = module

    def __call__(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        """The objective."""
        return self.module(*inputs)  # type: ignore[no-any-return]

    def unsynchronised(self) -> AbstractContextManager[Any]:
        """Context without gradient exchange; `reduce` or a call outside of it does that later."""
        return nullcontext()

    def reduce(self) -> None:
        """Average the gradients over the ranks, after calls in `unsynchronised`."""

    def forget(self) -> None:
        """Discard the gradients."""
        self.module.zero_grad(set_to_none=True)


class Replicated(Parallel):
    """The whole model on every rank (DistributedDataParallel)."""

    module: DistributedDataParallel

    def __init__(self, objective: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        with warnings.catch_warnings():
            # newer versions of torch have another name for broadcast_buffers, older ones do not know it
            warnings.simplefilter("ignore", FutureWarning)
            super().__init__(DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True))

    def unsynchronised(self) -> AbstractContextManager[Any]:
        """See `Parallel`."""
        return self.module.no_sync()

    def reduce(self) -> None:
        """See `Parallel`."""
        for weight in self.module.parameters():
            if weight.requires_grad:
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                dist.all_reduce(gradient)
                weight.grad = gradient.div_(self.ranks.size)


class Sharded(Parallel):
    """Weights, gradients and optimizer state divided among the ranks (FSDP2), for models that do not fit on one.

    Encoder layers and feed-forward sublayers of a Transformer are put together one at a time while they compute; all
    else, which the decoder uses out of turn, for the whole of a forward and backward pass. Gradients are averaged at
    every call, also in `unsynchronised`: kept whole they would not fit.
    """

    even = True

    def __init__(self, objective: nn.Module, ranks: Ranks, device: torch.device) -> None:
        mesh = init_device_mesh(device.type, (ranks.size,))
        for module in reversed(list(objective.modules())):  # inner ones first
            if isinstance(module, EncoderLayer | FeedForward):
                fully_shard(module, mesh=mesh)
        super().__init__(cast("nn.Module", fully_shard(objective, mesh=mesh)))


def whole(tensor: Tensor) -> Tensor:
    """A tensor gathered from its shards; all ranks must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, present on every rank, sharded like `like`."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
