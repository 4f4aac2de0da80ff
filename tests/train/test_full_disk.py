"""Training on a full disk: no checkpoint is lost, and the run resumes exactly."""

import json
import re

import pytest

from nmtcli.checkpoint import RunDirectory, find_model, load_model
from nmtcli.errors import ExitCode
from tests.conftest import TINY, fill, nmt, overrides
from tests.laws.test_training_laws import assert_same_run


@pytest.mark.parametrize("left", [0, 8_000, 100_000])
def test_a_full_disk_loses_no_checkpoint_and_training_resumes(data, make_disk, tmp_path, capsys, left):
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
