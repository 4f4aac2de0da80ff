"""The wheel, installed outside this checkout: `nmt demo` runs all commands."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY, overrides

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_the_installed_wheel_runs_the_demo(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "environment"
    venv.create(home)
    packages = next(home.glob("lib/python*/site-packages"))
    # the packages it needs are those of this environment; nmtcli itself is the wheel's
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = str(home / "bin" / "python")
    # as in the Makefile: no environment has pip of its own
    pip = [sys._base_executable, "-m", "pip", "--python", python]  # type: ignore[attr-defined]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = [python, "-c", "import nmtcli; print(nmtcli.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(home)
    command = [str(home / "bin" / "nmt"), "demo", "--pairs", "6000", *map(str, overrides(*TINY))]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert (tmp_path / "nmt-demo" / "model" / "model.safetensors").exists()
