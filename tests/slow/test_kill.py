"""Training processes killed at any time: the run resumes to the same weights, bit for bit."""

import random
import signal
import subprocess
import sys
import time

import pytest

from nmtcli.checkpoint import RunDirectory, find_model, load_model
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_training_laws import assert_same_run
from tests.models.test_presets import complete_presets, shrunk

SETTINGS = ["train.max_updates=240", "train.valid_every=120", "train.save_every=20", "train.valid_sentences=50"]
SETTINGS += ["train.batch_tokens=600", "train.keep_last=2"]
# All that has a state of its own.
EVERYTHING = ["train.scheduled_sampling=inverse_sigmoid", "train.teacher_forcing_half_life=20", "train.ema=0.99"]
EVERYTHING += ["train.subword_sampling=0.1", "train.schedule=plateau", "train.plateau_patience=1"]
RECURRENT = [name for name in complete_presets() if not name.startswith(("transformer", "hybrid", "deep"))]

pytestmark = pytest.mark.slow


def training(data, *settings):
    return [sys.executable, "-m", "nmtcli", "train", str(data), "--device", "cpu", *overrides(*settings)]


def kill_often(command, run, kills, whole):
    """Start the command again and again and kill each after a random part of the time the whole run takes."""
    moments = []
    for number in range(kills):
        process = subprocess.Popen([*command, "-o", str(run)], stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.25, 1.0) * whole)
        if number % 2:  # while a checkpoint is written
            while not list(run.glob("checkpoints/.step-*.partial")) and process.poll() is None:
                pass
        moments.append("writing" if list(run.glob("checkpoints/.step-*.partial")) else "")
        process.send_signal(signal.SIGKILL)
        process.wait()
        if RunDirectory(run).steps():
            load_model(find_model(run))
        moments[-1] = f"{moments[-1]} {RunDirectory(run).steps()[-1:]}".strip()
    return moments


@pytest.mark.timeout(900)
def test_the_default_model_resumes_exactly_after_three_kills(tmp_path):
    assert nmt("demo", "-o", tmp_path, "--text-only", "--pairs", "4000") == 0
    text = tmp_path / "text"
    files = [
        part
        for s in ("train", "valid")
        for side, code in (("source", "en"), ("target", "ko"))
        for part in (f"--{s}-{side}", text / f"{s}.{code}")
    ]
    assert nmt("prepare", "-o", tmp_path / "data", *files, "--vocab-size", "1000") == 0
    command = training(tmp_path / "data", *SETTINGS)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    start = time.monotonic()
    subprocess.run([*command, "-o", str(straight)], check=True)
    moments = kill_often(command, killed, 3, 0.45 * (time.monotonic() - start))
    subprocess.run([*command, "-o", str(killed)], check=True)
    assert_same_run(straight, killed)
    print(f"killed after the checkpoints of updates {moments} of 240")


@pytest.mark.timeout(1800)
def test_a_run_resumes_exactly_after_twenty_kills(data, tmp_path):
    settings = [*EVERYTHING, "train.max_updates=3000", "train.save_every=1", "train.valid_every=100"]
    command = training(data, *TINY, *settings)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    start = time.monotonic()
    subprocess.run([*command, "-o", str(straight)], check=True, stderr=subprocess.DEVNULL)
    # not before the imports are done, and a tenth of the run at most
    moments = kill_often(command, killed, 20, 4 + (time.monotonic() - start) / 10)
    subprocess.run([*command, "-o", str(killed)], check=True, stderr=subprocess.DEVNULL)
    assert_same_run(straight, killed)
    print(f"killed at {moments}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("preset", [*RECURRENT, "transformer-small", "hybrid-ssru", "deep-shallow"])
def test_verify_resume_with_all_features(data, tmp_path, capsys, preset):
    small = ["train.batch_tokens=300", "train.threads=1", "train.valid_sentences=10", "search.beam_size=2"]
    settings = overrides(*shrunk(preset, 32), *small, *EVERYTHING)
    command = ["train", data, "-o", tmp_path / "scratch", "--preset", preset, "--device", "cpu", "--verify-resume", "8"]
    assert nmt(*command, *settings) == 0
    assert "identical: all" in capsys.readouterr().out
