"""The fingerprint of a data directory: the same files, settings and versions give the same one."""

import json
import unicodedata
from pathlib import Path

import sentencepiece

from nmtcli.config import Config, DataConfig
from nmtcli.data.digests import sha256
from nmtcli.data.directory import FORMAT, MANIFEST_FILE, TRAIN, Manifest, open_data
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import UserError, each
from nmtcli.prepare.corpus import Corpora, Corpus
from nmtcli.settings import changed_settings
from nmtcli.version import __version__


def fingerprint(corpora: Corpora, config: DataConfig, given: Tokenizers | Tokenizer | None) -> str:
    """SHA-256 of everything that the data directory depends on: names of files, but not folders.

    `given` are tokenizers that are not trained: both, or that of the source. Raises DataError if a file cannot be read.
    """
    settings = config.settings()
    if isinstance(given, Tokenizers):
        digests = [given.source.digest, given.target.digest]
    elif given is not None:  # the tokenizer counts, not where it is from
        digests = [given.digest]
        tokenizer = settings.tokenizer.model_copy(update={"pretrained": None})
        settings = settings.model_copy(update={"tokenizer": tokenizer})
    else:
        digests = None
    identity = {
        "format": FORMAT,
        "nmtcli": __version__,
        "sentencepiece": sentencepiece.__version__,
        "unicode": unicodedata.unidata_version,
        "data": settings.model_dump(),
        "tokenizers": digests,
    }
    for split in ("train", "valid", "test"):
        part: tuple[Corpus, ...] = getattr(corpora, split)
        digests = each(lambda corpus: corpus.reader.digest(), part)
        identity[split] = [
            [corpus.name, corpus.tag, digest, *filter(None, [corpus.augment.shares()])]
            for corpus, digest in zip(part, digests, strict=True)
        ]
    return sha256(json.dumps(identity, sort_keys=True))


def find_existing(output: Path) -> Manifest | None:
    """The manifest of an existing data directory; None if `output` is empty or does not exist.

    Raises UserError for any other content: `nmt` never deletes or overwrites files of the user.
    """
    try:
        if (output / MANIFEST_FILE).exists() and (output / TRAIN).is_dir():  # others have a manifest.json, too
            return Manifest.load(output)
        free = not any(output.iterdir()) if output.is_dir() else not output.exists() and not output.is_symlink()
    except OSError as error:
        raise UserError(f"{output}: cannot read: {error.strerror}", "choose another -o") from None
    if not free:
        raise UserError(f"{output}: exists and is not a data directory", "choose another -o, or move it away")
    return None


def require_same(output: Path, existing: Manifest, expected: str, config: DataConfig) -> None:
    """Check that `output` is complete and has the fingerprint `expected`. Raises UserError that says what differs."""
    if existing.fingerprint == expected:
        open_data(output)
        return
    settings = changed_settings(Config(data=existing.data), Config(data=config.settings()))
    changes = [f"{key} was {old}, now {new}" for key, old, new in settings]
    why = ", ".join(changes) or (
        "other text; other names, tags, columns, formats or augmentation of the corpora; another --tokenizer; with or"
        " without --scheduler; or another version of nmtcli, sentencepiece or Python"
    )
    raise UserError(f"{output}: holds data prepared differently ({why})", "choose another -o, or delete it first")
