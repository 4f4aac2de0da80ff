"""Hooks of mkdocs.yml: the layout of the repository, and formulas that need no script.

A link leads to the same page in the site as in the repository. TeX between dollar signs becomes MathML when the site is
built, which browsers draw themselves, offline too.
"""

import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\(([^)#\s]+)")
CODE = re.compile(r"(^ *```.*?^ *```[^\n]*$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"(?<![\\$\w])\$(?! )([^$\n]+?)(?<! )\$(?![\w$])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The README, the changes, the documents and the recipes' pages, with every file they link to or show."""
    root = Path(config.config_file_path).parent
    pages = [root / "README.md", root / "CHANGELOG.md", *root.glob("docs/**/*.md"), *root.glob("recipes/*/README.md")]
    found = {*pages, root / "docs" / "site.css"}
    for page in pages:
        targets = {(page.parent / link).resolve() for link in LINK.findall(page.read_text("utf-8"))}
        found |= {target for target in targets if target.is_file() and target.is_relative_to(root.resolve())}
    theme = [file for file in files if file.src_dir != config.docs_dir]
    ours = [
        File.generated(config, str(path.resolve().relative_to(root.resolve())), abs_src_path=str(path))
        for path in sorted(found)
    ]
    return Files(theme + ours)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML; code stays as it is."""
    parts = CODE.split(markdown)
    return "".join(part if number % 2 else formulas(part) for number, part in enumerate(parts))


def formulas(text: str) -> str:
    """The same text with MathML in the place of TeX."""
    text = DISPLAYED.sub(lambda found: f'<div class="formula">{convert(found[1].strip(), display="block")}</div>', text)
    return INLINE.sub(lambda found: f"<span>{convert(found[1])}</span>", text)  # Markdown takes bare math for a block
