"""Checks of what an engine supports, before it is opened."""

from collections.abc import Sequence

from nmtcli.checkpoint import ModelInfo
from nmtcli.errors import UserError
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice, attention_name


def check_selected_attention(info: ModelInfo, selected_attention: AttentionChoice) -> None:
    """Raise UserError if a model cannot return the attention of this layer and head."""
    if selected_attention == DEFAULT_ATTENTION:
        return
    name, usual = attention_name(info.model, selected_attention), attention_name(info.model, DEFAULT_ATTENTION)
    if info.kind != "pytorch" and name != usual:
        what = "an ONNX" if info.kind == "onnx" else "a CTranslate2"
        raise UserError(f"{what} model has only one attention ({usual}), not {name}", "use the run of the export")


def check_onnx_device(infos: Sequence[ModelInfo], device: str) -> None:
    """Raise UserError for a device that none of the models supports."""
    if device not in ("auto", "cpu") and all(info.kind == "onnx" for info in infos):
        raise UserError(f"--device {device}: an ONNX model runs on the CPU", "leave --device out")
