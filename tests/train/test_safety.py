"""A run directory keeps what it has: against a full disk, a kill at any moment, and a second process."""

import fcntl
import json
import os
import re
import signal
import socket
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli import staging
from nmtcli.checkpoint import RunDirectory, find_model, load_model
from nmtcli.errors import ExitCode, UserError
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_training_laws import assert_same_run, train_process, wait_for_step

# ---- one process at a time ----


def test_a_second_process_is_refused_by_name_until_the_first_is_dead(data, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", data, "-o", run, "--device", "cpu", *overrides(*TINY, "train.max_updates=100000")]
    process = train_process(data, run, "train.max_updates=100000")
    try:
        wait_for_step(run, 6, process)
        assert nmt(*command) == ExitCode.USAGE
        words = capsys.readouterr().err
        assert f"{run}: another nmt trains into it: process {process.pid} on {socket.gethostname()}" in words
        assert (run / "metrics.jsonl").read_text().count('"started"') == 1
        assert nmt("translate", "-m", run, "-i", run / "last") == 0  # who only reads is let in
    finally:
        process.kill()
        process.communicate()
    with RunDirectory(run).lock():
        pass
    assert not (run / ".lock").exists()


def test_the_lock_of_this_process_ends_with_its_block(tmp_path):
    run = RunDirectory(tmp_path / "run")
    for _ in range(2):
        with run.lock(), pytest.raises(UserError, match=f"process {os.getpid()} on"), run.lock():
            pass
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError
    assert not list(run.path.iterdir())


def test_a_file_system_without_locks_allows_all_writers(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    run = RunDirectory(tmp_path / "run")
    with run.lock(), run.lock():
        assert (run.path / ".lock").exists()
    assert not list(run.path.iterdir())


def test_a_lock_on_a_full_disk_holds_without_a_name(make_disk):
    disk = make_disk("16k")
    run = RunDirectory(disk / "run")
    run.path.mkdir()
    fill(disk)
    with run.lock(), pytest.raises(UserError, match="another nmt trains into it"), run.lock():
        pass


# ---- retention ----


@dataclass
class History:
    """A run as the trainer goes through it: the score of each validation, saved at once."""

    scores: list[int]
    keep_last: int
    keep_best: int

    def go_on(self, run):
        """From the newest checkpoint to the end, as the trainer does."""
        steps = run.steps()
        best = json.loads((run.checkpoint(steps[-1]) / "state.json").read_text())["best"] if steps else []
        if steps:  # it may have been killed between a checkpoint and the pointers to it
            run.point("last", steps[-1])
            run.point("best", best[0][1])
        for step in range(steps[-1] + 1 if steps else 0, len(self.scores)):
            best = sorted([*best, [self.scores[step], step]], key=lambda entry: (-entry[0], entry[1]))[: self.keep_best]
            run.save(step, lambda directory, best=best: self.write(directory, best))
            run.point("best", best[0][1])
            run.prune({step for _, step in best} | set(run.steps()[-self.keep_last :]))

    def write(self, directory, best):
        for name in ("config.json", "model.safetensors"):
            (directory / name).write_text("whole")
        (directory / "state.json").write_text(json.dumps({"best": best}))

    def check(self, run):
        """Every checkpoint is whole; the newest is there, and the best that it knows of."""
        steps = run.steps()
        for step in steps:
            assert {path.name for path in run.checkpoint(step).iterdir()} == {
                "config.json",
                "model.safetensors",
                "state.json",
            }
        if steps:
            best = json.loads((run.checkpoint(steps[-1]) / "state.json").read_text())["best"]
            assert all(step in steps for _, step in best)
        if run.pointer("last") is not None:
            assert (find_model(run.path) / "model.safetensors").read_text() == "whole"


def killed_at(operation, work):
    """Do the work in a process that kills itself at its nth operation on files; True if it came to an end."""
    child = os.fork()
    if child == 0:
        left = [operation]

        def count(event, _):
            if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


@settings(max_examples=12, deadline=None)
@given(
    st.builds(
        History,
        scores=st.lists(st.integers(0, 3), min_size=1, max_size=8),
        keep_last=st.integers(1, 3),
        keep_best=st.integers(1, 3),
    ),
    st.lists(st.integers(1, 150), max_size=3),
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_whenever_a_run_is_killed_its_best_and_its_last_checkpoint_are_whole(tmp_path_factory, history, deaths):
    run = RunDirectory(tmp_path_factory.mktemp("retention"))
    run.checkpoints.mkdir()
    for operation in deaths:
        killed_at(operation, lambda: history.go_on(run))
        history.check(run)
    history.go_on(run)
    history.check(run)
    best = max(range(len(history.scores)), key=lambda step: (history.scores[step], -step))
    assert run.pointer("best") == run.checkpoint(best)
    assert run.steps()[-1] == len(history.scores) - 1
    assert len(run.steps()) <= history.keep_last + history.keep_best + len(deaths)  # killed before it could delete


@settings(max_examples=15, deadline=None)
@given(keep=st.sets(st.integers(0, 5)), best=st.integers(0, 5))
def test_pruning_keeps_pointers_and_the_newest_checkpoint(tmp_path_factory, keep, best):
    run = RunDirectory(tmp_path_factory.mktemp("prune"))
    for step in range(6):
        run.save(step, lambda directory: (directory / "config.json").write_text("{}"))
    run.point("best", best)
    run.prune(keep)
    assert set(run.steps()) == keep | {best, 5}
    assert find_model(run.path) == run.checkpoint(best)


def test_a_pointer_may_name_a_directory_that_is_no_step(tmp_path):
    run = RunDirectory(tmp_path / "run")
    for step in (1, 2, 3):
        run.save(step, lambda directory: (directory / "config.json").write_text("{}"))
    average = run.checkpoints / "average"
    with staging.staged(average) as directory:
        (directory / "config.json").write_text("{}")
    run.point("average", average)
    run.point("best", 2)
    run.prune({3})
    assert run.pointer("average") == average
    assert run.steps() == [2, 3]
    assert find_model(run.path) == run.checkpoint(2)
    assert run.select("last:2") == [run.checkpoint(2), run.checkpoint(3)]


# ---- a full disk ----


def fill(disk, left=0):
    """Leave so many bytes free."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(file.tell() - left)


@pytest.mark.parametrize("left", [0, 8_000, 100_000])
def test_a_full_disk_costs_no_checkpoint_and_the_run_goes_on(data, make_disk, tmp_path, capsys, left):
    disk = make_disk("8m")
    run = disk / "run"
    command = ["train", data, "--device", "cpu", *overrides(*TINY, "train.schedule=constant")]
    assert nmt(*command, "-o", run, "--set", "train.max_updates=3") == 0
    capsys.readouterr()
    fill(disk, left)
    assert nmt(*command, "-o", run) == ExitCode.RESOURCES
    words = capsys.readouterr().err
    assert re.search(rf"error: {run}.*: the disk is full\n", words), words
    assert "hint: free some space and run the same command again to resume\n" in words
    assert "Traceback" not in words
    assert 3 in RunDirectory(run).steps()
    load_model(find_model(run))
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    (disk / "ballast").unlink()
    assert nmt(*command, "-o", run) == 0
    assert nmt(*command, "-o", tmp_path / "straight", "--set", "train.max_updates=3") == 0
    assert nmt(*command, "-o", tmp_path / "straight") == 0
    assert_same_run(tmp_path / "straight", run)
