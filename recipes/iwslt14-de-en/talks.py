"""TED talks with markup into lower-cased train, valid and test: `python talks.py FOLDER`.

Reads talks.PART.SIDE of FOLDER as IWSLT 2014 gives them and writes the split that most papers use: each 23rd training
pair is validation, dev2010, dev2012 and tst2010 to tst2012 together are the test set (6,750 pairs). Of the training
files' headings the titles and descriptions stay. Sentences are not tokenised.
"""

import html
import re
import sys
from pathlib import Path

TESTS = ("dev2010", "dev2012", "tst2010", "tst2011", "tst2012")
EACH = 23


def training(text: str) -> list[str]:
    """Sentences, titles and descriptions of a training file."""
    lines = (re.sub(r"</?(title|description)>", "", line).strip() for line in text.rstrip("\n").split("\n"))
    return [line for line in lines if not line.startswith("<")]


def segments(text: str) -> list[str]:
    """The sentences of a test file."""
    found = re.findall(r"<seg id=[^>]*>(.*?)</seg>", text, re.DOTALL)
    return [" ".join(html.unescape(segment).split()) for segment in found]


def main(folder: Path) -> None:
    texts: dict[str, dict[str, list[str]]] = {}
    for side in ("de", "en"):
        read = {part: (folder / f"talks.{part}.{side}").read_text("utf-8") for part in ("train", *TESTS)}
        lines = training(read["train"])
        texts[side] = {
            "train": [line for number, line in enumerate(lines, 1) if number % EACH],
            "valid": lines[EACH - 1 :: EACH],
            "test": [line for part in TESTS for line in segments(read[part])],
        }
    for split in ("train", "valid", "test"):
        sizes = {side: len(texts[side][split]) for side in texts}
        if len(set(sizes.values())) > 1:
            sys.exit(f"{folder}: the sides of {split} are not aligned: {sizes}")
    for side, splits in texts.items():
        for split, lines in splits.items():
            (folder / f"{split}.{side}").write_text("".join(f"{line.lower()}\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
