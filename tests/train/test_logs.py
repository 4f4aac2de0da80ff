"""Logs of a run: valid JSON, repeated updates once, messages on a full disk."""

import json
import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.errors import ExitCode, ResourceError
from nmtcli.train.history import read_history
from nmtcli.train.logs import MetricsLog, TensorBoardLog, open_logs, scalars
from tests.conftest import TINY, fill, nmt, overrides

NUMBERS = st.one_of(st.integers(-10, 10), st.floats(allow_subnormal=False), st.none(), st.booleans())
METRICS = st.fixed_dictionaries(
    {"step": st.integers(0, 100), "loss": NUMBERS, "text": st.text(st.characters()), "groups": st.lists(NUMBERS)},
    optional={"accuracy_by_position": st.dictionaries(st.text(), st.dictionaries(st.text(), NUMBERS))},
)


def strict(text):
    """JSON as every other reader knows it: NaN and Infinity are mistakes."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def same(found, written):
    if isinstance(written, dict):
        return all(same(found[key], value) for key, value in written.items())
    if isinstance(written, list):
        return all(map(same, found, written))
    if isinstance(written, float) and not math.isfinite(written):
        return found is None
    if isinstance(written, str):
        return found == written.encode(errors="replace").decode()
    return found == written


@settings(max_examples=30, deadline=None)
@given(
    metrics=METRICS,
    first=st.sampled_from(["started", "passed_over"]),
    event=st.sampled_from(["started", "updated", "split", "recovered", "stopped", "validated"]),
    half=st.binary(max_size=20),
)
def test_metrics_jsonl_is_valid_json_for_any_value(tmp_path_factory, metrics, first, event, half):
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    MetricsLog(path).updated({"step": 1})
    with path.open("ab") as file:
        file.write(half.replace(b"\n", b""))  # a process was killed while it wrote
    log = MetricsLog(path)
    getattr(log, first)({"step": 1})
    getattr(log, event)(metrics, *([[("a\nb", '"', "\udc80")]] if event == "validated" else []))
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    events = [strict(line) for line in lines]
    assert [record["event"] for record in events] == ["updated", first, event]
    assert same(events[-1], metrics)


def test_a_full_disk_leaves_no_partial_line(make_disk):
    disk = make_disk("64k")
    log = MetricsLog(disk / "metrics.jsonl")
    log.started({"step": 0})
    fill(disk)
    with pytest.raises(ResourceError, match=r"metrics\.jsonl: the disk is full") as error:
        for step in range(1, 1000):
            log.updated({"step": step, "words": "x" * 100})
    assert "run the same command again to resume" in error.value.hint
    steps = [strict(line)["step"] for line in log.path.read_text().splitlines()]
    assert steps == list(range(step))
    (disk / "ballast").unlink()
    log.started({"step": 0})
    assert strict(log.path.read_text().splitlines()[-1])["event"] == "started"


# ---- TensorBoard ----


def test_a_folder_with_the_name_of_a_package_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "tensorboard").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    assert not TensorBoardLog.installed()


def drawn(directory):
    """What TensorBoard draws: the values of each tag by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_has_all_numbers_and_repeated_updates_once(tmp_path):
    pytest.importorskip("tensorboard")
    for start, steps in ((0, (2, 4, 6, 8)), (4, (6, 8, 10))):
        log = TensorBoardLog(tmp_path)  # a process that went on from the checkpoint of update 4
        log.started({"step": start})
        for step in steps:
            log.updated({"step": step, "loss": step + start / 100, "improved": True})
    log.validated({"step": 10, "bleu": 7, "accuracy_by_position": {"1-5": {"free_running": 0.5}}}, [])
    log.recovered({"step": 10, "to_step": 8})
    log.updated({"step": 10, "loss": math.inf})
    log.stopped({"step": 10})
    found = drawn(tmp_path)
    assert [step for step, _ in found["train/loss"]] == [2, 4, 6, 8, 10]
    assert [value for _, value in found["train/loss"]][2:] == [pytest.approx(6.04), pytest.approx(8.04), math.inf]
    assert set(found) <= {"train/loss", "valid/bleu", "valid/accuracy_by_position/1-5/free_running"}


def test_tensorboard_on_a_full_disk_gives_a_message(make_disk, capfd):
    pytest.importorskip("tensorboard")
    disk = make_disk("64k")
    log = TensorBoardLog(disk / "tensorboard")
    log.started({"step": 0})
    fill(disk)
    with pytest.raises(ResourceError, match="tensorboard: the disk is full"):
        for step in range(1, 1000):
            log.updated({"step": step, "loss": 1.0})
    assert capfd.readouterr().err == ""


def test_scalars_are_named_by_their_groups():
    metrics = {"step": 3, "loss": 1.5, "improved": True, "text": "x", "by": {"1-5": {"right": 2}}}
    assert dict(scalars(metrics)) == {"loss": 1.5, "by/1-5/right": 2}


# ---- Weights & Biases ----

PROJECT = ["train.wandb_project=try"]


def test_wandb_gets_the_numbers_and_resumes_the_same_run(data, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in (("MODE", "offline"), ("CONFIG_DIR", tmp_path), ("CACHE_DIR", tmp_path), ("SILENT", "true")):
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    run = tmp_path / "run"
    for updates in (6, 8):
        length = [*TINY, *PROJECT, "train.schedule=constant", f"train.max_updates={updates}"]
        assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*length)) == 0
    files = list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    identity = (run / "wandb-id").read_text().strip()
    assert all(file.name == f"run-{identity}.wandb" for file in files)
    written = b"".join(file.read_bytes() for file in files)
    for name in (b"train/loss", b"valid/bleu", b"valid/accuracy_by_position/1-5/free_running", b"wandb_project"):
        assert name in written


def test_a_missing_wandb_package_is_reported_before_training(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    run = tmp_path / "run"
    assert nmt("train", data, "-o", run, *overrides(*TINY, *PROJECT)) == ExitCode.USAGE
    assert "train.wandb_project is set, but wandb is not installed" in capsys.readouterr().err
    assert not run.exists()


def test_without_a_wandb_project_nothing_is_sent(trained):
    from nmtcli.settings import load_config

    config = load_config(files=[trained / "config.yaml"])
    assert {type(log).__name__ for log in open_logs(trained, config)} <= {"MetricsLog", "TensorBoardLog"}
    assert read_history(trained).step == 12
