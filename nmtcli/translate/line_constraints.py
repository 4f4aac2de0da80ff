"""The lexical constraints of lines, from requests and settings."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import UserError
from nmtcli.text.masking import whole_text
from nmtcli.translate.constraints import Constraint, Phrase
from nmtcli.translate.paragraphs import Sentence
from nmtcli.translate.phrases import Copy, PhraseWriter
from nmtcli.translate.terminology import Terminology
from nmtcli.translate.translation import LineHandling, Problem, Request, without_controls

Written = TypeVar("Written")


class LineConstraints:
    """Makes the constraints of lines. With `sampling`, nothing can be required; `unsupported`: there can be none."""

    def __init__(
        self, tokenizers: Tokenizers, handling: LineHandling, sampling: bool, unsupported: bool = False
    ) -> None:
        """Raises UserError for invalid constraints of all lines."""
        if sampling and handling.terms:
            raise UserError("sampling does not support terminology", "use method beam, or leave the terminology out")
        self._source, self._handling, self._sampling = tokenizers.source, handling, sampling
        self._unsupported = unsupported
        self._writer = PhraseWriter(tokenizers.target)
        self._banned = [self._writer.banned(text) for text in handling.banned]
        self._terms = Terminology.of(handling.terms, self._source.normalize, self._writer) if handling.terms else None

    def constraints(
        self, sentence: Sentence, texts: Sequence[str]
    ) -> tuple[list[Constraint | None] | None, set[Problem]]:
        """The constraint of each part of a sentence, with the source `texts`, and the problems.

        Prefix and required texts are for the first part, terms and copied spans for the part with their source, banned
        texts for all. None for contradictory constraints, for required texts with sampling, and for all constraints
        that the engine does not support.
        """
        request, problems = sentence.request, set[Problem]()
        if not (request.prefix or request.required or request.banned or sentence.copies or self._terms):
            return [self._common] * len(texts), problems
        if self._unsupported or (self._sampling and request.required):
            return None, {"contradiction"}
        prefix, required, banned = self._phrases(request, problems)
        copies = self._copied(sentence, texts)
        constraints: list[Constraint | None] = []
        for number, text in enumerate(texts):
            terms = self._terms.occurring(self._without_copies(text, sentence)) if self._terms else []
            copied, unwritable = self._writer.copies(copies[number], terms)
            phrases = [*(required if number == 0 else ()), *self._banned, *banned]
            phrases += [*(phrase for phrase, _ in terms), *copied]
            problems |= {"unwritable"} if unwritable else set()
            try:
                constraints.append(self._writer.constraint(prefix if number == 0 else (), phrases))
            except UserError:
                return None, {"contradiction"}
        return constraints, problems

    def _without_copies(self, text: str, sentence: Sentence) -> str:
        """The normalised text in which terms are looked for: not within what is copied, as doctor in www.doctor.org."""
        text = self._source.normalize(text)
        for span in sentence.copied:
            text = re.sub(whole_text(self._source.normalize(span)), "\ufffc", text, count=1)
        return text

    def _copied(self, sentence: Sentence, texts: Sequence[str]) -> list[Counter[Copy]]:
        """For each part of a sentence, the spans that its translation must have, and how often."""
        if list(texts) == [sentence.request.source]:  # neither divided nor cut
            return [Counter(sentence.copies)]
        copied = [Counter[Copy]() for _ in texts]
        number = at = 0  # the part and the place in it where the next span can begin
        for copy, span in zip(sentence.copies, sentence.copied, strict=True):
            pattern = re.compile(whole_text(self._source.normalize(span)))
            for later in range(number, len(texts)):
                if match := pattern.search(texts[later], at if later == number else 0):
                    copied[later][copy] += 1
                    number, at = later, match.end()
                    break
        return copied

    @cached_property
    def _common(self) -> Constraint | None:
        """The constraint of lines without constraints of their own; they share its states."""
        return self._writer.constraint(phrases=self._banned)

    def _phrases(self, request: Request, problems: set[Problem]) -> tuple[tuple[int, ...], list[Phrase], list[Phrase]]:
        """Prefix, required and banned phrases of one line; those that cannot be written are omitted."""
        writer = self._writer
        prefix = _written(writer.prefix, request.prefix) if request.prefix else ()
        required = [_written_alternatives(writer, one) for one in request.required]
        banned = [_written(writer.banned, text) for text in request.banned]
        if None in (prefix, *required, *banned):
            problems.add("unwritable")
        return prefix or (), [one for one in required if one], [one for one in banned if one]


def _written_alternatives(writer: PhraseWriter, texts: str | Sequence[str]) -> Phrase | None:
    """The phrase of those alternatives that the tokenizer can write; None without any."""
    alternatives = [texts] if isinstance(texts, str) else texts
    writable = [text for text in alternatives if _written(lambda text: writer.required([text]), text)]
    return writer.required(map(without_controls, writable)) if writable else None


def _written(write: Callable[[str], Written], text: str) -> Written | None:
    """What `write` makes of a text; None if the tokenizer cannot write it."""
    try:
        return write(without_controls(text))
    except UserError:
        return None
