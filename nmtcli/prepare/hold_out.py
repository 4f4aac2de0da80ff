"""Validation and test text sampled from the training corpora, and held out of training.

The sample depends on the texts and the seed only. Each source text has a pseudo-random rank, computed from its hash;
the sources with the lowest ranks are held out, in this order. The order of lines and the number of processes have no
effect, and a repeated source has the same chance as any other.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nmtcli.config import DataConfig
from nmtcli.data.digests import hashes
from nmtcli.data.files import File
from nmtcli.data.workers import local_workers
from nmtcli.errors import DataError, UserError
from nmtcli.prepare.cleaning.duplicates import pair_hashes
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import judge, text_rules
from nmtcli.prepare.corpus import Corpora, Corpus
from nmtcli.prepare.protection import PairTexts
from nmtcli.prepare.readers.lines import LinePairs
from nmtcli.prepare.rows import Block, OnProgress

# `spelling` tells texts apart that differ in the composition of their accents only, for which the others are equal.
_CANDIDATE = np.dtype([("rank", np.uint64), ("pair", np.uint64), ("spelling", np.uint64), ("row", np.int64)])

Candidates = np.ndarray[tuple[int], np.dtype[np.void]]


class RankingTask:
    """Finds the candidates of a block: clean pairs with the lowest ranks."""

    def __init__(self, config: DataConfig, held_out: HeldOut) -> None:
        self._rules, self._texts, self._seed = text_rules(config, held_out), PairTexts(config), config.seed
        self._size = (config.hold_out or 0) + (config.hold_out_test or 0) + 1  # one must be left for training

    def __call__(self, block: Block) -> tuple[Candidates, int]:
        """Parse, judge and rank: the candidates, with rows counted from the start of the block, and its size."""
        rows = block.rows()
        source, target = self._texts(rows.sources, rows.targets)
        kept = np.flatnonzero(judge(block, rows, source, target, self._rules).verdicts == 0)
        candidates = np.empty(len(kept), _CANDIDATE)
        candidates["rank"] = ranks(source.hashes[kept], self._seed)
        candidates["pair"], candidates["row"] = pair_hashes(source.hashes, target.hashes)[kept], kept
        spelled = (np.fromiter(hashes(side.encoded), np.uint64, len(side.texts)) for side in (source, target))
        candidates["spelling"] = pair_hashes(*spelled)[kept]
        return lowest(candidates, self._size), block.size


def ranks(hashes: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A bijection of hashes to pseudo-random numbers (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = hashes + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def lowest(candidates: Candidates, size: int) -> Candidates:
    """The `size` sources with the lowest ranks, in order, each with the pair of the lowest hash."""
    candidates = np.sort(candidates, order=("rank", "pair", "spelling", "row"))
    new = np.ones(len(candidates), np.bool_)
    new[1:] = candidates["rank"][1:] != candidates["rank"][:-1]
    return candidates[new][:size]


def check_hold_out(config: DataConfig, corpora: Corpora) -> None:
    """Raise UserError for settings that exclude `hold_out`."""
    mistakes = []
    if config.hold_out and corpora.valid:
        mistakes.append("data.hold_out and validation text are mutually exclusive; give one of them")
    if config.hold_out_test and corpora.test:
        mistakes.append("data.hold_out_test and test text are mutually exclusive; give one of them")
    if (config.hold_out or config.hold_out_test) and corpora.tags:
        mistakes.append("data.hold_out needs corpora without tags: give validation text for each tag instead")
    if config.hold_out or config.hold_out_test:  # their files are named by the languages
        languages = config.source_language, config.target_language
        mistakes += [f"language {one}: cannot be the ending of a file name" for one in languages if "/" in one]
    if mistakes:
        raise UserError("\n".join(mistakes))


def sample_hold_out(
    corpora: Corpora, config: DataConfig, held_out: HeldOut, processes: int, directory: Path, on_progress: OnProgress
) -> tuple[Corpora, Sequence[tuple[str, str]]]:
    """Sample validation and test text as the settings say, and write it as plain text into `directory`.

    Returns the corpora with the sampled ones, and the sampled pairs, whose sources no training pair may have. Raises
    DataError if the corpora have too few different sources.
    """
    size = (config.hold_out or 0) + (config.hold_out_test or 0)
    if not size:
        return corpora, ()
    best: Candidates = np.empty(0, _CANDIDATE)
    done = 0
    ranking = partial(RankingTask, config, held_out)
    ranking()  # raises UserError for settings; a process that starts with an error can only be lost
    with local_workers(processes, ranking) as workers:
        for candidates, rows in workers.map(_blocks(corpora.train)):
            candidates["row"] += done
            best = lowest(np.concatenate([best, candidates]), size + 1)
            done += rows
            on_progress("sampling held-out text", done, None)
    if len(best) <= size:
        raise DataError(
            f"data.hold_out: {size:,} pairs cannot be held out: only {len(best):,} different sources are clean",
            "hold out fewer, so that some are left for training",
        )
    pairs = _texts(corpora.train, best["row"][:size])
    valid, test = pairs[: config.hold_out or 0], pairs[config.hold_out or 0 :]
    corpora = Corpora(
        corpora.train,
        (_write("valid", valid, config, directory),) if valid else corpora.valid,
        (_write("test", test, config, directory),) if test else corpora.test,
    )
    return corpora, pairs


def names(split: str, config: DataConfig) -> tuple[str, str]:
    """The names of the text files of a held-out split: by language, if the languages differ."""
    languages = config.source_language, config.target_language
    source, target = languages if languages[0] != languages[1] else ("source", "target")
    return f"{split}.{source}", f"{split}.{target}"


def _write(split: str, pairs: Sequence[tuple[str, str]], config: DataConfig, directory: Path) -> Corpus:
    files = [File(name, directory / name) for name in names(split, config)]
    for file, texts in zip(files, zip(*pairs, strict=True), strict=True):
        file.path.write_text("".join(f"{text}\n" for text in texts), "utf-8", newline="")
    return Corpus(split, None, LinePairs(*files))


def _blocks(corpora: Sequence[Corpus]) -> Iterator[Block]:
    for corpus in corpora:
        yield from corpus.blocks()


def _texts(corpora: Sequence[Corpus], rows: npt.NDArray[np.int64]) -> list[tuple[str, str]]:
    """Both sides of the rows, in the order of `rows`."""
    remaining, start = set(rows.tolist()), 0
    texts: dict[int, tuple[str, str]] = {}
    for block in _blocks(corpora):
        if here := remaining.intersection(range(start, start + block.size)):
            parsed = block.rows()
            texts |= {row: (parsed.sources[row - start], parsed.targets[row - start]) for row in here}
        start += block.size
    if len(texts) < len(set(rows.tolist())):
        raise DataError("a corpus became shorter while it was read", "start again when nothing writes to it")
    return [texts[row] for row in rows.tolist()]
