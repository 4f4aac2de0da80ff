"""Accuracy by position after true and own tokens: against a slow loop, and in the log of a run."""

import json
from fractions import Fraction

import pytest
import torch

from nmtcli.cli.training_display import show_accuracy
from nmtcli.data.batching import Sentences
from nmtcli.data.directory import open_data
from nmtcli.models.protocol import Step
from nmtcli.train.batches import BatchPlan, make_batch
from nmtcli.train.epochs import Epochs
from nmtcli.train.exposure import BUCKETS, by_bucket, count_by_position, free_running, teacher_forced
from nmtcli.vocabulary import BOS, EOS, PAD
from tests.laws.test_model_laws import FEEDING


class Counting(torch.nn.Module):
    """A model that always says the successor of the last token, and EOS after `last`."""

    def __init__(self, size: int, last: int) -> None:
        super().__init__()
        self.size, self.last = size, last

    def successor(self, tokens):
        following = torch.where(tokens == BOS, 4, tokens + 1)
        return torch.where(tokens == self.last, EOS, following).clamp(max=self.size - 1)

    def forward(self, source, source_length, target_input):
        return torch.nn.functional.one_hot(self.successor(target_input), self.size).float()

    def log_probs(self, features):
        return torch.log_softmax(9 * features, dim=-1)

    def start(self, source, source_length):
        return {}, (source[:, 0],)

    def step(self, tokens, memory, cache):
        return Step(self.log_probs(self.forward(None, None, tokens)), cache)


def counting_batch(*targets):
    return make_batch(Sentences.of([[4]] * len(targets)), Sentences.of(targets))


def test_a_perfect_model_is_also_right_in_free_running():
    batch = counting_batch(range(4, 60), range(4, 60))
    model = Counting(70, last=59)
    real = batch.target_output != PAD
    assert torch.equal(teacher_forced(model, batch), real)
    assert torch.equal(free_running(model, batch), real)


def test_a_missing_word_makes_the_remaining_positions_wrong():
    model = Counting(70, last=8)
    batch = counting_batch([4, 5, 7, 8], [4, 5, 6, 7, 8, 9, 9])
    assert teacher_forced(model, batch).int().tolist() == [[1, 1, 0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]]
    # 4 5 6 7 8 EOS is what it says itself: shifted by one word, then ended
    assert free_running(model, batch).int().tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize("settings", [[], FEEDING])
@torch.no_grad()
def test_accuracy_by_position_equals_a_loop(data, tiny_model, settings):
    prepared = open_data(data)
    model = tiny_model(*settings, vocabulary=len(prepared.tokenizers.target))
    plan = BatchPlan(prepared.valid, Epochs([17], [Fraction(1)], seed=0), 100, None)
    found = by_bucket(count_by_position(model, plan.load(rows)).tolist() for (rows,) in plan.block(0, 0))
    counts = {bucket: [0, 0, 0] for bucket in BUCKETS}
    source, target = (side.rows() for side in prepared.valid.gather(torch.arange(17).numpy()))
    for words, reference in zip(source, target, strict=True):
        sentence, length = torch.tensor([[*words, EOS]]), torch.tensor([len(words) + 1])
        said = [BOS]
        for place, true in enumerate([*reference, EOS]):
            after_true, after_own = (
                int(model.log_probs(model(sentence, length, torch.tensor([prefix])))[0, -1, EOS:].argmax()) + EOS
                for prefix in ([BOS, *reference[:place]], said)
            )
            bucket = BUCKETS[sum(place + 1 > last for last in (5, 10, 20, 40))]
            counts[bucket][0] += 1
            counts[bucket][1] += after_true == true
            counts[bucket][2] += EOS not in said and after_own == true
            said.append(after_own)
    expected = {
        bucket: {"teacher_forced": forced / tokens, "free_running": free / tokens, "tokens": tokens}
        for bucket, (tokens, forced, free) in counts.items()
        if tokens
    }
    assert found == expected
    assert "41+" not in found


def test_accuracy_by_position_is_logged_and_printed(trained, capsys):
    lines = (json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines())
    found = [record["accuracy_by_position"] for record in lines if record["event"] == "validated"]
    assert len(found) == 2
    assert set(found[0]) <= set(BUCKETS)
    assert found[0]["1-5"]["tokens"] <= 50  # of train.valid_sentences, not of the whole set
    assert all(0 <= numbers[key] <= 1 for numbers in found[1].values() for key in ("teacher_forced", "free_running"))
    show_accuracy({"1-5": {"teacher_forced": 0.5, "free_running": 0.25, "tokens": 8}})
    line = "accuracy by position, teacher-forced/free-running: 1-5 50.0%/25.0%\n"
    assert capsys.readouterr().err == line


def test_accuracy_by_position_is_a_table_on_a_terminal(monkeypatch, capsys):
    from rich.console import Console

    from nmtcli.cli import training_display

    monkeypatch.setattr(training_display, "stderr", Console(stderr=True, force_terminal=True, no_color=True, width=80))
    buckets = {name: {"teacher_forced": 0.5, "free_running": 0.25, "tokens": 8} for name in BUCKETS[:2]}
    training_display.show_accuracy(buckets)
    shown = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert ["teacher-forced", "50.0%", "50.0%"] in shown
    assert ["free-running", "25.0%", "25.0%"] in shown
