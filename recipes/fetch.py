"""Fetch one text file of a recipe: `python fetch.py sources.txt work/text/train.en`.

`sources.txt` has a line for each file: sha256 of the plain text, name, URL. A compressed file is unpacked; what does
not have the sum is not kept.
"""

import gzip
import hashlib
import sys
import urllib.request
from pathlib import Path


def fetch(sources: Path, target: Path) -> None:
    """Write `target` as `sources` describes it; exits with words where that fails."""
    rows = {name: (digest, url) for digest, name, url in map(str.split, sources.read_text("utf-8").splitlines())}
    digest, url = rows[target.name]
    print(f"fetching {url}", file=sys.stderr)
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content = response.read()
    except OSError as error:
        sys.exit(f"{url}: cannot fetch: {error}; put the text under $NMT_DATA instead (see README.md)")
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        sys.exit(f"{url}: its sha256 is {found}, not {digest}; the file changed or came damaged")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(target)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]), Path(sys.argv[2]))
