"""`make matrix`: the fast tests with the oldest and newest supported PyTorch, and with every Python of this machine.

Each environment is made below .matrix and kept for the next time. PyPI's PyTorch for Linux brings CUDA, several GB. All
other packages have the locked versions. What is given on the command line goes to pytest.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.portability import ROOT, read_counts

FOLDER = ROOT / ".matrix"
OLDEST, NEWEST = "2.11.0", ""  # of PyTorch; empty: whatever pip finds
EXTRAS = "cluster,ctranslate2,dev,documents,docs,langid,onnx,plot,pretrained,tensorboard"
FIRST_MINOR = 11  # of the Pythons that are supported
PIP = [os.environ.get("PYTHON", sys.executable), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
BASE = "import sys; print(sys._base_executable)"  # outside a virtual environment
VERSIONS = "import sys, torch; print('.'.join(map(str, sys.version_info[:3])), torch.__version__)"


@dataclass(frozen=True)
class Environment:
    """A Python with a version of PyTorch."""

    python: Path
    torch: str

    @property
    def path(self) -> Path:
        """Its folder."""
        return FOLDER / f"{self.python.name}-torch-{self.torch or 'newest'}"

    def make(self) -> None:
        """Make the environment, unless it is complete. Raises CalledProcessError."""
        done = self.path / ".installed"
        if done.exists():
            return
        subprocess.run([self.python, "-m", "venv", "--without-pip", self.path], check=True)
        locked = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            constraints.write("\n".join(line for line in locked if not re.match("torch[=<>]", line)))
            constraints.flush()
            torch = f"torch=={self.torch}" if self.torch else "torch"
            pip = [*PIP[:3], "--python", self.path / "bin" / "python", *PIP[3:]]
            subprocess.run([*pip, "-c", constraints.name, torch, "-e", f"{ROOT}[{EXTRAS}]"], check=True)
        done.touch()


def pythons() -> list[Path]:
    """One interpreter of each supported minor version: of PATH, else of pyenv; oldest first."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin"), reverse=True)
    found: dict[int, Path] = {}
    for path in (path for folder in folders for path in folder.glob("python3.*")):
        minor = re.fullmatch(r"python3\.(\d+)", path.name)
        if minor and int(minor[1]) >= FIRST_MINOR and int(minor[1]) not in found:
            tried = subprocess.run([path, "-c", BASE], capture_output=True, text=True, check=False)
            if tried.returncode == 0:  # not that of a version manager which has switched this version off
                found[int(minor[1])] = Path(tried.stdout.strip())
    return [found[minor] for minor in sorted(found)]


def main(options: list[str]) -> int:
    """Print the table; 1 if a row failed."""
    progress, failed = Console(stderr=True, soft_wrap=True), False
    table = Table("Python", "PyTorch", "passed", "failed", "skipped", "seconds", box=None, pad_edge=False)
    first, *others = pythons()
    for environment in (Environment(first, OLDEST), *(Environment(one, NEWEST) for one in (first, *others))):
        progress.print(f"{environment.path.name} …", highlight=False)
        try:
            environment.make()
        except subprocess.CalledProcessError as error:
            failed = True
            torch = environment.torch or "newest"
            table.add_row(environment.python.name, torch, f"not made: exit code {error.returncode}")
            continue
        python = environment.path / "bin" / "python"
        versions = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=False).stdout.split()
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results.xml"
            marks = ["-m", "not slow and not fuzz"]
            command = [python, "-m", "pytest", *marks, f"--junit-xml={results}", *options]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            counts = read_counts(results)
        table.add_row(*(versions or [environment.python.name, "does not import"]), *counts)
        if done.returncode:
            failed = True
            progress.print(done.stdout, done.stderr, markup=False, highlight=False)
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
