"""What a run goes on from: damaged checkpoints, missing pointers, another measure, machine or rate."""

import json
import shutil

import pytest

from nmtcli.checkpoint import RunDirectory, find_model
from nmtcli.train.precision import resolve_precision
from tests.conftest import nmt
from tests.train.test_recovery import break_updates, events, train, weights


@pytest.fixture(scope="module")
def short(data, tmp_path_factory):
    """A run of 9 updates, with checkpoints at 3, 6 and 9."""
    run = tmp_path_factory.mktemp("short") / "run"
    assert train(data, run, "train.max_updates=9", "train.keep_last=9", "train.schedule=constant") == 0
    return run


@pytest.fixture
def run(short, tmp_path):
    return shutil.copytree(short, tmp_path / "run")


MORE = ["train.max_updates=12", "train.keep_last=9", "train.schedule=constant"]
DAMAGE = {
    "weights cut short": lambda newest: (newest / "model.safetensors").write_bytes(b"short"),
    "no weights": lambda newest: (newest / "model.safetensors").unlink(),
    "no optimizer": lambda newest: (newest / "trainer.safetensors").unlink(),
    "empty state": lambda newest: (newest / "state.json").write_text("{}"),
    "state cut short": lambda newest: (newest / "state.json").write_text('{"step": 9,'),
    "state of another update": lambda newest: shutil.copy(newest.with_name("step-0000006") / "state.json", newest),
    "words for numbers": lambda newest: change(newest / "state.json", step="nine"),
    "no config": lambda newest: (newest / "config.json").unlink(),
}


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_is_moved_and_the_one_before_goes_on(data, run, damage, capsys):
    DAMAGE[damage](RunDirectory(run).checkpoint(9))
    assert train(data, run, *MORE) == 0
    assert [event["step"] for event in events(run, "started")] == [0, 6]
    told = capsys.readouterr().err
    assert "resuming from update 6" in told and "damaged-step-0000009" in told
    assert (run / "checkpoints" / "damaged-step-0000009").is_dir()
    assert 9 in RunDirectory(run).steps() and RunDirectory(run).pointer("last") == RunDirectory(run).checkpoint(12)


def test_a_run_without_any_whole_checkpoint_says_so(data, run, capsys):
    for step in RunDirectory(run).steps():
        (RunDirectory(run).checkpoint(step) / "state.json").write_text("{}")
    assert train(data, run, *MORE) == 3
    told = capsys.readouterr().err
    assert told.count("damaged (KeyError") == 3 and "choose another -o" in told
    assert RunDirectory(run).steps() == [3, 6, 9]


def test_a_newer_format_is_refused_and_stays(data, run, capsys):
    change(RunDirectory(run).checkpoint(9) / "config.json", format=99)
    assert train(data, run, *MORE) == 3
    assert "upgrade nmtcli" in capsys.readouterr().err
    assert RunDirectory(run).steps() == [3, 6, 9]


def test_a_run_without_its_pointers_is_its_newest_checkpoint_and_goes_on(data, run):
    (run / "last").unlink()
    (run / "best").unlink()
    assert find_model(run) == RunDirectory(run).checkpoint(9)
    assert train(data, run, *MORE) == 0
    assert RunDirectory(run).pointer("last") == RunDirectory(run).checkpoint(12)


def test_damage_of_a_model_names_another_checkpoint(run, tmp_path, capsys):
    DAMAGE["weights cut short"](find_model(run))
    (tmp_path / "in").write_text("one\n")
    assert nmt("translate", "-m", run, "-i", tmp_path / "in") == 3
    assert f"-m {RunDirectory(run).checkpoint(9)}" in capsys.readouterr().err.replace("step-0000006", "step-0000009")


def test_another_metric_begins_anew(data, run, capsys):
    assert train(data, run, *MORE, "train.valid_metric=loss", options=["--allow-changes"]) == 0
    state = json.loads((RunDirectory(run).checkpoint(12) / "state.json").read_text())
    losses = {event["step"]: event["loss"] for event in events(run, "validated")}
    assert [entry[2] for entry in state["best"]] == [min((losses[step], step) for step in losses if step >= 9)[1]]


def test_what_was_auto_stays_as_the_run_had_it(data, run, monkeypatch, capsys):
    monkeypatch.setattr(
        "nmtcli.train.run.resolve_precision", lambda wanted, device: "bf16" if wanted == "auto" else wanted
    )
    change_settings = ["train.precision=auto", *MORE]
    assert train(data, run, *change_settings) == 0
    assert {event["precision"] for event in events(run, "started")} == {"fp32"}


def test_a_precision_that_is_not_to_be_had_names_the_option(data, run, capsys):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("precision: fp32", "precision: fp16"))
    assert train(data, run, "train.precision=auto", *MORE) == 2
    told = capsys.readouterr().err
    assert "the run was trained in fp16" in told and "--allow-changes" in told
    import torch

    assert f"--precision {resolve_precision('auto', torch.device('cpu'))}" in told


def test_nothing_is_saved_or_measured_while_updates_are_skipped(data, tmp_path, monkeypatch):
    break_updates(monkeypatch, {5, 6, 7})
    assert train(data, tmp_path / "run", "train.keep_last=99", "train.valid_every=6") == 0
    assert RunDirectory(tmp_path / "run").steps() == [3, 8, 9, 12]  # what was due at 6 is done after the next update
    assert [event["step"] for event in events(tmp_path / "run", "validated")] == [8, 12]


def test_a_rate_that_destroys_the_weights_loses_no_good_checkpoint(data, run, capsys):
    settings = ["train.max_updates=40", "train.save_every=1", "train.max_skipped=4", "train.schedule=constant"]
    code = train(data, run, *settings, "train.learning_rate=3e38", options=["--allow-changes"])
    assert code == 5
    assert "training diverged" in capsys.readouterr().err
    saved = [tensor for tensors in weights(run) for tensor in tensors.values()]
    assert all(tensor.isfinite().all() for tensor in saved)
    backwards = [event["to_step"] for event in events(run, "recovered")]
    assert backwards == sorted(backwards, reverse=True) and backwards[-1] < backwards[0]


def test_skipping_up_to_the_end_is_no_end(data, tmp_path, monkeypatch, capsys):
    break_updates(monkeypatch, set(range(7, 20)))
    assert train(data, tmp_path / "run", "train.max_skipped=5", "train.on_divergence=stop") == 5
    assert RunDirectory(tmp_path / "run").steps() == [3, 6]
