"""`nmt prepare` on the workers of a cluster: the pairs and the report of one machine, the pairs in the order of slices.

This machine reads validation and test text, trains the tokenizer and sums counts. Of the training text it gets one byte
for each pair, its verdict, and the sample for the tokenizer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from nmtcli.config import DataConfig
from nmtcli.data.digests import sha256
from nmtcli.data.directory import TRAIN, VALID, CorpusSize
from nmtcli.data.shards import join
from nmtcli.data.workers import Workers, connected, local_workers
from nmtcli.errors import UserError
from nmtcli.options import Tell
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import EXAMPLES, Example, active_rules, text_rules
from nmtcli.prepare.corpus import Corpora, Corpus, named, open_corpus, require_text
from nmtcli.prepare.encoding import BlockWork, SideCounts, with_limit_of_encoder, write_split
from nmtcli.prepare.fingerprint import find_existing, fingerprint, require_same
from nmtcli.prepare.pipeline import (
    Job,
    given_tokenizers,
    held_out_of,
    make_manifest,
    make_report,
    require_pairs,
    require_unchanged,
    stamps_of,
    train_tokenizers,
    with_case_of,
)
from nmtcli.prepare.reading import CorpusRead, Picked, SplitRead, read_split
from nmtcli.prepare.report.page import PAGE_FILE, write_page
from nmtcli.prepare.report.report import Report, split_report
from nmtcli.prepare.rows import OnProgress
from nmtcli.prepare.slice_tasks import (
    SAMPLE,
    Cut,
    CutCorpus,
    Inspect,
    Inspected,
    PickRows,
    ReadSlice,
    SliceCounts,
    SliceWork,
    WriteSlice,
    WrittenSlice,
    check_worker,
    parts,
    slicing_rule,
    versions,
)
from nmtcli.prepare.statistics import add
from nmtcli.staging import staged

if TYPE_CHECKING:
    from nmtcli.data.cluster import Cluster

SLICE_BYTES = 64 * 2**20  # of stored text
MAX_SLICES = 512  # each is an open file while a corpus is cut

Numbers = npt.NDArray[np.int64]


def prepare_on_cluster(
    output: Path, job: Job, scheduler: str, tell: Tell, on_progress: OnProgress
) -> tuple[Report, bool]:
    """As `prepare_data`, on the workers of a scheduler. `output` is on storage that all machines share.

    The fingerprint is that of one machine with the number of slices, which depends on the size of the text only. Raises
    also ResourceError for a lost scheduler, or a part at which several workers were killed.
    """
    config = job.config
    require_text(config)
    slicing_rule(config)
    if config.hold_out or config.hold_out_test:
        raise UserError(
            "data.hold_out is not possible with --scheduler",
            "give validation text; nmt prepare --hold-out on one machine can sample it from a part of the text",
        )
    existing = find_existing(output)
    with TemporaryDirectory(prefix="nmt-prepare-") as cache, connected(scheduler, tell) as cluster:
        stamps = stamps_of((*config.valid, *config.test))  # a worker looks at the training text
        valid, test = (
            tuple(open_corpus(name, one, config, Path(cache), on_progress) for name, one in named(corpora))
            for corpora in (config.valid, config.test)
        )
        corpora = Corpora((), valid, test)
        corpora.check()
        tags = tuple(dict.fromkeys(one.tag for one in (*config.train, *config.valid, *config.test) if one.tag))
        given = given_tokenizers(job, tags)
        config = with_case_of(given, config)
        run = _Run(cluster, config, corpora, held_out_of(corpora, config), tags, on_progress)
        able = cluster.wait_for_workers({})
        if existing:
            with run.workers(output.absolute(), able) as workers:
                inspected = run.inspect(workers, cached=False)
            identity = run.identity(inspected, fingerprint(run.with_text(inspected), config, given))
            require_same(output, existing, identity, config)
            return Report.load(output), True
        with staged(output) as directory, run.workers(directory, able) as workers:
            run.work(directory).mkdir()
            inspected = run.inspect(workers, cached=True)
            run.slices = slices_of(inspected)
            identity = run.identity(inspected, fingerprint(run.with_text(inspected), config, given))
            train, read_valid = run.read(workers, inspected, directory), run.read_valid(directory)
            for split in (train, read_valid):
                require_pairs(split)
            train.workers = workers
            tokenizers = train_tokenizers(train, config, tags, run.held_out, on_progress, given)
            tokenizers.save(directory)
            size = max(len(tokenizers.source), len(tokenizers.target))
            sides, sizes = run.write(workers, train, size, identity)
            valid_sides = run.write_valid(read_valid, directory, size, identity)
            for split in (train, read_valid):
                require_pairs(split)
            require_unchanged((*config.valid, *config.test), stamps)
            join(directory / TRAIN, parts(run.work(directory), run.slices), identity)
            report = make_report(config, tokenizers, split_report(train, sides), split_report(read_valid, valid_sides))
            report.save(directory)
            write_page(report, directory / PAGE_FILE)
            manifest = make_manifest(config, tokenizers, identity, report)
            manifest.model_copy(update={"corpora": sizes}).save(directory)
            rmtree(run.work(directory))
    return report, False


def slices_of(inspected: Sequence[Inspected]) -> int:
    """The number of slices: a function of the text, so that the result does not depend on the cluster."""
    return min(MAX_SLICES, max(1, -(-sum(one.bytes for one in inspected) // SLICE_BYTES)))


@dataclass
class SlicedSplit(SplitRead):
    """A split whose text is read by workers, with the rows in the order of one machine."""

    inspected: tuple[Inspected, ...] = ()
    slices: int = 1
    work: Path = field(default_factory=Path)  # the folder of the workers
    workers: Workers | None = None

    @property
    def starts(self) -> tuple[int, ...]:
        """The first row of each corpus."""
        return tuple(accumulate((read.rows for read in self.corpora), initial=0))[:-1]

    @property
    def aligned(self) -> bool:
        """See `SplitRead`."""
        return any(one.aligned for one in self.inspected)

    def pick(self, selected: Numbers) -> Iterator[Picked]:
        """See `SplitRead`."""
        assert self.workers is not None
        np.save(self.work / SAMPLE, selected)
        tasks = (PickRows(number, self.inspected, self.starts) for number in range(self.slices))
        return iter(sorted(row for rows in self.workers.map(tasks) for row in rows))

    def set_verdicts(self, rows: Sequence[Numbers], verdicts: Iterable[npt.NDArray[np.uint8]]) -> None:
        """Take over the verdicts on the rows of a slice."""
        for start, numbers, values in zip(self.starts, rows, verdicts, strict=True):
            self.verdicts[start + numbers] = values

    def merge_examples(self, by_rule: dict[str, list[Example]]) -> None:
        """Keep the first examples of each rule in the order of one machine."""
        places: dict[str, int] = {}
        for number, one in enumerate(self.inspected):
            for file in one.files:
                places.setdefault(file.name, number)
        for rule, examples in by_rule.items():
            found = [*self.examples.get(rule, ()), *examples]
            found.sort(key=lambda one: (places.get(one.file, len(places)), one.line))
            self.examples[rule] = found[:EXAMPLES]


@dataclass
class _Run:
    """The steps of one preparation."""

    cluster: "Cluster"
    config: DataConfig
    corpora: Corpora  # validation and test text
    held_out: HeldOut
    tags: tuple[str, ...]
    on_progress: OnProgress
    slices: int = 1
    name: str = field(default_factory=lambda: uuid4().hex)  # tasks of an interrupted run may still be at work

    def work(self, directory: Path) -> Path:
        """The folder of what the workers write, in the data directory."""
        return directory / f"slices-{self.name}"

    def workers(self, directory: Path, able: Sequence[str]) -> Workers:
        """The workers, which are checked, for a data directory that exists on all machines."""
        expected = versions()
        self.cluster.run(partial(check_worker, directory, expected), able)
        make_task = partial(
            SliceWork, self.config, self.held_out, Path.cwd(), directory, self.work(directory), expected
        )
        return self.cluster.workers(make_task, str)

    def inspect(self, workers: Workers, *, cached: bool) -> tuple[Inspected, ...]:
        """All training corpora as workers find them."""
        return tuple(workers.map(Inspect(number, cached) for number in range(len(self.config.train))))

    def identity(self, inspected: Sequence[Inspected], of_one_machine: str) -> str:
        """The fingerprint: that of one machine, and in how many slices the pairs are."""
        return sha256(f"{slices_of(inspected)} slices {of_one_machine}")

    def with_text(self, inspected: Sequence[Inspected]) -> Corpora:
        """All corpora, as far as this machine knows them."""
        train = [
            Corpus(name, corpus.tag, one, None, corpus.augment)
            for (name, corpus), one in zip(named(self.config.train), inspected, strict=True)
        ]
        return Corpora(tuple(train), self.corpora.valid, self.corpora.test)

    def read(self, workers: Workers, inspected: tuple[Inspected, ...], directory: Path) -> SlicedSplit:
        """Cut the training text into slices, and the first pass over them."""
        cuts: list[CutCorpus] = []
        for cut in workers.map(Cut(number, self.slices, one.stamps) for number, one in enumerate(inspected)):
            cuts.append(cut)
            self.on_progress("cutting train into slices", sum(one.rows for one in cuts), None)
        rules = active_rules(self.config.cleaning, text_rules(self.config, self.held_out, training=True), training=True)
        reads = [
            CorpusRead(corpus, cut.rows, cut.crlf_lines, cut.line_breaks, Counter(cut.notes))
            for corpus, cut in zip(self.with_text(inspected).train, cuts, strict=True)
        ]
        total, done = sum(cut.rows for cut in cuts), 0
        verdicts = np.zeros(total, np.uint8)
        split = SlicedSplit(TRAIN, rules, reads, verdicts)
        split.inspected, split.slices, split.work = inspected, self.slices, self.work(directory)
        found: SliceCounts
        for found in workers.map(ReadSlice(number, inspected) for number in range(self.slices)):
            split.set_verdicts(found.rows, found.verdicts)
            split.merge_examples(found.examples)
            for read, notes in zip(split.corpora, found.notes, strict=True):
                read.notes.update(notes)
            for sums, counts in zip(split.counts, found.counts, strict=True):
                add(sums, counts)
            split.ratios = split.ratios + found.ratios
            done += sum(map(len, found.rows))
            self.on_progress(f"reading {TRAIN}", done, total)
        return split

    def write(
        self, workers: Workers, split: SlicedSplit, vocabulary_size: int, identity: str
    ) -> tuple[tuple[SideCounts, SideCounts], tuple[CorpusSize, ...]]:
        """The second pass over the slices: counts of both sides, and the sizes of the corpora in each slice."""
        total, sizes, done = (SideCounts(), SideCounts()), list[CorpusSize](), 0
        tasks = (WriteSlice(number, split.inspected, vocabulary_size, identity) for number in range(self.slices))
        found: WrittenSlice
        for found in workers.map(tasks):
            split.set_verdicts(found.rows, found.verdicts)
            split.merge_examples(found.examples)
            for read, verdicts, copies in zip(split.corpora, found.verdicts, found.copies, strict=True):
                read.copies.update(copies)
                pairs = int(np.count_nonzero(verdicts == 0)) + sum(copies.values())
                sizes.append(CorpusSize(name=read.corpus.name, pairs=pairs))
            for sums, counts in zip(total, found.sides, strict=True):
                add(sums.tokens, counts.tokens)
                add(sums.characters, counts.characters)
            split.links += found.links
            split.masked += found.masked
            split.several_sentences += found.several_sentences
            done += sum(map(len, found.rows))
            self.on_progress(f"encoding {TRAIN}", done, len(split.verdicts))
        split.rules = with_limit_of_encoder(split.rules, split.verdicts)
        return total, tuple(sizes)

    def read_valid(self, directory: Path) -> SplitRead:
        """The first pass over the validation text, on this machine."""
        with TemporaryDirectory(prefix="spill-", dir=directory) as spill, self._local(directory) as local:
            return read_split(
                VALID,
                self.corpora.valid,
                self.config,
                self.held_out,
                local,
                spill=Path(spill) / VALID,
                on_progress=self.on_progress,
            )

    def write_valid(
        self, split: SplitRead, directory: Path, vocabulary_size: int, identity: str
    ) -> tuple[SideCounts, SideCounts]:
        """The second pass over it."""
        with self._local(directory) as local:
            return write_split(
                split,
                directory,
                local,
                fingerprint=identity,
                vocabulary_size=vocabulary_size,
                on_progress=self.on_progress,
            )

    def _local(self, directory: Path) -> Workers:
        return local_workers(1, partial(BlockWork, self.config, self.held_out, directory, None))
