"""Worker processes that nobody waits for any more."""

import pytest

from nmtcli.data.workers import local_workers


def large_result(item: int) -> bytes:
    """More than a pipe holds, so a worker is killed while it sends it."""
    return bytes(30_000_000)


def make_task():
    """The task of a worker."""
    return large_result


@pytest.mark.timeout(60)
@pytest.mark.parametrize("results", [1, 2, 3])
def test_an_error_ends_workers_that_are_sending_a_result(results):
    with pytest.raises(KeyError), local_workers(2, make_task) as workers:
        for number, _ in enumerate(workers.map(range(50)), 1):
            if number == results:
                raise KeyError(number)
