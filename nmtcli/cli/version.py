"""`nmt --version --verbose`: machine, packages and kernels, for bug reports."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator

from nmtcli.version import __version__

# Environment variables about threads or instruction sets.
VARIABLES = re.compile(r"(ATEN_CPU|CT2|CUDA_VISIBLE|DNNL|KMP|MKL|NVIDIA_TF32|OMP|ONEDNN|OPENBLAS|TORCH)_?\w*")
NOT_FOR_USERS = {"dev", "docs"}  # extras


def describe() -> Iterator[tuple[str, str]]:
    """Names and values, one line each."""
    from nmtcli.translate.concurrency import usable_threads

    yield "nmt", __version__
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    try:
        import torch  # noqa: F401
    except ImportError:
        yield "torch", "not installed: ONNX and CTranslate2 exports only"
        yield "CPU", platform.processor() or platform.machine()
        yield "threads", f"{usable_threads()} usable"
    else:
        yield from _torch(usable_threads())
    if values := [f"{name}={value}" for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)]:
        yield "environment", " ".join(values)
    yield from _packages()


def _torch(threads: int) -> Iterator[tuple[str, str]]:
    import torch

    from nmtcli.models.device import choose_matmul
    from nmtcli.models.packed import best_int8_kernel, int8_kernel_seconds, product_of

    built = torch.__config__.show()
    libraries = [f"oneDNN {version}" for version in re.findall(r"MKL-DNN (v[\d.]+)", built)[:1]]
    libraries += [f"BLAS {name}" for name in re.findall(r"BLAS_INFO=(\w+)", built)[:1]]
    libraries.append(f"CUDA {torch.version.cuda or 'none'}")
    yield "torch", f"{torch.__version__} ({', '.join(libraries)})"
    # Older versions of torch do not list the features.
    features: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    yield "CPU", str(features.get("cpu_name") or platform.processor() or platform.machine())
    yield "CPU features", " ".join(sorted(name for name, value in features.items() if value is True)) or "unknown"
    yield "threads", f"{threads} usable, {torch.get_num_threads()} used by PyTorch"
    yield "instruction set", f"{torch.backends.cpu.get_cpu_capability()} (what PyTorch uses)"
    yield "fp32 products", f"{product_of(torch.float32)}, matmul precision {choose_matmul()}"
    yield "bf16 products", product_of(torch.bfloat16)
    yield "fp16 products", product_of(torch.float16)
    exact = ", ".join(f"{name} {1000 * seconds:.3f} ms" for name, seconds in int8_kernel_seconds().items())
    yield "int8 products", f"{best_int8_kernel()} (exact on this CPU: {exact})"
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield "GPU", ", ".join(gpus) or "none"


def _packages() -> Iterator[tuple[str, str]]:
    """Versions of the requirements of `nmtcli` and of each extra, without importing them."""
    try:
        requirements = importlib.metadata.requires("nmtcli") or []
    except importlib.metadata.PackageNotFoundError:
        yield "packages", "unknown: nmtcli is not installed, only run from its source"
        return
    groups: dict[str, list[str]] = {"packages": []}
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([^'\"]+)", requirement)
        group = f"extra {extra[1]}" if extra else "packages"
        if not extra or extra[1] not in NOT_FOR_USERS:
            groups.setdefault(group, []).append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    for group, names in groups.items():
        yield group, ", ".join(f"{name} {_installed(name)}" for name in names)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
