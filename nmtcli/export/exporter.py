"""A run or a checkpoint to a model directory for use: averaged, stripped, in the wanted format, and checked.

The run is never modified. What is written is opened again and must translate like the model it came from; only then
does the directory appear.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from nmtcli import __version__, checkpoint
from nmtcli.checkpoint import ModelInfo, RunDirectory, find_model, read_info
from nmtcli.config import ModelConfig
from nmtcli.errors import CheckFailed, DataError, UserError
from nmtcli.export.onnx import export_onnx
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.staging import staged
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import Hypothesis, SearchOptions, beam_search
from nmtcli.translate.translator import Runtime, open_runtime
from nmtcli.vocabulary import EOS, PAD, SPECIAL

ExportFormat = Literal["safetensors", "onnx"]

PROBES, PROBE_LENGTH, PROBE_LIMIT = 64, 24, 40
LEAST_MATCH = 0.98  # share of probes with the same greedy translation; one may be a tie within rounding
MOST_DIFFERENCE = 1e-3  # of the log-probability of a token


def reachable_formats(model: ModelConfig) -> list[str]:
    """The export formats that a model of these settings can have.

    A recurrent encoder that normalises inside the cell runs in a Python loop, which no ONNX graph holds for any length.
    """
    looping = model.encoder.type == "rnn" and model.encoder.layer_norm
    return [form for form in get_args(ExportFormat) if form != "onnx" or not looping]


@dataclass(frozen=True)
class ExportReport:
    """What was exported and how its check went; `export.json` in the directory."""

    nmtcli: str
    torch: str
    format: ExportFormat
    checkpoints: list[str]
    parameters: int
    bytes: int
    probes: int
    match_rate: float
    largest_log_prob_difference: float


def export_model(source: Path, output: Path, form: ExportFormat, average: str | None = None) -> ExportReport:
    """Export the model that `source` means (see `find_model`), or the mean of a run's checkpoints, to `output`.

    `average` is last:N or best:N. Raises UserError for a format the model cannot have, and CheckFailed where the export
    does not translate alike; nothing is written then.
    """
    if output.exists():
        raise UserError(f"{output}: is there already", "choose another -o; nmt never overwrites a model")
    origins = RunDirectory(source).select(average) if average else [find_model(source)]
    info = read_info(origins[-1])
    if info.kind != "pytorch":
        raise DataError(f"{source}: is an export to {info.kind} already", "export from the run or a checkpoint")
    if form not in (reachable := reachable_formats(info.model)):
        raise UserError(
            f"{source}: a model with model.encoder.layer_norm cannot be exported to {form}",
            f"--format {' or '.join(reachable)}",
        )
    model = checkpoint.load_model(origins[-1])
    if average:
        checkpoint.put_weights(model, checkpoint.average_weights(origins), origins[-1])
    info = info.model_copy(update={"nmtcli": __version__, "kind": "onnx" if form == "onnx" else "pytorch"})
    with staged(output) as directory:
        if form == "onnx":
            checkpoint.write_info(directory, info, Tokenizers.load(origins[-1]))
            export_onnx(model, directory)
        else:
            checkpoint.write_model(directory, info, checkpoint.model_weights(model), Tokenizers.load(origins[-1]))
        match, difference = check_equal(model, open_runtime(directory, info, "cpu"), info)
        report = ExportReport(
            nmtcli=__version__,
            torch=torch.__version__,
            format=form,
            checkpoints=[origin.name for origin in origins],
            parameters=parameter_count(model),
            bytes=sum(file.stat().st_size for file in directory.iterdir()),
            probes=PROBES,
            match_rate=match,
            largest_log_prob_difference=difference,
        )
        (directory / "export.json").write_text(json.dumps(asdict(report), indent=2) + "\n", "utf-8")
    return report


def check_equal(model: Seq2Seq, exported: Runtime, info: ModelInfo) -> tuple[float, float]:
    """Translate random probes greedily with both; returns the match rate and the largest difference a token.

    Probes are random pieces, so no text needs to lie beside a model. Raises CheckFailed where they differ too much.
    """
    source, length = _probes(info.source_size)
    with torch.inference_mode():
        expected = _greedy(TorchRuntime(model, torch.device("cpu")), source, length)
    found = _greedy(exported, source, length)
    same = [(a, b) for a, b in zip(expected, found, strict=True) if a.tokens == b.tokens]
    match = len(same) / len(expected)
    difference = max((abs(a.log_prob - b.log_prob) / len(a.tokens) for a, b in same), default=float("inf"))
    if match < LEAST_MATCH or difference > MOST_DIFFERENCE:
        raise CheckFailed(
            f"the export translates {match:.0%} of {PROBES} probes like the model, and log-probabilities differ by"
            f" up to {difference:.1e} a token, beyond {LEAST_MATCH:.0%} and {MOST_DIFFERENCE:.0e}; nothing was written",
            "please report it with the versions of torch, onnx and onnxruntime",
        )
    return match, difference


def _probes(vocabulary_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random sentences of 1 to PROBE_LENGTH pieces and EOS: ids [B, S] and lengths [B]."""
    random = np.random.default_rng(0)
    length = random.integers(2, PROBE_LENGTH + 2, PROBES)
    source = random.integers(SPECIAL, vocabulary_size, (PROBES, int(length.max())))
    position = np.arange(source.shape[1])[None]
    source = np.where(position < length[:, None] - 1, source, PAD)
    source[np.arange(PROBES), length - 1] = EOS
    return source, length


def _greedy(runtime: Runtime, source: NDArray[np.int64], length: NDArray[np.int64]) -> list[Hypothesis]:
    array = runtime.array
    options = SearchOptions(beam_size=1, length_penalty=0.0)
    found = beam_search(runtime, array(source), array(length), [PROBE_LIMIT] * len(length), options)
    return [hypotheses[0] for hypotheses in found]
