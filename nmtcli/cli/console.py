"""What a person sees: results on stdout, everything else on stderr, quiet when piped."""

from rich.console import Console
from rich.markup import escape

# rich honours NO_COLOR and draws no live display where stderr is not a terminal
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False)


def say(message: str) -> None:
    """One line for the person at the terminal, on stderr."""
    stderr.print(escape(message))


def warn(message: str) -> None:
    """A warning on stderr."""
    stderr.print(f"[yellow]warning:[/] {escape(message)}")


def show_error(message: str, hint: str | None = None) -> None:
    """An error on stderr: a line for each mistake, then what to do next."""
    for line in message.splitlines():
        stderr.print(f"[bold red]error:[/] {escape(line)}")
    if hint:
        stderr.print(f"[cyan]hint:[/] {escape(hint)}")
