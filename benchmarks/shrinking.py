"""A preset with smaller widths and all else as it is: for tests, and for checks on a CPU's budget."""

from math import gcd

from nmtcli.config import ModelConfig
from nmtcli.config.model import types_of
from nmtcli.settings import keys, load_config, presets

WIDTHS = ("size", "hidden_size", "feedforward_size")


def complete_presets() -> list[str]:
    """The presets that need no folder of a pretrained encoder."""
    return [name for name in presets() if load_config(name).model.encoder.type != "pretrained"]


def shrunk(preset: str, width: int) -> list[str]:
    """Overrides that make the preset's decoder `width` wide, an even number, and shrink other widths in proportion.

    Heads become fewer where they do not divide the new width. A preset that is no wider stays as it is.
    """
    model = load_config(preset).model
    if width >= model.decoder.hidden_size:
        return []
    found = {}
    for path, field in keys(ModelConfig):
        section = getattr(model, path[0])
        value = getattr(section, path[1]) if len(path) > 1 else None
        if value is not None and path[-1] in WIDTHS:
            even = value * width // model.decoder.hidden_size // 2 * 2  # the directions of an encoder take half each
            found[path] = max(2, even)
        elif path[-1] == "heads" and section.type in (types_of(field) or [section.type]):
            size = found.get((path[0], "hidden_size"), width)
            found[path] = gcd(value, size)
    return [f"model.{'.'.join(path)}={value}" for path, value in found.items()]
