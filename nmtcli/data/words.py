"""The word of a text that each token belongs to.

A word is delimited by spaces, in a raw line and in a translation, as in other programs.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.vocabulary import EOS, UNK

NO_WORD = -1  # the word of EOS
UNKNOWN = "⁇"


def surfaces(tokenizer: Tokenizer, ids: Sequence[int], words: Mapping[int, str] | None = None) -> list[str]:
    """The text of each token, with the space before a word; empty for EOS.

    `words` has the text of UNK at a position. A character encoded as bytes belongs to its last byte.
    """
    texts: list[str] = []
    bytes_to_text = getincrementaldecoder("utf-8")("replace")
    for at, (token, piece) in enumerate(zip(ids, tokenizer.pieces(ids), strict=True)):
        if tokenizer.byte_pieces[token]:
            texts.append(_plain(bytes_to_text.decode(bytes([int(piece[3:5], 16)]))))
            continue
        if texts:
            texts[-1] += bytes_to_text.decode(b"", final=True)  # bytes that ended within a character
        if token == UNK:
            space = " " if tokenizer.word_starts[UNK] else ""  # otherwise the space is a separate piece
            texts.append(space + (words or {}).get(at, UNKNOWN))
        else:
            texts.append(_plain(piece.replace("▁", " ")) if token > EOS else "")
    if texts:
        texts[-1] += bytes_to_text.decode(b"", final=True)
    return texts


def _plain(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


def word_numbers(parts: Iterable[str]) -> tuple[list[int], int]:
    """For each part of a text the number of its first word, from 0; and the number of words.

    A part without visible characters, such as a space or the first byte of a character, belongs to the next word.
    """
    numbers: list[int] = []
    word, inside = -1, False
    for part in parts:
        first: int | None = None
        for character in part:
            if character.isspace():
                inside = False
                continue
            word += not inside
            inside = True
            first = word if first is None else first
        numbers.append((word if inside else word + 1) if first is None else first)
    return [min(number, word) for number in numbers], word + 1


def raw_words(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[int]:
    """For each token of a raw line the number of its word in `line.split()`.

    Normalisation may split or remove a word. If it merges two words, the following ones are counted by the normalised
    line.
    """
    numbers, _ = word_numbers(surfaces(tokenizer, ids))
    parts = (len(tokenizer.normalize(word).split()) for word in line.split())
    origin = [word for word, count in enumerate(parts) for _ in range(count)]
    return [origin[min(number, len(origin) - 1)] if origin else NO_WORD for number in numbers]


def normalized_parts(tokenizer: Tokenizer, line: str, ids: Sequence[int], cuts: Sequence[int]) -> list[str] | None:
    """The normalised text of each part of a line, whose bounds are `cuts`; unlike a decoded part it has unknown words.

    None if a cut is within a word.
    """
    words = tokenizer.normalize(line).split()
    numbers, count = word_numbers(surfaces(tokenizer, ids))
    bounds = [0, *(numbers[cut] for cut in cuts[1:-1]), numbers[cuts[-1] - 1] + 1]
    within = any(numbers[cut - 1] == numbers[cut] for cut in cuts[1:-1])
    if within or count > len(words):
        return None
    return [" ".join(words[begin:end]) for begin, end in pairwise(bounds)]
