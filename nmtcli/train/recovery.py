"""Recovery from divergence: back to an earlier checkpoint, with a lower learning rate or a safer precision."""

from collections.abc import Sequence
from typing import Any

from nmtcli.errors import CheckFailed
from nmtcli.train.batches import Batch, write_pairs
from nmtcli.train.checkpointing import Learner
from nmtcli.train.precision import safer
from nmtcli.train.state import TrainState

RECOVERIES = 5  # at most, in a run
FEW = 2  # skipped updates in a row


class Recovery:
    """Detects divergence of a run and recovers from it."""

    def __init__(self, learner: Learner, total: int) -> None:
        """`total` is the number of updates of the run."""
        self.learner, self.total = learner, total

    def diverged(self) -> bool:
        """Whether too many updates in a row were skipped, or all of the last ones.

        It waits for the device, but only every `train.max_skipped` updates.
        """
        step, most = self.learner.state.step, self.learner.config.train.max_skipped
        last = step >= self.total
        if last and not self.learner.is_finite():
            return True
        return (last or step % most == 0) and self.learner.skipped.in_a_row >= min(most, self.total)

    def is_sound(self) -> bool:
        """Whether the last update was applied and left finite weights."""
        return self.learner.skipped.in_a_row == 0 and self.learner.is_finite()

    def is_saveable(self) -> bool:
        """Whether the weights are finite and only few updates were skipped, as fp16 does when its scale grows."""
        return self.learner.skipped.in_a_row <= FEW and self.learner.is_finite()

    def recover(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """Go back to a checkpoint as `train.on_divergence` says; returns a report. All ranks must call this.

        The checkpoint is the last one; where training diverges again soon after it, the one before. Raises CheckFailed
        where the settings or the number of recoveries forbid it; the `batches` of the last update are then saved.
        """
        learner, settings, state, run = self.learner, self.learner.config.train, self.learner.state, self.learner.run
        step = state.step
        skipped = learner.skipped.in_a_row
        reason = f"{skipped} consecutive updates, up to {step:,}, had non-finite gradients"
        if not skipped:
            reason = f"weights are not finite after update {step:,}"
        steps = run.steps()
        if settings.on_divergence == "stop" or state.recoveries >= RECOVERIES:
            self._give_up(batches, reason)
        precision = (
            safer(learner.precision.name, learner.device) if settings.on_divergence == "safer_precision" else None
        )
        recoveries, rate_scale = state.recoveries + 1, state.rate_scale * (1.0 if precision else 0.5)
        precision = precision or state.precision
        kept = steps_to_keep(steps, state, settings.max_skipped)
        learner.ranks.most(0)  # every rank has read the directory
        if learner.ranks.first:
            run.set_aside(steps[len(kept) :])
        if kept:
            learner.load(run.checkpoint(kept[-1]))
        else:
            learner.restart()
        if not kept or precision != learner.state.precision:  # else the loss scale of the checkpoint goes on
            learner.set_precision(precision)
        learner.skipped.reset(0)
        state = learner.state
        state.recoveries, state.rate_scale, state.diverged_at, state.returned_to = (
            recoveries,
            rate_scale,
            step,
            state.step,
        )
        report = {"step": step, "to_step": state.step, "reason": reason}
        return {**report, "precision": learner.precision.name, "rate_scale": rate_scale}

    def _give_up(self, batches: Sequence[Batch], reason: str) -> None:
        learner, run, ranks = self.learner, self.learner.run, self.learner.ranks
        path = run.path / f"diverged-{learner.state.step}.jsonl"
        write_pairs(path, batches, learner.data.tokenizers, ranks)
        if learner.state.recoveries:
            ranks.most(0)  # every rank has read the directory
            if ranks.first:
                run.bring_back()
            ranks.most(0)  # and now it is as before the first return
            if steps := run.steps():
                learner.load(run.checkpoint(steps[-1]))  # for the pointers
        raise CheckFailed(
            f"training diverged: {reason}; the last batch is in {path}",
            "lower train.learning_rate, or choose train.precision=fp32; the last checkpoint is unchanged",
        )


def steps_to_keep(steps: Sequence[int], state: TrainState, max_skipped: int) -> list[int]:
    """The checkpoints up to the one to go back to: the last, or the one before it after a quick second divergence."""
    again = 0 < state.step <= state.diverged_at + max_skipped
    return [step for step in steps if not again or step < state.returned_to] or list(steps[:1])
