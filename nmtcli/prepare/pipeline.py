"""`nmt prepare`: aligned files to a data directory, in two streaming passes.

The first pass cleans and samples sentences for the tokenizer, the second encodes and writes. Nothing depends on the
machine: the same files and settings give the same bytes, and a fingerprint that lets a second run stop at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

from nmtcli import __version__
from nmtcli.config import DataConfig
from nmtcli.errors import DataError
from nmtcli.prepare.checks import CountedFiles, check_files, count_files
from nmtcli.prepare.cleaning import Drops, EncodedPair, Rule, clean, clean_encoded, text_rules, token_rules
from nmtcli.prepare.corpus import PrepareFiles, SentencePair, read_pairs
from nmtcli.prepare.directory import TRAIN, VALID, CorpusSize, Manifest, SplitSize
from nmtcli.prepare.fingerprint import find_existing, fingerprint, require_same
from nmtcli.prepare.report import Report, SideCount, SideReport, SplitReport, rule_reports
from nmtcli.prepare.shards import ShardWriter
from nmtcli.prepare.tokenizer import Tokenizer, Tokenizers
from nmtcli.staging import staged

_CHUNK = 10_000  # pairs encoded together and written as one record batch

OnProgress = Callable[[str, int, int], None]  # stage, done, total
Item = TypeVar("Item")


@dataclass(frozen=True)
class Outcome:
    """What `prepare` made or found."""

    report: Report
    already_prepared: bool


@dataclass(frozen=True)
class _Split:
    """One split on its way: its name, its files, and where progress goes."""

    name: str
    files: Sequence[CountedFiles]
    config: DataConfig
    on_progress: OnProgress

    @property
    def training(self) -> bool:
        return self.name == TRAIN

    @property
    def text_rules(self) -> list[Rule[SentencePair]]:
        return text_rules(self.config, training=self.training)

    @property
    def token_rules(self) -> list[Rule[EncodedPair]]:
        return token_rules(self.config, training=self.training)

    @property
    def pairs(self) -> int:
        return sum(counted.pairs for counted in self.files)

    def chunks(self, drops: Drops, stage: str) -> Iterator[tuple[Path, list[SentencePair]]]:
        """Clean pairs some thousands at a time, each chunk from one file; what is dropped goes to `drops`."""
        before = 0
        for counted in self.files:
            file = counted.files.source
            for chunk in _chunks(clean(read_pairs(counted.files), self.text_rules, drops, file), _CHUNK):
                yield file, chunk
                self.on_progress(f"{stage} {self.name}", before + chunk[-1].line, self.pairs)
            before += counted.pairs


def prepare(
    output: Path, sources: PrepareFiles, config: DataConfig, *, dry_run: bool = False, on_progress: OnProgress
) -> Outcome:
    """Make the data directory `output`, or find that it is already made of just this.

    A dry run reads, checks and counts, and writes nothing. Raises DataError for what is wrong with the files, and
    UserError if `output` holds something else.
    """
    existing = find_existing(output)
    check_files(sources)
    identity = fingerprint(sources, config)
    if existing:
        require_same(output, existing, identity, config)
        return Outcome(Report.load(output), already_prepared=True)
    counted = count_files(tuple(sources), lambda done: on_progress("counting lines", done, len(tuple(sources))))
    train = _Split(TRAIN, counted[:-1], config, on_progress)
    valid = _Split(VALID, counted[-1:], config, on_progress)
    if dry_run:
        return Outcome(_report(config, None, _read(train), _read(valid)), already_prepared=False)
    with staged(output) as directory:
        tokenizers = _train_tokenizers(train)
        tokenizers.save(directory)
        report = _report(
            config,
            tokenizers,
            _write(train, tokenizers, directory, identity),
            _write(valid, tokenizers, directory, identity),
        )
        report.save(directory)
        _manifest(config, tokenizers, identity, report).save(directory)
    return Outcome(report, already_prepared=False)


def _read(split: _Split) -> SplitReport:
    """A dry pass: what would be dropped for the text alone."""
    drops = Drops(split.text_rules)
    kept = sum(len(chunk) for _, chunk in split.chunks(drops, "reading"))
    return _split_report(split, drops, kept)


def _train_tokenizers(train: _Split) -> Tokenizers:
    """Tokenizers from a sample of the training pairs that is the same each time."""
    drops = Drops(train.text_rules)
    config = train.config.tokenizer
    pairs = (pair for _, chunk in train.chunks(drops, "reading") for pair in chunk)
    sample = _sample(pairs, config.training_pairs, train.config.seed)
    _require_pairs(train, len(sample), drops)
    sources, targets = [pair.source for pair in sample], [pair.target for pair in sample]
    train.on_progress("training the tokenizer", 0, 1)
    if config.joint:
        tokenizer = Tokenizer.train(sources + targets, config)
        tokenizers = Tokenizers(tokenizer, tokenizer)
    else:
        tokenizers = Tokenizers(Tokenizer.train(sources, config), Tokenizer.train(targets, config))
    train.on_progress("training the tokenizer", 1, 1)
    return tokenizers


def _write(split: _Split, tokenizers: Tokenizers, directory: Path, identity: str) -> SplitReport:
    """Encode a split and write its shards."""
    drops = Drops(split.text_rules, split.token_rules)
    source, target = SideCount(), SideCount()
    size = max(len(tokenizers.source), len(tokenizers.target))
    with ShardWriter(directory / split.name, size, with_text=not split.training, fingerprint=identity) as writer:
        for file, chunk in split.chunks(drops, "encoding"):
            kept = clean_encoded(_encode(chunk, tokenizers), split.token_rules, drops, file)
            if kept:
                writer.write(
                    [pair.source for pair in kept], [pair.target for pair in kept], [pair.text for pair in kept]
                )
            for pair in kept:
                source.add(pair.source)
                target.add(pair.target)
    _require_pairs(split, source.rows, drops)
    return _split_report(split, drops, source.rows, source.report(), target.report())


def _encode(pairs: list[SentencePair], tokenizers: Tokenizers) -> Iterator[EncodedPair]:
    sources = tokenizers.source.encode([pair.source for pair in pairs])
    targets = tokenizers.target.encode([pair.target for pair in pairs])
    return map(EncodedPair, pairs, sources, targets)


def _sample(items: Iterable[Item], size: int, seed: int) -> list[Item]:
    """A uniform sample of at most `size` items from one pass (Vitter's algorithm R)."""
    random = Random(seed)
    sample: list[Item] = []
    for seen, item in enumerate(items):
        if seen < size:
            sample.append(item)
        elif (place := random.randrange(seen + 1)) < size:
            sample[place] = item
    return sample


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _require_pairs(split: _Split, kept: int, drops: Drops) -> None:
    if not kept:
        why = ", ".join(f"{rule}: {count:,}" for rule, count in drops.counts.items() if count)
        raise DataError(
            f"no {split.name} pair is left of {split.pairs:,} ({why})", "nmt prepare --dry-run shows examples"
        )


def _split_report(
    split: _Split, drops: Drops, kept: int, source: SideReport | None = None, target: SideReport | None = None
) -> SplitReport:
    return SplitReport(
        pairs_read=split.pairs,
        pairs_kept=kept,
        crlf_lines=sum(counted.crlf_lines for counted in split.files),
        rules=rule_reports(drops),
        source=source,
        target=target,
    )


def _report(config: DataConfig, tokenizers: Tokenizers | None, train: SplitReport, valid: SplitReport) -> Report:
    return Report(
        source_language=config.source_language,
        target_language=config.target_language,
        source_vocabulary_size=len(tokenizers.source) if tokenizers else None,
        target_vocabulary_size=len(tokenizers.target) if tokenizers else None,
        train=train,
        valid=valid,
    )


def _manifest(config: DataConfig, tokenizers: Tokenizers, identity: str, report: Report) -> Manifest:
    return Manifest(
        fingerprint=identity,
        nmtcli_version=__version__,
        data=config,
        source_vocabulary_size=len(tokenizers.source),
        target_vocabulary_size=len(tokenizers.target),
        corpora=(CorpusSize(name="train", pairs=report.train.pairs_kept),),
        train=_size(report.train),
        valid=_size(report.valid),
    )


def _size(split: SplitReport) -> SplitSize:
    tokens = [side.tokens if side else 0 for side in (split.source, split.target)]
    return SplitSize(pairs=split.pairs_kept, source_tokens=tokens[0], target_tokens=tokens[1])
