"""Workers of a Dask scheduler: order, bounded look-ahead, lost workers and schedulers."""

import sys
from collections import deque
from concurrent.futures import Future

import pytest

pytest.importorskip("distributed", reason="needs the extra cluster")

from nmtcli.data import cluster as module
from nmtcli.data.workers import AHEAD, connected
from nmtcli.errors import DataError, ExitCode, ResourceError, UserError
from nmtcli.options import silent
from tests.clusters import cluster
from tests.prepare.text_lengths import TextLength

NANNY = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}


def name(item):
    return f"item {item}"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("two"), 2, **NANNY) as made:
        yield made


def test_results_keep_their_order_and_few_items_are_read_ahead(two):
    read = []

    def items():
        for number in range(40):
            read.append(number)
            yield "x" * number

    with connected(str(two.file), silent) as found:
        found.wait_for_workers({})
        with found.workers(TextLength, name) as workers:
            for number, result in enumerate(workers.map(items())):
                assert result == number
                assert len(read) - number <= 2 * AHEAD
    assert len(read) == 40


def test_an_item_that_kills_its_workers_is_named(two):
    with connected(str(two.file), silent) as found, found.workers(TextLength, name) as workers:
        results = workers.map(["aa", "die", "b", "cccc"])
        assert next(results) == 2
        with pytest.raises(ResourceError, match=r"^item die: 2 workers in a row were killed") as caught:
            next(results)
        assert caught.value.exit_code == ExitCode.RESOURCES


def test_a_result_that_dask_loses_on_its_way_is_computed_again(two):
    """`distributed.cfexecutor` fails to unpack a result whose worker dies before the status of its future is read."""
    lost = Future()
    lost.set_exception(TypeError("cannot unpack non-iterable int object"))
    with connected(str(two.file), silent) as found, found.workers(TextLength, name) as workers:
        assert workers.result("aaa", lost, deque()) == 3
        with pytest.raises(TypeError, match="has no len"):  # of the task itself
            next(workers.map([5]))


def test_gpus_are_resources_of_workers(two):
    with (
        connected(str(two.file), silent) as found,
        pytest.raises(UserError, match="no worker has the resource GPU=1"),
    ):
        found.wait_for_workers({"GPU": 1.0})


def test_a_lost_scheduler_ends_the_work_at_once(tmp_path):
    with (
        cluster(tmp_path / "one", 1, "--no-nanny") as made,
        connected(str(made.file), silent) as found,
        found.workers(TextLength, name) as workers,
    ):
        results = workers.map("x" for _ in range(10**6))
        assert next(results) == 1
        made.kill(made.scheduler)
        with pytest.raises(ResourceError, match="the scheduler was lost or restarted"):
            list(results)


@pytest.mark.parametrize(
    ("scheduler", "kind", "message"),
    [
        ("missing.json", UserError, "no such file, and not an address"),
        ("damaged.json", DataError, "not a file of a Dask scheduler"),
        ("tcp://127.0.0.1:9", ResourceError, "no Dask scheduler answers"),
        ("127.0.0.1:9", ResourceError, "no Dask scheduler answers"),
        ("tcp://127.0.0.1:port", ResourceError, "no Dask scheduler answers"),
    ],
)
def test_a_scheduler_that_cannot_be_reached(scheduler, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_CONNECTING", 0.5)
    (tmp_path / "damaged.json").write_text("{}")
    with pytest.raises(UserError, match=message) as caught, connected(scheduler, silent):
        pass
    assert type(caught.value) is kind
    assert "\n" not in caught.value.message


@pytest.fixture
def without(tmp_path):
    """The variables of a process that has no nmtcli."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['nmtcli'] = None\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_a_first_message_that_dask_does_not_expect_is_tried_again(two, monkeypatch):
    tries = iter([AssertionError, AssertionError])

    def client(address, **options):
        if error := next(tries, None):
            raise error
        return original(address, **options)

    original = module.Client
    monkeypatch.setattr(module, "Client", client)
    with connected(str(two.file), silent) as found:
        assert found.workers_count == 2


def test_a_file_that_the_scheduler_is_still_writing_is_read_again(two, tmp_path, monkeypatch):
    whole, file = two.file.read_text(), tmp_path / "scheduler.json"
    file.write_text(whole[: len(whole) // 2])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: file.write_text(whole))
    with connected(str(file), silent) as found:
        assert found.workers_count == 2


def test_a_scheduler_without_nmtcli_is_named(tmp_path, without):
    with (
        cluster(tmp_path / "bare", scheduler=without) as made,
        pytest.raises(UserError, match=r"the scheduler .*json: nmtcli, or a package that it needs, is missing"),
        connected(str(made.file), silent),
    ):
        pass


def test_a_worker_without_nmtcli_is_named(two, without):
    two.add(1, "--no-nanny", **without)
    try:
        with connected(str(two.file), silent) as found:
            able = found.wait_for_workers({})
            with pytest.raises(UserError, match=r"worker tcp.*: nmtcli, or a package that it needs, is missing"):
                found.run(TextLength, able)
    finally:
        two.kill(two.workers.pop())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "nmtcli.data.cluster")
    monkeypatch.delattr("nmtcli.data.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="needs the package distributed") as caught:
        connected("tcp://127.0.0.1:9", silent)
    assert caught.value.hint == "pip install 'nmtcli[cluster]'"


def test_a_scheduler_without_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    said = []
    with (
        cluster(tmp_path / "none") as made,
        connected(str(made.file), lambda message, warning=False: said.append(message)) as found,
        pytest.raises(ResourceError, match="has no workers"),
    ):
        found.wait_for_workers({})
    assert len(said) == 1
