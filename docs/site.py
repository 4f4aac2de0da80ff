"""Hook of mkdocs.yml: the site has the layout of the repository, so a link leads to the same page in both."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

LINK = re.compile(r"\]\(([^)#\s]+)")


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
