"""From tokens back to words: which word of a text each token is a part of.

A word is what stands between blanks, in a raw line as in a translation: what other programs count.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.vocabulary import EOS, UNK

NO_WORD = -1  # the word of a token that ends a sentence
UNKNOWN = "⁇"


def surfaces(tokenizer: Tokenizer, ids: Sequence[int], words: Mapping[int, str] | None = None) -> list[str]:
    """What each token adds to the text, blanks before words included; nothing for one that ends a sentence.

    `words` has what to write for the unknown token at a position. A character spelled by bytes is that of its last one.
    """
    found: list[str] = []
    bytes_to_text = getincrementaldecoder("utf-8")("replace")
    for at, (token, piece) in enumerate(zip(ids, tokenizer.pieces(ids), strict=True)):
        if tokenizer.byte_pieces[token]:
            found.append(_plain(bytes_to_text.decode(bytes([int(piece[3:5], 16)]))))
            continue
        if found:
            found[-1] += bytes_to_text.decode(b"", final=True)  # bytes that ended within a character
        if token == UNK:
            blank = " " if tokenizer.type == "word" else ""  # elsewhere the blank is a piece of its own
            found.append(blank + (words or {}).get(at, UNKNOWN))
        else:
            found.append(_plain(piece.replace("▁", " ")) if token > EOS else "")
    if found:
        found[-1] += bytes_to_text.decode(b"", final=True)
    return found


def _plain(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


def count_through(parts: Iterable[str]) -> tuple[list[int], int]:
    """For each stretch of a text the number of its first word, from 0; how many words there are.

    A stretch without letters of its own, such as a blank or the first byte of a letter, goes with what follows.
    """
    numbers: list[int] = []
    word, inside = -1, False
    for part in parts:
        first: int | None = None
        for character in part:
            if character == " ":
                inside = False
                continue
            word += not inside
            inside = True
            first = word if first is None else first
        numbers.append((word if inside else word + 1) if first is None else first)
    return [min(number, word) for number in numbers], word + 1


def raw_words(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[int]:
    """For each token of a raw line the number of its word in `line.split()`.

    The tokenizer sees the line normalised, where a word may fall apart or vanish. Should two have grown together, the
    words after them are counted by what the tokenizer sees.
    """
    numbers, _ = count_through(surfaces(tokenizer, ids))
    parts = (len(tokenizer.normalize(word).split()) for word in line.split())
    origin = [word for word, count in enumerate(parts) for _ in range(count)]
    return [origin[min(number, len(origin) - 1)] if origin else NO_WORD for number in numbers]
