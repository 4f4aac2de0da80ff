"""Options classes of the commands: metadata for the command line, and rules about combinations of options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, get_args, get_type_hints

from nmtcli.errors import UserError

Options = TypeVar("Options")


@dataclass(frozen=True)
class Option:
    """The command-line option of a field, as metadata of its annotation."""

    help: str
    names: tuple[str, ...] = ()  # default: the name of the field
    metavar: str | None = None
    panel: str | None = None  # heading in `--help`
    min: int | None = None
    max: int | None = None
    argument: bool = False  # positional
    more: Mapping[str, Any] = field(default_factory=dict)  # further arguments for Typer


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options of a command, of the types of their annotations; strings become paths, and lists tuples."""

    def __post_init__(self) -> None:
        """Raises UserError for values of another type or out of bounds."""
        from nmtcli.arguments import settle_options  # noqa: PLC0415 - pydantic, which --help does not need

        annotations = get_type_hints(type(self), include_extras=True)
        settle_options(
            self,
            {
                name: (one.min, one.max)
                for name, annotation in annotations.items()
                for one in get_args(annotation)
                if isinstance(one, Option)
            },
        )


@dataclass(frozen=True)
class Rule(Generic[Options]):
    """An invalid combination of options. `message` and `hint` may refer to fields as {o.field}."""

    broken: Callable[[Options], object]
    message: str
    hint: str | None = None


def check_rules(options: Options, rules: Sequence[Rule[Options]]) -> None:
    """Raise UserError for the first broken rule."""
    for rule in rules:
        if rule.broken(options):
            raise UserError(rule.message.format(o=options), rule.hint and rule.hint.format(o=options))


class Tell(Protocol):
    """A function that receives the messages and warnings of a library function."""

    def __call__(self, message: str, *, warning: bool = False) -> None:
        """Receive one line."""


def silent(message: str, *, warning: bool = False) -> None:
    """Ignore the message."""
