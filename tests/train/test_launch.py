"""`--gpus` with two processes on a CPU: a signal, a kill, and the same run finished by one process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing.api import SignalException

from nmtcli.checkpoint import RunDirectory
from nmtcli.config import TrainConfig
from nmtcli.data.directory import open_data
from nmtcli.errors import UserError
from nmtcli.train.distributed import Ranks, check_gpus
from nmtcli.train.feed import Feed
from nmtcli.train.launch import launch
from nmtcli.train.state import TrainState
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_training_laws import wait_for_step, weights

SETTINGS = ["model.dropout=0", "train.precision=fp32", "train.update_tokens=400", "train.max_updates=100"]
SETTINGS += ["train.save_every=5", "train.valid_every=50", "train.log_every=1"]


def start(data, run, *settings, module="nmtcli"):
    command = [sys.executable, "-m", module, "train", str(data), "-o", str(run), "--device", "cpu", "--gpus", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    every = overrides(*TINY, *SETTINGS, *settings)
    return subprocess.Popen([*command, *every], stderr=subprocess.PIPE, text=True, env=environment)


def train_alone(data, run, *settings):
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *SETTINGS, *settings)) == 0


def ranks_of(process):
    """Process ids of the ranks of a launcher."""
    command = ["ps", "-o", "pid=", "--ppid", str(process.pid)]
    return [int(word) for word in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()]


def test_several_processes_exclude_a_dry_run(data, tmp_path, capsys):
    """The plan is that of one."""
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", "--gpus", "2", "--dry-run") == 2
    assert "--gpus and --dry-run are mutually exclusive" in capsys.readouterr().err


def test_the_code_of_any_signal_is_returned(monkeypatch):
    """The launcher handles SIGQUIT too, for which nmt has no code of its own."""

    def interrupted(*arguments):
        raise SignalException("", signal.SIGQUIT)

    monkeypatch.setattr("nmtcli.train.launch.elastic_launch", lambda *arguments: interrupted)
    for name in ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    assert launch(2, ["train"]) == 131


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("alone") / "run"
    train_alone(data, run)
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_ranks_save_at_a_signal_and_one_rank_resumes(data, alone, tmp_path, number):
    process = start(data, tmp_path / "run", "train.save_every=1000")
    log = tmp_path / "run" / "metrics.jsonl"
    while not log.exists() or log.read_text().count('"updated"') < 5:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(number)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert words.count("saved update") == 1
    assert "Traceback" not in words
    assert 5 <= RunDirectory(tmp_path / "run").steps()[-1] < 100
    train_alone(data, tmp_path / "run")
    for left, right in zip(weights(alone), weights(tmp_path / "run"), strict=True):
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            torch.testing.assert_close(right[name], tensor, rtol=0.02, atol=5e-3, msg=name)


def test_a_killed_rank_ends_the_run_and_the_same_command_resumes(data, tmp_path):
    run = tmp_path / "run"
    process = start(data, run, "train.max_updates=4000")
    wait_for_step(run, 5, process)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "was killed by SIGKILL" in words
    assert "run the same command" in words
    assert "Traceback" not in words
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    before = RunDirectory(run).steps()[-1]
    train_alone(data, run, f"train.max_updates={before + 5}")
    assert RunDirectory(run).steps()[-1] == before + 5


def test_fewer_gpus_than_ranks_is_an_error_of_every_rank(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for ranks in ("1", "4", "8"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        check_gpus("cpu")
        with pytest.raises(UserError, match="8 processes") if ranks == "8" else nullcontext():
            check_gpus("auto")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_sharded_training_by_every_optimizer(data, tmp_path, optimizer):
    settings = ["train.sharded=true", f"train.optimizer={optimizer}", "train.max_updates=3"]
    process = start(data, tmp_path / "run", *settings)
    errors = process.communicate(timeout=200)[1]
    assert process.returncode == 0, errors


def test_every_rank_rehearses_a_batch(data):
    prepared = open_data(data)
    settings = TrainConfig(batch_tokens=prepared.train.longest + 1)  # of one pair
    batches = [Feed(prepared, settings, Ranks(rank, 2)).largest(TrainState()) for rank in range(2)]
    assert [len(found) for found in batches] == [1, 1]


def test_an_error_of_all_ranks_is_printed_once(data, tmp_path):
    process = start(data, tmp_path / "run", "train.max_update=3")
    _, words = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words.count("unknown key") == 1
    assert not (tmp_path / "run").exists()
