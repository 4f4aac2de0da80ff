"""Export a run or a checkpoint to a model directory: averaged, without trainer state, in a given format, and checked.

The run is never modified. The export is opened and compared with the original model; only if the check passes, or with
`force`, does the directory appear.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nmtcli import checkpoint, strict_json
from nmtcli.checkpoint import (
    CARD,
    REPORT,
    Kind,
    ModelInfo,
    RunDirectory,
    StoredPrecision,
    file_digests,
    read_info,
)
from nmtcli.data.directory import PreparedData, open_data
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import REPORT_IT, CheckFailed, DataError, UserError
from nmtcli.export.argos import write_argos
from nmtcli.export.card import ExportReport, model_card
from nmtcli.export.checking import Comparison, Probes, compare
from nmtcli.export.conditions import PRECISIONS, ExportFormat, reachable_formats, settle_search, unmet
from nmtcli.export.options import RULES, ExportOptions
from nmtcli.interchange.marian_reader import convert
from nmtcli.interchange.marian_writer import write_marian
from nmtcli.interchange.models import is_foreign_model, local_model
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.options import check_rules
from nmtcli.staging import check_output, staged, staged_file, writing
from nmtcli.translate.engines import open_engine
from nmtcli.translate.runtimes.ctranslate2 import computes_in, int8_may_saturate
from nmtcli.translate.shortlist import Shortlist
from nmtcli.translate.translator import Translator
from nmtcli.version import __version__

_KINDS: dict[ExportFormat, Kind] = {
    "onnx": "onnx",
    "ctranslate2": "ctranslate2",
    "argos": "ctranslate2",
}  # else pytorch
_ANOTHER_PLACE = "or set TMPDIR to a directory on another disk"


def export(options: ExportOptions) -> ExportReport:
    """Export the model that `options.run` means (see `local_model`), or the mean of a run's checkpoints.

    Raises UserError for what the model cannot have, and CheckFailed where the export does not translate alike or is
    much slower, unless forced; nothing is written then.
    """
    check_rules(options, RULES)
    source, output = options.run, options.output
    form: ExportFormat = options.form or "safetensors"
    precision: StoredPrecision = options.quantize or "fp32"
    assert source is not None and output is not None  # by the rules
    if output.exists():
        raise UserError(f"{output}: exists already", "choose another -o; nmt never overwrites a model")
    origins = RunDirectory(source).select(options.average) if options.average else [local_model(source)]
    origin = origins[-1]
    info = read_info(origin)
    checkpoint.check_export(origin, info)
    tokenizers = checkpoint.load_tokenizers(origin)
    _check_possible(source, info, tokenizers, form, precision)
    kind = _KINDS.get(form, "pytorch")
    checked_in = _check_precision(kind, precision, options.force)
    data = _open_data(options.data, info)
    probes = Probes.of(data) if data else Probes.random(tokenizers.source)
    model = checkpoint.load_model(origin)
    if options.average:
        checkpoint.put_weights(model, checkpoint.average_weights(origins), origin)
    search, replaced = settle_search(info.search, form)
    made = {"nmtcli": __version__, "kind": kind, "precision": precision, "search": search}
    info = info.model_copy(update=made)
    with _staged(output, form) as directory, TemporaryDirectory() as place:
        opened = directory
        if form == "marian":
            write_marian(model, info, tokenizers, directory)
            opened = Path(place)
            with writing(opened, _ANOTHER_PLACE):
                convert(directory, opened, info.data_fingerprint)
        else:
            write_export(model, info, tokenizers, directory)
        if data and options.vocabulary_shortlist:
            Shortlist.learn(data.train, info.source_size, info.target_size).save(directory)
        start = time.perf_counter()
        engine = open_engine(opened, read_info(opened).model_copy(update={"precision": checked_in}), "cpu")
        seconds = time.perf_counter() - start
        # without the shortlist, as by default
        translator = Translator(engine, checkpoint.load_tokenizers(opened), info.search)
        other_ids = tokenizers if form == "marian" else None
        comparison = check_export(model, translator, info, probes, options.force, other_ids)
        files = file_digests(directory)
        report = ExportReport(
            nmtcli=__version__,
            torch=torch.__version__,
            format=form,
            precision=precision,
            shortlist=options.vocabulary_shortlist,
            checkpoints=[source.resolve().name] if is_foreign_model(source) else [one.name for one in origins],
            parameters=parameter_count(model),
            bytes=sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()),
            load_seconds=seconds,
            comparison=comparison,
            passed=not comparison.failures,
            replaced=replaced,
            files=files,
        )
        (directory / REPORT).write_text(strict_json.dumps(asdict(report), indent=2) + "\n", "utf-8")
        (directory / CARD).write_text(model_card(report, info, origin, options.license, data), "utf-8")
        if form == "argos":
            with staged_file(output) as file:
                write_argos(directory, info, tokenizers, file)
            report = replace(report, bytes=output.stat().st_size)
    return report


@contextmanager
def _staged(output: Path, form: ExportFormat) -> Iterator[Path]:
    """The directory of the export; a temporary one where it becomes a single file."""
    if form != "argos":
        with staged(output) as directory:
            yield directory
        return
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    check_output(output)
    with TemporaryDirectory() as place, writing(Path(place), _ANOTHER_PLACE):
        yield Path(place)


def write_export(model: Seq2Seq, info: ModelInfo, tokenizers: Tokenizers, directory: Path) -> None:
    """Write the files for `nmt translate`, in the format and precision of `info`, into an existing directory."""
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


def check_export(
    model: Seq2Seq,
    export: Translator,
    info: ModelInfo,
    probes: Probes,
    force: bool = False,
    tokenizers: Tokenizers | None = None,
) -> Comparison:
    """Translate the probes with both models; `tokenizers` as in `compare`.

    Raises CheckFailed if the translations differ too much or the export is much slower, unless forced.
    """
    comparison = compare(model, export, info, probes, tokenizers)
    if comparison.failures and not force:
        if not comparison.differences:
            hint = (
                "choose another --quantize or --format (nmt --version --verbose lists this CPU's kernels);"
                " --force exports it anyway, for another machine"
            )
        elif info.kind == "ctranslate2" and info.precision == "int8" and int8_may_saturate():
            hint = "CTranslate2's int8 may saturate on this CPU: set CT2_USE_MKL=1, which is exact but slower"
        elif info.precision != "fp32":
            hint = "choose another --quantize; --force exports it anyway"
        else:
            hint = REPORT_IT
        raise CheckFailed("\n".join([*comparison.failures, "nothing was written"]), hint)
    return comparison


def _check_possible(
    source: Path, info: ModelInfo, tokenizers: Tokenizers, form: ExportFormat, precision: StoredPrecision
) -> None:
    if info.kind != "pytorch" or info.precision != "fp32":
        kind = info.kind if info.kind != "pytorch" else info.precision
        raise DataError(f"{source}: is an export to {kind} already", "export from the run or a checkpoint")
    if conditions := unmet(info.model, tokenizers, form):
        raise UserError(
            "\n".join(f"{source}: cannot be exported to {form}: {condition}" for condition in conditions),
            f"--format {' or '.join(reachable_formats(info.model, tokenizers))}",
        )
    if precision not in (possible := PRECISIONS[form]):
        raise UserError(
            f"--quantize {precision} is not available with --format {form}",
            f"--quantize {' or '.join(possible[1:])}" if possible[1:] else "leave --quantize out",
        )


def _check_precision(kind: Kind, precision: StoredPrecision, force: bool) -> StoredPrecision:
    """The precision of the export check: fp32 if this CPU cannot run the export, which needs `force`."""
    if kind != "ctranslate2" or computes_in(precision):
        return precision
    if not force:
        raise UserError(
            f"--quantize {precision}: CTranslate2 has no {precision} on this CPU",
            "--quantize int8; --force exports it for another machine, checked in fp32",
        )
    return "fp32"


def _open_data(path: Path | None, info: ModelInfo) -> PreparedData | None:
    """The data directory; raises UserError unless the model was trained on it."""
    if path is None:
        return None
    data = open_data(path)
    if data.manifest.fingerprint != info.data_fingerprint:
        raise UserError(f"{path}: the model was trained on other data", "give --data the directory it was trained on")
    return data
