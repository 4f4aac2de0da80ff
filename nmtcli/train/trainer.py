"""The training loop: validate, save, update, and stop; and the state that makes a resume exact."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.checkpoint import ModelInfo, RunDirectory
from nmtcli.config import Config
from nmtcli.errors import Interrupted
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.prepare.directory import PreparedData
from nmtcli.prepare.shards import Rows
from nmtcli.train.averaging import FinalAverage, MovingAverage
from nmtcli.train.batches import Batch, BatchPlan
from nmtcli.train.finetuning import FirstModel
from nmtcli.train.freezing import freeze
from nmtcli.train.interrupts import Interrupts
from nmtcli.train.logs import Observer
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.objectives import make_objective
from nmtcli.train.optimizers import load_optimizer, make_optimizer, optimizer_tensors
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.schedule import Schedule
from nmtcli.train.stopping import EarlyStopping
from nmtcli.train.subwords import SubwordSampling
from nmtcli.train.validation import Validator
from nmtcli.train.vectors import WordVectorPair


@dataclass
class TrainState:
    """Where training stands, beside the weights, the optimizer and the random numbers. JSON."""

    step: int = 0  # updates done
    epoch: int = 0
    block: int = 0  # of this epoch
    position: int = 0  # updates done in this block
    rate_scale: float = 1.0  # of the learning rate
    target_tokens: int = 0
    skipped_updates: int = 0
    seconds: float = 0.0  # spent in updates


class Trainer:
    """Trains one model on one device.

    Everything that decides the next weights is in the checkpoint: weights, the optimizer's moments, the loss scale,
    random numbers, `TrainState` and `EarlyStopping`. The data follows from the seed, the epoch, the block and the
    position in it.
    """

    def __init__(
        self,
        config: Config,
        data: PreparedData,
        run: RunDirectory,
        device: torch.device,
        observers: Sequence[Observer],
        first: FirstModel | None = None,
        word_vectors: WordVectorPair = (None, None),
    ) -> None:
        """A new run begins with the weights of the model `first`; without, with random ones and the vectors of the
        source and the target that are given."""
        settings = config.train
        self.config, self.data, self.run, self.device, self.observers = config, data, run, device, observers
        torch.manual_seed(settings.seed)
        sizes = len(data.tokenizers.source), len(data.tokenizers.target)
        self.model = Seq2Seq(config.model, *sizes).to(device)
        freeze(self.model, settings.freeze)
        loss = TrainingLoss(self.model, settings.label_smoothing, settings.guided_alignment)
        self.objective = make_objective(config, loss, data.tokenizers)
        self.optimizer = make_optimizer(self.model, settings)
        self.precision = MixedPrecision(settings.precision, device)
        self.plan = BatchPlan.training(data, settings)
        self.subwords = None
        if settings.subword_sampling is not None:
            self.subwords = SubwordSampling(self.plan, data.tokenizers, settings.subword_sampling, settings.seed)
        self.validator = Validator(loss, data, config, device)
        self.total = settings.max_updates
        if settings.max_epochs is not None:
            self.total = min(self.total, self.plan.updates(settings.max_epochs))
        self.schedule = Schedule.of(config, self.total)
        self.state, self.stopping = TrainState(), EarlyStopping.of(settings)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)  # updates not yet counted in `state`
        self.interrupts = Interrupts()
        self.meter = Meter()
        self.passes = 0.0  # over the data
        steps = run.steps()
        if steps:
            self._put_weights(run.checkpoint(steps[-1]))
        elif first is not None:
            first.give_weights(self.model, data.tokenizers)
        else:
            for vectors, table in zip(
                word_vectors, (self.model.source_embedding, self.model.target_embedding), strict=True
            ):
                if vectors is not None:
                    vectors.put(table.weight)
        self.ema = None if settings.ema is None else MovingAverage(self.model, settings.ema)
        if steps:
            self._load(run.checkpoint(steps[-1]))

    def fit(self) -> str:
        """Train to the end; returns the reason to stop.

        Raises Interrupted after SIGINT or SIGTERM, with everything saved. Every decision is made before an update and
        once more after the last, so that validation and saving stand here once.
        """
        self._tell_start()
        saved_step = self.state.step
        updates = self._updates()
        with self.interrupts:
            while True:
                due = self.state.step % self.config.train.valid_every == 0 or self._stop_reason() is not None
                validated = due and self.stopping.validated_step != self.state.step and self._validate()
                stopping = self.interrupts.received is not None or self._stop_reason() is not None
                if self.state.step != saved_step and (
                    validated or stopping or self.state.step % self.config.train.save_every == 0
                ):
                    self._save()
                    saved_step = self.state.step
                if self.interrupts.received is not None:
                    raise self._interrupted()
                if (reason := self._stop_reason()) is not None:
                    if self.config.train.average is not None:
                        self._average(self.config.train.average)
                    self._tell("stopped", {"step": self.state.step, "reason": reason})
                    return reason
                self._update(next(updates))

    def _updates(self) -> Iterator[list[Batch]]:
        """The batches of each update, from where training stands on; moves the epoch, block and position of `state`."""
        state = self.state
        while True:
            blocks = self.plan.epochs.blocks(state.epoch)
            while state.block < blocks:
                updates = self.plan.block(state.epoch, state.block)
                while state.position < len(updates):
                    batches = self._batches(updates[state.position])
                    state.position += 1
                    self.passes = state.epoch + (state.block + state.position / len(updates)) / blocks
                    yield batches
                state.block, state.position = state.block + 1, 0
            state.epoch, state.block = state.epoch + 1, 0

    def _batches(self, update: list[Rows]) -> list[Batch]:
        """The batches of the update at the place of `state`."""
        if self.subwords is None:
            return [self.plan.load(rows) for rows in update]
        place = (self.state.epoch, self.state.block, self.state.position)
        loaded = (self.subwords.load(rows, (*place, number)) for number, rows in enumerate(update))
        return list(chain.from_iterable(loaded))

    def _update(self, batches: list[Batch]) -> None:
        """One update of the weights from one or several batches, as if they were one."""
        self.model.train()
        self.meter.data_ready()
        state, settings = self.state, self.config.train
        rate = self.schedule.rate(state.step + 1, state.rate_scale)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tokens = sum(batch.target_tokens for batch in batches)
        loss_sum = torch.zeros((), device=self.device)
        for batch in batches:
            with self.precision.autocast():
                loss = self.objective(batch.to(self.device), state.step + 1)
            self.precision.scaler.scale(loss / tokens).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach()
        norm = self.precision.step(self.optimizer, settings.clip_norm)
        applied = norm.isfinite()
        self.skipped += ~applied
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if self.ema is not None:
            self.ema.update(state.step)
        state.target_tokens += tokens
        state.seconds += self.meter.update_done(loss_sum, tokens, torch.where(applied, norm, 0.0))
        if state.step % settings.log_every == 0 or state.step == self.total:
            metrics: dict[str, Any] = {"step": state.step, "epoch": self.passes}
            self._count_skipped()
            metrics |= {**self.meter.read(), "learning_rate": rate, "skipped": state.skipped_updates}
            metrics |= self.objective.report(state.step)
            self._tell("updated", metrics)

    def _count_skipped(self) -> None:
        """Read how many updates were skipped; the device is asked only here."""
        self.state.skipped_updates += int(self.skipped.item())
        self.skipped.zero_()

    def _stop_reason(self) -> str | None:
        if self.state.step >= self.total:
            return f"all {self.total} updates done"
        return self.stopping.reason()

    def _validate(self) -> bool:
        """Measure the model on the validation set; False if a signal came in between, and nothing is changed."""
        if self.state.step == 0:
            return False
        with self._smoothed():
            measured = self.validator.measure(self._on_validating)
        self.meter.restart()
        if measured is None:
            return False
        metrics, samples = measured
        improved = self.stopping.validated(metrics, self.state.step)
        waited = self.stopping.without_improvement
        self.state.rate_scale = self.schedule.after_validation(self.state.rate_scale, waited)
        metrics = {"step": self.state.step, **metrics, "improved": improved, "without_improvement": waited}
        for observer in self.observers:
            observer.validated(metrics, samples)
        return True

    def _average(self, selection: str) -> None:
        """The average of the last or best checkpoints, at the end, as a checkpoint of its own. Raises Interrupted."""
        average = FinalAverage(self.run, selection, self.stopping)

        def measure() -> dict[str, Any] | None:
            measured = self.validator.measure(self._on_validating)
            return None if measured is None else measured[0]

        metrics = average.make(self.model, measure, self._write_model)
        if metrics is None:
            raise self._interrupted()
        self._tell("averaged", {"step": self.state.step, **metrics})

    def _smoothed(self) -> AbstractContextManager[None]:
        """Context in which the model is the one to validate and save: with EMA, the average."""
        return nullcontext() if self.ema is None else self.ema.swap()

    def _on_validating(self, done: int, total: int) -> bool:
        """Passes progress on; False once a signal asks to stop."""
        for observer in self.observers:
            observer.validating(done, total)
        return self.interrupts.received is None

    def _interrupted(self) -> Interrupted:
        signal = self.interrupts.received
        assert signal is not None
        return Interrupted(
            f"{signal.name}: saved update {self.state.step} in {self.run.path}",
            "run the same command again to go on",
            terminated=signal.name == "SIGTERM",
        )

    def _tell_start(self) -> None:
        start: dict[str, Any] = {"step": self.state.step, "total": self.total, "epoch": self.state.epoch}
        start |= {"parameters": parameter_count(self.model), "pairs": len(self.data.train)}
        start |= {"frozen": sum(weight.numel() for weight in self.model.parameters() if not weight.requires_grad)}
        start |= {"device": str(self.device), "precision": self.config.train.precision, "torch": torch.__version__}
        self._tell("started", start)

    def _tell(self, event: str, metrics: dict[str, Any]) -> None:
        for observer in self.observers:
            getattr(observer, event)(metrics)

    def _save(self) -> None:
        """Write a checkpoint, let the pointers name it, delete those no longer kept."""
        self._count_skipped()
        state, settings = self.state, self.config.train
        self.run.save(state.step, self._write)
        if self.stopping.best_step is not None:
            self.run.point("best", self.stopping.best_step)
        self.run.prune({step for _, step in self.stopping.best} | set(self.run.steps()[-settings.keep_last :]))
        for observer in self.observers:
            observer.saved(self.run.checkpoint(state.step))

    def _write(self, directory: Path) -> None:
        with self._smoothed():
            self._write_model(directory)
        state = {**asdict(self.state), **self.stopping.state(), "scaler": self.precision.state()}
        checkpoint.write_trainer_state(directory, state, self._tensors())

    def _write_model(self, directory: Path) -> None:
        manifest = self.data.manifest
        info = ModelInfo(
            source_language=manifest.source_language,
            target_language=manifest.target_language,
            source_size=len(self.data.tokenizers.source),
            target_size=len(self.data.tokenizers.target),
            data_fingerprint=manifest.fingerprint,
            updates=self.state.step,
            model=self.config.model,
            search=self.config.search,
        )
        checkpoint.write_model(directory, info, checkpoint.model_weights(self.model), self.data.tokenizers)

    def _tensors(self) -> dict[str, Tensor]:
        """The optimizer's moments and the raw weights of EMA by name, and the state of the random numbers."""
        tensors = {"random.cpu": torch.get_rng_state(), **optimizer_tensors(self.optimizer, self.model)}
        if self.ema is not None:
            tensors |= self.ema.tensors()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors

    def _put_weights(self, directory: Path) -> None:
        path = directory / checkpoint.WEIGHTS
        checkpoint.put_weights(self.model, checkpoint.load_tensors(path), path)

    def _load(self, directory: Path) -> None:
        """Take up everything from a checkpoint, after its weights."""
        state, tensors = checkpoint.read_trainer_state(directory)
        self.precision.load_state(state.pop("scaler"))
        self.stopping.load(state)
        self.state = TrainState(**{key: value for key, value in state.items() if key not in self.stopping.state()})
        load_optimizer(self.optimizer, self.model, tensors)
        if self.ema is not None:
            self.ema.load(tensors)
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        self.run.point("last", self.state.step)
        if self.stopping.best_step is not None:
            self.run.point("best", self.stopping.best_step)


class Meter:
    """Averages over the updates since the last reading. Loss and norm stay on the device until they are read."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was measured; called after time spent on something else."""
        self.loss: Tensor | float = 0.0
        self.norm: Tensor | float = 0.0
        self.tokens = self.updates = 0
        self.seconds = self.waiting = 0.0
        self.clock = time.perf_counter()

    def data_ready(self) -> None:
        """The batches of an update have come."""
        self.waiting += time.perf_counter() - self.clock

    def update_done(self, loss: Tensor, tokens: int, norm: Tensor) -> float:
        """Count an update; returns the seconds since the last one, data included."""
        self.loss = self.loss + loss
        self.tokens += tokens
        self.updates += 1
        self.norm = self.norm + norm
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        self.seconds += seconds
        return seconds

    def read(self) -> dict[str, float]:
        """Loss a token, gradient norm, target tokens a second, share of the time spent waiting for data."""
        loss = float(self.loss) / self.tokens
        metrics = {
            "loss": loss if math.isfinite(loss) else math.inf,
            "gradient_norm": float(self.norm) / self.updates,
            "tokens_per_second": self.tokens / self.seconds,
            "data_wait": self.waiting / self.seconds,
        }
        self.restart()
        return metrics
