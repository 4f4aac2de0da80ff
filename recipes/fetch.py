"""Fetch one text file of a recipe: `python fetch.py sources.txt work/text/train.en`.

A line of `sources.txt` is: sha256 of the plain text, name, where it is. Several lines of one name are its parts, in
order. Where it is:

    https://home/train.en.gz                            a file, plain or gzip
    https://home/corpus.tgz#corpus/train.en             a file in a tar archive; it too may be gzip
    hub:OWNER/NAME@REVISION/CONFIG/SPLIT#translation.en a column of a data set, through `datasets`
    -                                                   nowhere: a split of our own, to be put under $NMT_DATA

A text that has not the sum is not kept. A sum that nobody could know when the recipe was written is `unknown`: it is
written into `sources.txt` with the first fetch, and every later one is held to it. Archives stay in work/text/archives.
"""

import gzip
import hashlib
import io
import shutil
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import BinaryIO

UNKNOWN = "unknown"
BLOCK = 1 << 20


def fetch(sources: Path, target: Path) -> None:
    """Write `target` as `sources` describes it; exits with a message if that fails."""
    rows = [line.split() for line in sources.read_text("utf-8").splitlines() if line.strip()]
    parts = [(digest, url) for digest, name, url in rows if name == target.name]
    if not parts:
        sys.exit(f"{target}: no such file, and {sources} does not tell where to fetch it (see README.md)")
    for digest, url in parts:
        if url == "-":
            sys.exit(
                f"{target}: this split lies nowhere in public; put it under $NMT_DATA (see README.md). sha256: {digest}"
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    with partial.open("wb") as file:
        for digest, url in parts:
            print(f"fetching {url}", file=sys.stderr)
            try:
                found = copy(content(url, target.parent / "archives"), file)
            except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError) as error:
                sys.exit(f"{url}: cannot fetch: {error}; put the text under $NMT_DATA instead (see README.md)")
            if digest == UNKNOWN:
                record(sources, target.name, url, found)
            elif found != digest:
                sys.exit(f"{url}: its sha256 is {found}, not {digest}; the file changed or came damaged")
    partial.replace(target)


def copy(blocks: Iterable[bytes], file: BinaryIO) -> str:
    """Append to `file`; the sha256 of what was appended."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        file.write(block)
    return digest.hexdigest()


def content(url: str, archives: Path) -> Iterator[bytes]:
    """The plain text that `url` stands for, in blocks."""
    if url.startswith("hub:"):
        yield from hub(url.removeprefix("hub:"))
        return
    home, _, member = url.partition("#")
    if not member:
        with urllib.request.urlopen(home, timeout=60) as response:
            yield from plain(response)
        return
    archive = archives / home.rpartition("/")[2]
    if not archive.exists():
        archives.mkdir(exist_ok=True)
        partial = archive.with_name(archive.name + ".part")
        with urllib.request.urlopen(home, timeout=60) as response, partial.open("wb") as file:
            shutil.copyfileobj(response, file, BLOCK)
        partial.replace(archive)
    with tarfile.open(archive) as tar:
        found = tar.extractfile(member)
        if found is None:
            raise KeyError(f"{member} is not a file of {archive}")
        yield from plain(found)


def plain(stream: BinaryIO) -> Iterator[bytes]:
    """The content of a stream, decompressed if it is gzip."""
    buffered = io.BufferedReader(stream, BLOCK)
    content: BinaryIO = gzip.GzipFile(fileobj=buffered) if buffered.peek(2)[:2] == b"\x1f\x8b" else buffered
    while block := content.read(BLOCK):
        yield block


def hub(place: str) -> Iterator[bytes]:
    """A column of a data set, a line for each row; line breaks inside a row become spaces."""
    from datasets import load_dataset  # noqa: PLC0415 - slow to import, and needed for hub alone

    place, _, column = place.partition("#")
    name, _, rest = place.partition("@")
    revision, config, split = rest.split("/")
    for row in load_dataset(name, config, split=split, revision=revision, streaming=True):
        text = reduce(getitem, column.split("."), row)
        yield " ".join(text.split("\n")).encode() + b"\n"


def record(sources: Path, name: str, url: str, digest: str) -> None:
    """Write a new checksum into `sources`."""
    text = sources.read_text("utf-8").replace(f"{UNKNOWN} {name} {url}\n", f"{digest} {name} {url}\n")
    partial = sources.with_name(sources.name + ".part")
    partial.write_text(text, "utf-8")
    partial.replace(sources)
    print(f"{name}: sha256 {digest}, from now on in {sources}; compare it with someone else's", file=sys.stderr)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]), Path(sys.argv[2]))
