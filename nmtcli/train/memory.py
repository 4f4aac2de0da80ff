"""Memory of a training on a CPU: nearly every batch has another shape, and two caches grow with the shapes."""

import ctypes
import os

KERNELS = 200  # oneDNN keeps so many kernels; its default is 1,024, of a quarter of a megabyte each


def limit_kernel_cache() -> None:
    """Keep fewer oneDNN kernels, unless the environment says how many. To be called before the first product.

    After 300 updates of Multi30k, a process with 200 had used 1 % more CPU time than one with 1,024, and had a quarter
    less memory.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def release_memory() -> None:
    """Give freed memory back to the operating system.

    glibc keeps what was freed below blocks in use, which after batches of many shapes is half of the process. It takes
    milliseconds. Other C libraries do not have the function and do not need it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
