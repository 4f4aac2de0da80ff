"""A short run, for tests of resume and divergence."""

import shutil

import pytest

from tests.train.runs import train


@pytest.fixture(scope="session")
def nine_updates(data, tmp_path_factory):
    """A run of 9 updates, with checkpoints at 3, 6 and 9. Read it; do not write into it."""
    run = tmp_path_factory.mktemp("short") / "run"
    assert train(data, run, "train.max_updates=9", "train.keep_last=9", "train.schedule=constant") == 0
    return run


@pytest.fixture
def run(nine_updates, tmp_path):
    """A copy of it."""
    return shutil.copytree(nine_updates, tmp_path / "run")
