"""Choice and setup of the device."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

from nmtcli.errors import UserError, memory_ran_out, out_of_memory
from nmtcli.models.packed import onednn_fp32, product_of

DeviceName = Literal["auto", "cpu", "cuda"]


def open_device(
    name: DeviceName, threads: int | None = None, number: int = 0, precision: str | None = None
) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`, with the process set up for it. Raises UserError if it is not available.

    `number` selects the GPU. `precision` is the quantization of a model for translation: int8 needs a CPU, which auto
    then selects, and fp16 needs a GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and precision != "int8" else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: PyTorch sees no CUDA device", "use --device cpu, or install a CUDA build of torch"
        )
    if name == "cuda":
        if number >= torch.cuda.device_count():
            raise UserError(
                f"GPU {number}: PyTorch sees {torch.cuda.device_count()} GPUs only", "GPUs are counted from 0"
            )
        if precision == "int8":
            raise UserError("int8 needs a CPU", "use bf16 or fp16 on a GPU, or --device cpu")
        device = torch.device("cuda", number)
        # True of weights that are cast for each batch, and no fault.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("highest")  # true fp32, no TF32; bf16 is the fast option
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.enable_cudnn_sdp(
            False
        )  # cuDNN builds a plan for each shape, and nearly every batch has another shape
    else:
        if precision == "fp16":
            raise UserError("fp16 needs a GPU", "use int8 or bf16 on a CPU")
        device = torch.device("cpu")
        if threads:
            torch.set_num_threads(threads)
        # Peaked distributions produce denormals, which x86 computes many times slower.
        torch.set_flush_denormal(True)
        choose_matmul()
    return device


def choose_matmul() -> str:
    """Use oneDNN for fp32 products where `onednn_fp32` says so; returns PyTorch's name of the choice."""
    word = "medium" if onednn_fp32() else "highest"
    torch.set_float32_matmul_precision(word)
    return word


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError) or memory_ran_out(error)


def free_memory(device: torch.device) -> None:
    """Return cached memory to the device, so that larger blocks can be allocated."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def explain_out_of_memory(setting: str) -> Iterator[None]:
    """Turn a failed allocation into a ResourceError that names the setting to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, f"lower {setting}") from error


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 products are native to the device, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return product_of(torch.bfloat16) in ("packed", "plain")


@cache
def runs_lstm_in(kind: torch.dtype) -> bool:
    """Whether PyTorch has an LSTM kernel for whole sequences in this type on this CPU, with its gradient."""
    with torch.random.fork_rng(devices=[]):  # a training draws the same numbers with and without this probe
        layer = torch.nn.LSTM(8, 8, batch_first=True)
    try:
        with torch.enable_grad(), torch.autocast("cpu", kind, enabled=kind != torch.float32):
            layer(torch.zeros(2, 2, 8))[0].float().sum().backward()
    except RuntimeError:
        return False
    return True
