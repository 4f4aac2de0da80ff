"""Exponential moving average of the weights while training, and checkpoint averaging at its end."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nmtcli.checkpoint import WEIGHTS, RunDirectory, average_weights, hide, model_weights, put_weights, read_json
from nmtcli.errors import DataError
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.staging import staged, write_whole
from nmtcli.train.stopping import EarlyStopping

AVERAGE, RECORD = "average", "average.json"
_RAW = "raw."


class MovingAverage:
    """The exponential moving average of the weights that are trained.

    It starts from the current weights. With a decay close to one the average would stay near them for long, so the
    decay grows: min(decay, (1 + t) / (10 + t)) at update t.
    """

    def __init__(self, model: Seq2Seq, decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        self.averages = {name: weight.clone() for name, weight in self.weights.items()}
        self._swapped = False

    def update(self, update: int) -> None:
        """Add the weights after update number `update`, from 1, to the average."""
        decay = min(self.decay, (1 + update) / (10 + update))
        move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        move(list(self.averages.values()), list(self.weights.values()), update)

    @contextmanager
    def swap(self) -> Iterator[None]:
        """Context in which the model has the average weights; afterwards it has the trained ones again, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def tensors(self) -> dict[str, Tensor]:
        """The trained weights, inside or outside of `swap`: what a resume needs besides the saved average."""
        raw = self.averages if self._swapped else self.weights
        return {_RAW + name: weight for name, weight in raw.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the model's weights, a saved average, as the average, and load the trained weights from `tensors`.

        Other tensors are ignored. A weight missing in `tensors` was not averaged before and keeps its value.
        """
        for name, weight in self.weights.items():
            self.averages[name].copy_(weight)
        put_trained(self.weights, tensors)

    def _exchange(self) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                kept = weight.clone()
                weight.copy_(self.averages[name])
                self.averages[name].copy_(kept)
        self._swapped = not self._swapped


def put_trained(weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Give weights that are a saved average the trained values in `tensors`, where there are some."""
    with torch.no_grad():
        for name, weight in weights.items():
            if (raw := tensors.get(_RAW + name)) is not None:
                weight.copy_(raw)


@contextmanager
def _readable(parts: Sequence[Path]) -> Iterator[None]:
    """Context that says what to do where one of the checkpoints is damaged."""
    try:
        yield
    except DataError as error:
        names = ", ".join(part.name for part in parts)
        raise DataError(
            error.message, f"the average needs {names}: restore it, or resume with --set train.average=null"
        ) from None


@contextmanager
def averaged(model: Seq2Seq, directories: list[Path]) -> Iterator[None]:
    """Context in which the model has the mean weights of checkpoints; afterwards its own again, bit for bit."""
    before = {name: weight.clone() for name, weight in model_weights(model).items()}
    with torch.no_grad():
        put_weights(model, average_weights(directories), directories[0] / WEIGHTS)
    try:
        yield
    finally:
        for name, weight in model_weights(model).items():
            weight.copy_(before[name])


@dataclass(frozen=True)
class FinalAverage:
    """The average of checkpoints at the end of a run: `checkpoints/average`, described in its `average.json`."""

    run: RunDirectory
    selection: str  # last:5 or best:3
    stopping: EarlyStopping

    @property
    def directory(self) -> Path:
        """Its path."""
        return self.run.checkpoints / AVERAGE

    def parts(self) -> list[Path]:
        """The checkpoints to average: as many as `selection` says, or all of a short run."""
        kind, _, number = self.selection.partition(":")
        steps = self.run.steps()
        if kind == "best":
            steps = sorted({one.step for one in self.stopping.best[: int(number)]} & set(steps))
        return [self.run.checkpoint(step) for step in steps[-int(number) :]]

    def make(
        self,
        model: Seq2Seq,
        measure: Callable[[], dict[str, Any] | None],
        write: Callable[[Path], None],
        writing: bool = True,
    ) -> dict[str, Any] | None:
        """Average, measure, write and let `best` name it if it scores better than every checkpoint.

        `measure` returns the validation metrics of the averaged `model`, or None after a signal: then nothing is
        written. `write` saves the model to a directory. All ranks call this; one has `writing`. Returns the metrics,
        with `checkpoints` and `improved`. An existing average of the same checkpoints is not computed again; a better
        one, of the run before it was prolonged, is kept.
        """
        parts = self.parts()
        names = [directory.name for directory in parts]
        record = self._record()
        if record is None or record.get("checkpoints") != names:
            with _readable(parts), averaged(model, parts):
                if (metrics := measure()) is None:
                    return None
                new = {"checkpoints": names, "measure": self.stopping.measure, **metrics}
                if record is None or record["measure"] != new["measure"] or self._rank(new) <= self._rank(record):
                    record = new
                    if writing:
                        self._write(record, write)
        best = self.stopping.best
        comparable = record["measure"] == (self.stopping.scored or self.stopping.measure)
        improved = not best or (comparable and self._rank(record) < best[0].rank)
        if improved and writing:
            write_whole(self.run.path / "best", f"checkpoints/{AVERAGE}\n".encode())
        return {key: value for key, value in record.items() if key != "measure"} | {"improved": improved}

    def _rank(self, record: dict[str, Any]) -> tuple[float, float]:
        return self.stopping.validation(record, 0).rank

    def _record(self) -> dict[str, Any] | None:
        """Of an average that was measured as the checkpoints are."""
        path = self.directory / RECORD
        with suppress(DataError):  # one that is damaged is made again
            record = read_json(path) if path.is_file() else None
            measure = self.stopping.scored or self.stopping.measure
            return record if record and record.get("measure") == measure else None
        return None

    def _write(self, record: dict[str, Any], write: Callable[[Path], None]) -> None:
        if self.directory.exists():  # from an earlier end of the run, before it was resumed
            if self.run.pointer("best") == self.directory:
                (self.run.path / "best").unlink()
            hide(self.directory)  # an incomplete one never has this name; `staged` removes it
        with staged(self.directory) as directory:
            write(directory)
            (directory / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
