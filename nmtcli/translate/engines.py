"""The one opener of models: what a model supports, and which engine its directory needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, cast

from pydantic import Field, InstanceOf

from nmtcli.arguments import check_fields
from nmtcli.checkpoint import ModelInfo, check_export, load_model, read_info
from nmtcli.config import SearchConfig
from nmtcli.errors import UserError
from nmtcli.interchange.models import local_model
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice, attention_name
from nmtcli.settings import replace_search
from nmtcli.translate.ensemble import Mean
from nmtcli.translate.translation import LineHandling

if TYPE_CHECKING:
    from nmtcli.models.device import DeviceName
    from nmtcli.translate.runtimes.ctranslate2 import CTranslate2Runtime
    from nmtcli.translate.runtimes.onnx import OnnxRuntime
    from nmtcli.translate.runtimes.pytorch import TorchRuntime

Engine: TypeAlias = "TorchRuntime | OnnxRuntime | CTranslate2Runtime"


class Models(NamedTuple):
    """Models that support their options, not opened yet, and the decoding settings."""

    directories: list[Path]
    infos: list[ModelInfo]
    search: SearchConfig


@dataclass(frozen=True)
class ModelOptions:
    """Models, and how they are opened and used; it can be sent to another process. See `Translator.load`."""

    models: tuple[Path, ...]  # runs, checkpoints or exports
    device: str = "auto"
    search: Mapping[str, Any] = field(default_factory=dict)  # decoding settings that replace those of the model
    handling: InstanceOf[LineHandling] = field(default_factory=LineHandling)
    weights: Sequence[Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None  # of an ensemble
    mean: Mean = "probability"
    selected_attention: InstanceOf[AttentionChoice] = DEFAULT_ATTENTION
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    quantize: Literal["int8", "bf16", "fp16"] | None = None
    shortlist: bool = False

    def __post_init__(self) -> None:
        """Raises UserError for values of another type or out of bounds."""
        check_fields(self, "")

    def check(self, overridden: Sequence[str] = ()) -> Models:
        """The models. Raises UserError for options that they do not support, DataError for a missing model.

        Messages about decoding settings in `overridden` name `--set`; see `replace_search`.
        """
        if not self.models:
            raise UserError("an empty list of models", "give at least one")
        directories = [local_model(path) for path in self.models]
        infos = [read_info(directory) for directory in directories]
        first, name = infos[0], self.models[0]
        if self.device not in ("auto", "cpu") and all(info.kind == "onnx" for info in infos):
            raise UserError(f"--device {self.device}: an ONNX model runs on the CPU", "leave --device out")
        settings = replace_search(first.search, self.search, overridden)
        if settings.coverage_penalty and not first.model.attends:
            raise UserError(f"{name}: coverage_penalty needs attention, and this model has none", "set it to 0")
        if self.selected_attention != DEFAULT_ATTENTION:
            selected, usual = (attention_name(first.model, one) for one in (self.selected_attention, DEFAULT_ATTENTION))
            if first.kind != "pytorch" and selected != usual:
                what = "an ONNX" if first.kind == "onnx" else "a CTranslate2"
                raise UserError(
                    f"{what} model has only one attention ({usual}), not {selected}",
                    "use the run it was exported from",
                )
        for directory, info in zip(directories, infos, strict=True):
            if self.quantize and info.kind != "pytorch":
                raise UserError(
                    f"{directory}: is stored in {info.precision}; only PyTorch models can be quantized when loaded",
                    "export it again with another --quantize",
                )
            if info.kind == "ctranslate2" and (len(infos) > 1 or self.weights is not None):
                raise UserError(
                    f"{directory}: a CTranslate2 model cannot be a member of an ensemble",
                    "use the run it was exported from, or export it to onnx",
                )
        if self.shortlist and (len(infos) > 1 or self.weights is not None or first.kind != "pytorch"):
            raise UserError("a vocabulary shortlist needs a single PyTorch model", "leave the shortlist out")
        return Models(directories, infos, settings)

    def open_engines(self, models: Models, packed: bool = True) -> list[Engine]:
        """The engine of each model, whose files are verified. Raises UserError and DataError."""
        engines = []
        for number, (directory, info) in enumerate(zip(models.directories, models.infos, strict=True)):
            check_export(directory, info)
            attention = DEFAULT_ATTENTION if number else self.selected_attention
            engines.append(open_engine(directory, info, self.device, self.threads, self.quantize, attention, packed))
        return engines


def open_engine(
    directory: Path,
    info: ModelInfo,
    device: str,
    threads: int | None = None,
    quantize: "Literal['int8', 'bf16', 'fp16'] | None" = None,
    selected_attention: AttentionChoice = DEFAULT_ATTENTION,
    packed: bool = True,
) -> Engine:
    """The engine of the model in `directory`. PyTorch is imported for PyTorch models only.

    On a CPU, the matrices of a PyTorch model are `packed` for single steps of a search; forced decoding reads whole
    sentences and does not need that.
    """
    if info.kind == "onnx":
        from nmtcli.translate.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(directory, threads)
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UserError(f"device {device}: unknown device", "use auto, cpu, cuda, or one GPU such as cuda:1")
    if info.kind == "ctranslate2":
        from nmtcli.translate.runtimes.ctranslate2 import CTranslate2Runtime

        return CTranslate2Runtime(directory, info.precision, kind, threads, int(number or 0))
    from nmtcli.models.device import open_device
    from nmtcli.translate.runtimes.pytorch import TorchRuntime

    precision = "int8" if info.precision == "int8" else quantize  # stored bf16 and fp16 are computed in fp32
    torch_device = open_device(cast("DeviceName", kind), threads, int(number or 0), precision)
    model = load_model(directory, quantize)
    if packed and torch_device.type == "cpu" and precision is None:
        from nmtcli.models.quantized import pack_floats

        model = pack_floats(model)
    if selected_attention != DEFAULT_ATTENTION:
        model.select_attention(selected_attention)
    return TorchRuntime(model, torch_device)
