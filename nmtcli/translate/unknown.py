"""Words for those a model does not know."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nmtcli.metrics.alignment import by_word
from nmtcli.vocabulary import UNK


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
