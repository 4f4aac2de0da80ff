"""The tasks of `nmt prepare` on the workers of a cluster: cut a corpus into slices, judge a slice, encode it.

Text lies on storage that all machines share, in a folder of the data directory while that is made. A task may run
twice, if a worker is lost: what it writes appears whole, and the second time it is the same.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import sentencepiece

from nmtcli.config import DataConfig
from nmtcli.data.directory import TRAIN
from nmtcli.data.files import File
from nmtcli.data.links import LinkCounts
from nmtcli.data.workers import local_workers, require_versions
from nmtcli.errors import DataError, UserError
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import (
    DUPLICATE,
    DUPLICATE_SOURCE,
    DUPLICATE_TARGET,
    Example,
    Verdicts,
    active_rules,
    duplicate_rules,
    text_rules,
)
from nmtcli.prepare.corpus import Corpus, named, open_corpus
from nmtcli.prepare.encoding import BlockWork, SideCounts, write_split
from nmtcli.prepare.markup import Markup
from nmtcli.prepare.protection import MaskCounts, PairTexts
from nmtcli.prepare.reading import CorpusRead, Picked, SplitRead, changed_while_read, hashes_of, read_split
from nmtcli.prepare.slices import SliceFile, SliceWriter, slice_path
from nmtcli.prepare.statistics import Counts, TextCounts
from nmtcli.version import __version__

SAMPLE = "sample.npy"  # in the folder of the workers: the rows that train the tokenizer

Numbers = npt.NDArray[np.int64]
Stamps = tuple[tuple[int, int], ...]  # size and time of the last change of each file that is no download


@dataclass(frozen=True)
class Inspected:
    """A corpus as a worker found it. On other machines it is the reader of a corpus whose text they do not read."""

    name: str
    content: str  # its digest
    files: tuple[File, ...]
    bytes: int
    aligned: bool
    stamps: Stamps

    def check(self) -> None:
        """A worker has done that."""

    def digest(self) -> str:
        """A digest of the content."""
        return self.content

    def blocks(self) -> Iterator[Any]:
        """Never called: only workers read the text."""
        raise AssertionError(f"{self.name}: its text is read by workers")


@dataclass(frozen=True)
class Inspect:
    """The task of checking a corpus. The result is `Inspected`."""

    corpus: int
    cached: bool  # whether remote files are kept for `Cut`

    def __str__(self) -> str:
        return f"training corpus {self.corpus + 1}"


@dataclass(frozen=True)
class Cut:
    """The task of cutting a corpus into slices. The result is `CutCorpus`."""

    corpus: int
    slices: int
    stamps: Stamps

    def __str__(self) -> str:
        return f"training corpus {self.corpus + 1}"


@dataclass
class CutCorpus:
    """The counts of a corpus that its slices do not have."""

    rows: int = 0
    crlf_lines: int = 0
    line_breaks: int = 0
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class SliceTask:
    """A task for a slice of these corpora."""

    number: int
    corpora: tuple[Inspected, ...]

    def __str__(self) -> str:
        return f"slice {self.number + 1}"


class ReadSlice(SliceTask):
    """The task of judging a slice. The result is `SliceCounts`."""


@dataclass
class SliceCounts:
    """The result of the first pass for a slice."""

    rows: list[Numbers]  # of each corpus, their numbers in it
    verdicts: list[Verdicts]
    notes: list[Counter[str]]
    examples: dict[str, list[Example]]
    counts: tuple[TextCounts, TextCounts]
    ratios: Counts


@dataclass(frozen=True)
class PickRows(SliceTask):
    """The task of reading the sampled rows of a slice, which are numbered over all corpora. The result is a list."""

    starts: tuple[int, ...]  # the first row of each corpus


@dataclass(frozen=True)
class WriteSlice(SliceTask):
    """The task of encoding a slice. The result is `WrittenSlice`."""

    vocabulary_size: int
    fingerprint: str


@dataclass
class WrittenSlice:
    """The result of the second pass for a slice."""

    rows: list[Numbers]
    verdicts: list[Verdicts]
    copies: list[Counter[str]]
    examples: dict[str, list[Example]]
    sides: tuple[SideCounts, SideCounts]
    links: LinkCounts
    masked: MaskCounts
    several_sentences: int


class SliceWork:
    """The tasks of a worker."""

    def __init__(
        self, config: DataConfig, held_out: HeldOut, folder: Path, output: Path, work: Path, expected: dict[str, str]
    ) -> None:
        """`folder` is that of relative paths, `output` the data directory while it is made, `work` that of this run.

        Raises UserError for other versions of packages than expected, DataError for an output that is not here.
        """
        check_worker(output, expected)
        self._config, self._held_out, self._folder, self._output = config, held_out, folder, output
        self._work = work
        self._workers = local_workers(1, partial(BlockWork, config, held_out, output, 1))
        self._rules = active_rules(config.cleaning, text_rules(config, held_out, training=True), training=True)

    def __call__(self, item: Any) -> Any:
        """Do one of them."""
        match item:
            case Inspect():
                return self._inspect(item)
            case Cut():
                return self._cut(item)
            case ReadSlice():
                return self._read(item)
            case PickRows():
                return self._pick(item)
            case WriteSlice():
                return self._write(item)
        raise TypeError(item)

    def _open(self, number: int, cache: Path) -> Corpus:
        name, corpus = named(self._config.train)[number]
        return open_corpus(name, corpus, self._config, cache, folder=self._folder)

    def _inspect(self, item: Inspect) -> Inspected:
        with TemporaryDirectory(prefix="nmt-prepare-") as scratch:
            corpus = self._open(item.corpus, self._work if item.cached else Path(scratch))
            reader = corpus.reader
            reader.check()
            size, stamps = sum(file.path.stat().st_size for file in reader.files), self._stamps(reader.files)
            return Inspected(reader.name, reader.digest(), reader.files, size, corpus.aligned, stamps)

    def _stamps(self, files: Sequence[File]) -> Stamps:
        found = (file.path.stat() for file in files if not file.path.is_relative_to(self._work))
        return tuple((status.st_size, status.st_mtime_ns) for status in found)

    def _cut(self, item: Cut) -> CutCorpus:
        corpus, texts = self._open(item.corpus, self._work), PairTexts(self._config)
        rule, cut = slicing_rule(self._config), CutCorpus()
        with _appearing(cut_folder(self._work, item.corpus)) as folder, SliceWriter(folder, item.slices) as writer:
            for block in corpus.reader.blocks():
                raw = block.rows()
                rows = raw if corpus.markup is None else corpus.markup.changed(raw)
                source, target = texts(rows.sources, rows.targets)
                hashes = hashes_of(rule, (source.read.hashes, target.read.hashes), corpus.tag)
                writer.add(block, raw, (hashes % np.uint64(item.slices)).astype(np.int64))
                cut.rows += len(raw.sources)
                cut.crlf_lines += raw.crlf_lines
                cut.line_breaks += raw.line_breaks
                cut.notes.update(raw.notes)
        if self._stamps(corpus.reader.files) != item.stamps:
            raise changed_while_read([corpus.reader.name])
        return cut

    def _corpora(self, item: SliceTask) -> list[tuple[Corpus, SliceFile]]:
        """The corpora of a slice, as one machine would open them."""
        markup, corpora = Markup.of(self._config), []
        for position, ((name, corpus), seen) in enumerate(zip(named(self._config.train), item.corpora, strict=True)):
            path = slice_path(cut_folder(self._work, position), item.number)
            reader = SliceFile(path, seen.name, seen.aligned, seen.files)
            corpora.append((Corpus(name, corpus.tag, reader, markup, corpus.augment), reader))
        return corpora

    def _read(self, item: ReadSlice) -> SliceCounts:
        corpora = self._corpora(item)
        with TemporaryDirectory(prefix="nmt-prepare-") as scratch:
            split = read_split(
                TRAIN,
                [corpus for corpus, _ in corpora],
                self._config,
                self._held_out,
                self._workers,
                spill=Path(scratch) / "spill",
                on_progress=lambda *_: None,
            )
        with _appearing(self._verdicts(item)) as folder:
            np.save(folder / "verdicts.npy", split.verdicts)
        return SliceCounts(
            [reader.rows() for _, reader in corpora],
            [verdicts for _, verdicts in split.parts()],
            [read.notes for read in split.corpora],
            split.examples,
            split.counts,
            split.ratios,
        )

    def _verdicts(self, item: SliceTask) -> Path:
        return self._work / f"verdicts-{item.number:04d}"

    def _pick(self, item: PickRows) -> list[Picked]:
        sample = np.load(self._work / SAMPLE, mmap_mode="r")
        picked = []
        for start, (corpus, reader) in zip(item.starts, self._corpora(item), strict=True):
            rows = start + reader.rows()
            split = SplitRead(TRAIN, (), [CorpusRead(corpus, len(rows))], np.zeros(len(rows), np.uint8))
            here = np.flatnonzero(np.isin(rows, sample))
            picked += [one._replace(row=int(rows[one.row])) for one in split.pick(here)]
        return picked

    def _write(self, item: WriteSlice) -> WrittenSlice:
        corpora = self._corpora(item)
        rows = [reader.rows() for _, reader in corpora]
        reads = [CorpusRead(corpus, len(one)) for (corpus, _), one in zip(corpora, rows, strict=True)]
        split = SplitRead(TRAIN, self._rules, reads, np.load(self._verdicts(item) / "verdicts.npy"))
        with _appearing(part_folder(self._work, item.number)) as folder:
            sides = write_split(
                split,
                folder,
                self._workers,
                fingerprint=item.fingerprint,
                vocabulary_size=item.vocabulary_size,
                on_progress=lambda *_: None,
            )
        verdicts = [verdicts for _, verdicts in split.parts()]
        copies = [read.copies for read in split.corpora]
        return WrittenSlice(
            rows, verdicts, copies, split.examples, sides, split.links, split.masked, split.several_sentences
        )


def slicing_rule(config: DataConfig) -> str:
    """The rule about repeated text whose hashes cut the text. Raises UserError if no cut fits all rules."""
    rules = duplicate_rules(config.cleaning)
    if DUPLICATE_SOURCE in rules and DUPLICATE_TARGET in rules:
        raise UserError(
            "data.cleaning.duplicate_sources and duplicate_targets are mutually exclusive with --scheduler: text is cut"
            " into slices by one side",
            "switch one of them off, or prepare on one machine",
        )
    return next((rule for rule in (DUPLICATE_SOURCE, DUPLICATE_TARGET) if rule in rules), DUPLICATE)


def versions() -> dict[str, str]:
    """The versions of what data depend on, on this machine."""
    return {
        "nmtcli": __version__,
        "sentencepiece": sentencepiece.__version__,
        "Unicode": unicodedata.unidata_version,
    }


def check_worker(output: Path, expected: dict[str, str]) -> None:
    """On a worker: raises UserError for other versions, DataError for an output that is not on shared storage."""
    require_versions(expected, versions())
    if not output.is_dir():
        raise DataError(f"{output}: is not there", "all machines must share the folder of -o DATA")


def cut_folder(work: Path, corpus: int) -> Path:
    """The folder of the slices of a corpus."""
    return work / f"corpus-{corpus:04d}"


def part_folder(work: Path, number: int) -> Path:
    """The folder of an encoded slice."""
    return work / f"part-{number:04d}"


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A new folder that gets its name at the end, unless another worker was first with the same content."""
    partial_path = path.with_name(f"{path.name}.{uuid4().hex}")
    partial_path.mkdir()
    try:
        yield partial_path
        if not path.exists():
            try:
                partial_path.rename(path)
            except OSError:
                if not path.exists():
                    raise
    finally:
        rmtree(partial_path, ignore_errors=True)


def parts(work: Path, slices: int) -> Sequence[Path]:
    """The encoded training pairs of all slices."""
    return [part_folder(work, number) / TRAIN for number in range(slices)]
