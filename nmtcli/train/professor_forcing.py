"""Professor forcing (Lamb et al. 2016): the decoder's states are to look alike after true tokens and after its own.

A discriminator reads the decoder's states over a whole sentence, its behaviour, and learns to tell teacher forcing from
free running. The model minimises its ordinary loss and that of a discriminator that takes one for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from nmtcli.config import Config
from nmtcli.models.cells import RecurrentLayer, flip_index, last_of, take
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.batches import Batch
from nmtcli.train.distributed import Ranks
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.optimizers import load_optimizer, optimizer_tensors
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.scheduled_sampling import mixed_input
from nmtcli.vocabulary import EOS, PAD

# Section 3 of the paper. Below the first accuracy the discriminator has nothing to teach the model yet; above the
# second it has nothing to learn.
FOOLED_ABOVE, TRAINED_BELOW = 0.75, 0.99
CHANCE = 0.5
PREFIX = "discriminator."  # of its tensors in a checkpoint, which the optimizer of the model does not read


class Discriminator(nn.Module):
    """A bidirectional GRU over states, whose last states a network with two hidden layers turns into a score."""

    def __init__(self, state_size: int, size: int) -> None:
        super().__init__()
        self.forwards = RecurrentLayer(state_size, size, "gru")
        self.backwards = RecurrentLayer(state_size, size, "gru")
        self.judge = nn.Sequential(
            nn.Linear(2 * size, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1)
        )

    def forward(self, states: Tensor, length: Tensor) -> Tensor:
        """States [B, T, H] of sentences of these lengths [B] to scores [B], positive for teacher forcing."""
        forwards, _ = self.forwards(states)
        backwards, _ = self.backwards(take(states, flip_index(length, states.size(1))))
        ends = torch.cat([last_of(forwards, length), last_of(backwards, length)], dim=-1)  # [B, 2 · size]
        return self.judge(ends)[:, 0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Verdicts:
    """The discriminator's scores [B] of the same sentences by teacher forcing and running free, and what follows."""

    forced: Tensor
    free: Tensor

    @property
    def discriminator_loss(self) -> Tensor:
        """-log D(forced) - log(1 - D(free)), summed (C_d of the paper)."""
        return F.softplus(-self.forced).sum() + F.softplus(self.free).sum()

    @property
    def adversarial_loss(self) -> Tensor:
        """-log D(free) - log(1 - D(forced)), summed: C_f and C_t of the paper."""
        return F.softplus(-self.free).sum() + F.softplus(self.forced).sum()

    @property
    def correct(self) -> Tensor:
        """How many of the 2B sequences the discriminator takes for what they are."""
        return ((self.forced > 0).sum() + (self.free < 0).sum()).float()


class ProfessorForcing(nn.Module):
    """The ordinary loss, and what keeps the states of the decoder alike whatever it reads.

    Free running is a translation drawn from the model, of the length of the reference at most. Its states are computed
    again from the drawn tokens, all positions at once and with gradients: the paper does not differentiate through the
    draw. The log has the perplexity and accuracy of teacher forcing, the discriminator's accuracy, and both losses of a
    sentence, which is two sequences.
    """

    log_sums = 6

    def __init__(self, loss: TrainingLoss, config: Config) -> None:
        """The discriminator starts from weights that depend on the seed alone."""
        super().__init__()
        self.loss, self.weight = loss, config.train.professor_weight
        torch.manual_seed(config.train.seed)
        self.discriminator = Discriminator(config.model.decoder.hidden_size, config.train.professor_hidden_size)
        self.discriminator.to(next(loss.parameters()).device)
        self.accuracy = CHANCE  # of the discriminator in the last update, on all ranks

    @property
    def model(self) -> Seq2Seq:
        """The model that is trained."""
        return self.loss.model

    @property
    def fooling(self) -> bool:
        """Whether the model learns from the discriminator in this update."""
        return self.accuracy > FOOLED_ABOVE

    def forward(self, batch: Batch, update: int) -> tuple[Tensor, Tensor]:
        """See `Objective`. The sums are those of cross entropy, both losses, right verdicts and sequences.

        The discriminator's loss adds its gradients, to its own weights only, and nothing to the value.
        """
        tokens = mixed_input(self.model, batch, probability=0.0)
        decoded = self.model.decode(batch.source, batch.source_length, batch.target_input)
        loss, sums = self.loss.of_decoded(decoded, batch)
        with torch.set_grad_enabled(self.fooling):
            free = self.model.decode(batch.source, batch.source_length, tokens).states
        assert decoded.states is not None and free is not None
        lengths = (batch.target_output != PAD).sum(dim=1), free_length(tokens, batch)
        verdicts, adversarial = self.judge((decoded.states, free), lengths)
        loss = loss + self.weight * adversarial
        loss = loss + verdicts.discriminator_loss - verdicts.discriminator_loss.detach()
        counts = [verdicts.discriminator_loss, verdicts.adversarial_loss, verdicts.correct]
        counts.append(torch.full_like(verdicts.correct, 2 * len(tokens)))
        return loss, torch.cat([sums, torch.stack(counts).detach()])

    def judge(self, states: tuple[Tensor, Tensor], lengths: tuple[Tensor, Tensor]) -> tuple[Verdicts, Tensor]:
        """Verdicts on the states [B, T, H] by teacher forcing and running free, and the model's adversarial loss.

        The verdicts have gradients for the discriminator only; the loss, a scalar, for the states only, and none where
        the model is not `fooling`. All of it is computed in fp32.
        """
        with torch.autocast(states[0].device.type, enabled=False):
            leaves = [one.detach().float().requires_grad_(self.fooling) for one in states]
            forced, free = (self.discriminator(*pair) for pair in zip(leaves, lengths, strict=True))
            verdicts = Verdicts(forced, free)
            adversarial = verdicts.adversarial_loss
            if not self.fooling:
                return verdicts, torch.zeros_like(adversarial)
            slopes = torch.autograd.grad(adversarial, leaves, retain_graph=True)
            # linear in the states, with the loss's gradient: the discriminator's weights get nothing of it
            linear = (states[0].float() * slopes[0]).sum() + (states[1].float() * slopes[1]).sum()
            return verdicts, adversarial.detach() + linear - linear.detach()

    def metrics(self, sums: Sequence[float], tokens: int, update: int) -> dict[str, float]:
        """See `Objective`."""
        *ordinary, discriminator_loss, adversarial_loss, correct, sequences = sums
        return {
            **self.loss.metrics(ordinary, tokens, update),
            "discriminator_accuracy": correct / sequences,
            "discriminator_loss": 2 * discriminator_loss / sequences,
            "adversarial_loss": 2 * adversarial_loss / sequences,
        }


class Adversary:
    """The discriminator in training: its optimizer and accuracy, which a checkpoint has too."""

    def __init__(self, objective: ProfessorForcing, config: Config, ranks: Ranks) -> None:
        self.objective, self.config, self.ranks = objective, config, ranks
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> Adam:
        named = list(self.objective.discriminator.named_parameters())
        return Adam([{"params": named}], lr=self.config.train.professor_learning_rate, fused=True)

    def update(self, sums: Tensor, precision: MixedPrecision) -> None:
        """Apply the discriminator's gradients if it still has to learn, and note its accuracy.

        `sums` [7] are those of this rank (`Gradients.compute`). Call this before the model's optimizer takes its step.
        """
        if self.objective.accuracy < TRAINED_BELOW:
            precision.step(self.optimizer, self.config.train.clip_norm, last=False)
        correct, sequences = self.ranks.sum(*sums[-2:].tolist())
        self.objective.accuracy = correct / sequences

    def tensors(self) -> dict[str, Tensor]:
        """All that a resume needs, by name."""
        weights = {f"weight.{name}": weight for name, weight in self._weights().items()}
        accuracy = {"accuracy": torch.tensor(self.objective.accuracy, dtype=torch.float64)}
        return {PREFIX + name: one for name, one in (weights | optimizer_tensors(self.optimizer) | accuracy).items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load what `tensors` returned; other tensors are ignored. Starts anew where a run had another objective, or a
        discriminator of another size.
        """
        own = {name.removeprefix(PREFIX): one for name, one in tensors.items() if name.startswith(PREFIX)}
        saved = {name: own[f"weight.{name}"].shape for name in self._weights() if f"weight.{name}" in own}
        if saved != {name: weight.shape for name, weight in self._weights().items()}:
            self.restart()
            return
        with torch.no_grad():
            for name, weight in self._weights().items():
                weight.copy_(own[f"weight.{name}"])
        load_optimizer(self.optimizer, own)
        self.objective.accuracy = own["accuracy"].item()

    def restart(self) -> None:
        """Go back to the start of the run."""
        fresh = ProfessorForcing(self.objective.loss, self.config).discriminator
        with torch.no_grad():
            for weight, first in zip(self._weights().values(), fresh.parameters(), strict=True):
                weight.copy_(first)
        self.optimizer = self._new_optimizer()
        self.objective.accuracy = CHANCE

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight.detach() for name, weight in self.objective.discriminator.named_parameters()}


def free_length(tokens: Tensor, batch: Batch) -> Tensor:
    """The number of positions [B] of a free run whose input is tokens [B, T]: up to the one that says EOS."""
    length = (batch.target_output != PAD).sum(dim=1)
    ended = tokens == EOS
    return torch.where(ended.any(dim=1), ended.int().argmax(dim=1), length)
