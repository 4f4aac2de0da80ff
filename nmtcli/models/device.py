"""Where to compute, and how fast true fp32 is to be had there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from nmtcli.errors import ResourceError, UserError

DeviceName = Literal["auto", "cpu", "cuda"]


def open_device(name: str, threads: int | None = None) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or one by its number, `cuda:1`, with the process set up for it.

    Raises UserError where there is none.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"device {name}: PyTorch sees no CUDA device", "use --device cpu, or install a CUDA build of torch"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise UserError(f"device {name}: there are {torch.cuda.device_count()}, counted from 0")
    if device.type == "cpu":
        if threads:
            torch.set_num_threads(threads)
        # Peaked distributions make denormals, which x86 computes many times slower.
        torch.set_flush_denormal(True)
        choose_matmul()
    return device


def choose_matmul() -> str:
    """Send fp32 products to oneDNN where that keeps them fp32; returns the chosen precision word.

    "medium" is 2.2 times faster than the default on AMD CPUs and still true fp32 there, but CPUs with AMX then compute
    in bf16. A small product against its float64 value tells which this is.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 128, 128, generator=generator)
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    error = ((left @ right).double() - exact).abs().max().item()
    word = "medium" if error < 1e-3 else "highest"
    torch.set_float32_matmul_precision(word)
    return word


@contextmanager
def explain_out_of_memory(setting: str) -> Iterator[None]:
    """Turn an allocation that failed into a ResourceError that names the setting to lower."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        raise ResourceError(f"out of memory: {str(error).splitlines()[0]}", f"lower {setting}") from error


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 products are native to the device, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older versions of torch
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
