"""The documentation agrees with the code."""

import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from nmtcli.errors import ExitCode
from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "recipes").glob("*/README.md")),
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(("script", "page"), [("config_reference.py", "config.md"), ("cli_reference.py", "cli.md")])
def test_generated_references_are_up_to_date(script, page):
    reference = runpy.run_path(str(ROOT / "docs" / script))["reference"]()
    assert (ROOT / "docs" / page).read_text("utf-8") == reference, "run make docs"


def prose(page: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "code", text)


@cache
def anchors(page: Path) -> set[str]:
    """What links to headings of a page are called by GitHub, if MkDocs calls them the same."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower()
        github = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        mkdocs = re.sub(r"[-\s]+", "-", re.sub(r"[^a-z0-9_\s-]", "", plain).strip())
        if github == mkdocs:
            found.add(github)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_have_existing_targets(page):
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", prose(page)):
        if re.match(r"https?:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {path}"
        if anchor:
            assert anchor in anchors(target), f"{name(page)}: {path}#{anchor}"


def test_every_page_is_in_the_site_and_linked_from_the_readme():
    """A page that nobody finds is no page."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in PAGES[1:]:
        assert re.search(rf": {re.escape(name(page))}$", navigation, re.MULTILINE), name(page)
        if page.parent == ROOT / "docs" and page.name != "releasing.md":
            assert f"]({name(page)})" in readme, name(page)


def test_every_picture_is_shown():
    shown = {link for page in PAGES for link in re.findall(r"!\[[^\]]*\]\([^)]*?([^/)]+)\)", page.read_text("utf-8"))}
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} == shown


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    for package in ("mkdocs", "material", "latex2mathml"):
        pytest.importorskip(package, reason="pip install nmtcli[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    subprocess.run(command, cwd=ROOT, check=True)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*", page.read_text("utf-8")
        )
        assert not loaded, page
    lesson = (tmp_path / "site" / "docs" / "attention.html").read_text("utf-8")
    assert lesson.count("<math ") > 50
    assert not re.search(r"\$\$|\\(?:frac|tanh|sum|alpha)", re.sub(r"<pre>.*?</pre>", "", lesson, flags=re.DOTALL))


def test_tex_formulas_are_rendered_and_code_is_unchanged():
    pytest.importorskip("latex2mathml", reason="pip install nmtcli[docs]")
    pytest.importorskip("mkdocs", reason="pip install nmtcli[docs]")
    hooks = runpy.run_path(str(ROOT / "docs" / "site.py"))
    text = "With $a_1$ and\n$b$, not `$c$` or a $5 price of $6.\n\n```sh\necho $d $e\n```\n\n$$x = 1$$\n"
    made = hooks["on_page_markdown"](text, None, None, None)
    assert made.count("<math ") == 3
    for kept in ("`$c$`", "echo $d $e", "a $5 price of $6."):
        assert kept in made


def test_readme_is_short_and_has_the_first_commands():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 130
    for command in ("make demo", "make test"):
        assert any(line.startswith(f"{command} ") for line in lines), command


def test_the_exit_codes_are_documented():
    text = (ROOT / "docs" / "exit-codes.md").read_text("utf-8")
    for code in ExitCode:
        assert re.search(rf"^\|[^|]*\b{int(code)}\b", text, re.MULTILINE), code


def test_make_help_lists_every_target():
    output = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony
    assert {line.split()[1] for line in output.splitlines()} == set(phony[1].split())
