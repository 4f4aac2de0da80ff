"""Digests of content, in lower-case hexadecimal. Text is hashed in UTF-8, a file as it is stored.

SHA-256 identifies text, tokenizers, settings and data: `fingerprint` in `manifest.json`, and what is compared between
machines. A checksum (xxh3-128) is many times faster and finds files that changed by accident: `files` in `export.json`,
`digest` in the record of an interrupted translation. Both are stored on disk, so these functions never change.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from xxhash import xxh3_64_intdigest, xxh3_128

checksum = xxh3_128  # of bytes, with `update` for more of them and `hexdigest`


def sha256(content: bytes | str) -> str:
    """SHA-256 of bytes or text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_of(path: Path) -> str:
    """The checksum of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, checksum).hexdigest()


def hashes(texts: Iterable[bytes]) -> Iterator[int]:
    """A 64-bit hash (xxh3) of each text, for comparison of many in memory."""
    return map(xxh3_64_intdigest, texts)
