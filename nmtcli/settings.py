"""Settings from a preset, then YAML files, then `--set key=value`; later ones win.

All mistakes are reported at once, each with its place (file and line) and, for an unknown key, the nearest valid one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nmtcli.config import Config, CorpusConfig, SearchConfig, Section
from nmtcli.errors import UserError, nearest

Tree = dict[str, Any]
KeyPath = tuple[str, ...]


def presets() -> list[str]:
    """Names that `--preset` takes."""
    folder = resources.files("nmtcli.models") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(
    preset: str | None = None, files: Sequence[Path] = (), overrides: Sequence[str] = (), base: Tree | None = None
) -> Config:
    """Settings from `base`, a preset, YAML files and `key=value` overrides, later ones first in rank.

    Raises UserError that lists every mistake.
    """
    tree, origins = load_tree(preset, files, overrides, base)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError("\n".join(_explain(error, origins)), "docs/config.md lists the keys") from None


def load_tree(
    preset: str | None = None, files: Sequence[Path] = (), overrides: Sequence[str] = (), base: Tree | None = None
) -> tuple[Tree, dict[KeyPath, str]]:
    """The merged settings as given, unchecked, and where each was set (`file:line` or the override)."""
    tree: Tree = {}
    origins: dict[KeyPath, str] = {}
    if base:
        _merge(tree, base)
    if preset is not None:
        if preset not in presets():
            raise UserError(f"no preset {preset!r}{nearest(preset, presets())}", f"presets: {', '.join(presets())}")
        text = (resources.files("nmtcli.models") / "presets" / f"{preset}.yaml").read_text("utf-8")
        _merge(tree, _parse_yaml(text, f"preset {preset}", origins))
    for file in files:
        try:
            text = file.read_text("utf-8-sig")
        except OSError as error:
            raise UserError(f"{file}: cannot read the config: {error.strerror}") from None
        except UnicodeDecodeError as error:
            hint = "save it as UTF-8; iconv -f UTF-16 -t UTF-8 converts UTF-16"
            raise UserError(f"{file}: the config is not UTF-8 (byte {error.start})", hint) from None
        _merge(tree, _parse_yaml(text, str(file), origins))
    for override in overrides:
        _merge(tree, _parse_override(override, origins))
    return tree, origins


def search_overrides(overrides: Sequence[str]) -> Tree:
    """The settings of search in `search.key=value` overrides; raises UserError for any other."""
    tree, origins = load_tree(overrides=overrides)
    for path, place in origins.items():
        if path[0] != "search" or len(path) == 1:
            raise UserError(f"{place}: not a setting of search", "write it as search.key=value")
    return dict(tree.get("search", {}))


def replace_search(search: SearchConfig, given: Mapping[str, Any], overridden: Sequence[str] = ()) -> SearchConfig:
    """The search settings with those given in their place; raises UserError for all that are wrong.

    It names options of the command line, and those `overridden` as `--set` has them.
    """
    try:
        return SearchConfig.model_validate(search.model_dump() | dict(given))
    except ValidationError as error:
        origins: dict[KeyPath, str] = {
            (name,): f"--set search.{name}" if name in overridden else "--" + name.replace("_", "-") for name in given
        }
        raise UserError("\n".join(_explain(error, origins)), "nmt translate --help lists the options") from None


def dump_config(config: Config) -> str:
    """The settings as YAML: all that the model and its training depend on."""
    stream = StringIO()
    YAML().dump(config.model_dump(), stream)
    return stream.getvalue()


def keys(section: type[Section] = Config, prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every setting as (path, pydantic field), depth first."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from keys(inner, (*prefix, name))
        else:
            yield (*prefix, name), field


def _parse_yaml(text: str, name: str, origins: dict[KeyPath, str]) -> Tree:
    try:
        loaded = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{name}:{line}: not valid YAML: {error.problem or error.context}") from None
    except YAMLError as error:
        raise UserError(f"{name}: not valid YAML: {error}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, CommentedMap):
        raise UserError(f"{name}: a config is a mapping of sections (data, model, train, search)")
    return _plain(loaded, name, (), origins)


def _plain(node: CommentedMap, name: str, prefix: KeyPath, origins: dict[KeyPath, str]) -> Tree:
    """Ruamel's round-trip types to Python's own, noting the line of each key."""
    tree: Tree = {}
    for key, value in node.items():
        path = (*prefix, str(key))
        origins[path] = f"{name}:{node.lc.key(key)[0] + 1}"
        tree[str(key)] = _plain_value(value, name, path, origins)
    return tree


def _plain_value(value: Any, name: str, path: KeyPath, origins: dict[KeyPath, str]) -> Any:
    if isinstance(value, CommentedMap):
        return _plain(value, name, path, origins)
    if isinstance(value, CommentedSeq):
        for number in range(len(value)):
            origins[*path, str(number)] = f"{name}:{value.lc.item(number)[0] + 1}"
        return [_plain_value(item, name, (*path, str(number)), origins) for number, item in enumerate(value)]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _parse_override(override: str, origins: dict[KeyPath, str]) -> Tree:
    key, equals, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise UserError(
            f"--set {override}: write it as section.key=value", "for example --set train.learning_rate=3e-4"
        )
    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        value = text
    origins[path] = f"--set {key}"
    for part in reversed(path):
        value = {part: value}
    return dict(value)


def _merge(tree: Tree, other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = deepcopy(value)


def _explain(error: ValidationError, origins: Mapping[KeyPath, str]) -> Iterator[str]:
    """One line a mistake: place, key, what is wrong, the nearest valid key."""
    for item in error.errors():
        path = tuple(str(part) for part in item["loc"])
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            yield f"{_place(path, origins)}: unknown key {key}{_nearest_key(path)}"
            continue
        given = "" if isinstance(item["input"], dict | Section) else f" (is {item['input']!r})"
        if item["type"] == "literal_error":
            given += nearest(str(item["input"]), re.findall("'([^']*)'", item["ctx"]["expected"]))
        for message in item["msg"].removeprefix("Value error, ").split("\n"):
            subject = (*path, *message.split()[0].split("."))  # rules of a section begin with the key they are about
            named = f"{key}: " if key else ""
            yield f"{_place(subject, origins)}: {named}{message[0].lower() + message[1:]}{given}"


def _place(path: KeyPath, origins: Mapping[KeyPath, str]) -> str:
    """Where a key was set; else what lies in it, or the section it lies in."""
    inside = (place for key, place in origins.items() if key[: len(path)] == path)
    if path not in origins and (place := next(inside, None)) is not None:
        return place
    return next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), "settings")


def _nearest_key(path: KeyPath) -> str:
    valid = [".".join(key) for key, _ in keys()]
    if len(path) > 2 and path[2].isdigit():  # a key of the third corpus, for example
        valid = [".".join((*path[:3], field)) for field in CorpusConfig.model_fields]
    same_end = [key for key in valid if key.rsplit(".", 1)[-1] == path[-1]]
    return nearest(".".join(path), same_end or valid)
