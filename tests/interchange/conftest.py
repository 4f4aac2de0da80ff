"""A cache of converted models for these tests alone."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The directory that stands for ~/.cache; no test asks the network."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield home
