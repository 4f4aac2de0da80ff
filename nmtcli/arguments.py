"""Validation of the arguments of the Python interface: types, bounds and choices."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from nmtcli.errors import UserError


def check(name: str, value: Any, kind: Any) -> None:
    """Raise UserError if `value` is not of type `kind`, a pydantic type with bounds and choices."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part!r}]" for part in first["loc"] if part in _keys(value))
        message = first["msg"].removeprefix("Input ")
        shown = repr(first["input"])
        problem = message[0].lower() + message[1:]
        hint: str | None = None
        if first["type"] == "sequence_str":
            text = isinstance(first["input"], str)
            problem = f"is {'a string' if text else 'bytes'}, not a list of strings"
            hint = f"write it as a list: [{shown}]" if text else "decode it, for example with os.fsdecode"
        raise UserError(f"{name}{place}: {problem} (is {shown[:80]})", hint) from None


def check_fields(instance: Any, prefix: str) -> None:
    """`check` every field of a dataclass by its annotation; `prefix` precedes its name in messages."""
    kind: Any = type(instance)
    for name, annotation in _annotations(kind).items():
        check(prefix + name, getattr(instance, name), annotation)


def settle_options(options: Any, bounds: Mapping[str, tuple[int | None, int | None]]) -> None:
    """Convert strings to paths and lists to tuples where options of a command have these, and `check` all fields.

    `bounds` are the smallest and the largest value of some, None for none.
    """
    name_of_class = type(options).__name__
    for name, kind in get_type_hints(type(options)).items():
        value = getattr(options, name)
        if get_origin(kind) is tuple and isinstance(value, list):
            value = tuple(value)
        if kind in (Path, Path | None) and isinstance(value, str):
            value = Path(value)
        if kind == tuple[Path, ...] and isinstance(value, tuple):
            value = tuple(Path(one) if isinstance(one, str) else one for one in value)
        least, most = bounds.get(name, (None, None))
        bounded: Any = kind if least is most is None else Annotated[kind, Field(ge=least, le=most)]
        check(f"{name_of_class}.{name}", value, bounded)
        object.__setattr__(options, name, value)  # the classes are frozen


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list | tuple) else []


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}
