"""What the training log says of the updates since its last line."""

import math
import time

import torch
from torch import Tensor

from nmtcli.train.distributed import Ranks


class Meter:
    """Averages over the updates since the last reading. Loss and norm stay on the device until they are read."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was measured; called after time spent on something else."""
        self.loss: Tensor | float = 0.0
        self.norm: Tensor | float = 0.0
        self.tokens = self.updates = 0
        self.seconds = self.waiting = 0.0
        self.clock = time.perf_counter()

    def data_ready(self) -> None:
        """The batches of an update have come."""
        self.waiting += time.perf_counter() - self.clock

    def update_done(self, loss: Tensor, tokens: int, norm: Tensor) -> float:
        """Count an update of so many tokens on all ranks, `loss` being the sum of this one's share.

        Returns the seconds since the last one, data included.
        """
        self.loss = self.loss + loss
        self.tokens += tokens
        self.updates += 1
        self.norm = self.norm + norm
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        self.seconds += seconds
        return seconds

    def read(self, ranks: Ranks) -> dict[str, float]:
        """Loss a token, gradient norm, target tokens a second, share of the time spent waiting for data."""
        loss = ranks.sum(float(self.loss))[0] / self.tokens
        metrics = {
            "loss": loss if math.isfinite(loss) else math.inf,
            "gradient_norm": float(self.norm) / self.updates,
            "tokens_per_second": self.tokens / self.seconds,
            "data_wait": self.waiting / self.seconds,
        }
        if isinstance(self.norm, Tensor) and self.norm.is_cuda:
            metrics["gpu_memory"] = torch.cuda.max_memory_allocated(self.norm.device)
        self.restart()
        return metrics
