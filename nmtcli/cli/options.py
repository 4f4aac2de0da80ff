"""Typer commands generated from the options classes."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import typer

from nmtcli.options import Option

Values = TypeVar("Values")

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One setting, for example train.learning_rate=3e-4; overrides files."
    ),
]


def command(options: type[Values]) -> Callable[[Callable[[typer.Context, Values], None]], Callable[..., None]]:
    """Decorator: a Typer command from a function that takes a dataclass `options` with `Option` fields."""

    def decorate(function: Callable[[typer.Context, Values], None]) -> Callable[..., None]:
        declared = [one for one in fields(cast(Any, options)) if one.name in _annotated(options)]
        repeatable = {one.name for one in declared if get_origin(_annotated(options)[one.name][0]) is tuple}

        @wraps(function)
        def wrapped(context: typer.Context, **given: Any) -> None:
            values = {name: tuple(value or ()) if name in repeatable else value for name, value in given.items()}
            function(context, options(**values))

        parameters = [_parameter(one, *_annotated(options)[one.name]) for one in declared]
        parameters.insert(0, Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context))
        wrapped.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
        return wrapped

    return decorate


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
