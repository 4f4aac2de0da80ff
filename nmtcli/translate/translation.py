"""What goes into a translator and what comes out of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from nmtcli.errors import UserError
from nmtcli.metrics.alignment import Link
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.arguments import check_fields

LongLines = Literal["split", "cut", "refuse"]
Treatment = Literal["split", "cut", "refused"]
# unmet: not all that was asked for is in the translation; unwritable: the target tokenizer cannot write some of it;
# contradiction: nothing can obey it, and the line is left without a translation; incomplete: CTranslate2 wrote bytes
# that make no character, which were taken out
Problem = Literal["unmet", "unwritable", "contradiction", "incomplete"]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of characters


@dataclass(frozen=True)
class Request:
    """A line to translate, and what its translation must say.

    It begins with `prefix`, has one text of each of `required`, none of `banned`, and with `placeholders` those of the
    source, each as often. `extra` is handed through: the keys of a JSON line that are not ours.
    """

    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    required: Sequence[str | Sequence[str]] = ()  # texts, or lists of texts of which any will do
    banned: Sequence[str] = ()
    placeholders: bool = False

    def __post_init__(self) -> None:
        """Raises UserError for what is of another type."""
        check_fields(self)


@dataclass(frozen=True)
class LineHandling:
    """What is done with lines beside searching.

    A line of more than `max_source_tokens` is split at sentence, clause or word borders and its translations are
    joined, or it is cut, or refused: left without a translation. `dictionary` puts a word for each unknown one a model
    writes: the translation of the source word it drew most on, or that word itself (Luong et al. 2015); None does not.

    Of all lines: a source term in `terms` is translated by one of its target terms; texts in `banned` do not occur;
    with `placeholders`, tags and the like come out as often as they go in.
    """

    long_lines: LongLines = "split"
    max_source_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 200  # by default no longer sentence is trained on
    dictionary: Mapping[str, str] | None = None
    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    banned: Sequence[str] = ()
    placeholders: bool = False

    def __post_init__(self) -> None:
        """Raises UserError for what is of another type or out of bounds."""
        check_fields(self)


@dataclass(frozen=True)
class Candidate:
    """One translation of a line. `score` ranks; `log_prob` is the model's own log-probability of the tokens.

    A line that was split has the sums of its parts. `alignment` links words between blanks of source and text.
    """

    text: str
    score: float
    log_prob: float
    attention: AttentionMap | None = None
    alignment: tuple[Link, ...] | None = None


@dataclass(frozen=True)
class Translation:
    """A line and its translations, best first; none for a line without tokens, and one that was refused."""

    source: str
    candidates: tuple[Candidate, ...]
    treatment: Treatment | None = None  # of a line over the limit
    problems: tuple[Problem, ...] = ()  # with what the translation must say

    @property
    def text(self) -> str:
        """The best translation; empty where there is none."""
        return self.candidates[0].text if self.candidates else ""


def as_requests(lines: Iterable[str | Request]) -> list[Request]:
    """Lines as requests; raises UserError for what is neither."""
    if isinstance(lines, str):
        raise UserError("lines: is a string, not a list of strings", f"write it as a list: [{lines[:80]!r}]")
    requests = []
    for number, line in enumerate(lines):
        if not isinstance(line, str | Request):
            raise UserError(f"lines[{number}]: should be a string or a Request (is {line!r})")
        requests.append(Request(line) if isinstance(line, str) else line)
    return requests


def without_controls(line: str) -> str:
    """A line with a blank for each control character, line ends among them, and U+FFFD for half a character."""
    return _CONTROL.sub(lambda found: " " if found[0] < "\ud800" else "\ufffd", line)


def has_controls(line: str) -> bool:
    """Whether `without_controls` would change it."""
    return _CONTROL.search(line) is not None
