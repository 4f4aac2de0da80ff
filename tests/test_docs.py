"""What the documents say is so."""

import re
import runpy
import subprocess
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
