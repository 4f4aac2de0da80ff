"""The wheel and the sdist: everything that runs, and nothing else."""

import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from nmtcli import __version__
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


def test_citation_changelog_and_docs_have_this_version():
    released = __version__.partition(".dev")[0]  # between releases the version is that of the next one
    citation, changes = ((ROOT / name).read_text() for name in ("CITATION.cff", "CHANGELOG.md"))
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == released
    if released == __version__:
        assert f"\nversion: {released}\n" in citation
        assert f"\n## {released} ({re.search(r'^date-released: (.+)', citation, re.MULTILINE)[1]})\n" in changes
        assert f"nmtcli-{released}-py3" in (ROOT / "docs" / "install.md").read_text()


def test_the_wheel_contains_the_whole_package(built):
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"nmtcli-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "nmtcli").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so") and "__pycache__" not in path.parts
    }
    assert package == {name for name in names if name.startswith("nmtcli/")}
    assert {name.split("/")[0] for name in names} == {"nmtcli", f"nmtcli-{__version__}.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_sdist_builds_the_same_wheel(built, tmp_path):
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and newer
        archive.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"], cwd=folder, check=True)
    again = folder / "dist" / wheel.name
    parts = [zipfile.ZipFile(one) for one in (wheel, again)]
    contents = [{name: one.read(name) for name in one.namelist()} for one in parts]
    assert contents[0] == contents[1]


def test_the_sdist_contains_documents_and_tests_and_no_results(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "docs/tutorial.md", "tests/project/test_release.py"} <= names
    assert not {name for name in names if "/work/" in name or name.startswith((".venv", "build/", "dist/"))}
