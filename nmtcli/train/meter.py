"""Averages over the updates since the last line of the training log."""

import math
import time

import torch
from torch import Tensor

from nmtcli.train.distributed import Ranks
from nmtcli.train.objectives import Objective
from nmtcli.train.state import TrainState


class Meter:
    """Averages over the updates since the last reading. Sums and norm stay on the device until they are read."""

    def __init__(self, objective: Objective, ranks: Ranks) -> None:
        self.objective, self.ranks = objective, ranks
        self.splits = 0  # micro-batches of this rank that ran out of memory and were halved, since the start
        self.restart()

    def restart(self) -> None:
        """Discard what was measured; called after time spent on something else."""
        self.sums: Tensor | float = 0.0  # [1 + log_sums]
        self.norm: Tensor | float = 0.0
        self.tokens = self.updates = 0
        self.seconds = self.waiting = 0.0
        self.clock = self.asked = time.perf_counter()

    def data_asked(self) -> None:
        """The batches of an update are asked for."""
        self.asked = time.perf_counter()

    def data_ready(self) -> None:
        """The batches of an update are loaded."""
        self.waiting += time.perf_counter() - self.asked

    def update_done(self, sums: Tensor, tokens: int, norm: Tensor) -> float:
        """Count an update of `tokens` target tokens on all ranks; `sums` are those of this rank (`Gradients.compute`).

        Returns the seconds since the last one, data included.
        """
        self.sums = self.sums + sums
        self.tokens += tokens
        self.updates += 1
        self.norm = self.norm + norm
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        self.seconds += seconds
        return seconds

    def read(self, state: TrainState, learning_rate: float) -> dict[str, float]:
        """The averages over all ranks, the counts of the run so far and the objective's metrics; then restarts."""
        assert isinstance(self.sums, Tensor)
        splits, loss_sum, *sums = self.ranks.sum(self.splits, *self.sums.tolist())
        loss = loss_sum / self.tokens
        metrics = {
            "loss": loss if math.isfinite(loss) else math.inf,
            "gradient_norm": float(self.norm) / self.updates,
            "tokens_per_second": self.tokens / self.seconds,
            "data_wait": self.waiting / self.seconds,
        }
        if isinstance(self.norm, Tensor) and self.norm.is_cuda:
            metrics["gpu_memory"] = torch.cuda.max_memory_allocated(self.norm.device)
        metrics |= {"learning_rate": learning_rate, "skipped": state.skipped_updates, "out_of_memory": int(splits)}
        metrics |= self.objective.metrics(sums, self.tokens, state.step)
        self.restart()
        return metrics
