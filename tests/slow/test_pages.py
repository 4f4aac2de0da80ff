"""The commands of the how-to pages and the tutorial, run as they are printed, on little text and for a few updates."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nmtcli.demo.phrasebook import generate
from tests.conftest import ROOT, TINY

# Commands that need a server, a package that is not installed here, or the checkout itself
LEFT_OUT = ["curl", "argospm", "make install"]
PAGES = ["tutorial", "low-resource", "back-translation", "multilingual", "terminology", "deployment"]
# `nmt train` of the pages, but short; all else is called as it stands
SHIM = """#!/bin/bash
case "$1" in train) set -- "$@" {overrides} ;; esac
exec {python} -m nmtcli "$@"
"""

pytestmark = pytest.mark.slow


def commands(page: str) -> str:
    """All shell blocks of a page, one after the other, without those of LEFT_OUT."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (ROOT / "docs" / f"{page}.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return "\n".join(block for block in blocks if not any(word in block for word in LEFT_OUT))


def write_text(folder: Path) -> None:
    """Files by the names of the pages. What language they are in is no matter."""
    book = generate(1, 6000)
    for part, pairs in (("train", book.train), ("valid", book.valid), ("test", book.test)):
        for source, target in (("", "de"), ("-fr", "fr")):
            sides = {f"{part}{source}.en": 0, f"{part}{source}.{target}": 1, f"{part}.ko": 1}
            for name, side in sides.items():
                (folder / name).write_text("".join(f"{pair[side]}\n" for pair in pairs), "utf-8")
    (folder / "mono.de").write_text("".join(f"{pair.target}\n" for pair in book.train[:100]), "utf-8")
    for language in ("ko", "en"):
        (folder / f"all.{language}").write_bytes((folder / f"train.{language}").read_bytes())


def shim(folder: Path) -> dict[str, str]:
    """An environment whose `nmt` trains little."""
    (folder / "bin").mkdir()
    settings = [*TINY, "train.max_updates=6", "train.save_every=2"]
    short = " ".join(f"--set {setting}" for setting in settings)
    (folder / "bin" / "nmt").write_text(SHIM.format(overrides=short, python=sys.executable))
    (folder / "bin" / "nmt").chmod(0o755)
    return os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_documented_commands_work_as_printed(page, tmp_path):
    write_text(tmp_path)
    environment = shim(tmp_path)
    script = commands(page)
    if page in ("terminology", "deployment"):  # they begin with a run
        script = (
            "nmt prepare -o data -s en -t de --vocab-size 1000 --train-source train.en --train-target train.de"
            f" --valid-source valid.en --valid-target valid.de\nnmt train data -o run\n{script}"
        )
    command = ["bash", "-eu", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
