"""The training objectives behind one interface: cross entropy, scheduled sampling, minimum risk, professor forcing."""

from nmtcli.config import Config
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.professor_forcing import ProfessorForcing
from nmtcli.train.risk import MinimumRisk
from nmtcli.train.scheduled_sampling import ScheduledSampling

Objective = TrainingLoss | ScheduledSampling | MinimumRisk | ProfessorForcing
"""A loss for the trainer, which divides the sum over an update's batches by the update's target tokens.

Called with a batch and the number of its update (from 1), it returns the loss sum, a scalar with gradients, and
`log_sums` sums for the log, a vector without gradients. Both depend only on these arguments, what a checkpoint has and
torch's random numbers, so that a resume is exact. `metrics(sums, tokens, update)` turns the sums over several updates
and all ranks, with the number of their target tokens, into what the log shows beside the loss.
"""


def make_objective(config: Config, loss: TrainingLoss, tokenizers: Tokenizers) -> Objective:
    """The objective named in the settings, for the model in `loss`."""
    if config.train.objective == "mrt":
        return MinimumRisk(loss.model, tokenizers.target, config)
    if config.train.objective == "professor_forcing":
        return ProfessorForcing(loss, config)
    if config.train.scheduled_sampling is not None:
        return ScheduledSampling(loss, config.train)
    return loss
