"""Resume from a run with damaged checkpoints or without its pointers."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from nmtcli.checkpoint import RunDirectory, find_model
from nmtcli.train.distributed import Ranks
from tests.conftest import TINY, nmt, overrides
from tests.train.runs import MORE, events, train

TRAIN = [setting for setting in TINY if setting.startswith("train.")]
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
def test_resume_moves_a_damaged_newest_checkpoint_away(data, run, damage, capsys):
    DAMAGE[damage](RunDirectory(run).checkpoint(9))
    assert train(data, run, *MORE) == 0
    assert [event["step"] for event in events(run, "started")] == [0, 6]
    told = capsys.readouterr().err
    assert "resuming from update 6" in told and "damaged-step-0000009" in told
    assert (run / "checkpoints" / "damaged-step-0000009").is_dir()
    assert 9 in RunDirectory(run).steps() and RunDirectory(run).pointer("last") == RunDirectory(run).checkpoint(12)


def test_a_run_with_damaged_checkpoints_only_is_refused(data, run, capsys):
    for step in RunDirectory(run).steps():
        (RunDirectory(run).checkpoint(step) / "state.json").write_text("{}")
    assert train(data, run, *MORE) == 3
    told = capsys.readouterr().err
    assert told.count("damaged (KeyError") == 3 and "choose another -o" in told
    assert RunDirectory(run).steps() == [3, 6, 9]


def test_a_checkpoint_of_a_newer_format_is_refused_and_kept(data, run, capsys):
    change(RunDirectory(run).checkpoint(9) / "config.json", format=99)
    assert train(data, run, *MORE) == 3
    assert "upgrade nmtcli" in capsys.readouterr().err
    assert RunDirectory(run).steps() == [3, 6, 9]


def test_a_run_without_pointers_resumes_from_its_newest_checkpoint(data, run):
    (run / "last").unlink()
    (run / "best").unlink()
    assert find_model(run) == RunDirectory(run).checkpoint(9)
    assert train(data, run, *MORE) == 0
    assert RunDirectory(run).pointer("last") == RunDirectory(run).checkpoint(12)


def test_a_damaged_model_error_names_another_checkpoint(run, tmp_path, capsys):
    DAMAGE["weights cut short"](find_model(run))
    (tmp_path / "in").write_text("one\n")
    assert nmt("translate", "-m", run, "-i", tmp_path / "in") == 3
    assert f"-m {RunDirectory(run).checkpoint(9)}" in capsys.readouterr().err.replace("step-0000006", "step-0000009")


@pytest.mark.parametrize("damage", ["weights cut short", "no config"])
def test_a_fine_tuned_run_is_resumed_from_the_checkpoint_before(data, trained, tmp_path, damage, capsys):
    run = tmp_path / "run"
    first = ["--finetune-from", trained]
    short = ["train.max_updates=9", "train.keep_last=9", "train.schedule=constant"]
    assert nmt("train", data, "-o", run, "--device", "cpu", *first, *overrides(*TRAIN, *short)) == 0
    DAMAGE[damage](RunDirectory(run).checkpoint(9))
    assert nmt("train", data, "-o", run, "--device", "cpu", *first, *overrides(*TRAIN, *MORE)) == 0
    assert [event["step"] for event in events(run, "started")] == [0, 6]
    assert "damaged-step-0000009" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_opened_is_not_taken_for_a_damaged_one(data, run, monkeypatch, capsys):
    """Root may read everything, so the error is made up."""
    ordinary, path = Path.open, RunDirectory(run).checkpoint(9) / "model.safetensors"

    def open_file(self, *arguments, **options):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return ordinary(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_file)
    assert train(data, run, *MORE) == 3
    assert f"error: {path}: cannot read: Permission denied" in capsys.readouterr().err
    monkeypatch.undo()
    assert RunDirectory(run).steps() == [3, 6, 9]
    assert train(data, run, *MORE) == 0
    assert [event["step"] for event in events(run, "started")] == [0, 9]


def test_ranks_that_read_different_checkpoints_are_refused(data, run, monkeypatch, capsys):
    """As where the network file system of one machine shows an old directory."""
    monkeypatch.setattr(Ranks, "gather", lambda self, one: [one, one - 3] if isinstance(one, int) else [one, one])
    assert train(data, run, *MORE) == 3
    assert "rank 0 reads the checkpoint of update 9, rank 1 that of update 6" in capsys.readouterr().err
    assert RunDirectory(run).steps() == [3, 6, 9]


def test_the_best_checkpoint_is_one_that_exists(data, tmp_path):
    """A later checkpoint, now damaged, had the best one before it deleted."""
    run, settings = RunDirectory(tmp_path / "run"), ["train.valid_metric=loss", "train.keep_last=2", *MORE[::2]]
    assert train(data, run.path, *settings) == 0
    newest = run.steps()[-1]
    best = json.loads((run.checkpoint(newest) / "state.json").read_text())["best"]
    state = run.checkpoint(run.steps()[0]) / "state.json"
    change(state, best=[[best[0][0], best[0][1], 3], [best[0][0] - 1, None, run.steps()[0]]])
    DAMAGE["weights cut short"](run.checkpoint(newest))
    assert 3 not in run.steps()
    assert train(data, run.path, *settings, "train.valid_metric=loss") == 0
    assert find_model(run.path).is_dir()
    listed = json.loads((run.pointer("last") / "state.json").read_text())["best"]
    assert all(step in run.steps() for *_, step in listed)


def test_a_run_whose_only_best_checkpoint_is_gone_ends_without_an_average(data, run, capsys):
    """`best:1` has nothing to average, which is no error."""
    average = ["train.average=best:1", "train.keep_best=1", "train.valid_every=100"]
    for step in RunDirectory(run).steps():
        change(RunDirectory(run).checkpoint(step) / "state.json", best=[[-1.0, None, 1]], validated_step=9)
    assert train(data, run, "train.max_updates=9", "train.keep_last=9", "train.schedule=constant", *average) == 0
    assert "bug" not in capsys.readouterr().err
    assert not events(run, "averaged") and events(run, "stopped")
