"""Resume is exact: random numbers depend on the update only, and --verify-resume compares all bits."""

import signal
import subprocess
from itertools import pairwise
from types import SimpleNamespace

import pytest

from nmtcli.checkpoint import RunDirectory
from nmtcli.train import verify
from tests.conftest import TINY, nmt, overrides
from tests.train.runs import events, train


def test_random_numbers_depend_on_the_update_only(data, tmp_path):
    """Dropout is on; the number of updates in one go makes no difference."""
    dropout = ["model.dropout=0.3", "train.schedule=constant", "train.warmup_updates=0", "train.valid_metric=loss"]
    assert train(data, tmp_path / "one", *dropout) == 0
    for updates in (5, 12):
        assert train(data, tmp_path / "two", *dropout, f"train.max_updates={updates}") == 0
    losses = [[event["loss"] for event in events(tmp_path / name, "updated")] for name in ("one", "two")]
    assert losses[0] == losses[1]
    assert all(left != right for left, right in pairwise(losses[0]))


def test_verify_resume_reports_identical_runs(data, tmp_path, capsys):
    settings = [*TINY, "train.subword_sampling=0.1", "train.scheduled_sampling=linear"]
    command = ["train", data, "-o", tmp_path / "scratch", "--device", "cpu", "--verify-resume", "6"]
    assert nmt(*command, *overrides(*settings)) == 0
    found = capsys.readouterr()
    assert "identical: all" in found.out
    assert "killed after update" in found.err
    assert not (tmp_path / "scratch").exists()


def test_verify_resume_reports_differences(data, tmp_path, trained, capsys):
    from nmtcli.cli.training_display import show_resumption
    from nmtcli.errors import CheckFailed
    from nmtcli.train.verify import compare

    assert train(data, tmp_path / "other", "train.seed=2") == 0
    found = compare(RunDirectory(trained), RunDirectory(tmp_path / "other"), 6, 6)
    assert len(found.different) > 10
    assert "target_tokens" in found.state or "best" in found.state
    with pytest.raises(CheckFailed, match="resuming is not exact"):
        show_resumption(found, tmp_path / "other", "cuda")
    assert (tmp_path / "other").exists()


def test_verify_resume_excludes_a_dry_run(data, tmp_path, capsys):
    assert nmt("train", data, "-o", tmp_path / "scratch", "--verify-resume", "6", "--dry-run") == 2
    assert "--verify-resume and --dry-run are mutually exclusive" in capsys.readouterr().err


def test_verify_resume_ends_as_its_training_and_can_be_repeated(data, tmp_path, capfd):
    command = ["train", data, "-o", tmp_path / "scratch", "--device", "cpu", "--verify-resume", "6"]
    for settings, code in ((["train.learning_rat=1"], 2), (["train.finetune_from=x"], 2)):
        assert nmt(*command, *overrides(*settings)) == code
        assert not (tmp_path / "scratch").exists()
    assert nmt("train", tmp_path / "none", *command[2:]) == 3
    assert "ended with exit code 3" in capfd.readouterr().err


def test_verify_resume_needs_a_new_directory(data, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert nmt("train", data, "-o", tmp_path / "run", "--verify-resume", "3") == 2
    assert "new directory" in capsys.readouterr().err


def test_an_interrupted_verification_leaves_no_training_and_no_files(data, tmp_path, monkeypatch):
    started = []

    class Process(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "_finish", lambda command: (tmp_path / "scratch").mkdir())
    monkeypatch.setattr(verify, "subprocess", SimpleNamespace(Popen=Process, DEVNULL=subprocess.DEVNULL))
    monkeypatch.setattr(verify, "time", SimpleNamespace(sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        verify.verify_resume(10**6, ["train", str(data), *map(str, overrides(*TINY))], tmp_path / "scratch")
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert not (tmp_path / "scratch").exists()
