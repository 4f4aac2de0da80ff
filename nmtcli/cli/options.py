"""Typer commands generated from the options classes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from nmtcli.errors import Interrupted, signal_of
from nmtcli.options import Option

Values = TypeVar("Values")
Command = Callable[[typer.Context, Values], None]

TRACEBACK = "--traceback"
_Traceback = Annotated[bool, typer.Option(TRACEBACK, hidden=True)]  # `nmtcli.cli.run` reads it: also for a usage error


def command(options: Callable[[], type[Values]]) -> Callable[[Command[Values]], Callable[[], None]]:
    """Decorator: a command for `LateCommand` of a function that takes a dataclass with `Option` fields.

    `options` returns the dataclass. It is called when the command is used, as some need imports that take long.
    """

    def decorate(function: Command[Values]) -> Callable[[], None]:
        def late() -> None:
            raise AssertionError("LateCommand calls what with_options returns")

        late.__name__, late.__doc__ = function.__name__, function.__doc__
        late.with_options = lambda: _with_options(function, options())  # type: ignore[attr-defined]
        return late

    return decorate


class LateCommand(TyperCommand):
    """A command made by `command`, whose options are read when it is used: `nmt --help` needs none of them."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command with its options."""
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        with interruptible():
            single.command(self.name)(cast(Any, self.callback).with_options())
            return typer.main.get_command(single).make_context(info_name, args, parent, **extra)


@contextmanager
def interruptible() -> Iterator[None]:
    """Context in which a signal raises Interrupted; Typer would exit with 130 after any signal, without a message."""
    try:
        yield
    except KeyboardInterrupt as stop:
        number = signal_of(stop)
        raise Interrupted(f"{number.name}: stopped", "run the same command again", signal=number) from None


def _with_options(function: Command[Values], options: type[Values]) -> Callable[..., None]:
    """The function with a parameter for each option, as Typer reads it."""
    declared = [one for one in fields(cast(Any, options)) if one.name in _annotated(options)]
    repeatable = {one.name for one in declared if get_origin(_annotated(options)[one.name][0]) is tuple}

    @wraps(function)
    def wrapped(context: typer.Context, show_traceback: bool, **given: Any) -> None:
        del show_traceback
        values = {name: tuple(value or ()) if name in repeatable else value for name, value in given.items()}
        with interruptible():
            function(context, options(**values))

    parameters = [
        Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(_parameter(one, *_annotated(options)[one.name]) for one in declared),
        Parameter("show_traceback", Parameter.KEYWORD_ONLY, default=False, annotation=_Traceback),
    ]
    wrapped.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapped


def _annotated(options: type[Any]) -> dict[str, tuple[Any, Option]]:
    """Type and `Option` of each field with one."""
    hints = get_type_hints(options, include_extras=True)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Annotated}


def _parameter(field: Field[Any], kind: Any, option: Option) -> Parameter:
    """The field as a Typer parameter; a tuple of any length becomes a list, which Typer requires."""
    default = Parameter.empty if field.default is MISSING else field.default
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]] if default is Parameter.empty else list[get_args(kind)[0]] | None  # type: ignore[misc]
        default = default or None if default is not Parameter.empty else default
    attributes: dict[str, Any] = {"help": option.help, "metavar": option.metavar, **option.more}
    names = option.names or (f"--{field.name.replace('_', '-')}",)
    declared = (
        typer.Argument(**attributes)
        if option.argument
        else typer.Option(*names, rich_help_panel=option.panel, min=option.min, max=option.max, **attributes)
    )
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared])
