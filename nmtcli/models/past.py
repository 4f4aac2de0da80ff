"""Keys and values of the positions that a search has behind it."""

from torch import Tensor
from torch.nn import functional as F

from nmtcli.models.protocol import Array, convert

GROWTH = 8  # positions that room is made for at a time


class PastPositions:
    """A cache of keys and values [N, A, t, d], one row a hypothesis, with room for positions to come.

    Rows are reordered when the next position is added, into new tensors, so that each step copies once; where they stay
    as they are, nothing is copied. No cache that was handed out changes.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        """The positions there are: keys and values [N, A, t, d]."""
        self._keys, self._values, self.size = keys, values, keys.size(2)
        self._written = [self.size]  # positions in the tensors, which other caches may share
        self._rows: Tensor | None = None

    def select_rows(self, rows: Array) -> "PastPositions":
        """See `nmtcli.models.protocol.select_rows`."""
        found = PastPositions(self._keys, self._values)
        found.size, found._written = self.size, self._written
        rows = convert(rows, self._keys)
        found._rows = rows if self._rows is None else self._rows[rows]
        return found

    def extended(self, keys: Tensor, values: Tensor) -> tuple["PastPositions", Tensor, Tensor]:
        """With one more position, [N, A, 1, d] each; also all keys and all values, [N, A, t + 1, d]."""
        parts = [self._keys, self._values]
        room = self.size < self._keys.size(2)
        if self._rows is not None:
            parts = [part.index_select(0, self._rows) for part in parts]
        elif room and self._written[0] != self.size:  # another cache has gone on from here
            parts = [part.clone() for part in parts]
        if not room:
            parts = [F.pad(part[:, :, : self.size], (0, 0, 0, GROWTH)) for part in parts]
        found = PastPositions(*parts)
        found.size = self.size + 1
        found._written = self._written if parts[0] is self._keys else [0]
        found._written[0] = found.size
        for part, new in zip(parts, (keys, values), strict=True):
            part[:, :, self.size] = new[:, :, 0]
        return found, parts[0][:, :, : found.size], parts[1][:, :, : found.size]
