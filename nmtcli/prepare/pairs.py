"""Sentence pairs with their word alignment, and edits of both sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from nmtcli.data.links import Links, WordMap, words_are_certain
from nmtcli.prepare.cleaning.characters import Mask
from nmtcli.text.edits import Edit, edited, words_after

PairEdits = tuple[Sequence[Edit], Sequence[Edit]]  # of the source and of the target, in order


@dataclass(frozen=True)
class Pairs:
    """The texts of some pairs, and their word links if the text has word alignment."""

    sources: list[str]
    targets: list[str]
    links: Links | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def __add__(self, other: "Pairs") -> "Pairs":
        links = None if self.links is None or other.links is None else self.links + other.links
        return Pairs(self.sources + other.sources, self.targets + other.targets, links)

    def select(self, mask: Mask) -> "Pairs":
        """The pairs that are true in `mask`."""
        if mask.all():
            return self
        flags = mask.tolist()
        sources, targets = (list(compress(side, flags)) for side in (self.sources, self.targets))
        return Pairs(sources, targets, None if self.links is None else self.links.select(mask))

    def edited(self, edits: Mapping[int, PairEdits]) -> "Pairs":
        """The pairs after edits of some of them, by their number; links follow their words.

        A link is dropped if a word of it is removed or becomes several words, or if the words of a text are uncertain.
        """
        if not edits:
            return self
        sides = list(self.sources), list(self.targets)
        for number, both in edits.items():
            for texts, of_side in zip(sides, both, strict=True):
                texts[number] = edited(texts[number], of_side)
        links = self.links
        if links is not None:
            linked = [number for number in edits if links.counts[number]]
            links = links.moved({number: self._words(number, edits[number]) for number in linked})
        return Pairs(*sides, links)

    def _words(self, number: int, edits: PairEdits) -> tuple[WordMap, WordMap]:
        source, target = (
            words_after(text, of_side) if words_are_certain(text) else ()
            for text, of_side in zip((self.sources[number], self.targets[number]), edits, strict=True)
        )
        return source, target
