"""Where training goes on from: the newest checkpoint that is whole, or an earlier one where training diverged."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.checkpoint import RunDirectory
from nmtcli.errors import DataError
from nmtcli.train.state import TrainState
from nmtcli.train.stopping import EarlyStopping


def load_newest(run: RunDirectory, load: Callable[[Path], None]) -> list[tuple[int, DataError]]:
    """Take up the newest checkpoint that is whole; returns the damaged ones after it, newest first.

    Raises DataError where none is whole, or one is of a newer format.
    """
    damaged: list[tuple[int, DataError]] = []
    steps = run.steps()
    for step in reversed(steps):
        try:
            load(run.checkpoint(step))
            return damaged
        except checkpoint.NewerFormat:
            raise
        except DataError as error:
            damaged.append((step, error))
    if damaged:
        lines = "\n".join(error.message for _, error in damaged)
        raise DataError(lines, "no checkpoint of this run is whole: choose another -o to begin anew")
    return []


def steps_to_keep(steps: Sequence[int], state: TrainState, max_skipped: int) -> list[int]:
    """The checkpoints up to the one to go back to: the last, or where training diverges again at once, the one before
    that of the last time.
    """
    again = 0 < state.step <= state.diverged_at + max_skipped
    return [step for step in steps if not again or step < state.returned_to] or list(steps[:1])


def read_state(
    directory: Path, step: int, stopping: EarlyStopping
) -> tuple[TrainState, EarlyStopping, dict[str, Any], dict[str, Tensor]]:
    """The state of training at an update, validations like `stopping`, the loss scale's numbers, and the tensors beside
    the weights; raises DataError where something is missing or damaged.
    """
    raw, tensors = checkpoint.read_trainer_state(directory)
    try:
        scaler = dict(raw["scaler"])
        stopping = replace(stopping)
        stopping.load(raw)
        names = {field.name for field in fields(TrainState)} & raw.keys()
        state = TypeAdapter(TrainState).validate_python({name: raw[name] for name in names})
        if state.step != step:
            raise ValueError(f"it is of update {state.step:,}")
    except (KeyError, TypeError, ValueError) as error:
        words = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
        raise DataError(f"{directory / checkpoint.STATE}: damaged ({words})") from None
    return state, stopping, scaler, tensors
