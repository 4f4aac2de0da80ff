"""The training loop: validate, save, update, stop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.checkpoint import RunDirectory
from nmtcli.config import Config
from nmtcli.config.section import settled
from nmtcli.data.directory import PreparedData
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.train.averaging import FinalAverage
from nmtcli.train.batches import Batch
from nmtcli.train.checkpointing import Learner
from nmtcli.train.compiling import compute_or_stay_eager, eager_layers
from nmtcli.train.distributed import Ranks
from nmtcli.train.feed import Feed
from nmtcli.train.finetuning import First
from nmtcli.train.gradients import Gradients
from nmtcli.train.interrupts import Interrupts, interrupted
from nmtcli.train.logs import Observer, Sample
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.memory import release_memory
from nmtcli.train.meter import Meter
from nmtcli.train.optimizers import MOMENTS, set_rate
from nmtcli.train.recovery import Recovery
from nmtcli.train.schedule import Schedule
from nmtcli.train.state import TrainState
from nmtcli.train.threads import BatchThreads
from nmtcli.train.validation import Validator
from nmtcli.train.vectors import WordVectorPair


class Trainer:
    """Trains one model, on one device or as one of several ranks."""

    def __init__(
        self,
        config: Config,
        data: PreparedData,
        run: RunDirectory,
        device: torch.device,
        observers: Sequence[Observer],
        first: First | None = None,
        word_vectors: WordVectorPair = (None, None),
        ranks: Ranks | None = None,
    ) -> None:
        """Loads the newest checkpoint of `run`, if any. A new run starts from the weights of the model `first`.

        Without `first` it starts from random weights and the given word vectors of source and target. Only the first
        rank has observers.
        """
        settings = config.train
        self.config, self.data, self.run, self.device, self.observers = config, data, run, device, observers
        self.ranks = ranks = ranks or Ranks()
        self.learner = learner = Learner(config, data, run, device, ranks, first, word_vectors)
        self.model = learner.model
        self.gradients = Gradients(
            learner.parallel,
            ranks,
            device,
            settings.seed,
            self._on_split,
            learner.objective.log_sums,
            self._batch_threads(),
        )
        self.feed = Feed(data, settings, ranks)
        self.validator = Validator(data, config, device, ranks)
        self.total = self.feed.plan.total_updates(settings)
        self.schedule = Schedule.of(config, self.total)
        own_rate = settings.encoder_learning_rate
        self.encoder_share = 1.0 if own_rate is None else own_rate / self.schedule.peak
        self.recovery = Recovery(learner, self.total)
        self.interrupts = Interrupts(alone=ranks.size == 1)
        self.meter = Meter(learner.objective, ranks)
        self.damaged = learner.resume()

    @property
    def state(self) -> TrainState:
        """The position of the run."""
        return self.learner.state

    def fit(self) -> str:
        """Train to the end; returns the reason to stop.

        Raises Interrupted after SIGINT or SIGTERM, with everything saved. Every decision is made before an update and
        once more after the last; all ranks make the same.
        """
        self._report_start()
        saved_step = self.state.step
        updates = self.feed.updates(self.state)
        validation_due = save_due = False
        with self.interrupts:
            if self._stop_reason() is None:
                self._rehearse()
            while True:
                ended = self._stop_reason() is not None
                validation_due |= self.state.step % settled(self.config.train.valid_every) == 0 or ended
                save_due |= self.state.step % settled(self.config.train.save_every) == 0
                # While updates are skipped both are put off: the weights may be those of a model that diverges.
                sound = ended or not (validation_due or save_due) or self.recovery.is_sound()
                new = validation_due and self.learner.stopping.validated_step != self.state.step
                validated = new and sound and self._validate()
                signal = self.ranks.most(self.interrupts.received or 0)
                if signal:
                    put_off = validation_due and not sound  # a save now would skip that validation
                    sound = not put_off and self.recovery.is_saveable()
                reason = self._stop_reason()
                if self.state.step != saved_step and sound and (validated or signal or reason or save_due):
                    saved_step = self._save()
                elif validated and self.state.step == saved_step:  # after a resume, of a checkpoint saved without it
                    self.learner.save_validation()
                if sound:
                    validation_due = save_due = False
                if signal:
                    raise interrupted(signal, self.run.path, self.state.step, saved_step)
                if reason is not None:
                    if self.config.train.average is not None:
                        self._average(self.config.train.average)
                    for observer in self.observers:
                        observer.stopped({"step": self.state.step, "reason": reason})
                    return reason
                self.meter.data_asked()
                batches = next(updates)
                self.meter.data_ready()
                self.update(batches)
                if self.recovery.diverged():
                    report = self.recovery.recover(batches)
                    for observer in self.observers:
                        observer.recovered(report)
                    self.meter.restart()
                    saved_step, updates = self.state.step, self.feed.updates(self.state)
                    validation_due = save_due = False

    def _save(self) -> int:
        """Write a checkpoint; returns its update."""
        self.learner.save()
        for observer in self.observers:
            observer.saved(self.run.checkpoint(self.state.step))
        return self.state.step

    def _batch_threads(self) -> BatchThreads | None:
        """The threads that divide micro-batches, where the model and the objective allow it."""
        train, threads = self.config.train, self.config.train.threads or torch.get_num_threads()
        alone = self.device.type == "cpu" and self.ranks.size == 1 and not train.compile
        plain = isinstance(self.learner.objective, TrainingLoss) and self.config.model.encoder.type != "pretrained"
        return BatchThreads(self.learner.objective, threads) if alone and plain and threads > 1 else None

    def _rehearse(self) -> None:
        """Compute the largest batch before the first update, so that a lack of memory shows now."""
        reserved = []
        if (
            self.device.type == "cuda" and not self.learner.optimizer.state
        ):  # the optimizer has not taken its memory yet
            trained = [weight for weight in self.model.parameters() if weight.requires_grad]
            reserved = [torch.empty_like(weight) for weight in trained * MOMENTS[self.config.train.optimizer]]
        largest = self.feed.largest(self.state)
        if not self.config.train.compile:
            self._compute(largest)
        elif reason := compute_or_stay_eager(lambda: self._compute(largest)):
            for observer in self.observers:
                observer.stayed_eager({"step": self.state.step, "reason": reason})
        del reserved
        self.learner.parallel.forget()
        self.meter.restart()

    def _compute(self, batches: list[Batch]) -> tuple[int, Tensor]:
        """Gradients of the next update."""
        self.model.train()
        filler = self.feed.one_pair() if self.learner.sharded else None
        return self.gradients.compute(batches, filler, self.state.step + 1, self.learner.precision)

    def update(self, batches: list[Batch]) -> None:
        """One update of the weights from one or several batches, as if they were one."""
        state, settings = self.state, self.config.train
        rate = self.schedule.rate(state.step + 1, state.rate_scale)
        set_rate(self.learner.optimizer, rate, self.encoder_share)
        tokens, sums = self._compute(batches)
        if self.learner.adversary is not None:
            self.learner.adversary.update(sums, self.learner.precision)
        norm = self.learner.precision.step(self.learner.optimizer, settings.clip_norm)
        applied = norm.isfinite()
        self.learner.skipped.add(applied)
        self.learner.parallel.forget()
        state.step += 1
        if self.learner.ema is not None:
            self.learner.ema.update(state.step)
        state.target_tokens += tokens
        logged = state.step % settings.log_every == 0 or state.step == self.total
        if logged:
            self.learner.skipped.count(state)  # waits for a GPU, which belongs to the time of these updates
        state.seconds += self.meter.update_done(sums, tokens, torch.where(applied, norm, 0.0))
        if logged:
            averages = self.meter.read(state, rate)
            if self.device.type == "cpu":
                release_memory()
            for observer in self.observers:
                observer.updated({"step": state.step, "epoch": self.feed.passes, **averages})

    def _on_split(self, batch: Batch) -> None:
        self.meter.splits += 1
        split = {"step": self.state.step, "tokens": batch.cells, "parts": 2, "setting": "train.batch_tokens"}
        for observer in self.observers:
            observer.split(split)

    def _stop_reason(self) -> str | None:
        if self.state.step >= self.total:
            return f"all {self.total} updates done"
        return self.learner.stopping.reason()

    def _validate(self) -> bool:
        """Evaluate on the validation set; returns False, with nothing changed, after a signal."""
        if self.state.step == 0:
            return False
        with self.learner.smoothed():
            measured = self._measure(self.learner.plain_model())
        self.meter.restart()
        if measured is None:
            return False
        metrics, samples = measured
        improved = self.learner.stopping.validated(metrics, self.state.step)
        waited = self.learner.stopping.without_improvement
        self.state.rate_scale = self.schedule.after_validation(self.state.rate_scale, waited)
        metrics = {"step": self.state.step, **metrics, "improved": improved, "without_improvement": waited}
        for observer in self.observers:
            observer.validated(metrics, samples)
        return True

    def _measure(self, model: Seq2Seq) -> tuple[dict[str, Any], list[Sample]] | None:
        with eager_layers(self.config.train.compile):
            return self.validator.measure(model, self._on_validating)

    def _average(self, selection: str) -> None:
        """Save the average of the last or best checkpoints as another checkpoint. Raises Interrupted."""
        self.ranks.most(0)  # the last checkpoint is written
        average, model = FinalAverage(self.run, selection, self.learner.stopping), self.learner.plain_model()
        if not average.parts():  # no validation was a number
            return

        def measure() -> dict[str, Any] | None:
            measured = self._measure(model)
            return None if measured is None else measured[0]

        def write(directory: Path) -> None:
            self.learner.write_model(directory, checkpoint.model_weights(model))

        metrics = average.make(model, measure, write, self.ranks.first)
        if metrics is None:
            signal = self.ranks.most(self.interrupts.received or 0)
            raise interrupted(signal, self.run.path, self.state.step, self.state.step)
        for observer in self.observers:
            observer.averaged({"step": self.state.step, **metrics})

    def _on_validating(self, done: int, total: int) -> bool:
        """Report progress; returns False after a signal."""
        for observer in self.observers:
            observer.validating(done, total)
        return self.interrupts.received is None

    def _report_start(self) -> None:
        start: dict[str, Any] = {"step": self.state.step, "total": self.total, "epoch": self.state.epoch}
        start |= {"parameters": parameter_count(self.model), "pairs": len(self.data.train), "ranks": self.ranks.size}
        start |= {"frozen": sum(weight.numel() for weight in self.model.parameters() if not weight.requires_grad)}
        start |= {"device": str(self.device), "precision": self.learner.precision.name, "torch": torch.__version__}
        for observer in self.observers:
            for metrics in self.damaged:
                observer.passed_over(metrics)
            observer.started(start)
