"""Memory of a training on a CPU: nearly every batch has another shape, and two caches grow with the shapes."""

import ctypes
import os

KERNELS = 200  # oneDNN keeps so many kernels; its default is 1,024, of a quarter of a megabyte each
# Options of glibc's mallopt(3): blocks up to 32 MB, the most it allows, come from the heap, which never shrinks by
# itself and grows by 64 MB at once.
MALLOC = {-3: 32 << 20, -1: -1, -2: 64 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
MALLOC_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")  # of the user


def limit_kernel_cache() -> None:
    """Keep fewer oneDNN kernels, unless the environment says how many. To be called before the first product.

    After 300 updates of Multi30k, a process with 200 had used 1 % more CPU time than one with 1,024, and had a quarter
    less memory.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory, unless the environment has settings of glibc's malloc.

    By default glibc returns large blocks to the operating system. A training step frees and allocates hundreds of
    megabytes in blocks of a few, and each page that is new costs a microsecond. Other C libraries do not have the
    function. It holds for the rest of the process.
    """
    given = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(map(os.environ.get, MALLOC_SETTINGS))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not given:
        for option, value in MALLOC.items():
            mallopt(option, value)


def release_memory() -> None:
    """Give freed memory back to the operating system; a training does so with each line of the log and at its end.

    glibc keeps what was freed below blocks in use, which after batches of many shapes is half of the process. It takes
    milliseconds. Other C libraries do not have the function and do not need it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
