"""Imports of scripts outside the package exist in it; the part of the GPU report that needs no GPU runs."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from nmtcli.data.directory import open_data
from nmtcli.train.meter import Meter
from tests.conftest import ROOT, TINY

SCRIPTS = sorted(path for folder in ("benchmarks", "docs", "recipes") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_scripts_exist(script):
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nmtcli":
            module = import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    import_module(f"{node.module}.{name.name}")


def test_the_benchmark_of_exports_has_an_empty_row_for_one_that_fails_and_none_for_argos(
    transformer, corpus, tmp_path, monkeypatch, capsys
):
    def run(command, **given):
        if "--measure" in command:
            found = {"load": 1, "seconds": 1, "memory": 1, "translations": ["1"]}
            return subprocess.CompletedProcess(command, 0, stdout=json.dumps(found))
        if "int16" not in command:
            Path(command[command.index("-o") + 1]).mkdir()
            return subprocess.CompletedProcess(command, 0)
        if given.get("check"):
            raise subprocess.CalledProcessError(2, command)
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the script sets it; removed after the test
    monkeypatch.setattr(subprocess, "run", run)
    files = ["--source", corpus / "valid.words", "--reference", corpus / "valid.digits", "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["exports.py", *map(str, [transformer, *files, "--lines", 1])])
    import_module("benchmarks.exports").main()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in rows} == {10}
    filled = {(row[1], row[2]): bool(row[3]) for row in rows[2:]}
    assert not filled["ctranslate2", "int16"]
    assert filled["ctranslate2", "int8"]
    assert {form for form, _ in filled} == {"run", "safetensors", "onnx", "ctranslate2"}


def test_losses_of_the_gpu_report_are_those_of_each_update(data, monkeypatch):
    monkeypatch.setattr(gpu, "UPDATES", 3)
    found = gpu.losses(open_data(data), "cpu", "fp32")
    assert len(found) == 3
    assert found[2] < found[0]


def test_throughput_of_the_gpu_report_is_measured_and_batches_that_do_not_fit_are_refused(data, monkeypatch):
    """On the CPU: what asks for the GPU's memory is left out."""
    for name in ("empty_cache", "reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(gpu.torch.cuda, name, lambda: None)
    monkeypatch.setattr(gpu.torch.cuda, "max_memory_allocated", lambda: 2e9)
    monkeypatch.setattr(gpu, "open_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(gpu, "MEASURED", 2)
    monkeypatch.setattr(gpu, "WORKLOADS", {"small": (None, TINY, 100)})
    speed, use, memory, parameters = gpu.throughput(open_data(data), "fp32", "small", 1e9)
    assert min(speed, use, parameters) > 0
    assert memory == 2
    monkeypatch.setattr(Meter, "splits", property(lambda self: 1, lambda self, value: None), raising=False)
    with pytest.raises(torch.OutOfMemoryError, match="small"):
        gpu.throughput(open_data(data), "fp32", "small", 1e9)
