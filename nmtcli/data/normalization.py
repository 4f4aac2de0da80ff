"""Normalisation that keeps all visible characters: Unicode's NFC, without control characters and unusual spaces.

SentencePiece's own rules (NFKC) lose information that a translation needs: full-width punctuation of Chinese becomes
ASCII, joiners of Persian and word breaks of Khmer become spaces, Thai sara am is decomposed.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, permutations

NAME = "nmt_nfc"

# Planes 0 to 2, where all characters with a composed form are; no surrogates, no NUL (it ends SentencePiece's text).
_CODES = (range(1, 0xD800), range(0xE000, 0x30000))
_SPACES = "\t\n\f\r\v\x85\u2028\u2029\ufffd\N{LOWER ONE EIGHTH BLOCK}"  # besides Unicode's; ▁ is SentencePiece's space
_BYTE_ORDER_MARK = "\ufeff"


@cache
def rules(lowercase: bool) -> dict[str, str]:
    """The replacements for SentencePiece, which applies the longest match."""
    replacements = {_BYTE_ORDER_MARK: "", **dict.fromkeys(_SPACES, " ")}
    for character in map(chr, chain(*_CODES)):
        if character in replacements:
            continue
        category = unicodedata.category(character)
        if category in {"Zs", "Cc"}:
            replacements[character] = " " if category == "Zs" else ""
            continue
        decomposed = unicodedata.normalize("NFD", character)
        if decomposed != character:
            composed = unicodedata.normalize("NFC", character)
            composed = composed.lower() if lowercase else composed
            replacements |= dict.fromkeys((character, *_spellings(decomposed)), composed)
        elif lowercase:
            replacements[character] = character.lower()
    replacements = {given: unicodedata.normalize("NFC", written) for given, written in replacements.items()}
    return {given: written for given, written in replacements.items() if given != written}


def _spellings(decomposed: str) -> Iterator[str]:
    """The canonically equivalent sequences: marks in any order, fully, partly or not composed."""
    base, marks = decomposed[0], tuple(decomposed[1:])
    orders = [marks] if "\u1100" <= base <= "\u1112" else permutations(marks)  # Hangul jamo have a fixed order
    whole = unicodedata.normalize("NFC", decomposed)
    for order in orders:
        for composed in range(len(order) + 1):
            spelling = unicodedata.normalize("NFC", base + "".join(order[:composed])) + "".join(order[composed:])
            if unicodedata.normalize("NFC", spelling) == whole:
                yield spelling


def tsv(lowercase: bool) -> str:
    """The rules as a file for SentencePiece's trainer."""
    rows = (f"{_hexadecimal(given)}\t{_hexadecimal(written)}\n" for given, written in sorted(rules(lowercase).items()))
    return "".join(rows)


def _hexadecimal(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
