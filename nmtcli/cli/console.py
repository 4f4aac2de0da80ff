"""What a person sees: results on stdout, everything else on stderr, quiet when piped."""

from rich.console import Console
from rich.text import Text


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever reads has had enough: an error like any other, not an exit with code 1."""
        raise BrokenPipeError


# rich honours NO_COLOR and draws no live display where stderr is not a terminal. What is printed is text as it is: a
# file may be called [b] and a line be :100:, so style comes with `Text` only.
stderr = _Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
stdout = _Console(highlight=False, markup=False, emoji=False)


def say(message: str) -> None:
    """One line for the person at the terminal, on stderr."""
    stderr.print(Text(message))


def warn(message: str) -> None:
    """A warning on stderr."""
    stderr.print(Text.assemble(("warning:", "yellow"), f" {message}"))


def tell(message: str, *, warning: bool = False) -> None:
    """What a library function has to say while it works: see `nmtcli.options.Tell`."""
    (warn if warning else say)(message)


def show_error(message: str, hint: str | None = None) -> None:
    """An error on stderr: a line for each mistake, then what to do next."""
    for line in message.splitlines():
        stderr.print(Text.assemble(("error:", "bold red"), f" {line}"))
    if hint:
        stderr.print(Text.assemble(("hint:", "cyan"), f" {hint}"))
