"""What `metrics.jsonl` tells of a run, read again."""

import json
from dataclasses import dataclass
from pathlib import Path

from nmtcli.errors import DataError
from nmtcli.train.logs import METRICS_FILE, Metrics

_POINTS = ("updated", "validated")


@dataclass(frozen=True)
class History:
    """One run. Each update stands once in `updated` and `validated`, in order: what was lost, or undone, is left out.

    `turns` are all other events, as they came.
    """

    name: str
    updated: tuple[Metrics, ...]
    validated: tuple[Metrics, ...]
    turns: tuple[Metrics, ...]

    @property
    def started(self) -> Metrics:
        """The last start, which has the size of the model and the number of updates; empty where there is none."""
        return next((turn for turn in reversed(self.turns) if turn["event"] == "started"), {})

    @property
    def step(self) -> int:
        """The last update that is known of."""
        return max((record["step"] for record in (*self.updated, *self.validated, *self.turns[-1:])), default=0)

    @property
    def best(self) -> Metrics | None:
        """The best validation, by the metric that the run goes by."""
        return next((record for record in reversed(self.validated) if record.get("improved")), None)


def read_history(run: Path, name: str | None = None) -> History:
    """The history of a run directory, by the directory's name or another; raises DataError where there is none.

    A line that is no record of ours, such as one that was cut short, is passed over.
    """
    path = run / METRICS_FILE
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}", "give a run directory of nmt train") from None
    points: list[Metrics] = []
    turns: list[Metrics] = []
    for line in lines:
        if (record := _record(line)) is None:
            continue
        if record["event"] in _POINTS:
            points.append(record)
            continue
        turns.append(record)
        if (step := {"started": record["step"], "recovered": record.get("to_step")}.get(record["event"])) is not None:
            points = [point for point in points if point["step"] <= step]
    updated, validated = (tuple(point for point in points if point["event"] == event) for event in _POINTS)
    return History(name or run.resolve().name, updated, validated, tuple(turns))


def _record(line: str) -> Metrics | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and isinstance(record.get("event"), str) and isinstance(record.get("step"), int)
    return record if known else None
