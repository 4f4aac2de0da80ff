"""The learning rate at each update: a linear warm-up, then a fall."""

import math

from nmtcli.config import TrainConfig


def learning_rate(update: int, total: int, config: TrainConfig) -> float:
    """The rate of update number `update` (from 1) of `total`."""
    warmup = min(config.warmup_updates, total)
    if update <= warmup:
        return config.learning_rate * update / warmup
    progress = (update - warmup) / max(total - warmup, 1)  # 0 to 1
    match config.schedule:
        case "cosine":
            share = 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
        case "linear":
            share = 1 - min(progress, 1)
        case "inverse_sqrt":
            share = math.sqrt(max(warmup, 1) / update)
        case "constant":
            share = 1.0
    return config.learning_rate * share
