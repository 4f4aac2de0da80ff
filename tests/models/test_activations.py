"""tanh: by a sigmoid on a CPU, torch.tanh on a GPU."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nmtcli.models.activations import tanh


class Operations(TorchDispatchMode):
    """Records the names of PyTorch operations."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_tanh_equals_torch_tanh(dtype):
    values = torch.cat([torch.linspace(-100, 100, 999), torch.logspace(-8, 1, 999)]).to(dtype)
    exact = values.double().tanh()
    error = (tanh(values.clone(), out=torch.empty_like(values)).double() - exact).abs()
    # half a unit of the last digit of the value, and what fp32 loses next to zero
    assert (error <= exact.abs() * torch.finfo(dtype).eps / 2 + 2e-7).all()


def test_tanh_in_place_on_a_slice():
    whole = torch.randn(3, 8)
    part = whole[:, 2:4]
    expected = part.tanh()
    tanh(part, out=part)
    torch.testing.assert_close(whole[:, 2:4], expected)


@pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("meta", True)])  # meta: as on a GPU
def test_the_sigmoid_form_of_tanh_is_used_on_a_cpu_only(device, expected):
    values = torch.zeros(4, device=device)
    with Operations() as operations:
        tanh(values, out=values)
    assert ("tanh" in operations.names) is expected
    assert ("sigmoid_" in operations.names) is not expected
