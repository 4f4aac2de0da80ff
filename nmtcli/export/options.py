"""The options of `nmt export` and their rules."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nmtcli.options import CommandOptions, Option, Rule


@dataclass(frozen=True, kw_only=True)
class ExportOptions(CommandOptions):
    """Model, format and output directory of `export`."""

    run: Annotated[
        Path | None,
        Option("Run directory, or one checkpoint of it; with --check also a config.", metavar="RUN", argument=True),
    ] = None
    output: Annotated[
        Path | None,
        Option("Directory to create; with --format argos, a file NAME.argosmodel.", ("-o", "--output"), metavar="DIR"),
    ] = None
    form: Annotated[
        Literal["safetensors", "onnx", "ctranslate2", "marian", "argos"] | None,
        Option(
            "Format: safetensors (default) needs PyTorch; onnx and ctranslate2 do not; marian opens in transformers,"
            " argos in Argos Translate and LibreTranslate.",
            ("--format",),
        ),
    ] = None
    average: Annotated[str | None, Option("Checkpoint averaging.", metavar="last:N|best:N")] = None
    quantize: Annotated[
        Literal["int8", "int16", "fp16", "bf16"] | None,
        Option("Quantization: smaller weights; int8 is also faster on a CPU."),
    ] = None
    data: Annotated[
        Path | None, Option("Data directory; its validation text is used for the export check.", metavar="DATA")
    ] = None
    vocabulary_shortlist: Annotated[
        bool, Option("Learn a vocabulary shortlist from --data, for translate --shortlist.")
    ] = False
    license: Annotated[
        str | None,
        Option("Licence in the model card, an identifier of the Hugging Face Hub such as cc-by-4.0.", metavar="NAME"),
    ] = None
    force: Annotated[bool, Option("Export even if the check fails; the model card says so.")] = False


ARGOS_SUFFIX = ".argosmodel"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")

RULES: tuple[Rule[ExportOptions], ...] = (
    Rule(
        lambda o: o.run is None or o.output is None,
        "RUN and -o DIR are needed",
        "nmt export RUN -o DIR, or nmt export RUN --check",
    ),
    Rule(
        lambda o: o.vocabulary_shortlist and (o.form not in (None, "safetensors") or o.data is None),
        "--vocabulary-shortlist needs --format safetensors and the training data",
        "--data DATA, the directory the model was trained on",
    ),
    Rule(
        lambda o: o.license is not None and not _LICENSE.fullmatch(o.license),
        "--license {o.license}: not an identifier of a licence",
        "lower-case letters, digits and hyphens, such as apache-2.0, cc-by-4.0 or other",
    ),
    Rule(
        lambda o: o.form == "argos" and o.output is not None and o.output.suffix != ARGOS_SUFFIX,
        "{o.output}: --format argos writes one file, whose name ends with .argosmodel",
        "-o NAME.argosmodel",
    ),
)
