"""Means of weights: a moving one while training, and one of several checkpoints at its end."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nmtcli.checkpoint import WEIGHTS, RunDirectory, average_weights, model_weights, put_weights, read_json
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.staging import staged, write_whole
from nmtcli.train.stopping import EarlyStopping

AVERAGE, RECORD = "average", "average.json"
_RAW = "raw."


class MovingAverage:
    """The exponential moving average of the weights that are trained.

    It begins as the model is when it is made. The first updates would hardly leave that place under a decay close to
    one, so the decay itself grows: min(decay, (1 + t) / (10 + t)) at update t.
    """

    def __init__(self, model: Seq2Seq, decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        self.averages = {name: weight.clone() for name, weight in self.weights.items()}
        self._swapped = False

    def update(self, update: int) -> None:
        """Take in the weights after update number `update`, from 1."""
        decay = min(self.decay, (1 + update) / (10 + update))
        move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        move(list(self.averages.values()), list(self.weights.values()), update)

    @contextmanager
    def swap(self) -> Iterator[None]:
        """The model holds the average meanwhile, and afterwards its own weights again, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def tensors(self) -> dict[str, Tensor]:
        """The model's own weights, in or out of `swap`: what a resume needs beside a saved average."""
        raw = self.averages if self._swapped else self.weights
        return {_RAW + name: weight for name, weight in raw.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Where the model holds a saved average: keep it, and give the model its own weights of `tensors`.

        Other tensors are left alone. A weight that is not there was not averaged before, and begins as it is.
        """
        for name, weight in self.weights.items():
            self.averages[name].copy_(weight)
            if (raw := tensors.get(_RAW + name)) is not None:
                weight.copy_(raw)

    def _exchange(self) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                kept = weight.clone()
                weight.copy_(self.averages[name])
                self.averages[name].copy_(kept)
        self._swapped = not self._swapped


@contextmanager
def averaged(model: Seq2Seq, directories: list[Path]) -> Iterator[None]:
    """The model with the mean weights of checkpoints meanwhile; afterwards its own again, bit for bit."""
    own = {name: weight.clone() for name, weight in model_weights(model).items()}
    with torch.no_grad():
        put_weights(model, average_weights(directories), directories[0] / WEIGHTS)
    try:
        yield
    finally:
        for name, weight in model_weights(model).items():
            weight.copy_(own[name])


@dataclass(frozen=True)
class FinalAverage:
    """The average of checkpoints at the end of a run: `checkpoints/average`, with what it is of in `average.json`."""

    run: RunDirectory
    selection: str  # last:5 or best:3
    stopping: EarlyStopping

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self.run.checkpoints / AVERAGE

    def parts(self) -> list[Path]:
        """The checkpoints to average: as many as were asked for, or all there are in a short run."""
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

        `measure` gives the validation metrics of `model` as it then is, or None after a signal: then nothing is
        written. `write` puts the model into a directory. With several processes each calls this; one has `writing`.
        Returns the metrics, with `checkpoints` and `improved`. An average that is there already is not made again.
        """
        parts = self.parts()
        names = [directory.name for directory in parts]
        if not parts:
            return None
        if (record := self._record()) is None or record["checkpoints"] != names:
            with averaged(model, parts):
                if (metrics := measure()) is None:
                    return None
                record = {"checkpoints": names, **metrics}
                if writing:
                    self._write(record, write)
        best = self.stopping.best
        improved = not best or self.stopping.validation(record, 0).rank < best[0].rank
        if improved and writing:
            write_whole(self.run.path / "best", f"checkpoints/{AVERAGE}\n".encode())
        return {**record, "improved": improved}

    def _record(self) -> dict[str, Any] | None:
        path = self.directory / RECORD
        return read_json(path) if path.is_file() else None

    def _write(self, record: dict[str, Any], write: Callable[[Path], None]) -> None:
        if self.directory.exists():  # of an earlier end, before the run went on
            if self.run.pointer("best") == self.directory:
                (self.run.path / "best").unlink()
            shutil.rmtree(self.directory)
        with staged(self.directory) as directory:
            write(directory)
            (directory / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
