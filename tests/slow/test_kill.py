"""The default model on the phrasebook, killed three times at random, against the uninterrupted run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmtcli.checkpoint import RunDirectory
from tests.conftest import nmt, overrides
from tests.laws.test_training_laws import assert_same_run

SCRIPT = Path(__file__).parents[2] / "recipes" / "phrasebook" / "phrasebook.py"
SETTINGS = ["train.max_updates=240", "train.valid_every=120", "train.save_every=20", "train.valid_sentences=50"]
SETTINGS += ["train.batch_tokens=600", "train.keep_last=2"]

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_three_kills_change_no_bit_of_the_default_model(tmp_path):
    text = tmp_path / "text"
    subprocess.run([sys.executable, str(SCRIPT), str(text), "--pairs", "4000"], check=True)
    files = [
        part
        for s in ("train", "valid")
        for side, code in (("source", "en"), ("target", "ko"))
        for part in (f"--{s}-{side}", text / f"{s}.{code}")
    ]
    assert nmt("prepare", "-o", tmp_path / "data", *files, "--vocab-size", "1000") == 0
    command = [
        sys.executable,
        "-m",
        "nmtcli",
        "train",
        str(tmp_path / "data"),
        "--device",
        "cpu",
        *overrides(*SETTINGS),
    ]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    start = time.monotonic()
    subprocess.run([*command, "-o", str(straight)], check=True)
    whole = time.monotonic() - start
    moments = []
    for _ in range(3):
        process = subprocess.Popen([*command, "-o", str(killed)])
        time.sleep(random.uniform(0.25, 0.45) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append(RunDirectory(killed).steps()[-1:])
    subprocess.run([*command, "-o", str(killed)], check=True)
    assert_same_run(straight, killed)
    print(f"killed after the checkpoints of updates {moments} of 240")
