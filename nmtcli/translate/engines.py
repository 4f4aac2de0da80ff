"""What an engine cannot do, told before it is opened."""

from collections.abc import Sequence

from nmtcli.checkpoint import ModelInfo
from nmtcli.errors import UserError
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice, attention_name


def check_told(info: ModelInfo, told: AttentionChoice) -> None:
    """Raises UserError where a model cannot tell that attention."""
    if told == DEFAULT_ATTENTION:
        return
    name, usual = attention_name(info.model, told), attention_name(info.model, DEFAULT_ATTENTION)
    if info.kind != "pytorch" and name != usual:
        what = "an ONNX" if info.kind == "onnx" else "a CTranslate2"
        raise UserError(f"{what} model tells one attention only ({usual}), not {name}", "use the run it was made of")


def check_onnx_device(infos: Sequence[ModelInfo], device: str) -> None:
    """Raises UserError for a device that none of the models runs on."""
    if device not in ("auto", "cpu") and all(info.kind == "onnx" for info in infos):
        raise UserError(f"--device {device}: an ONNX model runs on the CPU", "leave it out")
