"""Writes docs/config.md from the typed settings: `python docs/config_reference.py > docs/config.md`."""

import inspect
import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from nmtcli.config import CleaningConfig, Config, CorpusConfig, Section
from nmtcli.config.model import types_of
from nmtcli.config.section import bounds_of
from nmtcli.settings import keys

HEADER = """# Settings

This page lists every setting of `nmt` with its default, for users who write a config file. `make docs` generates it
from the code. Give settings in YAML files (`-c FILE`) or one by one (`--set train.learning_rate=3e-4`). `--set`
overrides files, later files override earlier ones, and all of them override a preset. `nmt train` writes the settings
of a run to its `config.yaml`, with the values of `auto` (tokenizer settings aside, and the learning rate of `noam`).
"""


def kind(annotation: Any) -> str:
    """A type in words."""
    if getattr(get_origin(annotation), "__name__", "") == "Literal" or str(get_origin(annotation)) == "typing.Literal":
        return " \\| ".join(f"`{default(value)}`" for value in get_args(annotation))
    if get_origin(annotation) is dict:
        return "number for each name" if get_args(get_args(annotation)[1]) else "mapping of settings"
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        return "list of corpora, see below" if item is CorpusConfig else f"list of {kind(item)}"
    if get_origin(annotation) is Annotated:
        return kind(get_args(annotation)[0])
    if any(get_origin(part) for part in get_args(annotation)):
        return " or ".join(kind(part) for part in get_args(annotation))
    names = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}
    parts = [names[part] for part in get_args(annotation) or (annotation,)]
    return " or ".join(parts)


def bounds(metadata: list[Any]) -> str:
    """The bounds of a number."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(item, name)}" for item in metadata for name, sign in signs.items() if hasattr(item, name)
    ]
    return ", ".join(found)


def default(value: Any) -> str:
    """A default as YAML writes it."""
    if value is None or isinstance(value, bool | tuple | dict):
        return json.dumps(value)
    return str(value)


def rows(settings: Iterable[tuple[tuple[str, ...], Any]]) -> Iterator[str]:
    """A table of settings."""
    yield "| key | default | type | what it does |"
    yield "|---|---|---|---|"
    for path, setting in settings:
        types = ", ".join(filter(None, (kind(setting.annotation), bounds(bounds_of(setting)))))
        if owners := types_of(setting):
            types += f"; for type {', '.join(owners)}"
        yield f"| `{'.'.join(path)}` | `{default(setting.default)}` | {types} | {setting.description} |"
    yield ""


def reference() -> str:
    """The page."""
    lines = [HEADER]
    for name, field in Config.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        lines += [f"## {name}\n", f"{section.__doc__}\n", *rows(keys(section, (name,)))]
        if name == "data":
            lines += ["### A corpus\n", f"{CorpusConfig.__doc__} [How to use them](data.md).\n"]
            lines += rows(keys(CorpusConfig))
            lines += [
                "### Cleaning\n",
                f"{inspect.getdoc(CleaningConfig)} [Why these rules](data.md#cleaning-rules).\n",
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference(), end="")
