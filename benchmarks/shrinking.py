"""A preset with smaller widths and all else as it is: for tests, and for checks on a CPU's budget."""

from math import gcd

from nmtcli.config import ModelConfig
from nmtcli.settings import keys, load_config

WIDTHS = ("size", "hidden_size", "feedforward_size")


def shrunk(preset: str, width: int) -> list[str]:
    """Overrides that make `width` of the preset's decoder and shrink all other widths in proportion.

    Heads become fewer where they do not divide the new width. A preset that is no wider stays as it is.
    """
    model = load_config(preset).model
    wide = model.decoder.hidden_size
    if width >= wide:
        return []
    found = {}
    for (*sections, name), _ in keys(ModelConfig):
        section = model
        for part in sections:
            section = getattr(section, part)
        value = getattr(section, name)
        if name in WIDTHS and value is not None:
            found[".".join((*sections, name))] = max(
                2, value * width // wide // 2 * 2
            )  # both directions need an even one
    sizes = {"encoder": found["encoder.hidden_size"], "decoder": found["decoder.hidden_size"]}
    sizes["attention"] = found.get("attention.hidden_size", sizes["decoder"])
    for part, size in sizes.items():
        heads = getattr(model, part).heads
        if size % heads:
            found[f"{part}.heads"] = gcd(size, heads)
    return [f"model.{key}={value}" for key, value in found.items()]
