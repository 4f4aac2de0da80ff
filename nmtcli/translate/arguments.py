"""Validation of the arguments of the Python interface: types, bounds and choices."""

from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

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
