"""Open the corpora of the settings: reader, name and tag of each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import commonprefix
from tempfile import NamedTemporaryFile

from nmtcli.config import AugmentConfig, CorpusConfig, DataConfig
from nmtcli.data.digests import sha256
from nmtcli.data.files import File
from nmtcli.errors import UserError, each
from nmtcli.paths import quoted
from nmtcli.prepare.markup import Markup, MarkupBlock
from nmtcli.prepare.readers.alignments import AlignedLines
from nmtcli.prepare.readers.jsonl import JsonLines
from nmtcli.prepare.readers.lines import LinePairs
from nmtcli.prepare.readers.records import Sides
from nmtcli.prepare.readers.tmx import Tmx
from nmtcli.prepare.readers.tsv import TsvFile
from nmtcli.prepare.rows import Block, OnProgress, Reader
from nmtcli.prepare.slices import SliceFile

_COMPRESSION = {"gz", "bz2", "xz", "zst"}
_SPREADSHEETS = {"xlsx", "xls", "ods", "numbers"}
_FORMATS = {
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "json": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "parquet": "parquet",
    "tmx": "tmx",
}


@dataclass(frozen=True)
class Corpus:
    """A named corpus of aligned text."""

    name: str
    tag: str | None
    reader: Reader
    markup: Markup | None = None  # how the markup of its text is changed
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def blocks(self) -> Iterator[Block]:
        """All rows, with their markup changed. Raises DataError if a file is damaged."""
        for block in self.reader.blocks():
            yield block if self.markup is None else MarkupBlock(block, self.markup)

    @property
    def aligned(self) -> bool:
        """Whether its pairs have a word alignment."""
        return isinstance(self.reader, AlignedLines) or (isinstance(self.reader, SliceFile) and self.reader.aligned)


@dataclass(frozen=True)
class Corpora:
    """All text of one `nmt prepare`."""

    train: tuple[Corpus, ...]
    valid: tuple[Corpus, ...]
    test: tuple[Corpus, ...]

    @classmethod
    def open(cls, config: DataConfig, cache: Path, on_progress: OnProgress) -> "Corpora":
        """Open a reader for each corpus; remote files are downloaded to `cache`. Raises UserError or DataError."""
        require_text(config)
        splits = (named(corpora) for corpora in (config.train, config.valid, config.test))
        return cls(*(tuple(open_corpus(name, c, config, cache, on_progress) for name, c in split) for split in splits))

    def __iter__(self) -> Iterator[Corpus]:
        yield from (*self.train, *self.valid, *self.test)

    @property
    def tags(self) -> tuple[str, ...]:
        """The distinct tags of all corpora."""
        return tuple(dict.fromkeys(corpus.tag for corpus in self if corpus.tag is not None))

    def check(self) -> None:
        """Check the start of every file. Raises one DataError that lists all errors."""
        each(lambda corpus: corpus.reader.check(), self)


def require_text(config: DataConfig) -> None:
    """Raise UserError if training or validation text is missing."""
    mistakes = []
    if not config.train:
        mistakes.append("no training text: give --train-source and --train-target, --train, or data.train")
    if not config.valid and not config.hold_out:
        mistakes.append(
            "no validation text: give --valid-source and --valid-target, --valid, or data.valid, or hold out"
            " training pairs with --hold-out"
        )
    if mistakes:
        raise UserError("\n".join(mistakes), "nmt prepare --help shows the options")


def named(corpora: Sequence[CorpusConfig]) -> list[tuple[str, CorpusConfig]]:
    """Each corpus with its name; equal default names are numbered."""
    given = [corpus.name for corpus in corpora if corpus.name is not None]
    if repeated := [name for name, count in Counter(given).items() if count > 1]:
        raise UserError(f"two corpora have the name {repeated[0]}", "give each corpus a name of its own")
    named: dict[str, CorpusConfig] = {}
    for corpus in corpora:
        stem = corpus.name or _stem(corpus)
        name, number = stem, 1
        while name in named or (corpus.name is None and name in given):
            number += 1
            name = f"{stem}-{number}"
        named[name] = corpus
    return list(named.items())


def _stem(corpus: CorpusConfig) -> str:
    """The default name of a corpus, from its files: `train` for train.de.gz and train.en.gz."""
    if corpus.hub is not None:
        return "-".join(filter(None, (corpus.hub.rstrip("/").rsplit("/", 1)[-1], corpus.hub_config)))
    if corpus.path is not None:
        return _parts(corpus.path)[0]
    parts = [_parts(name) for name in (corpus.source, corpus.target) if name is not None]
    common = commonprefix([".".join(part) for part in parts]).strip("._-")
    return common or parts[0][0]


def _parts(path: str) -> list[str]:
    """The parts of a file name between dots, without that of a compression."""
    parts = path.rsplit("/", 1)[-1].split(".")
    return parts[:-1] if len(parts) > 1 and parts[-1].lower() in _COMPRESSION else parts


def open_corpus(
    name: str,
    corpus: CorpusConfig,
    config: DataConfig,
    cache: Path,
    on_progress: OnProgress = lambda *_: None,
    folder: Path = Path(),
) -> Corpus:
    """The corpus of these settings; a remote one is downloaded to `cache`. Relative paths are those of `folder`."""
    markup = Markup.of(config)
    codes = markup is not None and markup.masked
    languages = config.source_language, config.target_language
    reader = _open_reader(corpus, languages, codes, cache, on_progress, folder)
    return Corpus(name, corpus.tag, reader, markup, corpus.augment)


def _open_reader(
    corpus: CorpusConfig, languages: tuple[str, str], codes: bool, cache: Path, on_progress: OnProgress, folder: Path
) -> Reader:
    """The reader of a corpus; `codes`: inline codes are read as tags."""
    sides = Sides(languages, corpus.columns)
    if corpus.hub is not None:
        copy = _fetch_pairs(corpus, sides, cache, on_progress, folder)
        return JsonLines(copy, Sides(languages, None))
    if corpus.path is None:
        assert corpus.source is not None
        assert corpus.target is not None
        texts = File.fetch(corpus.source, cache, folder), File.fetch(corpus.target, cache, folder)
        if corpus.alignment is None:
            return LinePairs(*texts)
        return AlignedLines(*texts, File.fetch(corpus.alignment, cache, folder))
    return _reader(File.fetch(corpus.path, cache, folder), _format(corpus, folder), sides, codes)


def _fetch_pairs(corpus: CorpusConfig, sides: Sides, cache: Path, on_progress: OnProgress, folder: Path) -> File:
    """Download a data set of the hub into a JSON Lines file."""
    from nmtcli.prepare.readers.hub import copy_pairs

    assert corpus.hub is not None
    options = {"name": corpus.hub_config, "split": corpus.split, "revision": corpus.hub_revision}
    path = cache / f"{sha256(corpus.model_dump_json())}.jsonl"
    stage = f"fetching {corpus.hub}"
    # With a cluster, another task may have fetched it, or be fetching it. A local folder may have changed.
    local = folder / corpus.hub
    if not path.exists() or local.exists():
        hub = str(local) if local.exists() else corpus.hub
        with NamedTemporaryFile(dir=cache, delete=False) as partial:
            copy_pairs(hub, options, sides, Path(partial.name), lambda row: on_progress(stage, row, None))
        Path(partial.name).rename(path)
    return File(corpus.hub, path)


def _format(corpus: CorpusConfig, folder: Path) -> str:
    assert corpus.path is not None
    if corpus.format != "auto":
        return corpus.format
    ending = _parts(corpus.path)[-1].lower()
    path = folder / corpus.path
    if path.is_dir():
        prepared = f"it is prepared already: nmt train {quoted(path)} -o RUN, or merge it with others (--merge)"
        hint = prepared if (path / "manifest.json").exists() else "name each file in it"
        raise UserError(f"{corpus.path}: is a directory, not a file", hint)
    if ending in _SPREADSHEETS:
        raise UserError(f"{corpus.path}: is a spreadsheet", "save it as CSV in UTF-8, and give that file")
    if ending not in _FORMATS:
        raise UserError(
            f"{corpus.path}: the file name does not show the format", "set format: tsv, jsonl, csv, parquet or tmx"
        )
    return _FORMATS[ending]


def _reader(file: File, form: str, sides: Sides, codes: bool) -> Reader:
    if form == "tsv":
        return TsvFile(file, sides)
    if form == "jsonl":
        return JsonLines(file, sides)
    if form == "tmx":
        return Tmx(file, sides, codes)
    from nmtcli.prepare.readers.tables import CsvFile, Parquet

    return CsvFile(file, sides) if form == "csv" else Parquet(file, sides)
