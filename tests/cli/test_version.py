"""`nmt --version`, and with `--verbose` the details of a bug report: the machine, the packages, the kernels."""

import importlib.metadata
import sys

import pytest
import torch

from nmtcli import __version__
from nmtcli.models.packed import best_int8_kernel, product_of
from tests.conftest import nmt
from tests.project.test_architecture import loaded_after


@pytest.fixture
def rows(capsys):
    """Makes the rows of a verbose version by name."""

    def show():
        before = torch.get_float32_matmul_precision()
        try:
            assert nmt("--version", "--verbose") == 0
        finally:
            torch.set_float32_matmul_precision(before)
        lines = capsys.readouterr().out.splitlines()
        return {line[:19].rstrip(): line[19:] for line in lines}

    return show


def test_the_verbose_version_lists_the_machine_and_the_kernels(rows, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    shown = rows()
    assert shown["nmt"] == __version__
    assert shown["torch"].startswith(torch.__version__)
    assert shown["CPU"]
    assert f"{torch.get_num_threads()} used by PyTorch" in shown["threads"]
    assert shown["fp32 products"].startswith(product_of(torch.float32))
    for name, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        assert shown[f"{name} products"] == product_of(kind)
    assert shown["int8 products"].startswith(best_int8_kernel())
    assert (shown["GPU"] == "none") != torch.cuda.is_available()
    assert "ONEDNN_MAX_CPU_ISA=ALL" in shown["environment"].split()


def test_the_verbose_version_lists_packages_and_extras_without_importing_them(rows, monkeypatch):
    shown = rows()
    assert f"sentencepiece {importlib.metadata.version('sentencepiece')}" in shown["packages"].split(", ")
    onnx = {f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxscript", "onnxruntime")}
    assert set(shown["extra onnx"].split(", ")) == onnx
    assert {"extra ctranslate2", "extra tensorboard", "extra comet", "extra langid"} <= set(shown)
    assert not {"extra dev", "extra docs"} & set(shown)

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert rows()["extra tensorboard"] == "tensorboard not installed"
    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert "is not installed" in rows()["packages"]


def test_the_verbose_version_works_without_torch(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    shown = rows()
    assert shown["torch"].startswith("not installed")
    assert shown["CPU"]
    assert "usable" in shown["threads"]
    assert "int8 products" not in shown


def test_the_plain_version_loads_nothing_heavy():
    code = "import io, contextlib\nfrom nmtcli.cli import run\nwith contextlib.redirect_stdout(io.StringIO()): "
    loaded = loaded_after(f"{code}assert run(['--version']) == 0")
    assert not {"torch", "numpy", "datasets", "sacrebleu", "sentencepiece", "pyarrow"} & loaded


@pytest.mark.parametrize("order", [["--version", "--verbose"], ["--verbose", "--version"]], ids=" ".join)
def test_the_order_of_the_options_does_not_matter(order, capsys, monkeypatch):
    monkeypatch.setattr("nmtcli.cli.version.describe", lambda: [("nmt", "x")])
    assert nmt(*order) == 0
    assert capsys.readouterr().out.split() == ["nmt", "x"]


@pytest.mark.parametrize("arguments", [["--verbose"], ["--verbose", "prepare", "-o", "x"]], ids=" ".join)
def test_verbose_without_version_is_refused(arguments, capsys):
    assert nmt(*arguments) == 2
    assert "--verbose needs --version" in capsys.readouterr().err
