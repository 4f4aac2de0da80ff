"""Checkpoint retention: the best and the newest are whole whenever a run is killed."""

import json
import os
import signal
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli import staging
from nmtcli.checkpoint import RunDirectory, find_model


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
def test_best_and_last_checkpoint_are_whole_after_a_kill_at_any_moment(tmp_path_factory, history, deaths):
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


def test_a_pointer_may_name_an_averaged_checkpoint(tmp_path):
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
