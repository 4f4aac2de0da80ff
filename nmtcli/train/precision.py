"""Mixed precision: autocast for bf16 and fp16, loss scaling for fp16."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from nmtcli.config import Precision
from nmtcli.errors import UserError
from nmtcli.models.device import has_bf16
from nmtcli.train.distributed import whole

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """The precision, with `auto` replaced for this device. A run keeps it, so that a resume computes the same."""
    if precision == "auto":
        if has_bf16(device):
            return "bf16"
        return "fp16" if device.type == "cuda" else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise UserError("train.precision fp16 needs a CUDA device", "use bf16 or fp32 on a CPU")
    return precision


def safer(precision: Precision, device: torch.device) -> Precision | None:
    """The next precision that overflows later or rounds less; None after fp32."""
    if precision == "fp16" and has_bf16(device):
        return "bf16"
    return None if precision == "fp32" else "fp32"


class MixedPrecision:
    """Runs the forward pass in a precision and keeps the gradients of fp16 from underflow."""

    def __init__(self, precision: Precision, device: torch.device, sharded: bool = False) -> None:
        """`sharded` weights are stepped without the scaler, which would judge each shard alone."""
        self.name, self.dtype = precision, DTYPES.get(precision)
        self.device = device
        self.fixed = precision != "fp16"  # the scale stays one
        self.sharded = sharded
        self.scaler = torch.amp.GradScaler(device.type, init_scale=2.0**16, enabled=not self.fixed)
        if not self.fixed:
            self.scaler.scale(torch.zeros((), device=device))  # makes the scale, also of a rank without pairs

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of a forward pass."""
        return torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext()

    def step(self, optimizer: torch.optim.Optimizer, clip_norm: float, last: bool = True) -> Tensor:
        """Clip and apply the gradients; returns their norm, on the device. One that is not finite is not applied.

        `last` is False for all but the last of several optimizers in an update.
        """
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        if not self.fixed:
            self.scaler.unscale_(optimizer)
        elif not self.sharded:
            return self._step_at_once(optimizer, weights, clip_norm)
        norm = whole(torch.nn.utils.clip_grad_norm_(weights, clip_norm))
        if not self.fixed:
            self.scaler.step(optimizer)
            if last:
                self.scaler.update()
        elif norm.isfinite():
            optimizer.step()
        return norm

    @staticmethod
    def _step_at_once(optimizer: torch.optim.Optimizer, weights: list[Tensor], clip_norm: float) -> Tensor:
        """`step` without passes over the gradients but the norm's: the fused optimizer divides and skips.

        The host does not wait for a GPU.
        """
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        optimizer.grad_scale = (norm / clip_norm).clamp(min=1.0)  # type: ignore[attr-defined]
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
        return norm

    def state(self) -> dict[str, Any]:
        """The scaler's numbers, for JSON."""
        return {} if self.fixed else dict(self.scaler.state_dict())

    def load_state(self, state: dict[str, Any]) -> None:
        """Load saved numbers."""
        if state and not self.fixed:
            self.scaler.load_state_dict(state)
