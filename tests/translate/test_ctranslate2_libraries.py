"""CTranslate2 on a GPU without the libraries of CUDA."""

import pytest

from nmtcli.errors import UserError
from nmtcli.translate.runtimes.ctranslate2 import found_libraries


def test_a_missing_cuda_library_of_ctranslate2_is_reported():
    with pytest.raises(UserError, match=r"libcublas\.so\.12 is not found") as caught, found_libraries():
        raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")
    assert "--device cpu" in caught.value.hint
    with pytest.raises(RuntimeError, match="something else"), found_libraries():
        raise RuntimeError("something else")
