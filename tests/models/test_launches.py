"""On a GPU the host does not wait in an update, and few kernels are launched: held without a GPU, on tensors without
values (benchmarks/launches.py).
"""

import pytest
import torch

from benchmarks.launches import (
    META,
    PRESETS,
    batch_of,
    make_trainer,
    of_search_step,
    of_update,
    of_validation,
    pretended_gpu,
)
from nmtcli.data.directory import open_data
from nmtcli.models.cells import RecurrentLayer
from nmtcli.train.precision import DTYPES

# Launches of an update of 5 tokens in bf16, as counted; fewer are welcome, and then the budget follows.
BUDGET = {
    "bahdanau": 521,
    "cho": 161,
    "deep-shallow": 907,
    "gnmt": 441,
    "hybrid-ssru": 713,
    "luong-concat": 212,
    "luong-dot": 190,
    "luong-general": 196,
    "luong-local-p": 661,
    "luong-location": 195,
    "rnmt-plus": 4543,
    "sutskever": 245,
    "transformer-base": 1066,
    "transformer-big": 1066,
    "transformer-marian": 1068,
    "transformer-small": 596,
    "transformer-tiny": 438,
}
MARKS = {"rnmt-plus": pytest.mark.slow}
LOOPS = {"bahdanau", "hybrid-ssru", "luong-local-p", "rnmt-plus"}  # over target positions


@pytest.mark.parametrize("preset", [pytest.param(one, marks=MARKS.get(one, ())) for one in PRESETS])
def test_launches_of_an_update_are_few_and_do_not_grow_with_the_batch(data, preset):
    with pretended_gpu("bf16"):
        trainer = make_trainer(open_data(data), preset, "bf16")
        small = of_update(trainer, batch_of(2, 4))
        assert small <= 1.05 * BUDGET[preset]  # versions of PyTorch differ a little
        larger = batch_of(3, 4 if preset in LOOPS else 9)
        assert of_update(trainer, larger) == small
        assert min(of_validation(trainer, larger), of_search_step(trainer, larger)) > 0  # nothing was read


@pytest.mark.parametrize("preset", [pytest.param(one, marks=pytest.mark.slow) for one in PRESETS] + ["luong-general"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_value_is_read_in_the_other_precisions(data, preset, precision):
    with pretended_gpu(precision):
        trainer = make_trainer(open_data(data), preset, precision)
        batch = batch_of(2, 4)
        assert min(of_update(trainer, batch), of_validation(trainer, batch), of_search_step(trainer, batch)) > 0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("length", [None, [2, 3]], ids=["", "length"])
def test_recurrent_layers_run_in_the_precision_of_autocast_on_a_gpu(cell, precision, length):
    """PyTorch's own autocast would run them in fp16, also where the loss is not scaled."""
    dtype = DTYPES[precision]
    with pretended_gpu(precision):
        layer = RecurrentLayer(8, 8, cell).to(META)
        lengths = None if length is None else torch.tensor(length, device=META)
        with torch.autocast("cuda", dtype):
            hidden, _ = layer(torch.zeros(2, 3, 8, device=META), None, lengths)
        assert hidden.dtype == dtype
        hidden.float().sum().backward()
        assert all(weight.grad.dtype == torch.float32 for weight in layer.parameters())
