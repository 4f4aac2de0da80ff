"""Devices and precisions: true fp32, and errors for a missing GPU or too little memory."""

import os
from functools import cache

import pytest
import torch

from nmtcli.errors import ResourceError, UserError
from nmtcli.models import packed
from nmtcli.models.device import choose_matmul, explain_out_of_memory, has_bf16, open_device
from nmtcli.train.precision import resolve_precision

# oneDNN's fp32 products are bf16 with these instructions, so that no CPU that has them uses it for fp32, unless oneDNN
# is told to leave them out.
ISA = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT")
AMX = getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False) and (ISA == "DEFAULT" or "AMX" in ISA)


def test_the_chosen_matmul_is_fp32():
    before = torch.get_float32_matmul_precision()
    try:
        assert choose_matmul() in ("medium", "highest")
        left, right = torch.randn(2, 300, 300)
        error = ((left @ right).double() - left.double() @ right.double()).abs().max()
        assert error < 1e-3  # bf16 would be off by about 0.3
    finally:
        torch.set_float32_matmul_precision(before)


def cpu_is(monkeypatch, name, capability):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for cached in (packed.onednn_fp32, packed.product_of):
        monkeypatch.setattr(packed, cached.__name__, cache(cached.__wrapped__))


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("AMD EPYC", "AVX512", True),
        ("AMD EPYC", "AVX2", False),
        ("Intel(R) Xeon(R)", "AVX512", False),
        ("", "DEFAULT", False),
    ],
)
def test_fp32_products_are_chosen_by_the_cpu_not_by_a_clock(monkeypatch, name, capability, expected):
    cpu_is(monkeypatch, name, capability)
    monkeypatch.setattr(packed, "best_seconds", None)  # a call would fail
    before = torch.get_float32_matmul_precision()
    expected = expected and not AMX
    assert packed.onednn_fp32() is expected
    assert torch.get_float32_matmul_precision() == before
    assert packed.product_of(torch.float32) == ("packed" if expected else "plain")
    inputs, matrix = torch.randn(5, 40), torch.randn(30, 40)
    torch.testing.assert_close(packed.FloatMatrix(matrix)(inputs), inputs @ matrix.t())


def test_lower_precisions_are_multiplied_in_fp32_where_that_is_faster(monkeypatch):
    cpu_is(monkeypatch, "AMD EPYC", "AVX512")
    for fastest in ("plain", "fp32" if AMX else "packed fp32"):
        monkeypatch.setattr(packed, "best_seconds", lambda ways, fastest=fastest: {way: way != fastest for way in ways})
        packed.product_of.cache_clear()
        assert packed.product_of(torch.bfloat16) == fastest


def test_threads_are_set_and_a_missing_cuda_device_is_refused(monkeypatch):
    assert open_device("cpu", threads=1).type == "cpu"
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert open_device("auto").type == "cpu"
    with pytest.raises(UserError, match="no CUDA device"):
        open_device("cuda")


def test_int8_has_kernels_on_a_cpu_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert open_device("auto", precision="int8").type == "cpu"
    with pytest.raises(UserError, match="int8 needs a CPU"):
        open_device("cuda", precision="int8")
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        open_device("cpu", precision="fp16")


def test_auto_precision_is_native_to_the_device():
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) == ("bf16" if has_bf16(cpu) else "fp32")
    assert resolve_precision("fp32", cpu) == "fp32"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: not enough memory: x")]
)
def test_out_of_memory_message_names_the_setting_to_change(error):
    with pytest.raises(ResourceError, match="out of memory") as found, explain_out_of_memory("train.batch_tokens"):
        raise error
    assert "train.batch_tokens" in found.value.hint
    with pytest.raises(RuntimeError, match="other"), explain_out_of_memory("x"):
        raise RuntimeError("other")
