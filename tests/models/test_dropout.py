"""Dropout: which share, what stays, and that it follows the seed."""

import pytest
import torch

from nmtcli.models.dropout import Dropout, dropout_mask


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_its_share_and_keeps_the_mean(share, dtype):
    torch.manual_seed(0)
    mask = dropout_mask(torch.ones(1, dtype=dtype), (1000, 37), share)
    assert mask.dtype == dtype
    assert mask.unique().numel() == 2
    assert (mask == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert mask.float().mean().item() == pytest.approx(1, abs=0.05)


def test_each_element_is_dropped_independently():
    """Neighbours, which share a random number, are independent: pairs are dropped as often as chance says."""
    torch.manual_seed(0)
    dropped = dropout_mask(torch.ones(1), (80_000, 8), 0.5) == 0
    for left in range(8):
        for right in range(left):
            assert (dropped[:, left] & dropped[:, right]).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_dropout_follows_the_seed_and_is_off_in_evaluation():
    layer, states = Dropout(0.3), torch.ones(5, 7)
    first, second = (torch.manual_seed(3) and layer(states) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, layer(states))
    assert layer.eval()(states) is states
    assert Dropout(0.0).train()(states) is states


def test_dropout_gradients_are_zero_where_outputs_are():
    states = torch.ones(50, requires_grad=True)
    dropped = Dropout(0.4)(states)
    dropped.sum().backward()
    assert torch.equal(states.grad, dropped.detach())
