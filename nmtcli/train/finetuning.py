"""A new run whose first weights are those of a trained model, or in part those of a pretrained encoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from nmtcli.checkpoint import (
    NewerFormat,
    RunDirectory,
    check_export,
    load_model,
    load_tokenizers,
    model_weights,
    read_info,
)
from nmtcli.config import Config, ModelConfig
from nmtcli.data.directory import PreparedData
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.interchange.encoders import EncoderFolder
from nmtcli.interchange.models import is_foreign_model, local_model
from nmtcli.models.pretrained import PretrainedEncoder
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.paths import quoted
from nmtcli.train.run import DROPOUTS, differences
from nmtcli.vocabulary import SPECIAL


@dataclass(frozen=True)
class FirstModel:
    """The model directory whose weights a run starts from, and the settings of its model."""

    directory: Path
    model: ModelConfig
    foreign: Path | None = None  # the model of another toolkit that it was converted from

    @property
    def name(self) -> Path:
        """The model in messages."""
        return self.foreign or self.directory

    @classmethod
    def find(cls, path: Path, output: Path) -> Self:
        """The model at `path`, or the newest checkpoint of the run `output` if it has one and is resumed.

        Raises DataError where there is no model or its weights cannot be trained.
        """
        directory = _newest_readable(RunDirectory(output))
        resumed = directory is not None
        directory = directory or local_model(path)
        info = read_info(directory)
        if info.kind != "pytorch":
            raise DataError(
                f"{path}: an export to {info.kind} has no weights to train",
                "give the run, one of its checkpoints or an export to safetensors",
            )
        check_export(directory, info)
        if info.precision != "fp32":
            raise DataError(
                f"{path}: an export in {info.precision} has quantized weights, which cannot be trained",
                "give the run, one of its checkpoints or an export without --quantize",
            )
        # the weights come from the model, not from its word vectors
        embedding = info.model.embedding.model_copy(update={"source_vectors": None, "target_vectors": None})
        foreign = path if not resumed and is_foreign_model(path) else None
        return cls(directory, info.model.model_copy(update={"embedding": embedding}), foreign)

    def check(self, config: Config, data: PreparedData, extend: bool = False) -> list[str]:
        """Lines that describe how the vocabulary changes, if it does; only `extend` allows that.

        Raises UserError where the settings are of another model, or, without `extend`, the data has other tokenizers.
        """
        original = config.model_copy(update={"model": self.model})
        if changes := [change for key, change in differences(original, config) if key not in DROPOUTS]:
            lines = "\n".join(f"{self.name}: the model has other settings: {change}" for change in changes)
            raise UserError(lines, "leave out the model settings: with --finetune-from they are the given model's")
        theirs, ours = load_tokenizers(self.directory), data.tokenizers
        if theirs == ours:
            return []
        if (theirs.pretrained or ours.pretrained) and theirs.source != ours.source:
            raise UserError(
                f"{self.name}: the tokenizer of a pretrained encoder cannot be replaced, and the data has another one",
                f"prepare the data with --tokenizer {quoted(self.name)}",
            )
        if not extend:
            raise UserError(
                f"{self.name}: the tokenizers of the model and of the data differ",
                f"prepare the data with --tokenizer {quoted(self.name)}, or give --extend-vocabulary",
            )
        if frozen := [
            part for part in config.train.freeze if part in ("source_embedding", "target_embedding", "output")
        ]:
            raise UserError(
                f"train.freeze {', '.join(frozen)} would leave the embeddings of new pieces random",
                "leave that out with --extend-vocabulary",
            )
        return list(self._extension(theirs, ours))

    def _extension(self, theirs: Tokenizers, ours: Tokenizers) -> Iterator[str]:
        """The count of pieces that are known, a vocabulary at a time."""
        sides = [("source", theirs.source, ours.source), ("target", theirs.target, ours.target)]
        for side, old, new in sides[:1] if theirs.joint and ours.joint else sides:
            known = len(common_pieces(old, new)[0]) - SPECIAL
            name = "joint" if theirs.joint and ours.joint else side
            if known == 0:
                raise UserError(f"{self.name}: its {name} vocabulary has no piece in common with the data's")
            total = len(new) - SPECIAL
            fresh = total - known
            yield f"{name} vocabulary: {known:,} of {total:,} pieces have the model's weights, {fresh:,} are new"

    def give_weights(self, model: Seq2Seq, tokenizers: Tokenizers) -> None:
        """The weights into a fresh model of the same settings; of other vocabularies, those of the pieces in both.

        Rows of embeddings and output layer go by piece. Pieces the model did not have keep their random weights.
        """
        theirs, old = load_tokenizers(self.directory), model_weights(load_model(self.directory))
        source, target = (
            common_pieces(theirs.source, tokenizers.source),
            common_pieces(theirs.target, tokenizers.target),
        )
        rows = {"source_embedding.weight": source}
        rows |= dict.fromkeys(("target_embedding.weight", "output.weight", "output.bias"), target)
        with torch.no_grad():
            for name, weight in model_weights(model).items():  # tied ones once, by the same name in both
                given = old[name].to(weight)
                if name in rows:
                    their_ids, our_ids = rows[name]
                    weight[our_ids] = given[their_ids]
                else:
                    weight.copy_(given)


@dataclass(frozen=True)
class FirstEncoder:
    """The pretrained encoder that a run starts from; the decoder starts from random weights."""

    folder: EncoderFolder

    def give_weights(self, model: Seq2Seq, tokenizers: Tokenizers) -> None:
        """See `FirstModel.give_weights`. Raises DataError for damaged weights."""
        del tokenizers  # `EncoderFolder.check` has compared them
        assert isinstance(model.encoder, PretrainedEncoder)
        weights = self.folder.weights()
        with torch.no_grad():
            for name, weight in model.encoder.model.named_parameters():
                weight.copy_(weights[name])


def _newest_readable(run: RunDirectory) -> Path | None:
    """The newest checkpoint whose settings and tokenizers can be read; the resume moves damaged ones away.

    Raises DataError if there are only others, or one of a newer format.
    """
    failed: DataError | None = None
    for step in reversed(run.steps()):
        try:
            load_tokenizers(run.checkpoint(step))
            return run.checkpoint(step)
        except NewerFormat:
            raise
        except DataError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return None


First = FirstModel | FirstEncoder  # what a run starts from, if not from random weights only


def common_pieces(theirs: Tokenizer, ours: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids in one and in the other vocabulary of the pieces in both; the special ones come first."""
    known = {piece: number for number, piece in enumerate(theirs.pieces(range(len(theirs))))}
    pieces = ours.pieces(range(SPECIAL, len(ours)))
    shared = [(known[piece], number) for number, piece in enumerate(pieces, SPECIAL) if known.get(piece, 0) >= SPECIAL]
    special = list(range(SPECIAL))
    return [*special, *(old for old, _ in shared)], [*special, *(new for _, new in shared)]
