"""Where training stands."""

from dataclasses import dataclass

from nmtcli.config import Precision


@dataclass
class TrainState:
    """Where training stands, beside weights, optimizer and the best validations. JSON."""

    step: int = 0  # updates done
    epoch: int = 0
    block: int = 0  # of this epoch
    position: int = 0  # updates done in this block
    target_tokens: int = 0
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0  # spent in updates
    rate_scale: float = 1.0  # of the learning rate
    precision: Precision | None = None  # where it is no longer that of the settings
    recoveries: int = 0  # how often training went back to a checkpoint
    diverged_at: int = 0  # the update at which it last had to
    returned_to: int = 0  # and the checkpoint it went back to
