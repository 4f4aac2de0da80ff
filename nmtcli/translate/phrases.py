"""Words into constraints: text as the pieces of the target tokenizer, wherever in a sentence it may stand."""

import re
import string
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import UserError
from nmtcli.translate.constraints import Constraint, Edges, ForcedPrefix, Phrase, Phrases, SharedTokens, Together
from nmtcli.vocabulary import EOS, SPECIAL, UNK

BLANK = "▁"  # how SentencePiece writes a blank
# tags as <b>, </b>, <x id="1"/>; {name} and {{name}}; __URL__; %s, %1$d
PLACEHOLDERS = re.compile(r"</?[A-Za-z][^<>]*>|\{\{[^{}]+\}\}|\{[^{}]*\}|__\w+?__|%(?:\d+\$)?[sd]")
# Scripts that are written without blanks, or whose words take endings that no blank sets apart: a term may stand
# right before any letter.
_RUNNING = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


def joins_words(character: str) -> bool:
    """Whether a character beside a word would make it another word: Haus and Hausboot, but not 東京 and 東京都."""
    if not (character.isalnum() or unicodedata.category(character).startswith("M")):
        return False
    return not unicodedata.name(character, "").startswith(_RUNNING)


class PhraseWriter:
    """Turns text into phrases of one target tokenizer. Text is case-sensitive and normalised as the tokenizer does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def prefix(self, text: str) -> tuple[int, ...]:
        """The tokens a translation begins with, to begin with this text."""
        return self._tokens(text)

    def required(self, texts: Iterable[str], times: int = 1) -> Phrase:
        """One of these texts, in the usual segmentation, as whole words; so many times at least."""
        return Phrase.of([self._tokens(text) for text in texts], least=times, whole=True)

    def copied(self, text: str, times: int = 1) -> Phrase:
        """A placeholder exactly so many times, with a blank before it or without."""
        tokens = self._tokens(text)
        spellings = {tokens}
        first = self.tokenizer.pieces(tokens[:1])[0]
        if first == BLANK and len(tokens) > 1:
            spellings.add(tokens[1:])
        elif first.startswith(BLANK) and first[1:] in self._ids:
            spellings.add((self._ids[first[1:]], *tokens[1:]))
        return Phrase.of(spellings, least=times, most=times)

    def banned(self, text: str) -> Phrase:
        """A text that must not occur as whole words, in whatever segmentation.

        In scripts where anything may follow a word, or stand before it, that holds within a piece as well.
        """
        written = self._written(text).encode()  # in bytes, for a letter may be spelled in them
        arcs: list[dict[int, int]] = []
        for start in range(len(written)):
            ends = range(start + 1, min(start + self._longest, len(written)) + 1)
            arcs.append({token: end for end in ends for token in self._by_bytes.get(written[start:end], ())})
        normal, inner = written.decode()[len(BLANK) :], len(BLANK.encode())
        followed, preceded = not joins_words(normal[-1]), not joins_words(normal[0])
        if followed:
            for start in range(len(written)):
                arcs[start] |= dict.fromkeys(self._beginning_with(written[start:]), len(written))
        begun = set(arcs[0].items())
        if preceded:
            begun |= set(arcs[inner].items())
            for token, rest in self._within.get(normal[0], ()):
                if written[inner:].startswith(rest):
                    begun.add((token, inner + len(rest)))
                elif followed and rest.startswith(written[inner:]):
                    begun.add((token, len(written)))
            arcs[0] = dict(sorted(begun, key=lambda arc: arc[1]))  # the furthest position of each token
        others = tuple(sorted(begun - set(arcs[0].items())))
        return Phrase(tuple(arcs), least=0, most=0, whole=not followed, inner=inner, begun=others)

    def placeholders(self, source: str) -> tuple[list[Phrase], list[str]]:
        """A phrase for each placeholder in a source line, and those the tokenizer cannot write."""
        phrases, unwritable = [], []
        for text, times in Counter(PLACEHOLDERS.findall(source)).items():
            try:
                phrases.append(self.copied(text, times))
            except UserError:
                unwritable.append(text)
        return phrases, unwritable

    def constraint(self, prefix: Sequence[int] = (), phrases: Sequence[Phrase] = ()) -> Constraint | None:
        """All that one sentence must obey; None for nothing. Raises UserError where it contradicts itself."""
        parts: list[Constraint] = [ForcedPrefix(tuple(prefix))] if prefix else []
        if phrases:
            automaton = Phrases(tuple(phrases), self.edges)
            parts.append(automaton)
            banned = Phrases(tuple(phrase for phrase in phrases if phrase.most is not None), self.edges)
            forced = [tuple(prefix), *(tuple(spelling(phrase)) for phrase in phrases if phrase.least)]
            for tokens in forced:
                if clash(banned, tokens):
                    text = self.tokenizer.decode(tokens)
                    raise UserError(f"{text!r} is required and has banned words in it", "take one of them back")
        return parts[0] if len(parts) == 1 else Together(tuple(parts)) if parts else None

    @cached_property
    def edges(self) -> Edges:
        """Which tokens of the vocabulary go on with a word."""
        text = {token: piece for piece, token in self._ids.items()}
        # single bytes are parts of rare letters, mostly; punctuation of ASCII is a character by itself
        signs = {token for sign in string.punctuation for token in self._by_bytes.get(sign.encode(), ())}
        continuing = frozenset(token for token, piece in text.items() if joins_words(piece[0]))
        continuing |= frozenset(self.tokenizer.byte_pieces.nonzero()[0].tolist()) - signs
        opening = frozenset(token for token, piece in text.items() if not joins_words(piece[-1])) | signs
        apart = SharedTokens(token for token in range(EOS, len(self.tokenizer)) if token not in continuing)
        return Edges(continuing, apart, opening)

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The id of each piece that is text."""
        pieces = self.tokenizer.pieces(range(len(self.tokenizer)))
        bytes_ = self.tokenizer.byte_pieces
        return {piece: token for token, piece in enumerate(pieces) if token >= SPECIAL and not bytes_[token]}

    @cached_property
    def _by_bytes(self) -> dict[bytes, list[int]]:
        """The ids of the pieces that write these bytes: of text, and of single bytes."""
        found = {piece.encode(): [token] for piece, token in self._ids.items()}
        bytes_ = self.tokenizer.byte_pieces.nonzero()[0].tolist()
        for token, piece in zip(bytes_, self.tokenizer.pieces(bytes_), strict=True):
            found.setdefault(bytes([int(piece[1:-1], 16)]), []).append(token)  # <0xC3>
        return found

    @cached_property
    def _sorted(self) -> list[bytes]:
        """The pieces of text as bytes, in order."""
        return sorted(piece.encode() for piece in self._ids)

    def _beginning_with(self, start: bytes) -> list[int]:
        """The ids of the pieces that begin so and go on."""
        found = []
        for piece in islice(self._sorted, bisect_right(self._sorted, start), None):
            if not piece.startswith(start):
                break
            found += self._by_bytes[piece]
        return found

    @cached_property
    def _within(self) -> dict[str, list[tuple[int, bytes]]]:
        """For each character the pieces that have it behind their first one, and how these go on from there."""
        found: dict[str, list[tuple[int, bytes]]] = {}
        for piece, token in self._ids.items():
            for at in range(1, len(piece)):
                found.setdefault(piece[at], []).append((token, piece[at:].encode()))
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_bytes))

    def _written(self, text: str) -> str:
        """A text as pieces spell it, with the blank before its first word."""
        normal = self.tokenizer.normalize(text)
        if not normal:
            raise UserError("a phrase is empty", "give a word or more")
        return BLANK + normal.replace(" ", BLANK)

    def _tokens(self, text: str) -> tuple[int, ...]:
        self._written(text)
        (tokens,) = self.tokenizer.encode([text])
        if UNK in tokens:
            raise UserError(
                f"the target tokenizer cannot write {text!r}: some of its characters are not in the vocabulary",
                "take another word; symbols for placeholders are given with data.tokenizer.symbols",
            )
        return tuple(tokens)


def spelling(phrase: Phrase) -> list[int]:
    """The shortest tokens of a phrase."""
    left, tokens, position = phrase.remaining(), [], 0
    while position < len(phrase.arcs):
        token, position = min(phrase.arcs[position].items(), key=lambda arc: (left[arc[1]], arc))
        tokens.append(token)
    return tokens


def clash(banned: Phrases, tokens: Sequence[int]) -> bool:
    """Whether these tokens hold something more often than they may."""
    state = banned.start()
    for token in tokens:
        if token in banned.rule(state).forbidden:
            return True
        state = banned.advance(state, token)
    return EOS in banned.rule(state).forbidden
