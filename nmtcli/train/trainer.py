"""The training loop: validate, save, update, and stop; and the state that makes a resume exact."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.checkpoint import ModelInfo, RunDirectory
from nmtcli.config import Config
from nmtcli.config.section import settled
from nmtcli.data.directory import PreparedData
from nmtcli.errors import CheckFailed
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.train.averaging import FinalAverage, MovingAverage
from nmtcli.train.batches import Batch, write_pairs
from nmtcli.train.distributed import Ranks, whole
from nmtcli.train.feed import Feed
from nmtcli.train.finetuning import FirstModel
from nmtcli.train.freezing import freeze
from nmtcli.train.gradients import Gradients
from nmtcli.train.interrupts import Interrupts, interrupted
from nmtcli.train.logs import Observer, Observers
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.meter import Meter
from nmtcli.train.objectives import make_objective
from nmtcli.train.optimizers import MOMENTS, load_optimizer, make_optimizer, optimizer_tensors
from nmtcli.train.precision import MixedPrecision, safer
from nmtcli.train.recovery import load_newest, read_state, steps_to_keep
from nmtcli.train.schedule import Schedule
from nmtcli.train.state import TrainState
from nmtcli.train.stopping import EarlyStopping
from nmtcli.train.validation import Validator
from nmtcli.train.vectors import WordVectorPair
from nmtcli.train.weights import Weights

RECOVERIES = 5  # from divergence, before giving up


class Trainer:
    """Trains one model, on one device or as one of several ranks.

    Everything that decides the next weights is in the checkpoint: weights, the optimizer's moments, the loss scale,
    `TrainState` and `EarlyStopping`. Data and random numbers follow from the seed and the place in the data, so a
    resume is exact, and a run may go on with another number of ranks.
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
        ranks: Ranks | None = None,
    ) -> None:
        """A new run begins with the weights of the model `first`; without, with random ones and the vectors of the
        source and the target that are given. Only the first rank has observers.
        """
        settings = config.train
        self.config, self.data, self.run, self.device, self.observers = config, data, run, device, Observers(observers)
        self.first, self.word_vectors = first, word_vectors
        self.ranks = ranks = ranks or Ranks()
        self.sharded = settings.sharded and ranks.size > 1
        self.model = self._new_model()
        self.weights = Weights(self.model, self.sharded)
        loss = TrainingLoss(self.model, settings.label_smoothing, settings.guided_alignment)
        self.objective = make_objective(config, loss, data.tokenizers)
        parallel = ranks.share(self.objective, self.sharded, device)
        self.gradients = Gradients(parallel, ranks, device, settings.seed, self._on_split)
        self.optimizer = make_optimizer(self.model, settings)
        self.state, self.stopping = TrainState(), EarlyStopping.of(settings)
        self.precision = self._precision()
        self.feed = Feed(data, settings, ranks)
        self.validator = Validator(data, config, device, ranks)
        self.total = settled(settings.max_updates)
        if settings.max_epochs is not None:
            self.total = min(self.total, self.feed.plan.updates(settings.max_epochs))
        self.schedule = Schedule.of(config, self.total)
        self.skipped, self.skipped_in_a_row = torch.zeros(2, dtype=torch.int64, device=device).unbind()
        self.interrupts = Interrupts(alone=ranks.size == 1)
        self.splits, self.meter = 0, Meter()
        self.damaged: list[dict[str, Any]] = []  # checkpoints that could not be gone on from
        self.ema = None if settings.ema is None else MovingAverage(self.model, settings.ema)
        self._resume()

    def _new_model(self) -> Seq2Seq:
        """The model as a new run has it."""
        torch.manual_seed(self.config.train.seed)
        tokenizers = self.data.tokenizers
        model = Seq2Seq(self.config.model, len(tokenizers.source), len(tokenizers.target))
        if self.first is not None:
            self.first.give_weights(model, tokenizers)
        for vectors, table in zip(self.word_vectors, (model.source_embedding, model.target_embedding), strict=True):
            if vectors is not None:
                vectors.put(table.weight)
        freeze(model, self.config.train.freeze)
        return model.to(self.device)

    def fit(self) -> str:
        """Train to the end; returns the reason to stop.

        Raises Interrupted after SIGINT or SIGTERM, with everything saved. Every decision is made before an update and
        once more after the last, so that validation and saving stand here once; all ranks make the same.
        """
        self._tell_start()
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
                sound = ended or not (validation_due or save_due) or self._is_sound()
                new = validation_due and self.stopping.validated_step != self.state.step
                validated = new and sound and self._validate()
                signal = self.ranks.most(self.interrupts.received or 0)
                if signal:
                    sound = sound and self._is_sound()
                reason = self._stop_reason()
                if self.state.step != saved_step and sound and (validated or signal or reason or save_due):
                    self._save()
                    saved_step = self.state.step
                if sound:
                    validation_due = save_due = False
                if signal:
                    raise interrupted(signal, self.run.path, self.state.step, saved_step)
                if reason is not None:
                    if self.config.train.average is not None:
                        self._average(self.config.train.average)
                    self.observers.stopped({"step": self.state.step, "reason": reason})
                    return reason
                batches = next(updates)
                self.update(batches)
                if self._diverged():
                    self._recover(batches)
                    saved_step, updates = self.state.step, self.feed.updates(self.state)
                    validation_due = save_due = False

    def _rehearse(self) -> None:
        """Try the largest batch before the first update, so that memory runs out now or hardly ever."""
        reserved = []
        if self.device.type == "cuda" and not self.optimizer.state:  # the optimizer has not taken its memory yet
            trained = [weight for weight in self.model.parameters() if weight.requires_grad]
            reserved = [torch.empty_like(weight) for weight in trained * MOMENTS[self.config.train.optimizer]]
        self._compute(self.feed.largest(self.state))
        del reserved
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.report(self.state.step, self.ranks)
        self.meter.restart()

    def _compute(self, batches: list[Batch]) -> tuple[int, Tensor]:
        """Gradients of the next update."""
        self.model.train()
        filler = self.feed.one_pair() if self.sharded else None
        return self.gradients.compute(batches, filler, self.state.step + 1, self.precision)

    def update(self, batches: list[Batch]) -> None:
        """One update of the weights from one or several batches, as if they were one."""
        self.meter.data_ready()
        state, settings = self.state, self.config.train
        rate = self.schedule.rate(state.step + 1, state.rate_scale)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tokens, loss = self._compute(batches)
        norm = self.precision.step(self.optimizer, settings.clip_norm)
        applied = norm.isfinite()
        self.skipped += ~applied
        self.skipped_in_a_row = torch.where(applied, 0, self.skipped_in_a_row + 1)
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if self.ema is not None:
            self.ema.update(state.step)
        state.target_tokens += tokens
        state.seconds += self.meter.update_done(loss, tokens, torch.where(applied, norm, 0.0))
        if state.step % settings.log_every == 0 or state.step == self.total:
            metrics: dict[str, Any] = {"step": state.step, "epoch": self.feed.passes}
            self._count_skipped()
            metrics |= {**self.meter.read(self.ranks), "learning_rate": rate, "skipped": state.skipped_updates}
            metrics |= {"out_of_memory": self.splits, **self.objective.report(state.step, self.ranks)}
            self.observers.updated(metrics)

    def _on_split(self, batch: Batch) -> None:
        self.splits += 1
        split = {"step": self.state.step, "tokens": batch.cells, "parts": 2, "setting": "train.batch_tokens"}
        self.observers.split(split)

    def _diverged(self) -> bool:
        """Whether too many updates in a row were skipped, or all of the last ones; the device is asked only now and
        then.
        """
        most, last = self.config.train.max_skipped, self.state.step >= self.total
        if last and not self._is_finite():
            return True
        return (last or self.state.step % most == 0) and int(self.skipped_in_a_row.item()) >= min(most, self.total)

    def _is_sound(self) -> bool:
        """Whether the last update was applied, and left weights that are finite."""
        return int(self.skipped_in_a_row.item()) == 0 and self._is_finite()

    def _is_finite(self) -> bool:
        return not self.ranks.most(int(not self.weights.finite()))

    def _recover(self, batches: list[Batch]) -> None:
        """Go back to a checkpoint with a lower rate or a safer precision, or give up, as the settings say.

        It is the last one; where training diverges again at once, the one before.
        """
        settings, step, state = self.config.train, self.state.step, self.state
        skipped = int(self.skipped_in_a_row.item())
        reason = f"{skipped} updates in a row, up to {step:,}, had gradients that are not finite"
        steps = self.run.steps()
        if settings.on_divergence == "stop" or state.recoveries >= RECOVERIES:
            self.ranks.most(0)  # all have looked at what is there
            if self.ranks.first:
                self.run.bring_back()
            path = self.run.path / f"diverged-{step}.jsonl"
            write_pairs(path, batches, self.data.tokenizers, self.ranks)
            raise CheckFailed(
                f"training diverged: {reason}; the last batch is in {path}",
                "lower train.learning_rate, or choose train.precision=fp32; the last checkpoint is as it was",
            )
        precision = safer(self.precision.name, self.device) if settings.on_divergence == "safer_precision" else None
        recoveries, rate_scale = state.recoveries + 1, state.rate_scale * (1.0 if precision else 0.5)
        precision = precision or state.precision
        earlier = steps_to_keep(steps, state, settings.max_skipped)
        self.ranks.most(0)  # all have looked at what is there
        if self.ranks.first:
            self.run.set_aside(steps[len(earlier) :])
        if earlier:
            self._load(self.run.checkpoint(earlier[-1]))
        else:
            self._begin_anew()
        self.state.recoveries, self.state.rate_scale, self.state.precision = recoveries, rate_scale, precision
        self.state.diverged_at, self.state.returned_to = step, self.state.step
        self.precision = self._precision()
        self.skipped_in_a_row.zero_()
        self.meter.restart()
        metrics = {"step": step, "to_step": self.state.step, "reason": reason}
        self.observers.recovered({**metrics, "precision": self.precision.name, "rate_scale": rate_scale})

    def _begin_anew(self) -> None:
        self.state, self.stopping = TrainState(), EarlyStopping.of(self.config.train)
        self.skipped.zero_()
        self.weights.put(checkpoint.model_weights(self._new_model()), self.run.path)
        self.optimizer.state.clear()
        if self.config.train.ema is not None:
            self.ema = MovingAverage(self.model, self.config.train.ema)

    def _count_skipped(self) -> None:
        """Read how many updates were skipped; the device is asked only here."""
        self.state.skipped_updates += int(self.skipped.item())
        self.state.skipped_in_a_row = int(self.skipped_in_a_row.item())
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
            measured = self.validator.measure(self._plain_model(), self._on_validating)
        self.meter.restart()
        if measured is None:
            return False
        metrics, samples = measured
        improved = self.stopping.validated(metrics, self.state.step)
        waited = self.stopping.without_improvement
        self.state.rate_scale = self.schedule.after_validation(self.state.rate_scale, waited)
        metrics = {"step": self.state.step, **metrics, "improved": improved, "without_improvement": waited}
        self.observers.validated(metrics, samples)
        return True

    def _average(self, selection: str) -> None:
        """The average of the last or best checkpoints, at the end, as a checkpoint of its own. Raises Interrupted."""
        self.ranks.most(0)  # the last checkpoint is there
        average, model = FinalAverage(self.run, selection, self.stopping), self._plain_model()

        def measure() -> dict[str, Any] | None:
            measured = self.validator.measure(model, self._on_validating)
            return None if measured is None else measured[0]

        def write(directory: Path) -> None:
            self._write_model(directory, checkpoint.model_weights(model))

        metrics = average.make(model, measure, write, self.ranks.first)
        if metrics is None:
            signal = self.ranks.most(self.interrupts.received or 0)
            raise interrupted(signal, self.run.path, self.state.step, self.state.step)
        self.observers.averaged({"step": self.state.step, **metrics})

    def _smoothed(self) -> AbstractContextManager[None]:
        """Context in which the model is the one to validate and save: with EMA, the average."""
        return nullcontext() if self.ema is None else self.ema.swap()

    def _on_validating(self, done: int, total: int) -> bool:
        """Passes progress on; False once a signal asks to stop."""
        self.observers.validating(done, total)
        return self.interrupts.received is None

    def _plain_model(self) -> Seq2Seq:
        """The model in one piece: itself, or a copy where its weights are divided among the ranks."""
        if not self.sharded:
            return self.model
        copy = self._new_model()
        checkpoint.put_weights(copy, self.weights.whole(), self.run.path)
        return copy

    def _tell_start(self) -> None:
        start: dict[str, Any] = {"step": self.state.step, "total": self.total, "epoch": self.state.epoch}
        start |= {"parameters": parameter_count(self.model), "pairs": len(self.data.train), "ranks": self.ranks.size}
        start |= {"frozen": sum(weight.numel() for weight in self.model.parameters() if not weight.requires_grad)}
        for metrics in self.damaged:
            self.observers.passed_over(metrics)
        start |= {"device": str(self.device), "precision": self.precision.name, "torch": torch.__version__}
        self.observers.started(start)

    def _save(self) -> None:
        """Write a checkpoint, let the pointers name it, delete those no longer kept."""
        self._count_skipped()
        state, settings = self.state, self.config.train
        with self._smoothed():
            weights = self.weights.whole()
            if self.ema is not None:  # what is swapped back must not change them
                weights = {name: weight.clone() for name, weight in weights.items()}
        tensors = {name: whole(tensor) for name, tensor in self._tensors().items()}
        if not self.ranks.first:  # all had a part in these
            return
        self.run.save(state.step, lambda directory: self._write(directory, weights, tensors))
        if self.stopping.best_step is not None:
            self.run.point("best", self.run.checkpoint(self.stopping.best_step))
        self.run.prune({one.step for one in self.stopping.best} | set(self.run.steps()[-settings.keep_last :]))
        self.observers.saved(self.run.checkpoint(state.step))

    def _write(self, directory: Path, weights: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
        self._write_model(directory, weights)
        state = {**asdict(self.state), **self.stopping.state(), "scaler": self.precision.state()}
        checkpoint.write_trainer_state(directory, state, tensors)

    def _write_model(self, directory: Path, weights: dict[str, Tensor]) -> None:
        info = ModelInfo.of(self.data, self.state.step, self.config)
        checkpoint.write_model(directory, info, weights, self.data.tokenizers)

    def _tensors(self) -> dict[str, Tensor]:
        """The optimizer's moments, and the raw weights of EMA, by name."""
        return {**optimizer_tensors(self.optimizer, self.model), **(self.ema.tensors() if self.ema else {})}

    def _resume(self) -> None:
        """Take up the newest checkpoint that is whole; those that are damaged are moved, and told."""
        damaged = load_newest(self.run, self._load)
        self.ranks.most(0)  # all have looked at what is there
        for step, error in damaged if self.ranks.first else ():
            moved = str(self.run.move_damaged(step))
            self.damaged.append({"step": self.state.step, "reason": error.message, "moved": moved})

    def _load(self, directory: Path) -> None:
        """Take up everything from a checkpoint. Raises DataError where it is damaged."""
        checkpoint.read_info(directory)  # may refuse
        weights, step = checkpoint.load_tensors(directory / checkpoint.WEIGHTS), int(directory.name.partition("-")[2])
        state, stopping, scaler, tensors = read_state(directory, step, self.stopping)
        self.weights.put(weights, directory / checkpoint.WEIGHTS)
        self.state, self.stopping = state, stopping
        self.skipped.zero_()
        self.skipped_in_a_row.fill_(self.state.skipped_in_a_row)
        self.precision = self._precision()
        self.precision.load_state(scaler)
        tensors = self.weights.parts(tensors)
        load_optimizer(self.optimizer, self.model, tensors)
        if self.ema is not None:
            self.ema.load(tensors)
        if self.ranks.first:
            self.run.point("last", self.run.checkpoint(self.state.step))
            best = self.stopping.best_step
            self.run.point("best", None if best is None else self.run.checkpoint(best))

    def _precision(self) -> MixedPrecision:
        return MixedPrecision(self.state.precision or self.config.train.precision, self.device, self.sharded)
