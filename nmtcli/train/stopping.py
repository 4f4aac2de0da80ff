"""Which validations were the best, and when to stop for want of a better one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nmtcli.config import Config


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


class Validation(NamedTuple):
    """A validation as it is compared with others."""

    score: float  # more is better
    loss: float
    step: int

    @classmethod
    def of(cls, entry: Sequence[Any]) -> "Validation":
        """From JSON; older versions stored no loss."""
        score, *loss, step = entry
        return cls(float(score), math.inf if not loss or loss[0] is None else float(loss[0]), int(step))

    @property
    def rank(self) -> tuple[float, float]:
        """The least is the best."""
        return -self.score, self.loss


@dataclass
class EarlyStopping:
    """Keeps the list of the best validations and counts those without improvement.

    A score is the metric with its sign, so that more is always better; of equal scores the lower loss is better. What
    was measured is kept with the scores: those of another measure are not compared with. With other decoding settings
    they are kept until the next validation, so that a run that has ended keeps its best checkpoint.
    """

    metric: str  # one of METRICS
    patience: int | None
    keep_best: int
    measure: str = ""  # the metric, and on what its number depends
    best: list[Validation] = field(default_factory=list)  # best first
    without_improvement: int = 0  # validations in a row
    validated_step: int = 0
    scored: str | None = None  # the measure of the validations, if it is another one

    @classmethod
    def of(cls, config: Config) -> "EarlyStopping":
        """For a new run with these settings."""
        train, search = config.train, config.search
        measure: str = train.valid_metric
        if measure in ("bleu", "chrf"):
            measure += f" of {train.valid_sentences} sentences"
            changed = search.model_dump(exclude_defaults=True, exclude={"batch_tokens"})  # which affects speed only
            measure += "".join(f", {key} {value}" for key, value in changed.items())
        elif measure == "loss":
            measure += f" with label smoothing {train.label_smoothing:g}"
        return cls(train.valid_metric, train.patience, train.keep_best, measure)

    def validation(self, metrics: Mapping[str, Any], step: int) -> Validation:
        """What a validation is compared by."""
        value = float(metrics[self.metric])
        if METRICS[self.metric].sign > 0 and self._is_zero(value):
            value = 0.0  # what prints as zero is one: the loss decides
        loss = float(metrics.get("loss", math.inf))
        return Validation(METRICS[self.metric].sign * value, loss if math.isfinite(loss) else math.inf, step)

    def validated(self, metrics: Mapping[str, Any], step: int) -> bool:
        """Take in a validation; returns whether it is the best so far. One that is not a number never is.

        While BLEU, chrF or accuracy is zero, as at the beginning, patience is not used up.
        """
        if self.scored is not None:
            self.best, self.without_improvement, self.scored = [], 0, None
        new = self.validation(metrics, step)
        finite = math.isfinite(new.score)
        improved = finite and (not self.best or new.rank < self.best[0].rank)
        if finite:
            self.best = sorted([*self.best, new], key=lambda one: (one.rank, one.step))[: self.keep_best]
        started = not (METRICS[self.metric].sign > 0 and finite and self.best[0].score == 0)
        if improved or started:
            self.without_improvement = 0 if improved else self.without_improvement + 1
        self.validated_step = step
        return improved

    def _is_zero(self, value: float) -> bool:
        form = METRICS[self.metric].form
        return format(value, form) == format(0.0, form)

    @property
    def best_step(self) -> int | None:
        """The update of the best validation."""
        return self.best[0].step if self.best else None

    def reason(self) -> str | None:
        """The reason to stop, or None."""
        if self.patience is None or self.without_improvement < self.patience:
            return None
        metric = METRICS[self.metric]
        if not self.best:
            return f"{metric.name} was never a number in {self.without_improvement} validations"
        score, _, step = self.best[0]
        value = format(abs(score), metric.form)
        waited = f"{self.without_improvement} validations (patience {self.patience})"
        return f"{metric.name} did not improve in {waited}; best {value} at update {step:,}"

    def state(self) -> dict[str, Any]:
        """For JSON; `checkpoint.RunDirectory.select` reads `best`."""
        keys = ("best", "without_improvement", "validated_step")
        state = {"measure": self.scored or self.measure, **{key: getattr(self, key) for key in keys}}
        finite = [(score, loss if math.isfinite(loss) else None, step) for score, loss, step in self.best]
        return {**state, "best": finite}

    def load(self, state: dict[str, Any]) -> None:
        """Load what `state` returned, from a dictionary that may have more keys.

        With another metric, start anew; with other decoding settings, at the next validation.
        """
        measure = state.get("measure", self.measure)  # older versions lack the key
        if measure.partition(", ")[0] != self.measure.partition(", ")[0]:
            self.best, self.without_improvement, self.validated_step = [], 0, 0
            return
        self.scored = measure if measure != self.measure else None  # only decoding settings differ
        self.best = [Validation.of(entry) for entry in state["best"]][: self.keep_best]
        self.without_improvement = state["without_improvement"]
        self.validated_step = state["validated_step"]
