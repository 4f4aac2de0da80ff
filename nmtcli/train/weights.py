"""The weights of a model that is trained: in one piece, or divided among ranks."""

from pathlib import Path

import torch
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.distributed import divided, whole


class Weights:
    """Those of a model, and tensors named after them."""

    def __init__(self, model: Seq2Seq, sharded: bool) -> None:
        self.model, self.sharded = model, sharded

    def whole(self) -> dict[str, Tensor]:
        """In one piece, by name; all ranks have a part in this."""
        return {name: whole(weight) for name, weight in checkpoint.model_weights(self.model).items()}

    def put(self, weights: dict[str, Tensor], path: Path) -> None:
        """Take these, in one piece, which were read from `path`."""
        own = checkpoint.model_weights(self.model)
        parts = {name: divided(weight, own[name]) if name in own else weight for name, weight in weights.items()}
        checkpoint.put_weights(self.model, parts, path)

    def parts(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """This rank's share of tensors named after weights: all of them, where weights are not sharded.

        Cloned: what was read lies in the memory map of a file that will be deleted.
        """
        if not self.sharded:
            return {key: tensor.clone() for key, tensor in tensors.items()}
        weights = checkpoint.model_weights(self.model)
        named = {key: next((w for name, w in weights.items() if key.endswith(f".{name}")), None) for key in tensors}
        return {
            key: tensor if (like := named[key]) is None or not tensor.dim() else divided(tensor, like)
            for key, tensor in tensors.items()
        }

    def finite(self) -> bool:
        """Whether this rank's share has no infinite number, nor one that is none."""
        own = [getattr(weight, "to_local", lambda one=weight: one)() for weight in self.model.parameters()]
        return bool(torch.stack([weight.isfinite().all() for weight in own]).all())
