"""The options of `nmt export`, and which of them go together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nmtcli.options import Option, Rule


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What `export` makes of a run or a checkpoint, and where."""

    run: Annotated[
        Path | None,
        Option("Run directory, or one checkpoint of it; with --check a config too.", metavar="RUN", argument=True),
    ] = None
    output: Annotated[Path | None, Option("Directory to make.", ("-o", "--output"), metavar="DIR")] = None
    form: Annotated[
        Literal["safetensors", "onnx", "ctranslate2"] | None,
        Option("safetensors (the default) is for nmt with PyTorch, onnx and ctranslate2 for without.", ("--format",)),
    ] = None
    average: Annotated[str | None, Option("Mean of the weights of N checkpoints.", metavar="last:N|best:N")] = None
    quantize: Annotated[
        Literal["int8", "int16", "fp16", "bf16"] | None,
        Option("Smaller weights; int8 also computes faster on a CPU."),
    ] = None
    data: Annotated[
        Path | None, Option("Data directory whose validation text the export is checked with.", metavar="DATA")
    ] = None
    vocabulary_shortlist: Annotated[
        bool, Option("Learn from --data which tokens a line can need, for translate --shortlist.")
    ] = False
    force: Annotated[
        bool,
        Option("Export also what fails its check: unlike the model, or less than half as fast. The card says so."),
    ] = False


RULES: tuple[Rule[ExportOptions], ...] = (
    Rule(
        lambda o: o.run is None or o.output is None,
        "nothing to export",
        "nmt export RUN -o DIR, or nmt export RUN --check",
    ),
    Rule(
        lambda o: o.vocabulary_shortlist and (o.form not in (None, "safetensors") or o.data is None),
        "--vocabulary-shortlist is for --format safetensors, and is learnt from training data",
        "--data DATA, the directory the model was trained on",
    ),
)
