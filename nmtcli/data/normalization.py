"""Normalisation that keeps every character a reader would miss: Unicode's NFC, with controls and odd blanks cleared.

SentencePiece's own rules (NFKC) are made for text that is read. In text that is written they cannot be undone:
full-width punctuation of Chinese becomes ASCII, the joiners of Persian and the word breaks of Khmer become blanks, Thai
sara am falls apart.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, permutations

NAME = "nmt_nfc"

# Planes 0 to 2, where all characters with a composed form are; no surrogates, no NUL (it ends SentencePiece's text).
_CODES = (range(1, 0xD800), range(0xE000, 0x30000))
_BLANKS = (
    "\t\n\f\r\v\x85\u2028\u2029\ufffd\N{LOWER ONE EIGHTH BLOCK}"  # beside Unicode's blanks; ▁ is SentencePiece's own
)
_BYTE_ORDER_MARK = "\ufeff"


@cache
def rules(lowercase: bool) -> dict[str, str]:
    """What is replaced by what, for SentencePiece, which takes the longest match."""
    found = {_BYTE_ORDER_MARK: "", **dict.fromkeys(_BLANKS, " ")}
    for character in map(chr, chain(*_CODES)):
        if character in found:
            continue
        category = unicodedata.category(character)
        if category in {"Zs", "Cc"}:
            found[character] = " " if category == "Zs" else ""
            continue
        decomposed = unicodedata.normalize("NFD", character)
        if decomposed != character:
            composed = unicodedata.normalize("NFC", character)
            found |= dict.fromkeys((character, *_spellings(decomposed)), composed.lower() if lowercase else composed)
        elif lowercase:
            found[character] = character.lower()
    found = {given: unicodedata.normalize("NFC", written) for given, written in found.items()}
    return {given: written for given, written in found.items() if given != written}


def _spellings(decomposed: str) -> Iterator[str]:
    """The sequences that are canonically the same: the marks in any order, composed in part or not."""
    base, marks = decomposed[0], tuple(decomposed[1:])
    orders = [marks] if "\u1100" <= base <= "\u1112" else permutations(marks)  # the parts of Hangul have one order
    whole = unicodedata.normalize("NFC", decomposed)
    for order in orders:
        for composed in range(len(order) + 1):
            spelling = unicodedata.normalize("NFC", base + "".join(order[:composed])) + "".join(order[composed:])
            if unicodedata.normalize("NFC", spelling) == whole:
                yield spelling


def tsv(lowercase: bool) -> str:
    """The rules as the file that SentencePiece's trainer reads."""
    rows = (f"{_hexadecimal(given)}\t{_hexadecimal(written)}\n" for given, written in sorted(rules(lowercase).items()))
    return "".join(rows)


def _hexadecimal(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
