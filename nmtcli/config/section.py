"""The base class of all groups of settings."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, model_validator
from pydantic.fields import FieldInfo

T = TypeVar("T")
AUTO: Literal["auto"] = "auto"  # worked out before training from the model, the data and the machine
OrAuto = Annotated[  # a type, or the word auto; the discriminator makes an error name the setting alone
    Annotated[T, Tag("value")] | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(lambda given: AUTO if given == AUTO else "value"),
]


def bounds_of(field: FieldInfo) -> list[Any]:
    """The bounds of a number setting, with or without `auto`, as annotated_types metadata."""
    for option in get_args(field.annotation):
        for part in getattr(option, "__metadata__", ()):
            if isinstance(part, FieldInfo):
                return part.metadata
    return field.metadata


def settled(value: T | Literal["auto"]) -> T:
    """A setting with `auto` resolved. Raises ValueError if it is still `auto`."""
    if value == AUTO:
        raise ValueError("a setting is still auto: nmtcli.train.run.resolve must set it")
    return value


class Section(BaseModel):
    """A group of settings. Frozen; an unknown key is an error.

    A single string for a list setting becomes a list of one; true and false are not accepted as numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _normalize(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = dict(given)
        for name, value in given.items():
            annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
            if isinstance(value, str) and _is_list_of_strings(annotation):
                values[name] = (value,)
            elif _is_number(annotation):
                values[name] = _booleans_as_strings(value)
        return values

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if messages := list(self.conflicts()):
            raise ValueError("\n".join(messages))
        return self

    def conflicts(self) -> Iterator[str]:
        """A message for each setting that does not fit another one; each begins with its key."""
        yield from ()


def _booleans_as_strings(value: Any) -> Any:
    """True and false as strings, which pydantic refuses for a number."""
    if isinstance(value, Mapping):
        return {key: _booleans_as_strings(one) for key, one in value.items()}
    return str(value).lower() if isinstance(value, bool) else value


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return (
        (annotation,) if get_origin(annotation) in (tuple, dict) or not get_args(annotation) else get_args(annotation)
    )


def _is_list_of_strings(annotation: Any) -> bool:
    """Whether the type is a list of any length."""
    return any(get_origin(one) is tuple and get_args(one)[-1] is Ellipsis for one in _options(annotation))


def _is_number(annotation: Any) -> bool:
    """Whether the type is a number, or a mapping of names to numbers."""
    text = repr(annotation).replace("Literal['auto']", "")
    return ("int" in text or "float" in text) and "bool" not in text and "tuple" not in text and "Literal" not in text
