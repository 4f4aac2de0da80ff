"""Validation of the arguments of the Python interface: types, bounds and choices."""

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from nmtcli.errors import UserError

_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def check(name: str, value: Any, kind: Any) -> None:
    """Raise UserError if `value` is not of type `kind`, a pydantic type with bounds and choices."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part!r}]" for part in first["loc"] if part in _keys(value))
        message = first["msg"].removeprefix("Input ")
        shown = repr(first["input"])
        problem, hint = message[0].lower() + message[1:], None
        if first["type"] == "sequence_str":
            text = isinstance(first["input"], str)
            problem = f"is {'a string' if text else 'bytes'}, not a list of strings"
            hint = f"write it as a list: [{shown}]" if text else "decode it, for example with os.fsdecode"
        raise UserError(f"{name}{place}: {problem} (is {shown[:80]})", hint) from None


def check_fields(instance: Any) -> None:
    """`check` every field of a dataclass by its annotation."""
    kind: Any = type(instance)
    for name, annotation in _annotations(kind).items():
        check(f"{kind.__name__}.{name}", getattr(instance, name), annotation)


def model_paths(paths: Sequence[str | Path]) -> Sequence[str | Path]:
    """The paths of models. Raises UserError for an empty list, or anything but a path."""
    check("path", paths, Sequence[str | Path])
    if not paths:
        raise UserError("path: an empty list of models", "give at least one model")
    return paths


def check_options(
    device: str, weights: Sequence[float] | None, mean: str, threads: int | None, quantize: Any, shortlist: bool
) -> None:
    """Raise UserError for an invalid argument of `Translator.load`."""
    check("device", device, str)
    check("weights", weights, Sequence[_Weight] | None)
    check("mean", mean, Literal["probability", "log_probability"])
    check("threads", threads, Annotated[int, Field(ge=1, le=4096)] | None)
    check("quantize", quantize, Literal["int8", "bf16", "fp16"] | None)
    check("shortlist", shortlist, bool)


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list | tuple) else []


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}
