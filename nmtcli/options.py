"""The options of a verb as one frozen object: what the command line shows of each field, and which go together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from nmtcli.errors import UserError

Options = TypeVar("Options")


@dataclass(frozen=True)
class Option:
    """How one field is given on the command line, as metadata of its annotation."""

    help: str
    names: tuple[str, ...] = ()  # the field's own name unless given
    metavar: str | None = None
    panel: str | None = None  # heading of `--help` under which it stands
    min: int | None = None
    max: int | None = None
    argument: bool = False  # given by its place, without a name
    more: Mapping[str, Any] = field(default_factory=dict)  # for typer


@dataclass(frozen=True)
class Rule(Generic[Options]):
    """Options that do not go together. `message` and `hint` may name fields of the options as {o.field}."""

    broken: Callable[[Options], object]
    message: str
    hint: str | None = None


def check_rules(options: Options, rules: Sequence[Rule[Options]]) -> None:
    """Raise UserError for the first rule that the options break."""
    for rule in rules:
        if rule.broken(options):
            raise UserError(rule.message.format(o=options), rule.hint and rule.hint.format(o=options))


class Tell(Protocol):
    """Receives what a verb has to say while it works, one line at a time."""

    def __call__(self, message: str, *, warning: bool = False) -> None:
        """One line of text."""


def silent(message: str, *, warning: bool = False) -> None:
    """Tells nobody."""
