"""Resume with other settings: what may change, what needs --allow-changes, and what is refused."""

import json

import pytest
import torch

from nmtcli.checkpoint import RunDirectory, read_info
from nmtcli.data.directory import open_data
from nmtcli.settings import load_config
from nmtcli.train.precision import resolve_precision
from nmtcli.train.run import resolve, settings_of
from nmtcli.train.trainer import Trainer
from tests.conftest import TINY, nmt, overrides
from tests.train.runs import MORE, events, train


def test_settings_that_change_the_mathematics_are_refused_until_allowed(data, tmp_path, capsys):
    assert train(data, tmp_path / "run") == 0
    more = ["train.max_updates=14", "train.learning_rate=5e-4"]
    assert train(data, tmp_path / "run", *more) == 2
    words = capsys.readouterr().err
    assert "train.learning_rate was 0.003, is 0.0005" in words
    assert "--allow-changes" in words
    assert train(data, tmp_path / "run", *more, options=["--allow-changes"]) == 0
    assert "changed since this run began: train.learning_rate was 0.003, is 0.0005" in capsys.readouterr().err
    assert train(data, tmp_path / "run", *more) == 0  # what was allowed stays


def test_changed_model_settings_are_always_refused(data, tmp_path, capsys):
    assert train(data, tmp_path / "run") == 0
    wider = ["model.decoder.hidden_size=32", "train.learning_rate=5e-4"]
    assert train(data, tmp_path / "run", *wider, options=["--allow-changes"]) == 2
    assert "--allow-changes" not in capsys.readouterr().err


def test_another_validation_metric_restarts_the_best_scores(data, run, capsys):
    assert train(data, run, *MORE, "train.valid_metric=loss", options=["--allow-changes"]) == 0
    state = json.loads((RunDirectory(run).checkpoint(12) / "state.json").read_text())
    losses = {event["step"]: event["loss"] for event in events(run, "validated")}
    assert [entry[2] for entry in state["best"]] == [min((losses[step], step) for step in losses if step >= 9)[1]]


def test_automatic_precision_is_kept_on_resume(data, run, monkeypatch, capsys):
    monkeypatch.setattr(
        "nmtcli.train.run.resolve_precision", lambda wanted, device: "bf16" if wanted == "auto" else wanted
    )
    change_settings = ["train.precision=auto", *MORE]
    assert train(data, run, *change_settings) == 0
    assert {event["precision"] for event in events(run, "started")} == {"fp32"}


def test_an_unavailable_precision_names_the_option(data, run, capsys):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("precision: fp32", "precision: fp16"))
    assert train(data, run, "train.precision=auto", *MORE) == 2
    told = capsys.readouterr().err
    assert "the run was trained in fp16" in told and "--allow-changes" in told

    assert f"--precision {resolve_precision('auto', torch.device('cpu'))}" in told


def test_more_epochs_go_on_to_their_end(data, tmp_path):
    """The number of updates that auto chose follows from the epochs, at a resume too."""
    updates = []
    for epochs in (1, 2):
        assert train(data, tmp_path / "run", "train.max_updates=auto", f"train.max_epochs={epochs}") == 0
        updates.append(events(tmp_path / "run", "stopped")[-1]["step"])
    assert updates[1] == 2 * updates[0]


def test_the_schedule_may_change_to_one_that_sets_the_rate_itself(data, tmp_path, capsys):
    """The run goes on, and can be resumed again: its config.yaml has no setting that is refused."""
    automatic = ["train.learning_rate=auto", "train.warmup_updates=0"]
    assert train(data, tmp_path / "run", *automatic) == 0
    noam = ["train.schedule=noam", "train.learning_rate=auto", "train.warmup_updates=auto"]
    for updates, options in ((14, ["--allow-changes"]), (16, [])):
        assert train(data, tmp_path / "run", *noam, f"train.max_updates={updates}", options=options) == 0
        assert events(tmp_path / "run", "updated")[-1]["learning_rate"] > 0
    assert settings_of(tmp_path / "run").train.warmup_updates > 0


@pytest.mark.parametrize("given", [["train.max_epochs=1000000"], ["train.sharded=true"]])
def test_resolved_settings_can_be_read_again(data, monkeypatch, given):
    """Also those at the limits, and of a GPU without bf16."""
    prepared, device = open_data(data), torch.device("cpu")
    monkeypatch.setattr("nmtcli.train.run.resolve_precision", lambda wanted, device: "fp16")
    monkeypatch.setattr("nmtcli.train.defaults.MOST_UPDATES", 3)
    base = {"data": prepared.manifest.data.model_dump()}
    settings = resolve(load_config(overrides=given, base=base), prepared, device)
    assert type(settings).model_validate(settings.model_dump()) == settings
    assert settings.train.max_updates == 3


def test_changed_decoding_settings_reach_the_checkpoints_of_a_finished_run(data, run, capsys):
    checkpoints = [RunDirectory(run).checkpoint(step) for step in RunDirectory(run).steps()]
    weights = [(path / "model.safetensors").read_bytes() for path in checkpoints]
    settings = ["train.max_updates=9", "train.keep_last=9", "train.schedule=constant"]
    assert train(data, run, *settings, "search.length_penalty=0.25") == 0
    assert "search.length_penalty was" in capsys.readouterr().err
    assert {read_info(path).search.length_penalty for path in checkpoints} == {0.25}
    assert [(path / "model.safetensors").read_bytes() for path in checkpoints] == weights


def test_a_run_that_has_ended_keeps_its_best_checkpoint_with_other_decoding_settings(data, run, capsys):
    """It has no further validation, and BLEU with other settings is not compared."""
    made = RunDirectory(run)
    first, last = made.steps()[0], made.steps()[-1]
    state = made.checkpoint(last) / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"best": [[50.0, 0.5, first]], "validated_step": last}))
    settings = ["train.max_updates=9", "train.keep_last=9", "train.schedule=constant", "search.length_penalty=0.25"]
    before = events(run, "validated")
    for _ in range(2):
        assert train(data, run, *settings) == 0
        assert made.pointer("best") == made.checkpoint(first)
    assert events(run, "validated") == before


def test_the_best_checkpoint_of_another_metric_stays_until_a_validation(data, run, monkeypatch):
    before = RunDirectory(run).pointer("best")
    changed = ["train.valid_metric=loss", "train.max_updates=15", "train.keep_last=1", "train.schedule=constant"]
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_validate", lambda self: False)
        assert train(data, run, *changed, options=["--allow-changes"]) == 0
    assert RunDirectory(run).pointer("best") == before
    assert train(data, run, *changed) == 0
    assert RunDirectory(run).pointer("best") == RunDirectory(run).checkpoint(15)


def test_a_new_learning_rate_is_the_one_that_is_used(data, run):
    """Whatever a recovery from divergence made of the one before, also where the resumed run is killed and resumed."""
    for step in RunDirectory(run).steps():
        state = RunDirectory(run).checkpoint(step) / "state.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"rate_scale": 0.25, "recoveries": 5}))
    settings = [*MORE, "train.learning_rate=5e-4"]
    for updates, options in ((9, ["--allow-changes"]), (12, [])):  # the first one saves nothing
        assert train(data, run, *settings, f"train.max_updates={updates}", options=options) == 0
    assert events(run, "updated")[-1]["learning_rate"] == pytest.approx(5e-4)
    state = json.loads((RunDirectory(run).pointer("last") / "state.json").read_text())
    assert (state["rate_scale"], state["recoveries"]) == (1.0, 0)


def test_first_weights_are_those_that_a_run_began_with(data, run, trained, tmp_path, capsys):
    """A run from random weights does not become a fine-tuned one by the option, nor the other way around."""
    assert train(data, run, *MORE, options=["--finetune-from", trained]) == 2
    assert f"{run}: this run began with random weights" in capsys.readouterr().err
    assert train(data, run, *MORE) == 0
    own = [setting for setting in TINY if not setting.startswith("model.")]
    arguments = ["train", data, "-o", tmp_path / "tuned", "--device", "cpu", *overrides(*own)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "fit", lambda self: "killed")
        assert nmt(*arguments, "--finetune-from", trained) == 0
    assert nmt(*arguments, *overrides(*(setting for setting in TINY if setting.startswith("model.")))) == 2
    assert "began with --finetune-from and has no checkpoint yet" in capsys.readouterr().err
    assert nmt(*arguments, "--finetune-from", trained) == 0
