"""Protected spans of training and validation pairs, masked by placeholder symbols (data.protect)."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from nmtcli.config import DataConfig
from nmtcli.prepare.cleaning.characters import Texts
from nmtcli.prepare.pairs import PairEdits, Pairs
from nmtcli.text.masking import pair_edits, shared_spans, symbols
from nmtcli.text.spans import Kind, Scanner


@cache
def scanner_of(kinds: tuple[Kind, ...], declared: tuple[str, ...]) -> Scanner:
    """Finds spans of these kinds. Declared symbols, which stay as they are, are spans of kind `custom`."""
    longest_first = sorted(map(re.escape, declared), key=len, reverse=True)
    return Scanner(("custom", *kinds), [re.compile("|".join(longest_first))] if declared else ())


@dataclass
class MaskCounts:
    """Masked pairs and spans."""

    pairs: int = 0
    spans: Counter[Kind] = field(default_factory=Counter)

    def __iadd__(self, other: "MaskCounts") -> "MaskCounts":
        self.pairs += other.pairs
        self.spans += other.spans
        return self


class PairMasker:
    """Masks the spans that both sides of a pair have. Symbols that the user declares stay as they are."""

    def __init__(self, config: DataConfig) -> None:
        self.kinds: tuple[Kind, ...] = config.protected
        self._declared = config.declared

    @property
    def symbols(self) -> tuple[str, ...]:
        """All placeholder symbols that can be masks for a model of the data, also of a user's patterns and of code."""
        return symbols((*self.kinds, "custom", "code")) if self.kinds else ()

    def __call__(self, pairs: Pairs) -> tuple[Pairs, dict[int, Counter[Kind]]]:
        """The masked pairs, and the number of spans by kind of each pair that has some."""
        counts: dict[int, Counter[Kind]] = {}
        if not self.kinds:
            return pairs, counts
        scanner = scanner_of(self.kinds, self._declared)
        edits: dict[int, PairEdits] = {}
        for number, (source, target) in enumerate(zip(pairs.sources, pairs.targets, strict=True)):
            shared = shared_spans(source, target, scanner, self.kinds)
            if shared:
                edits[number] = pair_edits(shared)
                counts[number] = Counter(span.kind for _, span, _ in shared)
        return pairs.edited(edits), counts


class PairTexts:
    """Both sides of pairs for cleaning rules: as they are, and as a model reads them."""

    def __init__(self, config: DataConfig) -> None:
        self._masker, self._lowercase = PairMasker(config), config.tokenizer.lowercase

    def __call__(self, sources: Sequence[str], targets: Sequence[str]) -> tuple[Texts, Texts]:
        """The texts of the sources and of the targets."""
        masked, spans = self._masker(Pairs(list(sources), list(targets)))
        source, target = (
            Texts(texts, lowercase=self._lowercase, read=Texts(read, lowercase=self._lowercase) if spans else None)
            for texts, read in ((sources, masked.sources), (targets, masked.targets))
        )
        return source, target
