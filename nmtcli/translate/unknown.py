"""Replacement of UNK tokens."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nmtcli.metrics.alignment import by_word
from nmtcli.vocabulary import UNK


def replacements(
    ids: Sequence[int], weights: NDArray[np.float32], source: Sequence[int], line: str, dictionary: Mapping[str, str]
) -> dict[int, str]:
    """Replacements of UNK tokens, by position (Luong et al. 2015, "Addressing the Rare Word Problem", section 3).

    Each is the translation by `dictionary` of the most-attended source word, as written or in lower case, or the word.
    """
    attention = by_word(weights, source)  # [T, words]
    raw = line.split()
    if attention.shape[1] == 0:
        return {}
    chosen = {at: raw[int(attention[at].argmax())] for at, token in enumerate(ids) if token == UNK}
    return {at: dictionary.get(word, dictionary.get(word.lower(), word)) for at, word in chosen.items()}
