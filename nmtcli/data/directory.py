"""The data directory: manifest, tokenizers and the two splits."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError

from nmtcli.config import DataConfig, Section
from nmtcli.data.shards import Shards
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import DataError

FORMAT = 2
MANIFEST_FILE = "manifest.json"
TRAIN, VALID = "train", "valid"


class SplitSize(Section):
    """Size of a split; tokens without BOS and EOS."""

    pairs: int
    source_tokens: int
    target_tokens: int


class CorpusSize(Section):
    """Name and number of pairs of a training corpus. Its rows follow those of the previous corpora.

    In merged data a name occurs once for each part with such a corpus.
    """

    name: str
    pairs: int


class Manifest(Section):
    """Contents and origin of a data directory."""

    format: Literal[2] = 2
    fingerprint: str  # sha256 of the input files, the settings and the versions of the libraries that read them
    nmtcli_version: str
    data: DataConfig
    source_vocabulary_size: int
    target_vocabulary_size: int
    corpora: tuple[CorpusSize, ...]  # of the training split, in the order of its rows
    several_sentences: float | None = None  # share of training sources with several sentences; None: prepared before
    train: SplitSize
    valid: SplitSize
    hubs: tuple[str, ...] = ()  # data sets of the Hugging Face Hub that the training text is from
    parts: tuple[str, ...] = ()  # the fingerprints of the directories that merged data is made of

    @property
    def source_language(self) -> str:
        """The source language as given by the user."""
        return self.data.source_language

    @property
    def target_language(self) -> str:
        """The target language as given by the user."""
        return self.data.target_language

    def save(self, directory: Path) -> None:
        """Write `manifest.json`."""
        (directory / MANIFEST_FILE).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read `manifest.json`. Raises DataError if it is missing, damaged or of a newer format."""
        path = directory / MANIFEST_FILE
        try:
            tree = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                f"{directory}: not a data directory: it has no {MANIFEST_FILE}", "make one: nmt prepare … -o DATA"
            ) from None
        except OSError as error:
            raise DataError(f"{path}: cannot read it: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise DataError(f"{path}: damaged: not JSON", "delete the data directory and prepare it again") from None
        number = tree.get("format") if isinstance(tree, dict) else None
        if isinstance(number, int) and number > FORMAT:
            raise DataError(
                f"{path}: written by a newer nmt (format {number}; this one reads {FORMAT})", "upgrade nmtcli"
            )
        if number == 1:
            raise DataError(f"{path}: written by an nmt before 0.1", "delete the data directory and prepare it again")
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file"
            raise DataError(
                f"{path}: not a manifest of nmt prepare: {where}", "make a data directory: nmt prepare … -o DATA"
            ) from None


@dataclass(frozen=True)
class PreparedData:
    """An open data directory."""

    manifest: Manifest
    tokenizers: Tokenizers
    train: Shards
    valid: Shards


def open_data(directory: Path) -> PreparedData:
    """Open a data directory, in a time independent of its size. Raises DataError if a part is missing or damaged."""
    manifest = Manifest.load(directory)
    tokenizers = Tokenizers.load(directory)
    data = PreparedData(manifest, tokenizers, Shards.open(directory / TRAIN), Shards.open(directory / VALID))
    sizes = (len(tokenizers.source), len(tokenizers.target), len(data.train), len(data.valid), manifest.train.pairs)
    expected = (
        manifest.source_vocabulary_size,
        manifest.target_vocabulary_size,
        manifest.train.pairs,
        manifest.valid.pairs,
        sum(corpus.pairs for corpus in manifest.corpora),
    )
    if sizes != expected:
        raise DataError(
            f"{directory}: its files do not match its {MANIFEST_FILE}",
            "delete the data directory and prepare it again",
        )
    return data
