"""Settings from a preset, YAML files and `--set key=value`; later ones override earlier ones.

Errors are reported together, each with its place (file and line) and a suggestion for an unknown key.
"""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from ruamel.yaml import YAML

from nmtcli.config import Config, CorpusConfig, SearchConfig, Section
from nmtcli.config.parsing import KeyPath, Tree, parse
from nmtcli.config.train import REMOVED
from nmtcli.errors import UserError, nearest
from nmtcli.paths import quoted

_NO_MAPPING = "input should be a mapping of keys to values"
_SAID = {  # by the names of pydantic, whose own words are about Python
    **dict.fromkeys(("model_type", "dict_type", "model_attributes_type"), _NO_MAPPING),
    "tuple_type": "input should be a list",
    "too_long": "input should have at most {max_length} items",
}
# Names of settings in other toolkits.
_ELSEWHERE: dict[str, KeyPath] = {
    **dict.fromkeys(("lr", "lrate", "learning_rate", "learningrate"), ("train", "learning_rate")),
    **dict.fromkeys(("warmup", "warmup_steps", "lr_warmup"), ("train", "warmup_updates")),
    **dict.fromkeys(("batch_size", "max_tokens", "mini_batch"), ("train", "batch_tokens")),
    **dict.fromkeys(("steps", "max_steps", "train_steps", "num_steps"), ("train", "max_updates")),
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs"), ("train", "max_epochs")),
    **dict.fromkeys(("early_stopping", "early_stop"), ("train", "patience")),
    **dict.fromkeys(("beam", "beams", "num_beams"), ("search", "beam_size")),
    **dict.fromkeys(("lenpen", "alpha"), ("search", "length_penalty")),
    **dict.fromkeys(("hidden", "hidden_dim", "rnn_size", "d_model"), ("model", "encoder", "hidden_size")),
    **dict.fromkeys(("emb_size", "embedding_dim", "word_vec_size"), ("model", "embedding", "size")),
    **dict.fromkeys(("vocab", "vocabulary_size", "vocab_size"), ("data", "tokenizer", "vocab_size")),
}


def presets() -> list[str]:
    """The names of all presets."""
    folder = resources.files("nmtcli.models") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(
    preset: str | None = None, files: Sequence[Path] = (), overrides: Sequence[str] = (), base: Tree | None = None
) -> Config:
    """Settings from `base`, a preset, YAML files and `key=value` overrides; later ones override earlier ones.

    Raises UserError with all errors.
    """
    tree, origins = load_tree(preset, files, overrides, base)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError("\n".join(_explain(error, origins)), "docs/config.md lists the keys") from None


def load_tree(
    preset: str | None = None, files: Sequence[Path] = (), overrides: Sequence[str] = (), base: Tree | None = None
) -> tuple[Tree, dict[KeyPath, str]]:
    """The merged settings, not validated, and the place of each (`file:line` or the override)."""
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
            utf16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            convert = f"convert it: iconv -f UTF-16 -t UTF-8 {quoted(file)} > NEW"
            hint = convert if utf16 else "save it as plain text in UTF-8; unpack it if it is compressed"
            raise UserError(f"{file}: the config is not UTF-8 (byte {error.start})", hint) from None
        _merge(tree, _parse_yaml(text, str(file), origins))
    for override in overrides:
        _merge(tree, _parse_override(override, origins))
    return tree, origins


def removed_settings(files: Sequence[Path], overrides: Sequence[str]) -> list[str]:
    """A warning for each removed setting in these files and overrides."""
    _, origins = load_tree(files=files, overrides=overrides)
    given = {key: version for key, version in REMOVED.items() if ("train", key) in origins}
    return [f"train.{key} has no effect since {version} and is ignored" for key, version in given.items()]


def search_overrides(overrides: Sequence[str]) -> Tree:
    """The decoding settings in `search.key=value` overrides; raises UserError for any other."""
    tree, origins = load_tree(overrides=overrides)
    for path, place in origins.items():
        if path[0] != "search" or len(path) == 1:
            raise UserError(f"{place}: not a setting of search", "write it as search.key=value")
    return dict(tree.get("search", {}))


def replace_search(search: SearchConfig, given: Mapping[str, Any], overridden: Sequence[str] = ()) -> SearchConfig:
    """The decoding settings with replacements; raises UserError with all errors.

    Settings of the model that a given `method` or `beam_groups` does not have lose their effect. Messages have the
    names of command-line options, or of `--set` for those in `overridden`.
    """
    method, groups = (given.get(name, getattr(search, name)) for name in ("method", "beam_groups"))
    try:
        return SearchConfig.model_validate(search.without_others(method, groups) | dict(given))
    except ValidationError as error:
        origins: dict[KeyPath, str] = {
            (name,): f"--set search.{name}" if name in overridden else "--" + name.replace("_", "-") for name in given
        }
        raise UserError("\n".join(_explain(error, origins)), "nmt translate --help lists the options") from None


def dump_config(config: Config) -> str:
    """All settings as YAML."""
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


def value_of(config: Config, key: str) -> Any:
    """The value of a setting by its key, such as train.seed."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def changed_settings(before: Config, now: Config) -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ: key, old and new value."""
    for path, _ in keys():
        key = ".".join(path)
        if (old := value_of(before, key)) != (new := value_of(now, key)):
            yield key, old, new


def replaced(config: Config, values: Mapping[str, Any]) -> Config:
    """The settings with these values by their keys; they are checked already."""

    def put(section: Section, path: Sequence[str], value: Any) -> Section:
        first, *rest = path
        return section.model_copy(update={first: put(getattr(section, first), rest, value) if rest else value})

    for key, value in values.items():
        config = cast("Config", put(config, key.split("."), value))
    return config


def _section_paths(section: type[Section] = Config, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield (*prefix, name)
            yield from _section_paths(inner, (*prefix, name))


_SECTION_PATHS = frozenset(_section_paths())
_SETTING_PATHS = frozenset(path for path, _ in keys())


def _parse_yaml(text: str, name: str, origins: dict[KeyPath, str]) -> Tree:
    """The settings in a file, with flat keys such as train.max_updates in their sections, without empty sections."""
    places: dict[KeyPath, str] = {}
    tree = _nested(parse(text, name, places), ())
    origins |= {_split(path): place for path, place in places.items()}
    return tree


def _nested(tree: Tree, prefix: KeyPath) -> Tree:
    """The section `prefix` with flat keys in their sections, without those that are empty or commented out."""
    kept: Tree = {}
    for key, given in tree.items():
        path, value = _split((*prefix, key)), given
        if path in _SECTION_PATHS:
            if value is None:
                continue
            value = _nested(value, path) if isinstance(value, dict) else value
        for part in reversed(path[len(prefix) :]):
            value = {part: value}
        _merge(kept, value)
    return kept


def _split(path: KeyPath) -> KeyPath:
    """The path with each flat key of a section as several."""
    parts: KeyPath = ()
    for key in path:
        inner = _names(key, parts)
        parts += inner if (*parts, inner[0]) in _SECTION_PATHS | _SETTING_PATHS else (key,)
    return parts


def _names(key: str, prefix: KeyPath = ()) -> KeyPath:
    """The names in a flat key. What comes after a setting is one name, that of a corpus, which may have dots."""
    names = tuple(part.strip() for part in key.split("."))
    for end in range(1, len(names)):
        if (*prefix, *names[:end]) in _SETTING_PATHS:
            return (*names[:end], ".".join(names[end:]))
    return names


def _parse_override(override: str, origins: dict[KeyPath, str]) -> Tree:
    key, equals, text = override.partition("=")
    path = _names(key)
    if not equals or not all(path):
        raise UserError(
            f"--set {override}: write it as section.key=value", "for example --set train.learning_rate=3e-4"
        )
    if not text.strip():
        raise UserError(f"--set {override}: no value", f"write --set {key}=null for none")
    value: Any = text.strip()
    if value[0] in "\"'[{" or not re.search(r"(^|\s)#", value):  # # is no comment here
        with suppress(UserError):  # invalid YAML is text
            value = parse(f"value: {text}", "", {})["value"]
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
    """One line per error: place, key, message, suggestion."""
    for item in error.errors():
        path = tuple(str(part) for part in item["loc"] if part != "value")  # the tag of a type that may be auto
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            yield f"{_place(path, origins)}: unknown key {key}{_nearest_key(path)}"
            continue
        given = "" if isinstance(item["input"], dict | Section) else f" (is {item['input']!r})"
        if item["type"] == "literal_error":
            given += nearest(str(item["input"]), re.findall("'([^']*)'", item["ctx"]["expected"]))
        said = _SAID[item["type"]].format(**item.get("ctx", {})) if item["type"] in _SAID else item["msg"]
        for message in said.removeprefix("Value error, ").split("\n"):
            subject = (*path, *message.split()[0].split("."))  # messages of a section begin with a key
            named = f"{key}: " if key else ""
            yield f"{_place(subject, origins)}: {named}{message[0].lower() + message[1:]}{given}"


def _place(path: KeyPath, origins: Mapping[KeyPath, str]) -> str:
    """The place of a key; else of a key inside it, or of its section."""
    inside = (place for key, place in origins.items() if key[: len(path)] == path)
    if path not in origins and (place := next(inside, None)) is not None:
        return place
    return next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), "settings")


def _nearest_key(path: KeyPath) -> str:
    """The suggestion for an unknown key or section: the same name near by, then the name for that of another toolkit,
    then the same name anywhere, then the most similar name of the section.
    """
    valid = {*_SECTION_PATHS, *(key for key, _ in keys())}
    if len(path) > 2 and path[2].isdigit():  # a key of the third corpus, for example
        valid = {key for key, _ in keys(CorpusConfig, path[:3])}
    given, name = ".".join(path), path[-1].lower().replace("-", "_")
    same = {key for key in valid if key[-1] == name}
    usual = _ELSEWHERE.get(name)
    known = [{key for key in same if key[0] == path[0]}]
    if usual is not None:
        known += [{key for key in valid if key == (*path[:-1], usual[-1])}, {usual}]
    for candidates in (*known, same):
        if meant := get_close_matches(given, sorted(map(".".join, candidates)), n=1, cutoff=0):
            return f"; did you mean {meant[0]}?"
    siblings = {key[-1]: ".".join(key) for key in valid if key[:-1] == path[:-1]}
    if meant := get_close_matches(name, siblings, n=1):
        return f"; did you mean {siblings[meant[0]]}?"
    return nearest(given, (".".join(key) for key in valid - _SECTION_PATHS))
