"""Memory of a training on a CPU."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nmtcli.train.memory import limit_kernel_cache, release_memory

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
BLOCK, BLOCKS = 64 * 1024, 2_000


def resident() -> int:
    """Bytes of this process in memory that belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_freed_memory_between_blocks_in_use_is_released():
    malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
    malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    kept = blocks[::20]
    for block in set(blocks) - set(kept):
        free(block)
    before = resident()
    release_memory()
    assert before - resident() > 0.8 * BLOCK * BLOCKS
    for block in kept:
        free(block)


def test_the_environment_sets_the_number_of_kernels(monkeypatch):
    monkeypatch.setenv(CAPACITY, "7")
    limit_kernel_cache()
    assert os.environ[CAPACITY] == "7"


PAGE_FAULTS = """
import resource, torch
from nmtcli.train.memory import keep_freed_memory
keep_freed_memory()
for number in range(20):
    tensors = [torch.ones(2 << 20) for _ in range(4)]  # 8 MB each
    del tensors
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    before = faults if number < 10 else before  # until the heap has grown
print(faults - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
@pytest.mark.parametrize(
    ("setting", "reused"),
    [
        ({}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}, False),
    ],
    ids=["", "trim", "tunables"],
)
def test_freed_memory_of_tensors_is_reused_unless_the_user_has_set_malloc(setting, reused):
    malloc = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    environment = {**malloc, "THP_MEM_ALLOC_ENABLE": "0", **setting}
    command = [sys.executable, "-c", PAGE_FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert (int(done.stdout) < 1000) == reused  # ten times 32 MB are 81,920 pages of 4 kB
