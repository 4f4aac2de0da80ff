"""All that decides the next update of a training run: written as checkpoints, and loaded again exactly."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from nmtcli import checkpoint
from nmtcli.checkpoint import ModelInfo, RunDirectory
from nmtcli.config import Config, Precision
from nmtcli.data.directory import PreparedData
from nmtcli.errors import DataError
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.averaging import MovingAverage, put_trained
from nmtcli.train.compiling import compile_layers
from nmtcli.train.distributed import Ranks, divided, whole
from nmtcli.train.finetuning import First
from nmtcli.train.freezing import freeze
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.objectives import make_objective
from nmtcli.train.optimizers import load_optimizer, make_optimizer, optimizer_tensors
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.professor_forcing import Adversary, ProfessorForcing
from nmtcli.train.state import TrainState
from nmtcli.train.stopping import EarlyStopping
from nmtcli.train.vectors import WordVectorPair


class Learner:
    """A model in training: objective, optimizer, loss scale, moving average, adversary, `TrainState`, `EarlyStopping`.

    A checkpoint has all of these. The data and the random numbers follow from the seed, the update and the rank, so
    that a resume with as many ranks is exact; with another number, only the masks of dropout are others.
    """

    def __init__(
        self,
        config: Config,
        data: PreparedData,
        run: RunDirectory,
        device: torch.device,
        ranks: Ranks,
        first: First | None = None,
        word_vectors: WordVectorPair = (None, None),
    ) -> None:
        """See `Trainer`."""
        self.config, self.data, self.run, self.device, self.ranks = config, data, run, device, ranks
        # A resumed run has weights of its own.
        self.first, self.word_vectors = None if run.steps() else first, word_vectors
        self.sharded = config.train.sharded and ranks.size > 1
        self.model = self._new_model()
        if config.train.compile:
            compile_layers(self.model)
        loss = TrainingLoss(self.model, config.train.label_smoothing, config.train.guided_alignment)
        self.objective = make_objective(config, loss, data.tokenizers)
        self.parallel = ranks.share(self.objective, self.sharded, device)  # may replace the weights by shards
        self.optimizer = make_optimizer(self.model, config.train)
        self.ema = None if config.train.ema is None else MovingAverage(self.model, config.train.ema)
        self.adversary: Adversary | None = None
        if isinstance(self.objective, ProfessorForcing):
            self.adversary = Adversary(self.objective, config, ranks)
        self.state, self.stopping = self._new_state(), EarlyStopping.of(config)
        self.precision = self._mixed_precision(None)
        self.skipped = SkippedUpdates(device)

    def _new_model(self) -> Seq2Seq:
        """The model at the start of a run."""
        torch.manual_seed(self.config.train.seed)
        tokenizers = self.data.tokenizers
        model = Seq2Seq(self.config.model, len(tokenizers.source), len(tokenizers.target))
        if self.first is not None:
            self.first.give_weights(model, tokenizers)
        for vectors, table in zip(self.word_vectors, (model.source_embedding, model.target_embedding), strict=True):
            if vectors is not None and table is not None:
                vectors.put(table.weight, model.embedding_scale)
        freeze(model, self.config.train.freeze, self.config.train.trained_encoder_layers)
        return model.to(self.device)

    def _new_state(self) -> TrainState:
        train = self.config.train
        return TrainState(given=f"{train.schedule}, {train.learning_rate}, {train.precision}")

    def restart(self) -> None:
        """Go back to the start of the run, which has no checkpoint."""
        self.state, self.stopping = self._new_state(), EarlyStopping.of(self.config)
        if self.ranks.first:
            for name in checkpoint.POINTERS:
                self.run.point(name, None)
        self.skipped.reset(0)
        self._put_weights(checkpoint.model_weights(self._new_model()), self.run.path)
        self.optimizer.state.clear()
        if self.config.train.ema is not None:
            self.ema = MovingAverage(self.model, self.config.train.ema)
        if self.adversary is not None:
            self.adversary.restart()

    def set_precision(self, precision: Precision | None) -> None:
        """Compute in this precision from now on; None is that of the settings."""
        self.state.precision = precision
        self.precision = self._mixed_precision(precision)

    def _mixed_precision(self, precision: Precision | None) -> MixedPrecision:
        return MixedPrecision(precision or self.config.train.precision, self.device, self.sharded)

    def is_finite(self) -> bool:
        """Whether all weights on all ranks are finite."""
        weights = [getattr(weight, "to_local", lambda one=weight: one)() for weight in self.model.parameters()]
        return not self.ranks.most(int(not torch.stack([weight.isfinite().all() for weight in weights]).all()))

    def smoothed(self) -> AbstractContextManager[None]:
        """Context in which the model is the one to validate and save: with EMA, the average."""
        return nullcontext() if self.ema is None else self.ema.swap()

    def plain_model(self) -> Seq2Seq:
        """The model in one piece: itself, or a copy where its weights are sharded. All ranks must call this."""
        if not self.sharded:
            return self.model
        copy = Seq2Seq(self.config.model, len(self.data.tokenizers.source), len(self.data.tokenizers.target))
        weights = checkpoint.model_weights(copy.to(self.device))
        for name, shards in checkpoint.model_weights(self.model).items():
            weights[name].copy_(whole(shards))
        return copy

    def save(self) -> None:
        """Write a checkpoint, update the pointers, delete checkpoints no longer kept. All ranks must call this."""
        self.skipped.count(self.state)
        with self.smoothed():
            weights = self._gathered(checkpoint.model_weights(self.model))
            if self.ema is not None:  # the swap back must not change them
                weights = {name: weight.clone() for name, weight in weights.items()}
        tensors = optimizer_tensors(self.optimizer) | (self.ema.tensors() if self.ema else {})
        tensors |= self.adversary.tensors() if self.adversary else {}
        tensors = self._gathered(tensors)
        if not self.ranks.first:  # every rank has contributed its shards
            return

        def write(directory: Path) -> None:
            self.write_model(directory, weights)
            checkpoint.write_trainer_state(directory, self._numbers(), tensors)

        self.run.save(self.state.step, write)
        if self.stopping.best_step is not None:
            self.run.point("best", self.run.checkpoint(self.stopping.best_step))
        last = self.run.steps()[-self.config.train.keep_last :]
        passed = self.state.step >= self.state.diverged_at
        self.run.prune({*last, *(one.step for one in self.stopping.best)}, aside=passed)

    def save_validation(self) -> None:
        """Add the last validation to the checkpoint of this update, which was saved without it."""
        if self.ranks.first:
            self.run.save_state(self.state.step, self._numbers())
            if self.stopping.best_step is not None:
                self.run.point("best", self.run.checkpoint(self.stopping.best_step))

    def _numbers(self) -> dict[str, Any]:
        """The state of a checkpoint that is no tensor, for JSON."""
        return {**asdict(self.state), **self.stopping.state(), "scaler": self.precision.state()}

    def write_model(self, directory: Path, weights: dict[str, Tensor]) -> None:
        """Write a model of this run with the given weights."""
        info = ModelInfo.of(self.data, self.state.step, self.config)
        checkpoint.write_model(directory, info, weights, self.data.tokenizers)

    def resume(self) -> list[dict[str, Any]]:
        """Load the newest intact checkpoint; move damaged ones out of the way and return a report of each."""
        damaged = load_newest(self.run, self._load)
        steps = self.ranks.gather(self.state.step)  # every rank has read the directory
        if len(set(steps)) > 1:
            other = next(rank for rank, step in enumerate(steps) if step != steps[0])
            raise DataError(
                f"{self.run.path}: rank 0 reads the checkpoint of update {steps[0]:,}, rank {other} that of update"
                f" {steps[other]:,}",
                "all machines must see the same files: check the shared storage, and run the same command again",
            )
        if self.run.steps():
            self._point()
        return [
            {"step": self.state.step, "reason": error.message, "moved": str(self.run.move_damaged(step))}
            for step, error in (damaged if self.ranks.first else ())
        ]

    def load(self, directory: Path) -> None:
        """Load everything from a checkpoint, and let the pointers name it. Raises DataError where it is damaged."""
        self._load(directory)
        self._point()

    def _load(self, directory: Path) -> None:
        checkpoint.read_info(directory)  # raises for a newer format
        weights, step = checkpoint.load_tensors(directory / checkpoint.WEIGHTS), int(directory.name.partition("-")[2])
        state, stopping, scaler, tensors = read_state(directory, step, self.stopping)
        self._put_weights(weights, directory / checkpoint.WEIGHTS)
        there = set(self.run.steps())  # a later checkpoint, which is gone, may have had the best one deleted
        stopping.best = [one for one in stopping.best if one.step in there]
        given = self._new_state().given
        if state.given not in ("", given):  # older versions have none
            state.rate_scale, state.recoveries, state.precision = 1.0, 0, None
        state.given = given
        self.state, self.stopping = state, stopping
        self.skipped.reset(state.skipped_in_a_row)
        self.set_precision(state.precision)
        self.precision.load_state(scaler)
        tensors = self._shards(tensors)
        load_optimizer(self.optimizer, tensors)
        if self.ema is not None:
            self.ema.load(tensors)
        else:  # it may have been switched off
            put_trained(dict(self.model.named_parameters()), tensors)
        if self.adversary is not None:
            self.adversary.load(tensors)

    def _point(self) -> None:
        """Let the pointers name the checkpoint of this update, and the best one it knows of.

        Where it knows of none, as after a change of the metric, `best` stays until the next validation.
        """
        if self.ranks.first:
            self.run.point("last", self.run.checkpoint(self.state.step))
            best = self.stopping.best_step
            if best is not None or not self.run.has("best"):
                self.run.point("best", best)

    def _gathered(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors in one piece on the first rank, nothing on others. All ranks must call this.

        Shards are gathered one tensor at a time and leave the device at once: together they would not fit.
        """
        gathered = {}
        for name, tensor in tensors.items():
            one = whole(tensor)
            if self.ranks.first:
                gathered[name] = one.cpu() if self.sharded else one
        return gathered

    def _put_weights(self, weights: dict[str, Tensor], path: Path) -> None:
        """Copy whole weights, which were read from `path`, into the model."""
        current = checkpoint.model_weights(self.model)
        shards = {
            name: divided(weight, current[name]) if name in current else weight for name, weight in weights.items()
        }
        checkpoint.put_weights(self.model, shards, path)

    def _shards(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """This rank's shards of tensors named after weights; copies of all where weights are not sharded.

        Copies, because tensors from a file are memory-mapped, and the file will be deleted.
        """
        if not self.sharded:
            return {key: tensor.clone() for key, tensor in tensors.items()}
        weights = checkpoint.model_weights(self.model)
        named = {key: next((w for name, w in weights.items() if key.endswith(f".{name}")), None) for key in tensors}
        return {
            key: tensor if (like := named[key]) is None or not tensor.dim() else divided(tensor, like)
            for key, tensor in tensors.items()
        }


class SkippedUpdates:
    """Counts the updates skipped for gradients that are not finite, on the device, so that no update waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._total, self._in_a_row = torch.zeros(2, dtype=torch.int64, device=device).unbind()

    def add(self, applied: Tensor) -> None:
        """Note an update; `applied` is a boolean scalar on the device."""
        self._total += ~applied
        self._in_a_row = torch.where(applied, 0, self._in_a_row + 1)

    @property
    def in_a_row(self) -> int:
        """The number of skipped updates since the last applied one; waits for the device."""
        return int(self._in_a_row.item())

    def count(self, state: TrainState) -> None:
        """Add the skipped updates to `state`; waits for the device."""
        state.skipped_updates += int(self._total.item())
        state.skipped_in_a_row = self.in_a_row
        self._total.zero_()

    def reset(self, in_a_row: int) -> None:
        """Start counting again after `in_a_row` skipped updates."""
        self._total.zero_()
        self._in_a_row.fill_(in_a_row)


def load_newest(run: RunDirectory, load: Callable[[Path], None]) -> list[tuple[int, DataError]]:
    """Load the newest intact checkpoint; returns the damaged ones after it, newest first.

    Raises DataError where none is intact, one has a newer format, or one cannot be opened.
    """
    damaged: list[tuple[int, DataError]] = []
    steps = run.steps()
    for step in reversed(steps):
        checkpoint.require_access(run.checkpoint(step))
        try:
            load(run.checkpoint(step))
            return damaged
        except checkpoint.NewerFormat:
            raise
        except DataError as error:
            damaged.append((step, error))
    if damaged:
        lines = "\n".join(error.message for _, error in damaged)
        raise DataError(lines, "all checkpoints of this run are damaged: choose another -o to start a new run")
    return []


def read_state(
    directory: Path, step: int, stopping: EarlyStopping
) -> tuple[TrainState, EarlyStopping, dict[str, Any], dict[str, Tensor]]:
    """The trainer state of a checkpoint: state, validations (settings as in `stopping`), loss scale, tensors.

    Raises DataError where something is missing or damaged.
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
        detail = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
        raise DataError(f"{directory / checkpoint.STATE}: damaged ({detail})") from None
    return state, stopping, scaler, tensors
