"""Self-contained web pages: no network, scripts, fonts or images.

The templates of a page are beside its code; `base.html.j2` and `macros.html.j2` here are shared by all.
"""

import unicodedata
from collections.abc import Iterator
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from nmtcli.page.charts import HEIGHT, WIDTH

_SHARED = {"base.html.j2", "macros.html.j2"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories of characters shown as their code points
_JOINERS = "\u200c\u200d"  # normal in Persian, Hindi and emoji


def render(package: str, template: str, filters: dict[str, Any] | None = None, **values: object) -> str:
    """Render a template in `package`. All text is escaped, and the page loads nothing."""

    def read(name: str) -> str:
        folder = resources.files("nmtcli.page" if name in _SHARED else package)
        return (folder / name).read_text("utf-8")

    environment = Environment(
        loader=FunctionLoader(read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"pieces": _pieces, "number": "{:,}".format, **(filters or {})}
    environment.globals["canvas"] = (WIDTH, HEIGHT)
    return environment.get_template(template).render(**values)


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """The text in parts that are shown as they are (False) or as code points (True)."""
    for hidden, group in groupby(text, lambda one: unicodedata.category(one) in _HIDDEN and one not in _JOINERS):
        characters = "".join(group)
        yield hidden, " ".join(f"U+{ord(one):04X}" for one in characters) if hidden else characters
