"""Changed copies of training pairs, so that a model gets used to other case, typing errors and missing punctuation.

Whether a pair has a copy depends on its texts and data.seed only, not on its place or the number of processes.
"""

from collections.abc import Callable, Mapping
from random import Random

import numpy as np

from nmtcli.config import DataConfig
from nmtcli.prepare.cleaning.characters import Texts
from nmtcli.prepare.cleaning.duplicates import pair_hashes
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import held_out_rules
from nmtcli.prepare.hold_out import ranks
from nmtcli.prepare.pairs import PairEdits, Pairs
from nmtcli.text.masking import plant
from nmtcli.text.noise import final_punctuation, lower_start, punctuation, title, typos, upper
from nmtcli.text.spans import Kind

Change = Callable[[str, tuple[str, ...]], str]
_BOTH_SIDES: dict[str, Change] = {"upper": upper, "title": title, "lower_start": lower_start}
KINDS = (*_BOTH_SIDES, "typos", "no_punctuation", "placeholders")


class Augmenter:
    """Makes the copies. Symbols of the tokenizer and protected spans never change."""

    def __init__(self, config: DataConfig, held_out: HeldOut) -> None:
        self._seed, self._symbols, self._lowercase = config.seed, config.declared, config.tokenizer.lowercase
        self._rules = held_out_rules(config, held_out)
        self._protected: tuple[Kind, ...] = (*config.protected, "custom", "code")

    def __call__(self, pairs: Pairs, shares: Mapping[str, float]) -> tuple[Pairs, list[str]]:
        """The copies of these pairs, in the order of kinds and pairs, and the kind of each.

        A pair whose source a kind leaves as it is has no copy of it; nor is there one that a held-out rule drops.
        """
        copies, kinds = pairs.select(np.zeros(len(pairs), np.bool_)), list[str]()
        if not shares or not len(pairs):
            return copies, kinds
        hashes = ranks(pair_hashes(Texts(pairs.sources).hashes, Texts(pairs.targets).hashes), self._seed)
        for number, kind in enumerate(KINDS):
            drawn = ranks(hashes, number)
            chosen = drawn / 2.0**64 < shares.get(kind, 0)
            if chosen.any():
                made = self._changed(pairs.select(chosen), kind, drawn[chosen].tolist())
                copies += made
                kinds += [kind] * len(made)
        return copies, kinds

    def _changed(self, pairs: Pairs, kind: str, seeds: list[int]) -> Pairs:
        """The copies of one kind."""
        if kind == "no_punctuation":
            edits: dict[int, PairEdits] = {
                number: (punctuation(source, self._symbols), final_punctuation(target, self._symbols))
                for number, (source, target) in enumerate(zip(pairs.sources, pairs.targets, strict=True))
            }
            made = pairs.edited(edits)
        elif kind == "typos":
            sources = [
                typos(text, Random(seed), self._symbols) for text, seed in zip(pairs.sources, seeds, strict=True)
            ]
            made = Pairs(sources, pairs.targets, pairs.links)
        elif kind == "placeholders":
            sides = zip(pairs.sources, pairs.targets, seeds, strict=True)
            planted = [
                plant(one, other, self._protected, Random(seed), self._symbols) or (one, other)
                for one, other, seed in sides
            ]
            made = Pairs([source for source, _ in planted], [target for _, target in planted], pairs.links)
        else:
            change = _BOTH_SIDES[kind]
            sources, targets = (
                [change(text, self._symbols) for text in side] for side in (pairs.sources, pairs.targets)
            )
            made = Pairs(sources, targets, pairs.links)
        differs = [one != other for one, other in zip(made.sources, pairs.sources, strict=True)]
        wanted = np.array(differs, np.bool_)
        source, target = (Texts(side, lowercase=self._lowercase) for side in (made.sources, made.targets))
        for rule in self._rules:
            wanted &= ~rule.broken(source, target)
        return made.select(wanted)
