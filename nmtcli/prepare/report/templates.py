"""Web pages that need nothing else, with one style: of a corpus, of a training run."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from nmtcli.prepare.report.findings import percent


def template(path: str, **filters: Callable[..., Any]) -> Template:
    """The template at `path` in the package, with filters of its own; what it shows is escaped.

    It includes `prepare/report/style.css`.
    """
    loader = PackageLoader("nmtcli", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "number": "{:,}".format, **filters}
    return environment.get_template(path)
