"""Short runs for tests of divergence, resume and memory, and their logs."""

import json

from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, nmt, overrides

WITHOUT_DROPOUT = ["model.dropout=0", "train.precision=fp32", "train.log_every=1"]
MORE = ["train.max_updates=12", "train.keep_last=9", "train.schedule=constant"]
ordinary = TrainingLoss.forward


def train(data, run, *settings, options=()):
    return nmt("train", data, "-o", run, "--device", "cpu", *options, *overrides(*TINY, *WITHOUT_DROPOUT, *settings))


def events(run, kind):
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == kind]


def break_updates(monkeypatch, updates, broken=float("nan")):
    """The loss of these updates, as often as they are tried, is not finite."""

    def forward(self, batch, update):
        loss, sums = ordinary(self, batch, update)
        return (loss * broken if update in updates else loss), sums

    monkeypatch.setattr(TrainingLoss, "forward", forward)
