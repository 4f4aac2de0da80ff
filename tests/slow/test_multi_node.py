"""Training on two hosts, made by network namespaces: `benchmarks/multi_node.sh`."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def namespaces():
    name = f"nmt-test-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    except OSError:
        pytest.skip("needs ip, of the package iproute2")
    if made.returncode:
        pytest.skip(f"may not make a network namespace: {made.stderr.decode().strip()}")
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.timeout(1200)
def test_two_hosts_train_like_one_and_survive_the_loss_of_one(data, namespaces):
    command = [ROOT / "benchmarks" / "multi_node.sh", data, "--updates", "20"]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one host killed" in done.stdout
    assert "sees a different" in done.stdout
