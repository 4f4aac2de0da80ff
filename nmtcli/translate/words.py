"""From tokens back to words: which word each token is a part of, and which words are linked.

A word is what stands between blanks, in the raw source line as in the translation: what other programs count.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nmtcli.prepare.tokenizer import Tokenizer
from nmtcli.translate.alignment import hard_alignment
from nmtcli.translate.translation import Link
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


def source_words(tokenizer: Tokenizer, line: str, ids: Sequence[int]) -> list[int]:
    """For each token of a raw line the number of its word in `line.split()`.

    The tokenizer sees the line normalised, where a word may fall apart or vanish. Should two have grown together, the
    words after them are counted by what the tokenizer sees.
    """
    numbers, _ = count_through(surfaces(tokenizer, ids))
    parts = (len(tokenizer.normalize(word).split()) for word in line.split())
    origin = [word for word, count in enumerate(parts) for _ in range(count)]
    return [origin[min(number, len(origin) - 1)] if origin else NO_WORD for number in numbers]


def by_word(weights: NDArray[np.float32], words: Sequence[int]) -> NDArray[np.float32]:
    """Columns [·, tokens] added up to words [·, max(words) + 1]; those without a word are left out."""
    number = np.asarray(words, dtype=np.int64)
    summed = np.zeros((weights.shape[0], int(number.max(initial=NO_WORD)) + 1), dtype=np.float32)
    np.add.at(summed.T, number[number != NO_WORD], weights.T[number != NO_WORD])
    return summed


def word_links(weights: NDArray[np.float32], source: Sequence[int], target: Sequence[int]) -> tuple[Link, ...]:
    """For each target word the source word it drew most on; none for a word that drew on none.

    weights [T, S] is the attention between tokens; source [S] and target [T] have the word of each token.
    """
    words = by_word(by_word(weights, source).T, target).T  # [target words, source words]
    return tuple(link for link in hard_alignment(words) if words[link[1]].any())


def replacements(
    ids: Sequence[int], weights: NDArray[np.float32], source: Sequence[int], line: str, dictionary: Mapping[str, str]
) -> dict[int, str]:
    """What to write for each unknown token of a translation, by position (Luong et al. 2015, "Addressing the Rare Word
    Problem", section 3).

    It is the source word the token drew most on, by `dictionary`: as written, else in lower case, else unchanged.
    """
    drawn = by_word(weights, source)  # [T, words]
    raw = line.split()
    if drawn.shape[1] == 0:
        return {}
    chosen = {at: raw[int(drawn[at].argmax())] for at, token in enumerate(ids) if token == UNK}
    return {at: dictionary.get(word, dictionary.get(word.lower(), word)) for at, word in chosen.items()}
