"""What training minimises: a batch and the number of the update in, a loss sum out."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nmtcli.config import Config
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.train.batches import Batch
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.risk import MinimumRisk
from nmtcli.train.scheduled_sampling import ScheduledSampling


class Objective(Protocol):
    """A loss for the trainer, which divides the sum over an update's batches by the update's target tokens.

    It depends on the batch, the model, the number of the update and torch's random numbers only, so that a resume is
    exact.
    """

    def __call__(self, batch: Batch, update: int) -> Tensor:
        """The loss sum of a batch of update number `update` (from 1), with gradients."""

    def report(self, update: int) -> dict[str, float]:
        """What the training log says beside the loss; what is averaged begins anew."""


@dataclass(frozen=True)
class CrossEntropy:
    """Label-smoothed cross entropy, every true token fed."""

    loss: TrainingLoss

    def __call__(self, batch: Batch, update: int) -> Tensor:
        """See `Objective`."""
        return self.loss(batch)  # type: ignore[no-any-return]

    def report(self, update: int) -> dict[str, float]:
        """See `Objective`."""
        return {}


def make_objective(config: Config, loss: TrainingLoss, tokenizers: Tokenizers) -> Objective:
    """The objective that the settings ask for, of the model in `loss`."""
    if config.train.objective == "mrt":
        return MinimumRisk(loss.model, tokenizers.target, config.train, config.search)
    if config.train.scheduled_sampling is not None:
        return ScheduledSampling(loss, config.train)
    return CrossEntropy(loss)
