"""What goes into a translator and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nmtcli.translate.alignment import AttentionMap

LongLines = Literal["split", "cut", "refuse"]
Treatment = Literal["split", "cut", "refused"]
Link = tuple[int, int]  # a source word and a target word, counted from 0


@dataclass(frozen=True)
class Request:
    """A line to translate. `extra` is handed through: the keys of a JSON line that are not ours."""

    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LineHandling:
    """What is done with lines beside searching.

    A line of more than `max_source_tokens` is split at sentence, clause or word borders and its translations are
    joined, or it is cut, or refused: left without a translation. `dictionary` puts a word for each unknown one a model
    writes: the translation of the source word it drew most on, or that word itself (Luong et al. 2015); None does not.
    """

    long_lines: LongLines = "split"
    max_source_tokens: int = 200  # by default no longer sentence is trained on
    dictionary: Mapping[str, str] | None = None


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
    """A line and its translations, best first; none for a line without tokens or one that was refused."""

    source: str
    candidates: tuple[Candidate, ...]
    treatment: Treatment | None = None  # of a line over the limit

    @property
    def text(self) -> str:
        """The best translation; empty where there is none."""
        return self.candidates[0].text if self.candidates else ""
