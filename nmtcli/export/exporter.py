"""A run or a checkpoint to a model directory for use: averaged, stripped, in the wanted format, and checked.

The run is never modified. What is written is opened again and must translate like the model it came from; only then
does the directory appear.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from nmtcli import __version__, checkpoint
from nmtcli.checkpoint import (
    CARD,
    REPORT,
    ModelInfo,
    RunDirectory,
    StoredPrecision,
    file_digests,
    find_model,
    read_info,
)
from nmtcli.errors import CheckFailed, DataError, UserError
from nmtcli.export.card import model_card
from nmtcli.export.checking import Comparison, Probes, compare
from nmtcli.export.conditions import PRECISIONS, ExportFormat, reachable_formats, unmet
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.prepare.directory import open_data
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.staging import staged
from nmtcli.translate.translator import Runtime, Searcher, open_runtime

TEXT_PROBES = 200  # lines of the validation set


@dataclass(frozen=True)
class Export:
    """What to make of a run. `average` is last:N or best:N; `data` has the validation text it is checked with."""

    form: ExportFormat = "safetensors"
    precision: StoredPrecision = "fp32"
    average: str | None = None
    data: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class ExportReport:
    """What was exported and how its check went; `export.json` in the directory."""

    nmtcli: str
    torch: str
    format: ExportFormat
    precision: StoredPrecision
    checkpoints: list[str]
    parameters: int
    bytes: int
    load_seconds: float
    comparison: Comparison
    passed: bool
    files: dict[str, dict[str, int | str]] = field(default_factory=dict)


def export_model(source: Path, output: Path, export: Export) -> ExportReport:
    """Export the model that `source` means (see `find_model`), or the mean of a run's checkpoints, to `output`.

    Raises UserError for what the model cannot have, and CheckFailed where the export does not translate alike, unless
    forced; nothing is written then.
    """
    if output.exists():
        raise UserError(f"{output}: is there already", "choose another -o; nmt never overwrites a model")
    origins = RunDirectory(source).select(export.average) if export.average else [find_model(source)]
    origin = origins[-1]
    info = read_info(origin)
    _check_possible(source, origin, info, export)
    tokenizers = Tokenizers.load(origin)
    probes = _probes(export.data, info, tokenizers)
    model = checkpoint.load_model(origin)
    if export.average:
        checkpoint.put_weights(model, checkpoint.average_weights(origins), origin)
    kind = "pytorch" if export.form == "safetensors" else export.form
    info = info.model_copy(update={"nmtcli": __version__, "kind": kind, "precision": export.precision})
    with staged(output) as directory:
        write_export(model, info, tokenizers, directory)
        start = time.perf_counter()
        engine = open_runtime(directory, info, "cpu")
        seconds = time.perf_counter() - start
        comparison = check_equal(model, engine, info, tokenizers, probes, export.force)
        files = file_digests(directory)
        report = ExportReport(
            nmtcli=__version__,
            torch=torch.__version__,
            format=export.form,
            precision=export.precision,
            checkpoints=[one.name for one in origins],
            parameters=parameter_count(model),
            bytes=sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()),
            load_seconds=seconds,
            comparison=comparison,
            passed=not comparison.failures,
            files=files,
        )
        (directory / REPORT).write_text(json.dumps(asdict(report), indent=2) + "\n", "utf-8")
        (directory / CARD).write_text(model_card(report, info, origin), "utf-8")
    return report


def write_export(model: Seq2Seq, info: ModelInfo, tokenizers: Tokenizers, directory: Path) -> None:
    """All that `nmt translate` needs, in the format and precision of `info`, into an existing directory."""
    match info.kind:
        case "pytorch":
            from nmtcli.models.quantized import reduce_weights

            weights = checkpoint.model_weights(model)
            if info.precision in ("int8", "fp16", "bf16"):
                weights = reduce_weights(model, weights, info.precision)
            checkpoint.write_model(directory, info, weights, tokenizers)
        case "onnx":
            from nmtcli.export.onnx import export_onnx

            checkpoint.write_info(directory, info, tokenizers)
            export_onnx(model, directory, info.precision)
        case "ctranslate2":
            from nmtcli.export.ctranslate2 import export_ctranslate2

            checkpoint.write_info(directory, info, tokenizers)
            export_ctranslate2(model, tokenizers, directory, info.precision)


def check_equal(
    model: Seq2Seq,
    engine: Runtime | Searcher,
    info: ModelInfo,
    tokenizers: Tokenizers,
    probes: Probes,
    force: bool = False,
) -> Comparison:
    """Translate the probes with both. Raises CheckFailed where they differ too much, unless forced."""
    comparison = compare(model, engine, info, tokenizers, probes)
    if comparison.failures and not force:
        hint = "please report it with the versions of torch, onnx, onnxruntime and ctranslate2"
        if info.precision != "fp32":
            hint = "take another precision; --force exports it all the same"
        raise CheckFailed("\n".join([*comparison.failures, "nothing was written"]), hint)
    return comparison


def _check_possible(source: Path, origin: Path, info: ModelInfo, export: Export) -> None:
    checkpoint.check_export(origin, info)
    if info.kind != "pytorch" or info.precision != "fp32":
        what = info.kind if info.kind != "pytorch" else info.precision
        raise DataError(f"{source}: is an export to {what} already", "export from the run or a checkpoint")
    if conditions := unmet(info.model, export.form):
        raise UserError(
            "\n".join(f"{source}: cannot be exported to {export.form}: {condition}" for condition in conditions),
            f"--format {' or '.join(reachable_formats(info.model))}",
        )
    if export.precision not in (possible := PRECISIONS[export.form]):
        raise UserError(
            f"--quantize {export.precision} is not for --format {export.form}",
            f"--quantize {' or '.join(one for one in possible if one != 'fp32')}",
        )


def _probes(data: Path | None, info: ModelInfo, tokenizers: Tokenizers) -> Probes:
    """Lines of the validation set of a data directory, or random ones without it."""
    if data is None:
        return Probes.random(tokenizers.source)
    prepared = open_data(data)
    if prepared.manifest.fingerprint != info.data_fingerprint:
        raise UserError(f"{data}: the model was trained on other data", "give --data the directory it was trained on")
    pairs = prepared.valid.texts()[:TEXT_PROBES]
    name = f"the first {len(pairs)} lines of the validation set"
    return Probes(name, [pair.source for pair in pairs], [pair.target for pair in pairs])
