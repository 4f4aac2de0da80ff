"""The logs of a run: `metrics.jsonl`, TensorBoard and Weights & Biases."""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nmtcli import strict_json
from nmtcli.checkpoint import AGAIN
from nmtcli.config import Config
from nmtcli.errors import UserError
from nmtcli.staging import write_whole, writing

METRICS_FILE = "metrics.jsonl"

Metrics = dict[str, Any]
Sample = tuple[str, str, str]  # source, reference, translation


class Observer:
    """Receives the events of a training run. `metrics` always has `step`.

    A subclass overrides the events it needs, or `record`, which gets all events with metrics.
    """

    def record(self, event: str, metrics: Metrics) -> None:
        """An event by its name."""

    def started(self, metrics: Metrics) -> None:
        """Training starts: `step`, `total`, `epoch`, `parameters`, `pairs`, `ranks`, `device`, `precision`."""
        self.record("started", metrics)

    def updated(self, metrics: Metrics) -> None:
        """The averages since the last call or validation, every `train.log_every` updates."""
        self.record("updated", metrics)

    def split(self, metrics: Metrics) -> None:
        """Out of memory: a batch of `tokens` tokens was computed in `parts`; lower `setting` to avoid this."""
        self.record("split", metrics)

    def recovered(self, metrics: Metrics) -> None:
        """Training went back to the checkpoint of `to_step`, for `reason`, with `precision` and `rate_scale`."""
        self.record("recovered", metrics)

    def passed_over(self, metrics: Metrics) -> None:
        """A checkpoint is damaged (`reason`) and was `moved`; training resumes from that of `step`."""
        self.record("passed_over", metrics)

    def stayed_eager(self, metrics: Metrics) -> None:
        """The compiler failed, for `reason`; layers are computed as without `train.compile`."""
        self.record("stayed_eager", metrics)

    def validating(self, done: int, total: int) -> None:
        """`done` of `total` validation sentences are translated."""

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """Scores on the validation set, and a few translations."""
        self.record("validated", metrics)

    def saved(self, path: Path) -> None:
        """A checkpoint was saved at `path`."""

    def averaged(self, metrics: Metrics) -> None:
        """Scores of the average of `checkpoints`, at the end of training; `improved` where it is the best."""
        self.record("averaged", metrics)

    def stopped(self, metrics: Metrics) -> None:
        """Training ends; `reason` says why."""
        self.record("stopped", metrics)


class MetricsLog(Observer):
    """`metrics.jsonl`, append-only: one object a line, all events but `validating` and `saved`.

    A `started` line has the step that training resumed from; earlier lines with a later step are of work that was lost
    and repeated. The same holds for `to_step` of a `recovered` line. A number that is not finite is null.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = False  # the lines that are there

    def record(self, event: str, metrics: Metrics) -> None:
        """Append a line. The first one replaces half a line, left by a killed process."""
        if not self._whole and self.path.exists():
            with writing(self.path, AGAIN), self.path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
        self._whole = True
        record = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **metrics}
        line = strict_json.dumps(record).encode() + b"\n"
        with writing(self.path, AGAIN), self.path.open("ab", buffering=0) as file:
            whole = file.tell()
            try:
                written = file.write(line)
                while written < len(line):  # the next attempt says what is wrong
                    written += file.write(line[written:])
            except OSError:
                file.truncate(whole)
                raise

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """See `Observer`."""
        named = [dict(zip(("source", "reference", "translation"), sample, strict=True)) for sample in samples]
        super().validated({**metrics, "samples": named}, samples)


def _is_installed(package: str) -> bool:
    """Whether a package can be imported; a folder with its name in the working directory is none."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def scalars(metrics: Metrics, prefix: str = "") -> Iterator[tuple[str, float]]:
    """All numbers but the step by name; those in groups as `group/…/name`."""
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "step":
            yield prefix + name, value


class TensorBoardLog(Observer):
    """The numbers of updates and validations as TensorBoard scalars, under `train/` and `valid/`.

    Written in this thread, unlike by torch's `SummaryWriter`, so that a full disk is reported like any other error.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @staticmethod
    def installed() -> bool:
        """Whether the extra is installed."""
        return _is_installed("tensorboard")

    def _write(self, step: int, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - an extra

        with writing(self.directory, AGAIN):
            self.records.write(Event(wall_time=time.time(), step=step, **event).SerializeToString())
            self.records.flush()

    def _write_scalars(self, group: str, metrics: Metrics) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - an extra

        values = [Summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in scalars(metrics)]
        self._write(metrics["step"], summary=Summary(value=values))

    def started(self, metrics: Metrics) -> None:
        """Begin a file of this process; TensorBoard hides what earlier files have after `step`."""
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415 - an extra

        with writing(self.directory, AGAIN):
            self.directory.mkdir(exist_ok=True)
            name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
            self.records: Any = RecordWriter((self.directory / name).open("xb"))
        self._write(0, file_version="brain.Event:2")
        self._forget_after(metrics["step"])

    def _forget_after(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog  # noqa: PLC0415 - an extra

        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def updated(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write_scalars("train", metrics)

    def recovered(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._forget_after(metrics["to_step"])

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """See `Observer`."""
        self._write_scalars("valid", metrics)

    def stopped(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self.records.close()


class WandbLog(Observer):
    """The same numbers in Weights & Biases; a resumed run continues there."""

    def __init__(self, project: str, run: Path, settings: dict[str, Any]) -> None:
        """Raises UserError where wandb is missing or the login fails."""
        self.require()
        import wandb  # noqa: PLC0415 - an extra

        identity = run / "wandb-id"  # of its own, so that a new run in the same place is a new one there
        if not identity.exists():
            with writing(identity, AGAIN):
                write_whole(identity, f"{secrets.token_hex(4)}\n".encode())
        try:
            self.run: Any = wandb.init(
                project=project,
                id=identity.read_text("utf-8").strip(),
                name=run.resolve().name,
                dir=str(run),
                config=settings,
                resume="allow",
                settings=wandb.Settings(console="off"),  # the live line is ours
            )
        except wandb.errors.Error as error:
            raise UserError(
                f"train.wandb_project: {error}", "log in with wandb login, or set WANDB_MODE=offline, or leave it out"
            ) from error

    def _log(self, group: str, metrics: Metrics) -> None:
        if metrics["step"] >= self.run.step:  # repeated updates are logged already
            self.run.log({f"{group}/{name}": value for name, value in scalars(metrics)}, step=metrics["step"])

    @staticmethod
    def require() -> None:
        """Raises UserError where the extra is missing."""
        if not _is_installed("wandb"):
            raise UserError(
                "train.wandb_project is set, but wandb is not installed", "pip install 'nmtcli[wandb]', or leave it out"
            )

    def updated(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._log("train", metrics)

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """See `Observer`."""
        self._log("valid", metrics)

    def stopped(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self.run.finish()


def open_logs(run: Path, config: Config) -> list[Observer]:
    """The logs of a run: those installed, and those chosen in the settings. Raises UserError where one fails."""
    logs: list[Observer] = [MetricsLog(run / METRICS_FILE)]
    if TensorBoardLog.installed():
        logs.append(TensorBoardLog(run / "tensorboard"))
    if config.train.wandb_project is not None:
        logs.append(WandbLog(config.train.wandb_project, run, config.model_dump(mode="json")))
    return logs
