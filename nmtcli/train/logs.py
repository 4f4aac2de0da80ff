"""What a run writes down: `metrics.jsonl`, and TensorBoard where it is installed."""

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Metrics = dict[str, Any]
Sample = tuple[str, str, str]  # source, reference, translation


class Observer:
    """Told what happens in training; the base hears everything and does nothing. `metrics` always holds `step`."""

    def started(self, metrics: Metrics) -> None:
        """Training starts or goes on: `step`, `total`, `epoch`, sizes, settings found out."""

    def updated(self, metrics: Metrics) -> None:
        """The averages since the last call, every `train.log_every` updates."""

    def validating(self, done: int, total: int) -> None:
        """`done` of `total` validation sentences are translated."""

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """Scores on the validation set, and a few translations."""

    def saved(self, path: Path) -> None:
        """A checkpoint lies at `path`."""

    def averaged(self, metrics: Metrics) -> None:
        """Scores of the average of `checkpoints`, at the end of training; `improved` where it is the best."""

    def stopped(self, metrics: Metrics) -> None:
        """Training ends; `reason` says why."""


class MetricsLog(Observer):
    """`metrics.jsonl`, append-only: one object a line.

    A `started` line tells the step that training went on from; lines above it with a later step are of work that was
    lost with its process and done again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def _write(self, event: str, metrics: Metrics) -> None:
        record = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **metrics}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def started(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write("started", metrics)

    def updated(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write("updated", metrics)

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """See `Observer`."""
        named = [dict(zip(("source", "reference", "translation"), sample, strict=True)) for sample in samples]
        self._write("validated", {**metrics, "samples": named})

    def averaged(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write("averaged", metrics)

    def stopped(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write("stopped", metrics)


class TensorBoardLog(Observer):
    """The numbers of updates and validations as TensorBoard scalars, under `train/` and `valid/`."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra

        self.writer: Any = SummaryWriter(str(directory))

    @staticmethod
    def installed() -> bool:
        """Whether the extra is there."""
        return find_spec("tensorboard") is not None

    def _write(self, group: str, metrics: Metrics) -> None:
        for name, value in metrics.items():
            if name != "step" and isinstance(value, int | float):
                self.writer.add_scalar(f"{group}/{name}", value, metrics["step"])
        self.writer.flush()

    def updated(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write("train", metrics)

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """See `Observer`."""
        self._write("valid", metrics)

    def stopped(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self.writer.close()
