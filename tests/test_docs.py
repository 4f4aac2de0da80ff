"""What the documents say is so."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from nmtcli.errors import ExitCode

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "recipes").glob("*/README.md"))]


def test_the_reference_of_settings_is_that_of_the_code():
    reference = runpy.run_path(str(ROOT / "docs" / "config_reference.py"))["reference"]()
    assert (ROOT / "docs" / "config.md").read_text("utf-8") == reference, "run make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if not re.match(r"https?:", link):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_lists_the_exit_codes():
    text = (ROOT / "README.md").read_text("utf-8")
    for code in ExitCode:
        assert re.search(rf"^\|[^|]*\b{int(code)}\b", text, re.MULTILINE), code


def test_make_help_lists_every_target():
    output = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony
    assert {line.split()[1] for line in output.splitlines()} == set(phony[1].split())


def test_recipes_fetch_checks_what_it_fetched(tmp_path):
    text = tmp_path / "home.txt"
    text.write_text("a line\n")
    digest = "f2d3a0e6a6e2c1a9" + "0" * 48
    sources = tmp_path / "sources.txt"
    sources.write_text(f"{digest} train.en {text.as_uri()}\n")
    command = [sys.executable, str(ROOT / "recipes" / "fetch.py"), str(sources), str(tmp_path / "work" / "train.en")]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "its sha256 is" in failed.stderr
    assert not (tmp_path / "work" / "train.en").exists()
    found = re.search(r"sha256 is ([0-9a-f]{64})", failed.stderr)
    assert found
    sources.write_text(f"{found[1]} train.en {text.as_uri()}\n")
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "work" / "train.en").read_text() == "a line\n"


# attended-step is no translation: a script alone
RECIPES = sorted({path.parent.name for path in (ROOT / "recipes").glob("*/Makefile")} - {"attended-step"})


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_say_what_they_would_do(recipe, tmp_path):
    """`make -n` finds every file and rule; no text is touched."""
    environment = {name: value for name, value in os.environ.items() if name != "NMT_DATA"}
    command = ["make", "-n", "check", f"WORK={tmp_path}/work"]
    output = subprocess.run(
        command, cwd=ROOT / "recipes" / recipe, check=True, capture_output=True, text=True, env=environment
    )
    for verb in ("prepare", "train", "translate", "score"):
        assert f"nmt {verb}" in output.stdout
