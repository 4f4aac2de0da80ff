"""What all groups of settings have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, model_validator
from pydantic.fields import FieldInfo

T = TypeVar("T")
AUTO: Literal["auto"] = "auto"  # worked out before training from the model, the data and the machine
OrAuto = Annotated[  # a type, or the word auto; the discriminator makes an error name the setting alone
    Annotated[T, Tag("value")] | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(lambda given: AUTO if given == AUTO else "value"),
]


def bounds_of(field: FieldInfo) -> list[Any]:
    """The bounds of a setting that is a number, or a number or `auto`, as annotated_types has them."""
    for option in get_args(field.annotation):
        for part in getattr(option, "__metadata__", ()):
            if isinstance(part, FieldInfo):
                return part.metadata
    return field.metadata


def settled(value: T | Literal["auto"]) -> T:
    """A setting that is `auto` no more. Raises ValueError where nobody has worked it out."""
    if value == AUTO:
        raise ValueError("a setting is still auto: nmtcli.train.run.resolve works it out")
    return value


class Section(BaseModel):
    """A group of settings. Frozen; an unknown key is an error.

    A word where a list is meant is a list of one; true and false are no numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        meant = dict(given)
        for name, value in given.items():
            annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
            if isinstance(value, str) and _is_list_of_words(annotation):
                meant[name] = (value,)
            elif _is_number(annotation):
                meant[name] = _as_words(value)
        return meant


def _as_words(value: Any) -> Any:
    """True and false as words, which are refused where a number is meant."""
    if isinstance(value, Mapping):
        return {key: _as_words(one) for key, one in value.items()}
    return str(value).lower() if isinstance(value, bool) else value


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return (
        (annotation,) if get_origin(annotation) in (tuple, dict) or not get_args(annotation) else get_args(annotation)
    )


def _is_list_of_words(annotation: Any) -> bool:
    """Whether it takes any number of words."""
    return any(get_origin(one) is tuple and get_args(one)[-1] is Ellipsis for one in _options(annotation))


def _is_number(annotation: Any) -> bool:
    """Whether numbers are meant: alone, or by name."""
    text = repr(annotation).replace("Literal['auto']", "")
    return ("int" in text or "float" in text) and "bool" not in text and "tuple" not in text and "Literal" not in text
