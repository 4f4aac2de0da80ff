"""Commands of typer, made of the options objects of the verbs."""

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
        "--set", metavar="KEY=VALUE", help="One setting, for example train.learning_rate=3e-4; wins over files."
    ),
]


def command(options: type[Values]) -> Callable[[Callable[[typer.Context, Values], None]], Callable[..., None]]:
    """Makes a command of a function that takes an object of the dataclass `options`; its fields are `Option`s."""

    def decorate(function: Callable[[typer.Context, Values], None]) -> Callable[..., None]:
        declared = [one for one in fields(cast(Any, options)) if one.name in _annotated(options)]
        several = {one.name for one in declared if get_origin(_annotated(options)[one.name][0]) is tuple}

        @wraps(function)
        def called(context: typer.Context, **given: Any) -> None:
            values = {name: tuple(value or ()) if name in several else value for name, value in given.items()}
            function(context, options(**values))

        parameters = [_parameter(one, *_annotated(options)[one.name]) for one in declared]
        parameters.insert(0, Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context))
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def _annotated(options: type[Any]) -> dict[str, tuple[Any, Option]]:
    """Type and option of each field that the command line has."""
    hints = get_type_hints(options, include_extras=True)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Annotated}


def _parameter(field: Field[Any], kind: Any, option: Option) -> Parameter:
    """The field as a parameter of typer, which knows lists in place of tuples of any length."""
    default = Parameter.empty if field.default is MISSING else field.default
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]] if default is Parameter.empty else list[get_args(kind)[0]] | None  # type: ignore[misc]
        default = default or None if default is not Parameter.empty else default
    about: dict[str, Any] = {"help": option.help, "metavar": option.metavar, **option.more}
    names = option.names or (f"--{field.name.replace('_', '-')}",)
    declared = (
        typer.Argument(**about)
        if option.argument
        else typer.Option(*names, rich_help_panel=option.panel, min=option.min, max=option.max, **about)
    )
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared])
