"""The learning rate at each update: a linear warm-up, then a fall."""

import math
from dataclasses import dataclass
from typing import Self

from nmtcli.config import Config
from nmtcli.config.section import settled

# Where halving begins, as a fraction of all updates, and how often it happens from there to the end.
HALVINGS = {"luong5": (1, 2, 5), "luong10": (1, 2, 10), "luong234": (2, 3, 4)}


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the update, of `total`, and of one factor that is kept with the run's state.

    That factor, `rate_scale`, begins at one. Schedule plateau halves it; so may whatever mends a run that diverged.
    """

    kind: str
    peak: float
    warmup: int
    total: int
    plateau_patience: int = 1

    @classmethod
    def of(cls, config: Config, total: int) -> Self:
        """The schedule of a run of `total` updates."""
        settings = config.train
        warmup = settled(settings.warmup_updates)
        if settings.schedule == "noam":  # Vaswani et al. 2017, equation 3, at its highest
            peak = (config.model.decoder.hidden_size * warmup) ** -0.5
        else:
            peak = settled(settings.learning_rate)
        return cls(settings.schedule, peak, warmup, total, settings.plateau_patience)

    def rate(self, update: int, rate_scale: float = 1.0) -> float:
        """The rate of update number `update`, from 1."""
        return self.peak * self._share(update) * rate_scale

    def after_validation(self, rate_scale: float, without_improvement: int) -> float:
        """The next factor of the learning rate, after this number of validations in a row without improvement."""
        halve = without_improvement > 0 and without_improvement % self.plateau_patience == 0
        return rate_scale / 2 if self.kind == "plateau" and halve else rate_scale

    def _share(self, update: int) -> float:
        """The rate as a share of its peak."""
        warmup = self.warmup if self.kind == "noam" else min(self.warmup, self.total)
        if self.kind in HALVINGS:
            return min(1.0, update / max(warmup, 1)) * 0.5 ** self._halvings(update)
        if update <= warmup:
            return update / warmup
        progress = min(1.0, (update - warmup) / max(self.total - warmup, 1))  # 0 to 1
        match self.kind:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * progress))
            case "linear":
                return 1 - progress
            case "inverse_sqrt" | "noam":
                return math.sqrt(max(warmup, 1) / update)
            case _:  # constant, and plateau between its halvings
                return 1.0

    def _halvings(self, update: int) -> int:
        """How often a Luong schedule has halved the rate, in whole numbers so that no rounding moves a step."""
        part, parts, times = HALVINGS[self.kind]
        beyond = (update - 1) * parts - self.total * part  # updates since halving began, times `parts`
        rest = self.total * (parts - part)
        return 0 if beyond < 0 else min(times, 1 + beyond * times // rest)
