"""Which validations were the best, and when to stop for want of a better one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nmtcli.config import TrainConfig


class Metric(NamedTuple):
    """How a metric is compared and printed."""

    name: str
    sign: int  # 1 where more is better, -1 where less is
    form: str


METRICS = {
    "bleu": Metric("BLEU", 1, ".1f"),
    "chrf": Metric("chrF", 1, ".1f"),
    "loss": Metric("loss", -1, ".3f"),
    "perplexity": Metric("perplexity", -1, ".2f"),
    "accuracy": Metric("accuracy", 1, ".1%"),
}


@dataclass
class EarlyStopping:
    """Keeps the list of the best validations and counts those without improvement.

    A score is the metric with its sign, so that more is always better.
    """

    metric: str  # one of METRICS
    patience: int | None
    keep_best: int
    best: list[tuple[float, int]] = field(default_factory=list)  # (score, step), best first
    without_improvement: int = 0  # validations in a row
    validated_step: int = 0

    @classmethod
    def of(cls, config: TrainConfig) -> "EarlyStopping":
        """For a new run with these settings."""
        return cls(config.valid_metric, config.patience, config.keep_best)

    def score(self, metrics: Mapping[str, Any]) -> float:
        """What a validation is compared by."""
        return METRICS[self.metric].sign * float(metrics[self.metric])

    def validated(self, metrics: Mapping[str, Any], step: int) -> bool:
        """Take in a validation; returns whether it is the best so far. One that is not a number never is."""
        score = self.score(metrics)
        improved = math.isfinite(score) and (not self.best or score > self.best[0][0])
        if math.isfinite(score):
            self.best = sorted([*self.best, (score, step)], key=lambda entry: (-entry[0], entry[1]))[: self.keep_best]
        self.without_improvement = 0 if improved else self.without_improvement + 1
        self.validated_step = step
        return improved

    @property
    def best_step(self) -> int | None:
        """The update of the best validation."""
        return self.best[0][1] if self.best else None

    def reason(self) -> str | None:
        """Why to stop, None to go on."""
        if self.patience is None or self.without_improvement < self.patience:
            return None
        metric = METRICS[self.metric]
        if not self.best:
            return f"{metric.name} was never a number in {self.without_improvement} validations"
        score, step = self.best[0]
        found = format(abs(score), metric.form)
        waited = f"{self.without_improvement} of {self.patience} validations"
        return f"{metric.name} did not improve in {waited}; best {found} at {step:,}"

    def state(self) -> dict[str, Any]:
        """For JSON; `checkpoint.RunDirectory.select` reads `best`."""
        keys = ("best", "without_improvement", "validated_step")
        return {key: getattr(self, key) for key in keys}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave, out of a dictionary that may hold more."""
        self.best = [(score, step) for score, step in state["best"]][: self.keep_best]
        self.without_improvement = state["without_improvement"]
        self.validated_step = state["validated_step"]
