"""Lines as people write them: paragraphs of several sentences, protected spans and inline tags.

A line is divided into sentences without tags, whose protected spans are masked or copied; the translations of the
sentences are joined to that of the line, with the spans and tags put back.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import accumulate, product
from operator import or_
from typing import Literal

from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.data.words import NO_WORD
from nmtcli.errors import UserError
from nmtcli.metrics.alignment import word_links
from nmtcli.text.inline import Content, Tag, Violation, content_of, plain, tag_violations, written
from nmtcli.text.masking import (
    Masked,
    mask,
    respelled,
    span_violations,
    symbol,
    symbols,
    unmask,
    whole_text,
    with_symbols,
)
from nmtcli.text.numbers import localized
from nmtcli.text.sentences import Sentences, split_sentences
from nmtcli.text.spans import KINDS, Kind, Scanner, Span
from nmtcli.text.transfer import transfer
from nmtcli.text.versions import Range, Versions, overlapping, word_ranges
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.assembly import block_diagonal, combined
from nmtcli.translate.long_lines import UNSPACED
from nmtcli.translate.phrases import Copy
from nmtcli.translate.translation import (
    PROTECTED,
    Candidate,
    LineHandling,
    Problem,
    Request,
    Translation,
    without_controls,
)

RangeLink = tuple[Range, Range]  # in a source text and in a translation

_TAGS = Scanner(["tag"])
_PROBLEMS: dict[str, Problem] = {
    "missing": "missing-span",
    "repeated": "repeated-span",
    "added": "added-span",
    "malformed": "malformed-tags",
}


@dataclass(frozen=True)
class Sentence:
    """A sentence of a line, as it is translated."""

    request: Request  # with symbols for masked spans, and the tag of the target language
    masked: Masked
    start: int  # first character in the line without tags
    tag: str = ""  # of the target language, which the request begins with
    protected: tuple[Span, ...] = ()  # of the sentence, copied by constraints
    copies: tuple[Copy, ...] = ()  # what its translation must have, as often; in the order of the sentence
    copied: tuple[str, ...] = ()  # the same as it stands in the sentence
    added: tuple[str, ...] = ()  # texts of spans that the translations of its terms may have

    @property
    def versions(self) -> Versions:
        """The sentence, and what is translated."""
        return Versions((("", self.tag and f"{self.tag} "), *self.masked.versions.parts))


@dataclass(frozen=True)
class Paragraph:
    """A line and its sentences."""

    request: Request
    content: Content  # with inline tags if they are transferred
    divided: Sentences
    sentences: tuple[Sentence, ...]

    @property
    def has_tags(self) -> bool:
        """Whether the line has tags to transfer."""
        return any(isinstance(part, Tag) for part in self.content)


class Paragraphs:
    """Divides lines by the settings of `handling`, and joins their translations."""

    def __init__(
        self,
        tokenizers: Tokenizers,
        handling: LineHandling,
        languages: tuple[str, str],
        constrained: bool,
        sampled: bool = False,
        sources: Sequence[Tokenizer] = (),
    ) -> None:
        """`languages` are those of the model; `constrained`: its search knows lexical constraints.

        `sampled`: candidates are random samples, in random order. `sources` are the source tokenizers of an ensemble,
        if they differ: a symbol or tag is one that all of them have.

        Raises UserError for settings that the model does not support.
        """
        self._tokenizers, self._handling = tokenizers, handling
        self._languages, self._constrained, self._sampled = languages, constrained, sampled
        self._symbols = frozenset.intersection(*(one.symbols for one in sources or [tokenizers.source]))
        self.source_language = handling.source_language or languages[0]
        self.target_language = handling.target_language or languages[1]
        self._tag = self._language_tag()
        self._patterns = tuple(_compiled(pattern) for pattern in handling.patterns)
        self._everything = Scanner(KINDS, self._patterns)  # no sentence ends inside
        self._method = self._protection()
        if handling.split_sentences:
            split_sentences("", self.source_language)  # raises UserError without the library
        if handling.localize_numbers:
            localized("1", self.source_language, self.target_language)  # the same

    @cached_property
    def known(self) -> frozenset[str]:
        """The placeholder symbols that the model was trained with."""
        return self._symbols & self._tokenizers.target.symbols & frozenset(symbols(self._kinds))

    def divide(self, request: Request) -> Paragraph:
        """The sentences of a line."""
        handling = self._handling
        line = without_controls(request.source)
        content, code = request.content, request.code
        if content is None:
            content = content_of(line, _TAGS.scan(line)) if handling.tags == "transfer" else (line,)
        text = without_controls(plain(content))
        divided = Sentences((text,), ("", ""))
        if handling.split_sentences:
            divided = split_sentences(text, self.source_language, self._everything.scan(text, code))
        starts = accumulate(map(len, (part for pair in zip(divided.gaps, divided.sentences) for part in pair)))  # noqa: B905
        sentences = [
            self._sentence(request, number, sentence, end - len(sentence), code)
            for number, (sentence, end) in enumerate(zip(divided.sentences, list(starts)[1::2], strict=True))
        ]
        return Paragraph(request, content, divided, tuple(sentences))

    def _sentence(self, request: Request, number: int, text: str, start: int, code: Iterable[Span]) -> Sentence:
        handling, end = self._handling, start + len(text)
        inside = [
            Span(span.start - start, span.end - start, span.kind, span.text)
            for span in code
            if start <= span.start and span.end <= end
        ]
        spans = inside if self._method == "none" else self._scanner.scan(text, inside)
        terms = list(self._protected_terms.finditer(text)) if self._protected_terms else []
        within = [term.span() for term in terms if self._scanner.scan(term[0])]
        spans = [
            one for one in spans if one.kind == "code" or not any(a <= one.start and one.end <= b for a, b in within)
        ]
        added = tuple(span for term in terms for span in self._spans_of_term(term[0]))
        masked = Masked(Versions(((text, text),)), {})
        if self._method == "mask":
            masked = mask(text, (span for span in spans if span.text not in self._declared), self.known)
            rest = (span for span in spans if span not in masked.spans.values())
            spans = [span for span in rest if span.kind in {"code", "custom"} or span.text not in self._declared]
        places: list[tuple[int, int]] = []
        if self._constrained:
            places = [(masked.text.index(name), len(name)) for name in masked.spans]
            places += [(masked.versions.moved(span.start, span.end)[0], len(span.text)) for span in spans]
        copies = [Copy.of(masked.text, at, at + length) for at, length in sorted(places)]
        copied = tuple(copy.text for copy in copies)
        if handling.localize_numbers:
            masked = replace(masked, spans={name: self._localized(span) for name, span in masked.spans.items()})
            texts = {span.text: self._localized(span).text for span in spans}
            copies = [replace(copy, text=texts.get(copy.text, copy.text)) for copy in copies]
            spans = list(map(self._localized, spans))
        tag = self._tag if self._tokenizers.source.normalize(masked.text) else ""  # an empty line stays empty
        source = f"{tag} {masked.text}" if tag else masked.text
        sentence = request
        if source != request.source or request.content is not None:
            sentence = replace(request, source=source, content=None, code=())
        if masked.spans and (request.prefix or request.required or request.banned):
            sentence = _with_symbols(sentence, masked)
        if number:
            sentence = replace(sentence, prefix="", required=())
        return Sentence(sentence, masked, start, tag, tuple(spans), tuple(copies), copied, added)

    def _localized(self, span: Span) -> Span:
        """The span as it is written in the target language, if it is a number."""
        if span.kind != "number":
            return span
        return replace(span, text=localized(span.text, self.source_language, self.target_language))

    def join(
        self, paragraph: Paragraph, translations: Sequence[Translation], n_best: int, attention: bool, alignment: bool
    ) -> Translation:
        """The translation of a line from those of its sentences, with up to `n_best` candidates."""
        treatment = next((one.treatment for one in translations if one.treatment is not None), None)
        problems = {problem for one in translations for problem in one.problems}
        source = paragraph.request.source
        empty = Candidate("", 0.0, 0.0)
        pools = [one.candidates or (empty,) for one in translations]
        lost = treatment == "refused" or not problems.isdisjoint({"contradiction", "not-numbers"})
        if not lost and paragraph.has_tags and not paragraph.divided.text.strip():  # nothing but tags
            tags = (Candidate(written(paragraph.content), 0.0, 0.0, alignment=() if alignment else None),)
            return Translation(source, tags, treatment, tuple(sorted(problems)), content=paragraph.content)
        if lost or not any(one.candidates for one in translations):
            return Translation(source, (), treatment, tuple(sorted(problems)), content=None if lost else ())
        choices = combined(pools, n_best, sampled=self._sampled)
        joined = [self._joined(paragraph, chosen, translations, attention, alignment) for chosen in choices]
        best, _, violations = joined[0]
        content: Content | None = joined[0][1]
        problems |= {_PROBLEMS[violation.kind] for violation in violations}
        candidates = tuple(candidate for candidate, _, _ in joined)
        if violations and self._handling.on_violation == "source":
            unchanged = replace(best, text=source, attention=None, alignment=None, tokens=None)
            content, candidates = paragraph.content, (unchanged,)
            problems.add("kept-source")
        elif violations and self._handling.on_violation == "fail":
            content, candidates = None, ()
            problems.add("violation")
        return Translation(source, candidates, treatment, tuple(sorted(problems)), tuple(violations), content)

    def _joined(
        self,
        paragraph: Paragraph,
        chosen: Sequence[Candidate],
        translations: Sequence[Translation],
        attention: bool,
        alignment: bool,
    ) -> tuple[Candidate, Content, list[Violation]]:
        """A candidate of the line from one of each sentence, its content, and the violations in it."""
        violations: list[Violation] = []
        unmasked: list[Versions] = []
        for sentence, candidate in zip(paragraph.sentences, chosen, strict=True):
            versions, mistakes = unmask(candidate.text, sentence.masked)
            # a no-break space, for which the tokenizer has a blank
            spelling = {self._tokenizers.target.normalize(one.text): one.text for one in sentence.protected}
            spelling = {normal: text for normal, text in spelling.items() if normal != text}
            unmasked.append(respelled(versions, spelling))
            violations += mistakes
            whole = respelled(Versions(((candidate.text, candidate.text),)), spelling).second
            violations += span_violations(sentence.protected, whole, self._scanner, sentence.added)
        texts = [versions.second for versions in unmasked]
        gaps = paragraph.divided.gaps_in(self.target_language)
        text = "".join(part for pair in zip(gaps, [*texts, ""], strict=True) for part in pair)
        words: list[RangeLink] = []
        tokens: list[RangeLink] = []  # for tags
        at = len(gaps[0])
        for number, (sentence, candidate, versions) in enumerate(
            zip(paragraph.sentences, chosen, unmasked, strict=True)
        ):
            if alignment:
                words += _moved(_word_links(sentence, candidate), sentence, versions, at)
            if paragraph.has_tags:
                tokens += _moved(_token_links(sentence, candidate), sentence, versions, at)
            at += len(texts[number]) + len(gaps[number + 1])
        content: Content = (text,) if text else ()
        if paragraph.has_tags:
            content = _transferred(paragraph.content, text, tokens)
            violations += tag_violations(paragraph.content, content)
        final = written(content)
        if self._method != "none" and not paragraph.has_tags and "<" in final:
            tagged = (content_of(line, _TAGS.scan(line)) for line in (plain(paragraph.content), final))
            violations += [one for one in tag_violations(*tagged) if one.kind == "malformed"]
        candidate = Candidate(
            final,
            sum(one.score for one in chosen),
            sum(one.log_prob for one in chosen),
            self._attention(paragraph, chosen, final) if attention else None,
            _word_alignment(paragraph, content, words) if alignment else None,
            _tokens(chosen),
        )
        return candidate, content, violations

    def _attention(self, paragraph: Paragraph, chosen: Sequence[Candidate], title: str) -> AttentionMap | None:
        maps = [one.attention for one in chosen if one.attention is not None]
        if not maps:
            return None
        columns = [piece for one in maps for piece in one.source]
        rows = [piece for one in maps for piece in one.target]
        weights = block_diagonal([one.weights for one in maps])
        return AttentionMap(columns, rows, weights, title, maps[0].of, without_controls(paragraph.request.source))

    @cached_property
    def _kinds(self) -> tuple[Kind, ...]:
        """The protected kinds; `code` and `custom` whenever there are such spans."""
        return (*self._handling.protect_kinds, "code", "custom")

    @cached_property
    def _scanner(self) -> Scanner:
        """Finds the protected spans; for masks only those that were masked in the training text."""
        kinds = [kind for kind in self._kinds if symbol(kind, 1) in self.known or self._method == "copy"]
        return Scanner(dict.fromkeys((*kinds, "custom")), self._patterns)

    @cached_property
    def _protected_terms(self) -> re.Pattern[str] | None:
        """The terms with protected spans, such as COVID-19: their translation counts, not that of the spans."""
        given = self._handling.terms if self._method != "none" else {}
        terms = [one for one, targets in given.items() if any(map(self._scanner.scan, (one, *targets)))]
        return re.compile("|".join(map(whole_text, sorted(terms, key=len, reverse=True)))) if terms else None

    def _spans_of_term(self, term: str) -> Iterable[str]:
        """The texts of the protected spans in the translations of a term; of several translations, the most."""
        counts = (Counter(span.text for span in self._scanner.scan(one)) for one in self._handling.terms[term])
        return reduce(or_, counts, Counter[str]()).elements()

    @cached_property
    def _declared(self) -> frozenset[str]:
        """The symbols of the user in the tokenizer, which are never masked."""
        return self._tokenizers.source.symbols - self.known

    def _protection(self) -> Literal["mask", "copy", "none"]:
        """The method of protection. Raises UserError for one that the model does not support."""
        handling, method = self._handling, self._handling.protect
        own = tuple(handling.protect_kinds) != PROTECTED  # of the user
        unknown = [kind for kind in handling.protect_kinds if own and symbol(kind, 1) not in self.known]
        if method == "auto":
            asked = handling.patterns or handling.localize_numbers or own
            asked = asked or (handling.on_violation != "keep" and self._constrained)  # else there would be none
            method = "mask" if self.known else "copy" if asked else "none"
            if unknown and method == "mask" and self._constrained:
                method = "copy"
        numbers = symbol("number", 1) in self.known if method == "mask" else "number" in handling.protect_kinds
        if handling.localize_numbers and (method == "none" or not numbers):
            raise UserError(
                "localize_numbers needs protected numbers",
                "use --protect copy, and include number in --protect-kinds",
            )
        if method == "mask" and not self.known:
            raise UserError(
                "protect mask: the model knows no placeholder symbols",
                "set data.protect in nmt prepare and train again, or use copy",
            )
        if method == "mask" and unknown:
            raise UserError(
                f"protect mask: the model knows no placeholder symbols for {', '.join(unknown)}",
                "use copy, or leave them out of the protected kinds",
            )
        if method == "copy" and not self._constrained:
            raise UserError(
                "protect copy needs beam search with lexical constraints",
                "use mask, or --method beam and a PyTorch or ONNX model",
            )
        return method

    def _language_tag(self) -> str:
        """The tag that a multilingual model needs before each source sentence; empty for others."""
        language = self._handling.target_language
        if language is None:
            return ""
        tags = {match[1]: one for one in self._symbols if (match := _LANGUAGE_TAG.fullmatch(one))}
        if tags and language not in tags:
            raise UserError(
                f"--target-language {language}: the model has no tag for it",
                f"it has {', '.join(sorted(tags))}",
            )
        asked, own = (_TWO_LETTERS.match(code) for code in (language, self._languages[1]))
        if not tags and asked and own and asked[0] != own[0]:
            raise UserError(
                f"--target-language {language}: the model translates into {self._languages[1]} only",
                "leave --target-language out",
            )
        return tags.get(language, "")


# <2de>, <2zh_TW>, as `tag` of a corpus names a language in the field, and >>deu<<; not <bt> or <br>
_LANGUAGE_TAG = re.compile(r"(?:<2|>>)([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*)(?:>|<<)")
_TWO_LETTERS = re.compile(r"[a-z]{2}(?![A-Za-z0-9])")  # a language code; data of one's own may have any names


def _with_symbols(request: Request, masked: Masked) -> Request:
    """The request with symbols in its constraints, too, for the spans of its source."""

    def shown(text: str) -> str:
        return with_symbols(text, masked.spans)

    required = [shown(one) if isinstance(one, str) else list(map(shown, one)) for one in request.required]
    return replace(request, prefix=shown(request.prefix), required=required, banned=list(map(shown, request.banned)))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"LineHandling.patterns: {pattern!r} is not a regular expression: {error}") from None


def _tokens(chosen: Sequence[Candidate]) -> tuple[tuple[str, float], ...] | None:
    """The tokens of all sentences with their log-probabilities; None where they were not asked for."""
    if all(one.tokens is None for one in chosen):
        return None
    return tuple(token for one in chosen for token in one.tokens or ())


def _word_links(sentence: Sentence, candidate: Candidate) -> list[RangeLink]:
    """The word alignment of a sentence as it was translated."""
    words = word_ranges(sentence.request.source), word_ranges(candidate.text)
    links = candidate.alignment or ()
    return [(words[0][s], words[1][t]) for s, t in links if s < len(words[0]) and t < len(words[1])]


def _token_links(sentence: Sentence, candidate: Candidate) -> list[RangeLink]:
    """Links for tags: between protected spans, and the word alignment of the rest; of pieces where a side has no blanks
    between words.
    """
    source, text = sentence.request.source, candidate.text
    spans = [*sentence.masked.spans, *(span.text for span in sentence.protected)]
    exact: list[RangeLink] = []
    for span in sorted(dict.fromkeys(spans), key=len, reverse=True):  # 5 occurs in 25 5, too
        taken = [[one[side] for one in exact] for side in (0, 1)]
        places = ([match.span() for match in re.finditer(whole_text(span), side)] for side in (source, text))
        free = (
            [one for one in side if _outside(one, sorted(used)) == [one]]
            for side, used in zip(places, taken, strict=True)
        )
        exact += zip(*free, strict=False)
    links = _piece_links(source, text, candidate.attention) if candidate.attention else None
    if links is None:
        links = _word_links(sentence, candidate)
    taken = [sorted(one[side] for one in exact) for side in (0, 1)]
    rests = ((_outside(one, taken[0]), _outside(other, taken[1])) for one, other in links)
    return [*exact, *(link for rest in rests for link in product(*rest))]


def _outside(whole: Range, taken: Sequence[Range]) -> list[Range]:
    """The parts of a range that are outside of others, which are sorted: the punctuation beside a span."""
    at, parts = whole[0], []
    for start, end in (*taken, (whole[1], whole[1])):
        if at < min(start, whole[1]):
            parts.append((at, min(start, whole[1])))
        at = max(at, end)
    return parts


def _piece_links(source: str, text: str, attention: AttentionMap) -> list[RangeLink] | None:
    """The alignment of pieces; None where both sides have blanks between words."""
    if not (UNSPACED.search(source) or UNSPACED.search(text)):
        return None
    pieces = _piece_ranges(source, attention.source), _piece_ranges(text, attention.target)
    numbers = [[NO_WORD if one is None else number for number, one in enumerate(side)] for side in pieces]
    links = ((pieces[0][s], pieces[1][t]) for s, t in word_links(attention.weights, *numbers))
    return [(one, other) for one, other in links if one is not None and other is not None]


def _moved(links: Iterable[RangeLink], sentence: Sentence, unmasked: Versions, at: int) -> list[RangeLink]:
    """Links of a sentence as links of the line without tags; its translation begins at `at`."""
    back = sentence.versions.swapped
    moved = [(back.moved(*source), unmasked.moved(*target)) for source, target in links]
    return [
        ((source[0] + sentence.start, source[1] + sentence.start), (target[0] + at, target[1] + at))
        for source, target in moved
        if source[0] < source[1] and target[0] < target[1]
    ]


def _transferred(content: Content, text: str, links: Sequence[RangeLink]) -> Content:
    """The translation with the tags of the content."""
    source, target = (sorted({link[side] for link in links}) for side in (0, 1))
    numbers = [{one: number for number, one in enumerate(side)} for side in (source, target)]
    pairs = [(numbers[0][one], numbers[1][other]) for one, other in links]
    return transfer(content, text, pairs, source, target) if pairs else transfer(content, text, ())


def _word_alignment(paragraph: Paragraph, content: Content, links: Iterable[RangeLink]) -> tuple[tuple[int, int], ...]:
    """The links between the space-separated words of the line and of its translation."""
    text = plain(paragraph.content)
    # the source of a document's segment has no tags
    before = Versions(((text, text),)) if paragraph.request.content is not None else _with_tags(paragraph.content)
    with_tags = before, _with_tags(content)
    words = word_ranges(paragraph.request.source), word_ranges(with_tags[1].second)
    found = {
        pair
        for source, target in links
        for pair in product(
            overlapping(words[0], with_tags[0].moved(*source)), overlapping(words[1], with_tags[1].moved(*target))
        )
    }
    return tuple(sorted(found, key=lambda pair: (pair[1], pair[0])))


def _with_tags(content: Content) -> Versions:
    """The text without and with its tags."""
    return Versions(tuple((part, part) if isinstance(part, str) else (" " * part.blank, part.text) for part in content))


def _piece_ranges(text: str, pieces: Sequence[str]) -> list[Range | None]:
    """Where each piece is in a text; None for bytes, for pieces that normalisation changed, and for EOS."""
    ranges: list[Range | None] = []
    at = 0
    for piece in pieces:
        core = piece.replace("▁", " ").strip()
        found = text.find(core, at, at + len(core) + 8) if core else -1
        ranges.append(None if found < 0 else (found, found + len(core)))
        at = found + len(core) if found >= 0 else at
    return ranges
