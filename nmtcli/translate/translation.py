"""Requests to a translator, and translations."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from nmtcli.arguments import check_fields
from nmtcli.errors import UserError
from nmtcli.metrics.alignment import Link
from nmtcli.text.inline import Content, Violation
from nmtcli.text.spans import KINDS, Kind, Span
from nmtcli.translate.alignment import AttentionMap

LongLines = Literal["split", "cut", "refuse"]
Protection = Literal["auto", "mask", "copy", "none"]
Tags = Literal["keep", "transfer"]
OnViolation = Literal["keep", "source", "fail"]
Treatment = Literal["split", "cut", "refused"]
# unmet: the translation does not satisfy all constraints; unwritable: the target tokenizer cannot write a required
# text; contradiction: the constraints are contradictory, and there is no translation; incomplete: bytes by CTranslate2
# that are not a character were removed; not-numbers: the model gave no log-probability that is a number, and there is
# no translation. The others are violations of protected spans and tags: see `Violation`;
# kept-source: the source text was written instead; violation: there is no translation
Problem = Literal[
    "unmet",
    "unwritable",
    "contradiction",
    "incomplete",
    "not-numbers",
    "missing-span",
    "repeated-span",
    "added-span",
    "malformed-tags",
    "kept-source",
    "violation",
]
PROTECTED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind not in {"code", "custom"})

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")  # and lone surrogates


@dataclass(frozen=True)
class Request:
    """A line to translate, with lexical constraints.

    The translation starts with `prefix`, has each text of `required` and none of `banned`. `extra` is copied to the
    output: the other keys of a JSON line. `content` is the text with inline tags, as a segment of a document has it,
    and `code` its spans that are protected in any case.
    """

    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    required: Sequence[str | Sequence[str]] = ()  # texts, or lists of alternatives
    banned: Sequence[str] = ()
    content: Content | None = None
    code: Sequence[Span] = ()

    def __post_init__(self) -> None:
        """Raises UserError for values of another type."""
        check_fields(self, "Request.")


@dataclass(frozen=True)
class LineHandling:
    """Handling of long lines, UNK tokens, constraints, paragraphs, protected spans and tags.

    A line of more than `max_source_tokens` is split at sentence, clause or word borders, cut, or refused: left without
    a translation. `dictionary` replaces UNK by the translation of the most-attended source word, or that word itself
    (Luong et al. 2015); None keeps UNK. For all lines, a source term in `terms` is translated by one of its target
    terms, and texts in `banned` do not occur.

    `split_sentences`: each sentence of a line is translated on its own. `source_language` (default: the model's) is for
    this, `target_language` for joining and for the language tag of a multilingual model.

    `protect` says how spans of `protect_kinds` and matches of the regular expressions `patterns` come into the
    translation unchanged: mask (by placeholder symbols that the model knows), copy (by lexical constraints), none, or
    auto: mask the kinds that the model knows. `localize_numbers` writes protected numbers with the separators of the
    target language. `tags`: `transfer` translates without inline tags and puts them back by
    word alignment. `on_violation`: a translation that does not keep spans or tags is kept, replaced by the source, or
    left out.
    """

    long_lines: LongLines = "split"
    max_source_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 200  # the default maximum of training sentences
    dictionary: Mapping[str, str] | None = None
    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    banned: Sequence[str] = ()
    split_sentences: bool = False
    source_language: str | None = None
    target_language: str | None = None
    protect: Protection = "auto"
    protect_kinds: Sequence[Kind] = PROTECTED
    patterns: Sequence[str] = ()
    localize_numbers: bool = False
    tags: Tags = "keep"
    on_violation: OnViolation = "keep"

    def __post_init__(self) -> None:
        """Raises UserError for values of another type or out of bounds."""
        check_fields(self, "LineHandling.")


@dataclass(frozen=True)
class Candidate:
    """One translation of a line. `score` is for ranking, `log_prob` is the log-probability of the tokens.

    A split line has the sums of its parts. `alignment` links space-separated words of source and text. `tokens` are
    the pieces of the translation with the log-probability of each, `</s>` at the end of each part included.
    """

    text: str
    score: float
    log_prob: float
    attention: AttentionMap | None = None
    alignment: tuple[Link, ...] | None = None
    tokens: tuple[tuple[str, float], ...] | None = None  # if requested


@dataclass(frozen=True)
class Translation:
    """A line and its translations, best first; none for an empty or refused line."""

    source: str
    candidates: tuple[Candidate, ...]
    treatment: Treatment | None = None  # of a line over max_source_tokens
    problems: tuple[Problem, ...] = ()
    violations: tuple[Violation, ...] = ()
    content: Content | None = (
        None  # the best translation with its inline tags; None if the line could not be translated
    )

    @property
    def text(self) -> str:
        """The best translation; empty if there is none."""
        return self.candidates[0].text if self.candidates else ""


def as_requests(lines: Iterable[str | Request]) -> list[Request]:
    """Lines as requests. Raises UserError for anything but strings and requests."""
    if isinstance(lines, str):
        raise UserError("lines: is a string, not a list of strings", f"write it as a list: [{lines[:80]!r}]")
    given: object = lines  # whatever its annotation says
    if isinstance(given, bytes):
        raise UserError("lines: is bytes, not a list of strings", "decode and split it: lines.decode().split('\\n')")
    if isinstance(lines, Mapping):
        raise UserError("lines: is a dictionary, not a list of strings", "give its values: list(lines.values())")
    requests = []
    for number, line in enumerate(lines):
        if not isinstance(line, str | Request):
            raise UserError(f"lines[{number}]: should be a string or a Request (is {line!r})")
        requests.append(Request(line) if isinstance(line, str) else line)
    return requests


def without_controls(line: str) -> str:
    """A line with spaces for control characters and line ends, and U+FFFD for lone surrogates."""
    return _CONTROL.sub(lambda match: " " if match[0] < "\ud800" else "\ufffd", line)


def has_controls(line: str) -> bool:
    """Whether a line has control characters or lone surrogates."""
    return _CONTROL.search(line) is not None
