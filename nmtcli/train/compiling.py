"""Transformer layers compiled by PyTorch (`train.compile`): an update launches fewer and larger kernels.

Each layer is compiled for itself, with dynamic shapes: all layers of a kind share the code, and batches of another
length need no new one. Everything else, and all of validation, stays eager; so do the layers of an SSRU decoder, whose
loop over positions the compiler would unroll for each length.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nmtcli.models.multihead import SelfAttention
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.models.transformer import DecoderLayer, EncoderLayer


def compile_layers(model: Seq2Seq, backend: str = "inductor") -> int:
    """Have the Transformer layers compiled when they are first called; returns how many there are."""
    layers = [module for module in model.modules() if _is_compiled(module)]
    for layer in layers:
        layer.compile(dynamic=True, backend=backend)
    return len(layers)


def _is_compiled(module: nn.Module) -> bool:
    if isinstance(module, DecoderLayer):
        return isinstance(module.mixer, SelfAttention)
    return isinstance(module, EncoderLayer)


@contextmanager
def eager_layers(compiled: bool) -> Iterator[None]:
    """Context in which compiled layers run as they are written: search has many shapes, each of them rare."""
    if not compiled:  # and the compiler is never loaded
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def compute_or_stay_eager(compute: Callable[[], object]) -> str | None:
    """Call `compute`, which needs compiled layers for the first time.

    Where the compiler fails, layers stay eager in this process, `compute` is called once more, and the reason is
    returned.
    """
    try:
        compute()
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = " ".join(str(error).split("\n")[:2])  # what failed, and how
        torch.compiler.set_stance("force_eager")
        compute()
        return reason
    return None
