"""One process at a time trains into a run directory."""

import fcntl
import os
import socket

import pytest

from nmtcli.checkpoint import RunDirectory
from nmtcli.errors import ExitCode, UserError
from tests.conftest import TINY, fill, nmt, overrides
from tests.laws.test_training_laws import train_process, wait_for_step


def test_a_second_process_is_refused_until_the_first_has_ended(data, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", data, "-o", run, "--device", "cpu", *overrides(*TINY, "train.max_updates=100000")]
    process = train_process(data, run, "train.max_updates=100000")
    try:
        wait_for_step(run, 6, process)
        assert nmt(*command) == ExitCode.USAGE
        words = capsys.readouterr().err
        assert f"{run}: another nmt is already training in it: process {process.pid} on {socket.gethostname()}" in words
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
    with run.lock(), pytest.raises(UserError, match="another nmt is already training in it"), run.lock():
        pass
