"""The options of `nmt train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nmtcli.options import CommandOptions, Option, Rule


@dataclass(frozen=True, kw_only=True)
class TrainOptions(CommandOptions):
    """Options of `nmt train`. Settings come from a preset, then files, then single overrides."""

    data: Annotated[Path, Option("Data directory made by nmt prepare.", metavar="DATA", argument=True)]
    output: Annotated[Path, Option("Run directory; an existing run is resumed.", ("-o", "--output"), metavar="RUN")]
    preset: Annotated[
        str | None, Option("Preset: named model architecture and settings (docs/models.md).", metavar="NAME")
    ] = None
    config: Annotated[
        tuple[Path, ...],
        Option("Settings file; later files override earlier ones.", ("-c", "--config"), metavar="YAML"),
    ] = ()
    overrides: Annotated[
        tuple[str, ...],
        Option("One setting, for example train.learning_rate=3e-4; overrides files.", ("--set",), metavar="KEY=VALUE"),
    ] = ()
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("Device; auto: a GPU if there is one.")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None, Option("Training precision; same as --set train.precision=…")
    ] = None
    finetune_from: Annotated[
        Path | None, Option("Run, checkpoint or export with the initial weights.", metavar="MODEL")
    ] = None
    extend_vocabulary: Annotated[
        bool,
        Option(
            "With --finetune-from: allow data with other tokenizers; pieces in both vocabularies keep their embeddings."
        ),
    ] = False
    allow_changes: Annotated[bool, Option("Resume a run with changed training settings.")] = False


RULES: tuple[Rule[TrainOptions], ...] = (
    Rule(lambda o: o.extend_vocabulary and o.finetune_from is None, "--extend-vocabulary needs --finetune-from MODEL"),
)
