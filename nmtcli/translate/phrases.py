"""Lexical constraints from text: phrases in pieces of the target tokenizer, at any place of a sentence."""

import string
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import UserError
from nmtcli.translate.constraints import Constraint, Phrase, Phrases, SharedTokens, WordEdges
from nmtcli.vocabulary import EOS, SPECIAL, UNK

_JOINING = set(".,:'’-–/")  # inside words and numbers
SPACE = "▁"  # SentencePiece's space
# Scripts without spaces between words, or with endings that are not separated by spaces: any letter may follow a term.
_RUNNING = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


def joins_words(character: str) -> bool:
    """Whether a character next to a word makes another word: Haus and Hausboot, but not 東京 and 東京都."""
    if not (character.isalnum() or unicodedata.category(character).startswith("M")):
        return False
    return not unicodedata.name(character, "").startswith(_RUNNING)


@dataclass(frozen=True)
class Copy:
    """A text of the source that the translation must have; whether a space stands before it there, and no letter after
    it.
    """

    text: str
    before: bool = False
    after: bool = False

    @classmethod
    def of(cls, source: str, start: int, end: int) -> "Copy":
        """The copy of source[start:end]; the start of the source text counts as a space."""
        before, after = source[:start][-1:], source[end:][:1]
        return cls(source[start:end], not before or before.isspace(), not after or not joins_words(after))


class PhraseWriter:
    """Converts text to phrases of a target tokenizer. Text is case-sensitive and normalised by the tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def prefix(self, text: str) -> tuple[int, ...]:
        """The tokens of a forced prefix."""
        return self._tokens(text)

    def required(self, texts: Iterable[str], times: int = 1) -> Phrase:
        """Any of these texts, in the default segmentation, as whole words, at least `times` times."""
        return Phrase.of([self._tokens(text) for text in texts], least=times, whole=True)

    def banned(self, text: str) -> Phrase:
        """A text that must not occur as whole words, in any segmentation.

        In scripts without spaces between words, it must not occur inside a piece either.
        """
        written = self._written(text).encode()  # in bytes, for byte pieces
        arcs: list[dict[int, int]] = []
        for start in range(len(written)):
            ends = range(start + 1, min(start + self._longest, len(written)) + 1)
            arcs.append({token: end for end in ends for token in self._by_bytes.get(written[start:end], ())})
        normal, inner = written.decode()[len(SPACE) :], len(SPACE.encode())
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

    def copies(
        self, copies: Mapping[Copy, int], terms: Sequence[tuple[Phrase, int]] = ()
    ) -> tuple[list[Phrase], list[str]]:
        """A phrase for each text, so many times; and the texts that the tokenizer cannot write.

        Spaces around a text are kept. A text that is a part of another one, or of a required term, occurs there too.
        Each term has the number of its occurrences in the source.
        """
        spellings: dict[Copy, set[tuple[int, ...]]] = {}
        unwritable = []
        for copy in copies:
            try:
                spellings[copy] = self._spellings(copy)
            except UserError:
                unwritable.append(copy.text)
        required = {copy: {self._tokens(copy.text)} if copy.before else ours for copy, ours in spellings.items()}
        phrases = []
        for copy, ours in spellings.items():
            allowed, phrase = Phrase.of(ours), Phrase.of(required[copy], whole=copy.after, strict=True)
            least = most = copies[copy]
            for other in spellings.keys() - {copy}:
                if not any(one <= whole for one in map(set, ours) for whole in map(set, spellings[other])):
                    continue
                most += copies[other] * max(Phrases((allowed,), self.edges).counted(one) for one in spellings[other])
                # a letter cannot follow `other`, and so not what it ends with
                followed = [(*one, EOS) if other.after else one for one in required[other]]
                least += copies[other] * min(Phrases((phrase,), self.edges).counted(one) for one in followed)
            for term, times in terms:
                targets = term.segmentations()
                most += times * max(Phrases((allowed,), self.edges).counted(one) for one in targets)
                least += term.least * min(Phrases((phrase,), self.edges).counted((*one, EOS)) for one in targets)
            phrases += [replace(allowed, least=0, most=most), replace(phrase, least=least)]
        return phrases, unwritable

    def _spellings(self, copy: Copy) -> set[tuple[int, ...]]:
        """The tokens of a copied text, with and without a space before it."""
        tokens = self._tokens(copy.text)
        spellings = {tokens}
        first = self.tokenizer.pieces(tokens[:1])[0]
        if first == SPACE and len(tokens) > 1:
            spellings.add(tokens[1:])
        elif first.startswith(SPACE) and first[1:] in self._ids:
            spellings.add((self._ids[first[1:]], *tokens[1:]))
        return spellings

    def constraint(self, prefix: Sequence[int] = (), phrases: Sequence[Phrase] = ()) -> Constraint | None:
        """The constraint of a sentence; None without prefix and phrases. Raises UserError for a contradiction."""
        if not prefix and not phrases:
            return None
        banned = Phrases(tuple(phrase for phrase in phrases if phrase.most is not None), self.edges)
        if phrases:
            self._without_banned([prefix], banned)
        possible = []
        for phrase in phrases:
            all_ = phrase.segmentations() if phrase.least else []
            rest = self._without_banned(all_, banned)
            fewer = Phrase.of(rest, phrase.least, phrase.most, phrase.whole, phrase.strict) if rest != all_ else phrase
            possible.append(fewer)
        return Phrases(tuple(possible), self.edges, tuple(prefix))

    def _without_banned(self, alternatives: Sequence[Sequence[int]], banned: Phrases) -> list[Sequence[int]]:
        """The alternatives without a banned phrase. Raises UserError if there are some, and all have one."""
        rest = [tokens for tokens in alternatives if not clash(banned, tokens)]
        if alternatives and not rest:
            text = self.tokenizer.decode(alternatives[0])
            raise UserError(f"{text!r} is required, but has banned words", "remove one of them")
        return rest

    @cached_property
    def edges(self) -> WordEdges:
        """The word boundaries of the vocabulary."""
        text = {token: piece for piece, token in self._ids.items()}
        # bytes are mostly parts of rare letters, except ASCII punctuation
        signs = {token for sign in string.punctuation for token in self._by_bytes.get(sign.encode(), ())}
        continuing = frozenset(token for token, piece in text.items() if joins_words(piece[0]))
        continuing |= frozenset(self.tokenizer.byte_pieces.nonzero()[0].tolist()) - signs
        opening = frozenset(token for token, piece in text.items() if not joins_words(piece[-1])) | signs
        apart = SharedTokens(token for token in range(EOS, len(self.tokenizer)) if token not in continuing)
        within = {token for token, piece in text.items() if piece[0] != SPACE and any(map(joins_words, piece))}
        extending = frozenset(within - continuing)
        strictly = SharedTokens(token for token in apart if token not in extending)
        joining = frozenset(token for token, piece in text.items() if piece in _JOINING)
        return WordEdges(continuing, apart, opening, extending, strictly, joining)

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The id of each text piece."""
        pieces = self.tokenizer.pieces(range(len(self.tokenizer)))
        bytes_ = self.tokenizer.byte_pieces
        return {piece: token for token, piece in enumerate(pieces) if token >= SPECIAL and not bytes_[token]}

    @cached_property
    def _by_bytes(self) -> dict[bytes, list[int]]:
        """The ids of text pieces and byte pieces by their bytes."""
        ids = {piece.encode(): [token] for piece, token in self._ids.items()}
        bytes_ = self.tokenizer.byte_pieces.nonzero()[0].tolist()
        for token, piece in zip(bytes_, self.tokenizer.pieces(bytes_), strict=True):
            ids.setdefault(bytes([int(piece[1:-1], 16)]), []).append(token)  # <0xC3>
        return ids

    @cached_property
    def _sorted(self) -> list[bytes]:
        """The text pieces as bytes, sorted."""
        return sorted(piece.encode() for piece in self._ids)

    def _beginning_with(self, start: bytes) -> list[int]:
        """The ids of longer pieces with this prefix."""
        ids: list[int] = []
        for piece in islice(self._sorted, bisect_right(self._sorted, start), None):
            if not piece.startswith(start):
                break
            ids += self._by_bytes[piece]
        return ids

    @cached_property
    def _within(self) -> dict[str, list[tuple[int, bytes]]]:
        """For each character the pieces that have it after their first one, and their rest from there."""
        rests: dict[str, list[tuple[int, bytes]]] = {}
        for piece, token in self._ids.items():
            for at in range(1, len(piece)):
                rests.setdefault(piece[at], []).append((token, piece[at:].encode()))
        return rests

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_bytes))

    def _written(self, text: str) -> str:
        """A normalised text with ▁ for spaces and before its first word."""
        normal = self.tokenizer.normalize(text)
        if not normal:
            raise UserError("a phrase is empty", "give at least one word")
        return SPACE + normal.replace(" ", SPACE)

    def _tokens(self, text: str) -> tuple[int, ...]:
        self._written(text)
        (tokens,) = self.tokenizer.encode([text])
        if UNK in tokens:
            raise UserError(
                f"the target tokenizer cannot encode {text!r}: some of its characters are not in the vocabulary",
                "use another word; for protected spans set data.protect in nmt prepare",
            )
        return tuple(tokens)


def clash(banned: Phrases, tokens: Sequence[int]) -> bool:
    """Whether these tokens have a banned phrase."""
    state = banned.start()
    for token in tokens:
        if token in banned.rule(state).forbidden:
            return True
        state = banned.advance(state, token)
    return EOS in banned.rule(state).forbidden
