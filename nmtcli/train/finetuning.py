"""A new run whose first weights are those of a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nmtcli.checkpoint import RunDirectory, find_model, read_info
from nmtcli.config import Config, ModelConfig
from nmtcli.errors import DataError, UserError
from nmtcli.prepare.directory import PreparedData
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.train.run import DROPOUTS, differences


@dataclass(frozen=True)
class FirstModel:
    """The model directory a run begins with, and what its model is."""

    directory: Path
    model: ModelConfig

    @classmethod
    def find(cls, path: Path, output: Path) -> Self:
        """The model that `path` means; or the run's own newest checkpoint where `output` has one and goes on from it.

        Raises DataError where there is no model or it has no weights to train.
        """
        run = RunDirectory(output)
        steps = run.steps()
        directory = run.checkpoint(steps[-1]) if steps else find_model(path)
        info = read_info(directory)
        if info.kind != "pytorch":
            raise DataError(
                f"{path}: an export to {info.kind} has no weights to train",
                "give the run, one of its checkpoints or an export to safetensors",
            )
        # the weights come from the model, vectors that it once began with do not matter
        embedding = info.model.embedding.model_copy(update={"source_vectors": None, "target_vectors": None})
        return cls(directory, info.model.model_copy(update={"embedding": embedding}))

    def check(self, config: Config, data: PreparedData) -> None:
        """Raises UserError where the settings are of another model, or the data has other tokenizers."""
        own = config.model_copy(update={"model": self.model})
        if changes := [change for key, change in differences(own, config) if key not in DROPOUTS]:
            lines = "\n".join(f"{self.directory}: the model has other settings: {change}" for change in changes)
            raise UserError(lines, "leave out the model settings: with --finetune-from they are the given model's")
        theirs, ours = Tokenizers.load(self.directory), data.tokenizers
        if [theirs.source.digest, theirs.target.digest] != [ours.source.digest, ours.target.digest]:
            raise UserError(
                f"{self.directory}: the model has other tokenizers than the data",
                f"prepare the data with --tokenizer {self.directory}",
            )
