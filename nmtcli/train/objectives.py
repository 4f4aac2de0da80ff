"""What training minimises: a batch and the number of the update in, a loss sum out."""

from torch import Tensor, nn

from nmtcli.config import Config
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.train.batches import Batch
from nmtcli.train.distributed import Ranks
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.risk import MinimumRisk
from nmtcli.train.scheduled_sampling import ScheduledSampling


class CrossEntropy(nn.Module):
    """Label-smoothed cross entropy, every true token fed."""

    def __init__(self, loss: TrainingLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, batch: Batch, update: int) -> Tensor:
        """See `Objective`."""
        return self.loss(batch)  # type: ignore[no-any-return]

    def report(self, update: int, ranks: Ranks) -> dict[str, float]:
        """See `Objective`."""
        return self.loss.report(ranks)


Objective = CrossEntropy | ScheduledSampling | MinimumRisk
"""A loss for the trainer, which divides the sum over an update's batches by the update's target tokens.

Called with a batch and the number of its update (from 1) it gives the loss sum, with gradients. It depends on these,
the model and torch's random numbers only, so that a resume is exact. `report` tells what the training log says beside
the loss, over all ranks; what is averaged begins anew.
"""


def make_objective(config: Config, loss: TrainingLoss, tokenizers: Tokenizers) -> Objective:
    """The objective that the settings ask for, of the model in `loss`."""
    if config.train.objective == "mrt":
        return MinimumRisk(loss.model, tokenizers.target, config)
    if config.train.scheduled_sampling is not None:
        return ScheduledSampling(loss, config.train)
    return CrossEntropy(loss)
