"""Writes docs/cli.md from the command line itself: `python docs/cli_reference.py > docs/cli.md`."""

import inspect
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from nmtcli.cli import app

HEADER = """# Commands and options

This page lists every command and option of `nmt`, for users who look up an option. `make docs` generates it from
the code; `nmt VERB --help` prints the same. Results go to stdout, messages to stderr; `-` means stdin or stdout. See
also [exit codes](exit-codes.md), and [settings](config.md) for `--set` and `-c`.
"""


class Parameter(NamedTuple):
    """An option or argument: its name in Python, its declaration, the type of one value, and its default."""

    name: str
    declared: Any
    types: list[Any]
    default: Any


def parameters(command: Callable[..., Any]) -> Iterator[Parameter]:
    """The options and arguments of a command in order."""
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        declared = getattr(hints[name], "__metadata__", ())
        if declared and not declared[0].hidden:  # all but the context
            types = [part for part in flat(hints[name].__origin__) if part is not NoneType]
            yield Parameter(name, declared[0], types, parameter.default)


def flat(annotation: Any) -> list[Any]:
    """The alternatives of a type; a list stays one."""
    if get_origin(annotation) in (None, list, Literal):
        return [annotation]
    return [part for member in get_args(annotation) for part in flat(member)]


def spelling(parameter: Parameter) -> str:
    """As it is typed, the short form first, with what follows it."""
    declared = parameter.declared
    metavar = declared.metavar or {int: "N", float: "X"}.get(parameter.types[0], "NAME")
    # within Annotated, typer keeps the first name of an option where its default would be
    names = [name for name in (declared.default, *(declared.param_decls or ())) if isinstance(name, str)]
    if type(declared).__name__ == "ArgumentInfo":
        return f"`{metavar}`"
    names = names or [f"--{parameter.name.replace('_', '-')}"]
    value = "" if bool in parameter.types else f" {metavar}"
    return ", ".join(f"`{name}`" for name in "/".join(names).split("/"))[:-1] + f"{value}`"


def explanation(parameter: Parameter) -> str:
    """What it does, what may be given, and what it is otherwise."""
    parts = [parameter.declared.help]
    if choices := [choice for of in parameter.types if get_origin(of) is Literal for choice in get_args(of)]:
        parts.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    if parameter.default is inspect.Parameter.empty:
        parts.append("Required.")
    elif parameter.default not in (None, False, 0):
        parts.append(f"Default: `{parameter.default}`.")
    if any(get_origin(of) is list for of in parameter.types) and "epeat" not in parameter.declared.help:
        parts.append("Repeatable.")
    return " ".join(parts).replace("|", "\\|").replace("__", "\\_\\_")


def tables(command: Callable[..., Any]) -> Iterator[str]:
    """The parameters, a table for each panel of `--help`."""
    panels: dict[str | None, list[Parameter]] = {None: []}  # first, as in `--help`
    for parameter in parameters(command):
        panels.setdefault(parameter.declared.rich_help_panel, []).append(parameter)
    for panel, members in panels.items():
        if panel:
            yield f"**{panel}**\n"
        yield "| option | what it does |"
        yield "|---|---|"
        for parameter in members:
            yield f"| {spelling(parameter)} | {explanation(parameter)} |"
        yield ""


def reference() -> str:
    """The page."""
    lines = [HEADER]
    for command in app.registered_commands:
        callback = command.callback.with_options()  # type: ignore[union-attr]
        lines += [f"## nmt {callback.__name__}\n", f"{inspect.getdoc(callback)}\n", *tables(callback)]
    assert app.registered_callback and app.registered_callback.callback
    lines += ["## Global options\n", *tables(app.registered_callback.callback)]
    lines += [
        "`--help` explains a command. `--install-completion` installs",
        "[shell completion](install.md#shell-completion).\n",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference(), end="")
