"""Training: several batches are one, and an interrupted run is the uninterrupted one, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nmtcli.checkpoint import RunDirectory, find_model, load_model
from nmtcli.data.batching import Sentences
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train import batches
from nmtcli.train.batches import Batch, make_batch
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, model_config, nmt, overrides


def tiny_batch(vocabulary: int = 30, size: int = 8, seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    sides = [[random.integers(4, vocabulary, random.integers(1, 9)) for _ in range(size)] for _ in range(2)]
    return make_batch(*map(Sentences.of, sides))


def rows(batch: Batch, part: slice) -> Batch:
    target = batch.target_output[part]
    return Batch(
        batch.source[part], batch.source_length[part], batch.target_input[part], target, int((target != 0).sum())
    )


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_together_are_one_batch(parts):
    torch.manual_seed(0)
    model = Seq2Seq(model_config("model.dropout=0"), 30, 30)
    objective, batch = TrainingLoss(model, smoothing=0.1), tiny_batch()

    def gradients(batches):
        model.zero_grad()
        for piece in batches:
            (objective(piece)[0] / batch.target_tokens).backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters()}

    whole = gradients([batch])
    width = len(batch.source) // parts
    split = gradients([rows(batch, slice(n * width, (n + 1) * width)) for n in range(parts)])
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def weights(run):
    return load_file(find_model(run) / "model.safetensors"), load_file(
        RunDirectory(run).pointer("last") / "trainer.safetensors"
    )


def assert_same_run(one, other):
    for left, right in zip(weights(one), weights(other), strict=True):
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            assert torch.equal(tensor, right[name]), name


def train_process(data, run, *settings):
    command = [sys.executable, "-m", "nmtcli", "train", str(data), "-o", str(run), "--device", "cpu"]
    return subprocess.Popen([*command, *overrides(*TINY, *settings)], stderr=subprocess.PIPE, text=True)


def wait_for_step(run, step, process, timeout=60):
    limit = time.monotonic() + timeout
    while not any(found >= step for found in RunDirectory(run).steps()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.002)


LONG = ["train.max_updates=150", "train.valid_every=50", "train.save_every=5", "train.keep_last=2"]


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *LONG)) == 0
    return run


def test_a_killed_run_resumes_exactly_and_leaves_a_loadable_checkpoint(data, uninterrupted, tmp_path):
    run = tmp_path / "run"
    for step in (5, 60):
        process = train_process(data, run, *LONG)
        wait_for_step(run, step, process)
        time.sleep(random.random() * 0.1)  # anywhere, also in the middle of writing
        process.kill()
        process.communicate()
        load_model(find_model(run))
        load_model(RunDirectory(run).checkpoint(RunDirectory(run).steps()[-1]))
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *LONG)) == 0
    assert_same_run(uninterrupted, run)
    assert not list((run / "checkpoints").glob(".*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_and_the_same_command_resumes(data, uninterrupted, tmp_path, number, code):
    run = tmp_path / "run"
    process = train_process(data, run, *LONG, "train.save_every=1000")
    log = run / "metrics.jsonl"
    while not log.exists() or '"updated"' not in log.read_text():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    os.kill(process.pid, number)
    _, words = process.communicate(timeout=60)
    assert process.returncode == code
    assert "saved update" in words
    assert "run the same command again" in words
    assert "Traceback" not in words
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *LONG)) == 0
    assert_same_run(uninterrupted, run)


def test_resume_after_the_end_changes_nothing(data, uninterrupted):
    before = weights(uninterrupted)
    assert nmt("train", data, "-o", uninterrupted, "--device", "cpu", *overrides(*TINY, *LONG)) == 0
    for left, right in zip(before, weights(uninterrupted), strict=True):
        assert all(torch.equal(left[name], right[name]) for name in left)


def with_corpora(data, directory, **corpora):
    """A copy of a data directory whose training pairs are divided among the given corpora."""
    copy = shutil.copytree(data, directory)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["corpora"] = [{"name": name, "pairs": pairs} for name, pairs in corpora.items()]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


MIXTURES = {
    "weights": ["train.corpus_weights.small=2.5", "train.corpus_weights.large=0.3"],
    "temperature": ["train.corpus_temperature=3"],
    "large updates": ["train.update_tokens=400"],
    "subword sampling": ["train.subword_sampling=0.1"],
    "scheduled sampling": ["train.scheduled_sampling=inverse_sigmoid", "train.teacher_forcing_half_life=15"],
    "adamw, moving average, frozen parts": [
        *("train.optimizer=adamw", "train.weight_decay=0.1", "train.ema=0.9", "train.freeze=[attention, encoder]"),
    ],
    "minimum risk": [
        "train.objective=mrt",
        "train.mrt_metric=chrf",
        "train.mrt_samples=2",
        "search.max_length_factor=0.3",
    ],
    "professor forcing": [
        *("train.objective=professor_forcing", "train.professor_hidden_size=8", "train.professor_learning_rate=0.01"),
    ],
}


@pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())
def test_a_run_over_several_corpora_and_blocks_resumes_exactly(data, tmp_path, monkeypatch, mixture):
    mixed = with_corpora(data, tmp_path / "data", small=100, large=300)
    monkeypatch.setattr(batches, "Epochs", partial(batches.Epochs, chunk_rows=16, block_rows=90))
    steady = ["train.schedule=constant", "train.warmup_updates=0", "train.valid_metric=loss", "train.valid_every=100"]
    places = []
    for name, stops in (("whole", [43]), ("parts", [3, 14, 43])):
        for updates in stops:
            command = ["train", mixed, "-o", tmp_path / name, "--device", "cpu"]
            assert nmt(*command, *overrides(*TINY, *steady, *mixture, f"train.max_updates={updates}")) == 0
            places.append(json.loads((RunDirectory(tmp_path / name).pointer("last") / "state.json").read_text()))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert any(place["block"] > 0 for place in places[:-1])
    assert places[-1]["epoch"] > 0


def test_a_run_with_a_halved_learning_rate_resumes_exactly(data, tmp_path):
    settings = ["train.optimizer=sgd", "train.schedule=plateau", "train.plateau_patience=1", "train.valid_every=2"]
    # the loss stays what it is throughout
    settings += ["train.learning_rate=1e-12", "train.warmup_updates=0", "train.valid_metric=loss"]
    for name, stops in (("whole", [8]), ("parts", [4, 8])):  # where a run ends it is validated, so at validations
        for updates in stops:
            command = ["train", data, "-o", tmp_path / name, "--device", "cpu"]
            assert nmt(*command, *overrides(*TINY, *settings, f"train.max_updates={updates}")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    states = [
        json.loads((RunDirectory(tmp_path / "whole").checkpoint(step) / "state.json").read_text()) for step in (4, 8)
    ]
    assert states[1]["rate_scale"] < states[0]["rate_scale"] < 1


def test_a_checkpoint_of_an_older_format_resumes(data, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    path = RunDirectory(run).pointer("last") / "state.json"
    state = json.loads(path.read_text())
    assert state.pop("block") == 0
    path.write_text(json.dumps(state))
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, "train.max_updates=14")) == 0
    assert RunDirectory(run).steps()[-1] == 14
