"""The position of a training run."""

from dataclasses import dataclass

from nmtcli.config import Precision


@dataclass
class TrainState:
    """Counters and factors of a run, beside weights, optimizer and the best validations. Saved as JSON."""

    step: int = 0  # updates done
    epoch: int = 0
    block: int = 0  # of this epoch
    position: int = 0  # updates done in this block
    target_tokens: int = 0
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0  # spent in updates
    rate_scale: float = 1.0  # of the learning rate
    given: str = ""  # the settings that recovery may change; when they change, what it changed is undone
    precision: Precision | None = None  # after recovery, another than that of the settings
    recoveries: int = 0  # number of recoveries from divergence
    diverged_at: int = 0  # the update of the last divergence
    returned_to: int = 0  # and the checkpoint loaded after it
