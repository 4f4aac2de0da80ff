"""The training loop: validate, save, update, and stop; and the state that makes a resume exact."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.checkpoint import ModelInfo, RunDirectory
from nmtcli.config import Config, Precision
from nmtcli.errors import CheckFailed, Interrupted
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.prepare.directory import PreparedData
from nmtcli.prepare.shards import Rows
from nmtcli.train.batches import Batch, BatchPlan, share, write_pairs
from nmtcli.train.distributed import Ranks, divided, whole
from nmtcli.train.gradients import Gradients
from nmtcli.train.interrupts import Interrupts
from nmtcli.train.logs import Observer
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.meter import Meter
from nmtcli.train.objectives import make_objective
from nmtcli.train.precision import MixedPrecision, safer
from nmtcli.train.schedule import learning_rate
from nmtcli.train.subwords import SubwordSampling
from nmtcli.train.validation import Validator
from nmtcli.train.vectors import WordVectorPair

RECOVERIES = 5  # from divergence, before giving up


@dataclass
class TrainState:
    """Where training stands, beside the weights, the optimizer and the random numbers. JSON."""

    step: int = 0  # updates done
    epoch: int = 0
    block: int = 0  # of this epoch
    position: int = 0  # updates done in this block
    validated_step: int = 0
    best: list[tuple[float, int]] = field(default_factory=list)  # (score, step), best first
    without_improvement: int = 0  # validations in a row
    target_tokens: int = 0
    skipped_updates: int = 0
    seconds: float = 0.0  # spent in updates
    rate_scale: float = 1.0  # of the learning rate
    precision: Precision | None = None  # where it is no longer that of the settings
    recoveries: int = 0  # how often training went back to a checkpoint


class Trainer:
    """Trains one model, on one device or as one of several ranks.

    Everything that decides the next weights is in the checkpoint: weights, Adam's moments, the loss scale, and
    `TrainState`. Data and random numbers follow from the seed and the place in the data, so a resume is exact, and a
    run may go on with another number of ranks.
    """

    def __init__(
        self,
        config: Config,
        data: PreparedData,
        run: RunDirectory,
        device: torch.device,
        observers: Sequence[Observer],
        finetune_from: Path | None = None,
        word_vectors: WordVectorPair = (None, None),
        ranks: Ranks | None = None,
    ) -> None:
        """A new run begins with the weights of the model directory `finetune_from`; without, with random ones and the
        vectors of the source and the target that are given. Only the first rank has observers.
        """
        settings = config.train
        self.config, self.data, self.run, self.device, self.observers = config, data, run, device, observers
        self.finetune_from, self.word_vectors = finetune_from, word_vectors
        self.ranks = ranks = ranks or Ranks()
        self.sharded = settings.sharded and ranks.size > 1
        self.model = self._new_model()
        loss = TrainingLoss(self.model, settings.label_smoothing, settings.guided_alignment)
        self.objective = make_objective(config, loss, data.tokenizers)
        parallel = ranks.share(self.objective, self.sharded, device)
        self.gradients = Gradients(parallel, ranks, device, settings.seed, self._on_split)
        self.optimizer = torch.optim.Adam(self.model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)
        self.state = TrainState()
        self.precision = self._precision()
        self.plan = BatchPlan.training(data, settings)
        self.subwords = None
        if settings.subword_sampling is not None:
            self.subwords = SubwordSampling(self.plan, data.tokenizers, settings.subword_sampling, settings.seed)
        self.validator = Validator(data, config, device, ranks)
        self.total = settings.max_updates
        if settings.max_epochs is not None:
            self.total = min(self.total, self.plan.updates(settings.max_epochs))
        self.skipped, self.skipped_in_a_row = torch.zeros(2, dtype=torch.int64, device=device).unbind()
        self.splits = 0
        self.interrupts = Interrupts(alone=ranks.size == 1)
        self.meter = Meter()
        self.passes = 0.0  # over the data
        if steps := run.steps():
            self._load(run.checkpoint(steps[-1]))

    def _new_model(self) -> Seq2Seq:
        """The model as a new run has it."""
        torch.manual_seed(self.config.train.seed)
        tokenizers = self.data.tokenizers
        model = Seq2Seq(self.config.model, len(tokenizers.source), len(tokenizers.target))
        if self.finetune_from is not None:
            path = self.finetune_from / checkpoint.WEIGHTS
            checkpoint.put_weights(model, checkpoint.load_tensors(path), path)
        for vectors, table in zip(self.word_vectors, (model.source_embedding, model.target_embedding), strict=True):
            if vectors is not None:
                vectors.put(table.weight)
        return model.to(self.device)

    def fit(self) -> str:
        """Train to the end; returns the reason to stop.

        Raises Interrupted after SIGINT or SIGTERM, with everything saved. Every decision is made before an update and
        once more after the last, so that validation and saving stand here once; all ranks make the same.
        """
        self._tell_start()
        saved_step = self.state.step
        updates = self._updates()
        with self.interrupts:
            if self._stop_reason() is None:
                self._rehearse()
            while True:
                due = self.state.step % self.config.train.valid_every == 0 or self._stop_reason() is not None
                validated = due and self.state.validated_step != self.state.step and self._validate()
                signal = self.ranks.most(self.interrupts.received or 0)
                reason = self._stop_reason()
                if self.state.step != saved_step and (
                    validated or signal or reason or self.state.step % self.config.train.save_every == 0
                ):
                    self._save()
                    saved_step = self.state.step
                if signal:
                    raise self._interrupted(Signals(signal))
                if reason is not None:
                    self._tell("stopped", {"step": self.state.step, "reason": reason})
                    return reason
                batches = next(updates)
                self._update(batches)
                if self._diverged():
                    self._recover(batches)
                    saved_step, updates = self.state.step, self._updates()

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
        """This rank's batches of the update at the place of `state`."""
        own = share(update, self.ranks.rank, self.ranks.size)
        if self.subwords is None:
            return [self.plan.load(update[number][taken]) for number, taken in own]
        place = (self.state.epoch, self.state.block, self.state.position)
        loaded = (self.subwords.load(update[number], (*place, number), taken) for number, taken in own)
        return list(chain.from_iterable(loaded))

    def _rehearse(self) -> None:
        """Try the largest batch before the first update, so that memory runs out now or hardly ever."""
        largest = self.plan.largest(self.state.epoch, self.state.block)
        alone = (
            slice(self.ranks.rank, None, self.ranks.size) if self.config.train.update_tokens is None else slice(None)
        )
        rows = largest[alone]
        reserved = []
        if self.device.type == "cuda" and not self.optimizer.state:  # the optimizer has not taken its memory yet
            reserved = [torch.empty_like(weight) for weight in self.model.parameters() for _ in range(2)]
        self._compute([self.plan.load(rows)] if len(rows) else [])
        del reserved
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.report(self.state.step, self.ranks)
        self.meter.restart()

    def _compute(self, batches: list[Batch]) -> tuple[int, Tensor]:
        """Gradients of the next update."""
        self.model.train()
        filler = self.plan.load(np.zeros(1, np.int64)) if self.sharded else None
        return self.gradients.compute(batches, filler, self.state.step + 1, self.precision)

    def _update(self, batches: list[Batch]) -> None:
        """One update of the weights from one or several batches, as if they were one."""
        self.meter.data_ready()
        state, settings = self.state, self.config.train
        rate = state.rate_scale * learning_rate(state.step + 1, self.total, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tokens, loss = self._compute(batches)
        norm = self.precision.step(self.optimizer, settings.clip_norm)
        applied = norm.isfinite()
        self.skipped += ~applied
        self.skipped_in_a_row = torch.where(applied, 0, self.skipped_in_a_row + 1)
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.target_tokens += tokens
        state.seconds += self.meter.update_done(loss, tokens, torch.where(applied, norm, 0.0))
        if state.step % settings.log_every == 0 or state.step == self.total:
            metrics: dict[str, Any] = {"step": state.step, "epoch": self.passes}
            self._count_skipped()
            metrics |= {**self.meter.read(self.ranks), "learning_rate": rate, "skipped": state.skipped_updates}
            metrics |= {"out_of_memory": self.splits, **self.objective.report(state.step, self.ranks)}
            self._tell("updated", metrics)

    def _on_split(self, batch: Batch) -> None:
        self.splits += 1
        split = {"step": self.state.step, "tokens": batch.cells, "parts": 2, "setting": "train.batch_tokens"}
        self._tell("split", split)

    def _diverged(self) -> bool:
        """Whether too many updates in a row were skipped; the device is asked only now and then."""
        most = self.config.train.max_skipped
        return self.state.step % most == 0 and int(self.skipped_in_a_row.item()) >= most

    def _recover(self, batches: list[Batch]) -> None:
        """Go back to the last checkpoint with a lower rate or a safer precision, or give up, as the settings say."""
        settings, step, state = self.config.train, self.state.step, self.state
        reason = f"{settings.max_skipped} updates in a row, up to {step:,}, had gradients that are not finite"
        if settings.on_divergence == "stop" or state.recoveries >= RECOVERIES:
            path = self.run.path / f"diverged-{step}.jsonl"
            write_pairs(path, batches, self.data.tokenizers, self.ranks)
            raise CheckFailed(
                f"training diverged: {reason}; the last batch is in {path}",
                "lower train.learning_rate, or choose train.precision=fp32; the last checkpoint is as it was",
            )
        precision = safer(self.precision.name, self.device) if settings.on_divergence == "safer_precision" else None
        recoveries, rate_scale = state.recoveries + 1, state.rate_scale * (1.0 if precision else 0.5)
        precision = precision or state.precision
        self.optimizer.state.clear()
        if steps := self.run.steps():
            self._load(self.run.checkpoint(steps[-1]))
        else:
            self.state = TrainState()
            self._put_weights(dict(self._new_model().named_parameters()))
        self.state.recoveries, self.state.rate_scale, self.state.precision = recoveries, rate_scale, precision
        self.precision = self._precision()
        self.skipped.zero_()
        self.skipped_in_a_row.zero_()
        self.meter.restart()
        metrics = {"step": step, "to_step": self.state.step, "reason": reason}
        self._tell("recovered", {**metrics, "precision": self.precision.name, "rate_scale": rate_scale})

    def _count_skipped(self) -> None:
        """Read how many updates were skipped; the device is asked only here."""
        self.state.skipped_updates += int(self.skipped.item())
        self.skipped.zero_()

    def _stop_reason(self) -> str | None:
        patience = self.config.train.patience
        if self.state.step >= self.total:
            return f"all {self.total} updates done"
        if patience is not None and self.state.without_improvement >= patience:
            score, step = self.state.best[0]
            metric = self.config.train.valid_metric
            return f"{metric} did not improve in {patience} validations; best {abs(score):.2f} at update {step}"
        return None

    def _validate(self) -> bool:
        """Measure the model on the validation set; False if a signal came in between, and nothing is changed."""
        if self.state.step == 0:
            return False
        measured = self.validator.measure(self._plain_model(), self._on_validating)
        self.meter.restart()
        if measured is None:
            return False
        metrics, samples = measured
        state, settings = self.state, self.config.train
        score = -metrics["loss"] if settings.valid_metric == "loss" else metrics[settings.valid_metric]
        improved = not state.best or score > state.best[0][0]
        ranked = sorted([*state.best, (score, state.step)], key=lambda entry: (-entry[0], entry[1]))
        state.best = ranked[: settings.keep_best]
        state.without_improvement = 0 if improved else state.without_improvement + 1
        state.validated_step = state.step
        metrics = {
            "step": state.step,
            **metrics,
            "improved": improved,
            "without_improvement": state.without_improvement,
        }
        for observer in self.observers:
            observer.validated(metrics, samples)
        return True

    def _on_validating(self, done: int, total: int) -> bool:
        """Passes progress on; False once a signal asks to stop."""
        for observer in self.observers:
            observer.validating(done, total)
        return self.interrupts.received is None

    def _plain_model(self) -> Seq2Seq:
        """The model in one piece: itself, or a copy where its weights are divided among the ranks."""
        if not self.sharded:
            return self.model
        copy = self._new_model()
        path = self.run.path / checkpoint.WEIGHTS
        checkpoint.put_weights(copy, self._whole_weights(), path)
        return copy

    def _interrupted(self, signal: Signals) -> Interrupted:
        return Interrupted(
            f"{signal.name}: saved update {self.state.step} in {self.run.path}",
            "run the same command again to go on",
            terminated=signal == Signals.SIGTERM,
        )

    def _tell_start(self) -> None:
        start: dict[str, Any] = {"step": self.state.step, "total": self.total, "epoch": self.state.epoch}
        start |= {"parameters": parameter_count(self.model), "pairs": len(self.data.train)}
        start |= {"device": str(self.device), "precision": self.precision.name, "torch": torch.__version__}
        start |= {"ranks": self.ranks.size}
        self._tell("started", start)

    def _tell(self, event: str, metrics: dict[str, Any]) -> None:
        for observer in self.observers:
            getattr(observer, event)(metrics)

    def _save(self) -> None:
        """Write a checkpoint, let the pointers name it, delete those no longer kept."""
        self._count_skipped()
        state, settings = self.state, self.config.train
        weights, tensors = self._whole_weights(), self._tensors()  # all ranks have a part in these
        if not self.ranks.first:
            return
        self.run.save(state.step, lambda directory: self._write(directory, weights, tensors))
        if state.best:
            self.run.point("best", state.best[0][1])
        self.run.prune({step for _, step in state.best} | set(self.run.steps()[-settings.keep_last :]))
        for observer in self.observers:
            observer.saved(self.run.checkpoint(state.step))

    def _write(self, directory: Path, weights: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
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
        checkpoint.write_model(directory, info, weights, self.data.tokenizers)
        checkpoint.write_trainer_state(directory, {**asdict(self.state), "scaler": self.precision.state()}, tensors)

    def _whole_weights(self) -> dict[str, Tensor]:
        return {name: whole(weight) for name, weight in checkpoint.model_weights(self.model).items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Adam's moments by the weight's name."""
        names = {id(weight): name for name, weight in self.model.named_parameters()}
        tensors: dict[str, Tensor] = {}
        for weight, moments in self.optimizer.state.items():
            tensors |= {f"adam.{key}.{names[id(weight)]}": whole(value) for key, value in moments.items()}
        return tensors

    def _load(self, directory: Path) -> None:
        """Take up everything from a checkpoint."""
        path = directory / checkpoint.WEIGHTS
        self._put_weights(checkpoint.load_tensors(path), path)
        state, tensors = checkpoint.read_trainer_state(directory)
        scaler = state.pop("scaler")
        state["best"] = [(score, step) for score, step in state["best"]]
        self.state = TrainState(**state)
        self.precision = self._precision()
        self.precision.load_state(scaler)
        moments: dict[int, dict[str, Tensor]] = {}
        for index, (name, weight) in enumerate(self.model.named_parameters()):
            keys = [key.split(".")[1] for key in tensors if key.startswith("adam.") and key.split(".", 2)[2] == name]
            # cloned: what was read lies in the memory map of a file that will be deleted
            found = {key: tensors[f"adam.{key}.{name}"].clone() for key in keys}
            moments[index] = {key: divided(own, weight) if own.dim() else own for key, own in found.items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        if self.ranks.first:
            self.run.point("last", self.state.step)
            if self.state.best:
                self.run.point("best", self.state.best[0][1])

    def _put_weights(self, weights: dict[str, Tensor], path: Path | None = None) -> None:
        own = checkpoint.model_weights(self.model)
        parts = {name: divided(weight, own[name]) if name in own else weight for name, weight in weights.items()}
        checkpoint.put_weights(self.model, parts, path or self.run.path)

    def _precision(self) -> MixedPrecision:
        settings = self.config.train
        return MixedPrecision(self.state.precision or settings.precision, self.device, self.sharded)
