"""What the training log says of time."""

import time

import pytest
import torch

from nmtcli.train.distributed import Ranks
from nmtcli.train.meter import Meter
from nmtcli.train.state import TrainState


class Loss:
    """An objective without metrics."""

    def metrics(self, sums, tokens, step):
        del sums, tokens, step
        return {}


def test_data_wait_is_the_time_between_asking_for_data_and_having_it(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    meter = Meter(Loss(), Ranks())
    for _ in range(2):
        now += 5  # whatever the trainer does between two updates
        meter.data_asked()
        now += 1
        meter.data_ready()
        now += 4
        assert meter.update_done(torch.ones(1), 20, torch.ones(())) == 10
    averages = meter.read(TrainState(), 0.5)
    assert averages["data_wait"] == pytest.approx(0.1)
    assert averages["tokens_per_second"] == pytest.approx(2)
