"""Imports of scripts outside the package exist in it; the part of the GPU report that needs no GPU runs."""

import ast
from importlib import import_module

import pytest

from benchmarks import gpu
from nmtcli.data.directory import open_data
from tests.conftest import ROOT

SCRIPTS = sorted(path for folder in ("benchmarks", "docs", "recipes") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_scripts_exist(script):
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nmtcli":
            module = import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    import_module(f"{node.module}.{name.name}")


def test_losses_of_the_gpu_report_are_those_of_each_update(data, monkeypatch):
    monkeypatch.setattr(gpu, "UPDATES", 3)
    found = gpu.losses(open_data(data), "cpu", "fp32")
    assert len(found) == 3
    assert found[2] < found[0]
