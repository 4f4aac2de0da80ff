"""`nmt prepare`: corpora to a data directory, in two streaming passes.

The first pass reads, judges and counts; a sample of the kept pairs trains the tokenizer; the second pass encodes and
writes. The output does not depend on the machine or the number of processes: the same text and settings give the same
bytes, and a fingerprint by which a second run finds that nothing is left to do.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from nmtcli.config import CorpusConfig, DataConfig
from nmtcli.config.section import AUTO
from nmtcli.data.directory import CorpusSize, Manifest, SplitSize
from nmtcli.data.tokenizer import Tokenizer, Tokenizers, vocabulary_size
from nmtcli.data.workers import Workers, cores, local_workers, warm_up
from nmtcli.errors import DataError, UserError, each
from nmtcli.prepare.augmentation import Augmenter
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.corpus import Corpora, Corpus
from nmtcli.prepare.encoding import BlockWork, sample_pairs, write_split
from nmtcli.prepare.fingerprint import find_existing, fingerprint, require_same
from nmtcli.prepare.hold_out import check_hold_out, sample_hold_out
from nmtcli.prepare.protection import PairMasker, PairTexts
from nmtcli.prepare.reading import TRAIN, VALID, SplitRead, changed_while_read, counts_of, read_split
from nmtcli.prepare.report.page import PAGE_FILE, write_page
from nmtcli.prepare.report.report import Report, SplitReport, split_report
from nmtcli.prepare.rows import OnProgress
from nmtcli.staging import staged
from nmtcli.text.masking import symbols as symbols_of
from nmtcli.version import __version__

_PRELOAD = "nmtcli.prepare.preload"
_SMALL = 20 * 2**20  # bytes of text; below, starting processes takes longer than the work


@dataclass(frozen=True)
class Job:
    """The options of `nmt prepare`, except the output directory."""

    config: DataConfig
    tokenizer: Path | None = None  # an existing SentencePiece model, or a directory with one
    processes: int | None = None  # affects speed only; None: by the number of cores and the size of the text


def prepare_data(output: Path, job: Job, on_progress: OnProgress) -> tuple[Report, bool]:
    """Make the data directory `output`, or find that it is already made of just this: the report, and whether it is.

    Raises DataError for errors in the text, and UserError if `output` holds something else.
    """
    config = job.config
    existing = find_existing(output)
    with TemporaryDirectory(prefix="nmt-prepare-") as cache:
        corpora, given = _open(job, Path(cache), on_progress)
        config = with_case_of(given, config)
        processes = _processes(job, corpora)
        if not existing:
            warm_up(processes, _PRELOAD)
        texts = (*config.train, *config.valid, *config.test)
        stamps = stamps_of(texts)
        identity = fingerprint(corpora, config, given)
        if existing:
            require_same(output, existing, identity, config)
            return Report.load(output), True
        with staged(output) as directory, ExitStack() as stack:
            corpora, held_out = _hold_out(corpora, config, processes, directory, on_progress)
            workers = stack.enter_context(_workers(processes, config, held_out, directory))
            splits = _read(corpora, config, held_out, workers, directory, on_progress)
            for split in splits:
                require_pairs(split)
            tokenizers = train_tokenizers(splits[0], config, corpora.tags, held_out, on_progress, given)
            tokenizers.save(directory)
            report = _write(splits, config, tokenizers, workers, directory, identity, on_progress)
            require_unchanged(texts, stamps)
            report.save(directory)
            write_page(report, directory / PAGE_FILE)
            make_manifest(config, tokenizers, identity, report).save(directory)
    return report, False


def stamps_of(corpora: Sequence[CorpusConfig]) -> dict[Path, tuple[int, int]]:
    """Size and time of the last change of every local file of text."""
    names = (name for one in corpora for name in (one.source, one.target, one.path, one.alignment) if name is not None)
    found = {path: path.stat() for path in map(Path, names) if path.is_file()}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def require_unchanged(corpora: Sequence[CorpusConfig], stamps: Mapping[Path, tuple[int, int]]) -> None:
    """Raise DataError for files that changed since these are their stamps."""
    now = stamps_of(corpora)
    if changed := [str(path) for path, stamp in stamps.items() if now.get(path) != stamp]:
        raise changed_while_read(changed)


def survey(job: Job, on_progress: OnProgress) -> Report:
    """The report without encoding the text (dry run). Raises DataError for errors in the text."""
    config = job.config
    with TemporaryDirectory(prefix="nmt-prepare-") as scratch:
        corpora, given = _open(job, Path(scratch), on_progress)
        config = with_case_of(given, config)
        processes = _processes(job, corpora)
        warm_up(processes, _PRELOAD)
        corpora, held_out = _hold_out(corpora, config, processes, Path(scratch), on_progress)
        with _workers(processes, config, held_out, Path(scratch)) as workers:
            train, valid = _read(corpora, config, held_out, workers, Path(scratch), on_progress)
    return make_report(config, None, split_report(train, None), split_report(valid, None))


def _workers(processes: int, config: DataConfig, held_out: HeldOut, tokenizers: Path) -> Workers:
    threads = 1 if processes > 1 else None
    return local_workers(processes, partial(BlockWork, config, held_out, tokenizers, threads))


def _open(job: Job, cache: Path, on_progress: OnProgress) -> tuple[Corpora, Tokenizers | Tokenizer | None]:
    """The checked corpora, and the tokenizers to reuse or that of a pretrained encoder for the source.

    Raises UserError and DataError for errors in either.
    """
    corpora = Corpora.open(job.config, cache, on_progress)
    check_hold_out(job.config, corpora)
    corpora.check()
    return corpora, given_tokenizers(job, corpora.tags)


def given_tokenizers(job: Job, tags: tuple[str, ...]) -> Tokenizers | Tokenizer | None:
    """The tokenizers to reuse, or that of a pretrained encoder for the source, if there are any.

    Raises UserError for symbols that they lack, and for settings that they exclude.
    """
    if job.config.tokenizer.pretrained is not None:
        return _pretrained(job, tags)
    if job.tokenizer is None:
        return None
    reused = Tokenizers.reuse(job.tokenizer)
    of_both, tokenizers = job.config.tokenizer.symbols, (reused.source, reused.target)
    unknown = [tag for tag in tags if not reused.source.has_symbol(tag)]
    unknown += [one for one in of_both if not all(tokenizer.has_symbol(one) for tokenizer in tokenizers)]
    if unknown:
        raise UserError(
            f"{job.tokenizer}: has no symbol {', '.join(dict.fromkeys(unknown))}",
            "use a tokenizer trained with these symbols, or let nmt prepare train one",
        )
    known = reused.source.symbols & reused.target.symbols
    if lacking := [kind for kind in job.config.protected if not known.issuperset(symbols_of([kind]))]:
        raise UserError(
            f"{job.tokenizer}: lacks placeholder symbols of {', '.join(lacking)}, which data.protect or"
            " data.cleaning.markup needs",
            "use a tokenizer trained with these settings, or let nmt prepare train one",
        )
    return reused


def with_case_of(given: Tokenizers | Tokenizer | None, config: DataConfig) -> DataConfig:
    """The settings with the case of reused tokenizers: the rules compare texts as a model reads them."""
    if not isinstance(given, Tokenizers):
        return config
    lowercase = given.source.lowercases and given.target.lowercases
    return config.model_copy(update={"tokenizer": config.tokenizer.model_copy(update={"lowercase": lowercase})})


def _pretrained(job: Job, tags: tuple[str, ...]) -> Tokenizer:
    """The tokenizer of the pretrained encoder. Raises UserError for settings that exclude it."""
    from nmtcli.interchange.encoders import EncoderFolder  # noqa: PLC0415 - needs an extra

    name = job.config.tokenizer.pretrained
    assert name is not None
    if job.tokenizer is not None:
        raise UserError("--tokenizer and data.tokenizer.pretrained are mutually exclusive", "give one of them")
    if symbols := [*tags, *PairMasker(job.config).symbols]:
        raise UserError(
            f"{name}: a pretrained encoder has no embedding of the symbol {symbols[0]}",
            "leave out the tags of corpora, data.protect and data.cleaning.markup=mask",
        )
    return EncoderFolder.open(name).tokenizer()


def _read(
    corpora: Corpora,
    config: DataConfig,
    held_out: HeldOut,
    workers: Workers,
    directory: Path,
    on_progress: OnProgress,
) -> tuple[SplitRead, SplitRead]:
    """The first pass over both splits, with temporary files in `directory`."""
    with TemporaryDirectory(prefix="spill-", dir=directory) as spill:

        def read(split: tuple[str, tuple[Corpus, ...]]) -> SplitRead:
            name, part = split
            place = Path(spill) / name
            return read_split(name, part, config, held_out, workers, spill=place, on_progress=on_progress)

        train, valid = each(read, ((TRAIN, corpora.train), (VALID, corpora.valid)))
    return train, valid


def _processes(job: Job, corpora: Corpora) -> int:
    """The given number of processes; by default the number of cores, or one for a small text."""
    if job.processes is not None:
        return job.processes
    files = [file for corpus in corpora.train for file in corpus.reader.files]
    return cores() if sum(file.path.stat().st_size for file in files) > _SMALL else 1


def _hold_out(
    corpora: Corpora, config: DataConfig, processes: int, directory: Path, on_progress: OnProgress
) -> tuple[Corpora, HeldOut]:
    """The corpora with held-out validation and test text, if requested, and the text that must not be trained on."""
    given = held_out_of(corpora, config)
    corpora, sampled = sample_hold_out(corpora, config, given, processes, directory, on_progress)
    return corpora, held_out_of(corpora, config, sampled)


def held_out_of(corpora: Corpora, config: DataConfig, sampled: Sequence[tuple[str, str]] = ()) -> HeldOut:
    """Every readable line of the validation and test corpora, and the sources of the sampled pairs.

    Raises DataError with all errors in any file.
    """
    cleaning, texts = config.cleaning, PairTexts(config)
    sides = texts(*zip(*sampled, strict=True)) if sampled else None
    if not cleaning.held_out and cleaning.held_out_ngram is None:
        return HeldOut.of((), None, sides)
    blocks = (block.rows() for corpus in (*corpora.valid, *corpora.test) for block in corpus.blocks())
    try:
        return HeldOut.of((texts(rows.sources, rows.targets) for rows in blocks), cleaning.held_out_ngram, sides)
    except DataError:
        each(lambda corpus: deque(corpus.blocks(), maxlen=0), corpora)  # reports the errors of all files
        raise


def train_tokenizers(
    train: SplitRead,
    config: DataConfig,
    tags: tuple[str, ...],
    held_out: HeldOut,
    on_progress: OnProgress,
    given: Tokenizers | Tokenizer | None = None,
) -> Tokenizers:
    """Train the tokenizers on a reproducible sample of the training pairs; that of the source has the tags.

    `given`: both, or that of a pretrained encoder for the source; only what is missing is trained.
    """
    if isinstance(given, Tokenizers):
        return given
    settings, masker = config.tokenizer, PairMasker(config)
    sources, targets = sample_pairs(train, settings.training_pairs, config.seed, masker, Augmenter(config, held_out))
    if settings.vocab_size == AUTO:
        share = min(1, settings.training_pairs / train.kept)
        size = vocabulary_size(settings.type, targets if given else [*sources, *targets], share)
        settings = settings.model_copy(update={"vocab_size": size})
    on_progress("training the tokenizer", 0, 1)
    if given is not None:
        tokenizers = Tokenizers(given, Tokenizer.train(targets, settings))
    elif settings.joint:
        tokenizer = Tokenizer.train([*sources, *targets], settings, (*tags, *masker.symbols))
        tokenizers = Tokenizers(tokenizer, tokenizer)
    else:
        source_settings = settings
        if settings.normalization == "auto":  # the source is never output, so NFKC may change visible characters
            source_settings = settings.model_copy(update={"normalization": "nmt_nfkc"})
        tokenizers = Tokenizers(
            Tokenizer.train(sources, source_settings, (*tags, *masker.symbols)),
            Tokenizer.train(targets, settings, masker.symbols),
        )
    on_progress("training the tokenizer", 1, 1)
    return tokenizers


def _write(
    splits: tuple[SplitRead, SplitRead],
    config: DataConfig,
    tokenizers: Tokenizers,
    workers: Workers,
    directory: Path,
    identity: str,
    on_progress: OnProgress,
) -> Report:
    """The second pass over both splits."""
    reports = []
    for split in splits:
        counts = write_split(
            split,
            directory,
            workers,
            fingerprint=identity,
            vocabulary_size=max(len(tokenizers.source), len(tokenizers.target)),
            on_progress=on_progress,
        )
        require_pairs(split)
        reports.append(split_report(split, counts))
    return make_report(config, tokenizers, *reports)


def require_pairs(split: SplitRead) -> None:
    """Raise DataError if no pair is left."""
    if not split.kept:
        why = ", ".join(f"{rule}: {count:,}" for rule, count in counts_of(split.verdicts, split.rules).items() if count)
        raise DataError(
            f"all {len(split.verdicts):,} {split.name} pairs were dropped ({why})",
            "nmt prepare --dry-run shows examples",
        )


def make_report(config: DataConfig, tokenizers: Tokenizers | None, train: SplitReport, valid: SplitReport) -> Report:
    """The report of both splits; without tokenizers that of a dry run."""
    return Report(
        source_language=config.source_language,
        target_language=config.target_language,
        source_vocabulary_size=len(tokenizers.source) if tokenizers else None,
        target_vocabulary_size=len(tokenizers.target) if tokenizers else None,
        train=train,
        valid=valid,
    )


def make_manifest(config: DataConfig, tokenizers: Tokenizers, identity: str, report: Report) -> Manifest:
    """The manifest of data with this fingerprint."""
    return Manifest(
        fingerprint=identity,
        nmtcli_version=__version__,
        data=config.settings(),
        source_vocabulary_size=len(tokenizers.source),
        target_vocabulary_size=len(tokenizers.target),
        corpora=tuple(CorpusSize(name=corpus.name, pairs=corpus.pairs) for corpus in report.train.corpora),
        several_sentences=report.train.several_sentences,
        train=_size(report.train),
        valid=_size(report.valid),
        hubs=tuple(dict.fromkeys(one.hub for one in config.train if one.hub and not Path(one.hub).exists())),
    )


def _size(split: SplitReport) -> SplitSize:
    tokens = [side.tokens if side else 0 for side in (split.source_tokens, split.target_tokens)]
    return SplitSize(pairs=split.pairs, source_tokens=tokens[0], target_tokens=tokens[1])
