"""Model directories: clear errors for damage, retention keeps the best checkpoint, averages are means."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from nmtcli import checkpoint
from nmtcli.checkpoint import (
    RunDirectory,
    average_weights,
    find_model,
    load_model,
    model_files,
    read_info,
    save_tensors,
    tensor_file,
)
from nmtcli.data.batching import Sentences
from nmtcli.errors import DataError, UserError
from nmtcli.train.batches import make_batch
from nmtcli.translate.shortlist import SHORTLIST, Shortlist
from tests.conftest import nmt


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a checkpoint to damage."""
    return shutil.copytree(find_model(trained), tmp_path / "model")


def refused(capsys, model):
    """What `nmt translate` says of it, and that it is a data error."""
    assert nmt("translate", "-m", model, "-i", model / "config.json") == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_truncated_weights_are_refused(model, capsys):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors: damaged or cut short" in refused(capsys, model)


def test_missing_files_of_a_checkpoint_are_named(model, capsys):
    (model / "tokenizer.model").unlink()
    assert "has no tokenizer" in refused(capsys, model)
    (model / "model.safetensors").unlink()
    assert "model.safetensors: missing" in refused(capsys, model)


def test_a_newer_format_is_refused(model, capsys):
    raw = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**raw, "format": 99, "nmtcli": "9.9"}))
    words = refused(capsys, model)
    assert "format 99, written by nmt 9.9" in words
    assert "upgrade nmtcli" in words


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not valid JSON"), ("[]", "not a JSON object"), ("{}", "no format number"), ('{"format": 1}', "damaged")],
)
def test_a_damaged_config_is_refused(model, capsys, text, words):
    (model / "config.json").write_text(text)
    assert words in refused(capsys, model)


def test_weights_that_do_not_fit_their_config(model, capsys):
    raw = json.loads((model / "config.json").read_text())
    raw["model"]["decoder"]["hidden_size"] = 20
    (model / "config.json").write_text(json.dumps(raw))
    assert "weights do not match config.json" in refused(capsys, model)


def test_directories_without_a_model_are_refused(tmp_path, data, capsys):
    assert "no such model" in refused_path(tmp_path / "absent", capsys)
    assert "a data directory, not a model" in refused_path(data, capsys)
    assert "not a model directory" in refused_path(tmp_path, capsys)
    (tmp_path / "checkpoints").mkdir()
    assert "no checkpoint yet" in refused_path(tmp_path, capsys)


def refused_path(path, capsys):
    assert nmt("translate", "-m", path, "-i", "-") == 3
    return capsys.readouterr().err


def test_a_run_directory_stands_for_its_best_checkpoint(trained):
    assert find_model(trained) == RunDirectory(trained).pointer("best")
    assert find_model(find_model(trained)) == find_model(trained)


def test_a_pointer_file_is_refused_as_a_model(trained):
    with pytest.raises(DataError, match="is a pointer to a checkpoint") as raised:
        find_model(trained / "best")
    assert f"-m {trained}" in str(raised.value.hint)


def test_a_pointer_to_a_missing_checkpoint_is_reported(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    RunDirectory(run).point("best", 999)
    with pytest.raises(DataError, match="is not a checkpoint"):
        find_model(run)


def test_saved_and_loaded_weights_compute_the_same(trained):
    batch = make_batch(Sentences.of([[5, 6, 7], [5]]), Sentences.of([[6], [7, 8]]))
    outputs = []
    for _ in range(2):
        model = load_model(find_model(trained))
        outputs.append(model(batch.source, batch.source_length, batch.target_input))
    assert torch.equal(*outputs)


def test_an_average_is_the_mean(trained):
    directories = RunDirectory(trained).select("last:2")
    assert len(directories) == 2
    mean = average_weights(directories)
    one, two = (load_file(directory / "model.safetensors") for directory in directories)
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (one[name] + two[name]) / 2)


@pytest.mark.parametrize("selection", ["last", "last:0", "newest:2", "best:x"])
def test_malformed_checkpoint_selections_are_refused(trained, selection):
    with pytest.raises(UserError, match="last:N or best:N"):
        RunDirectory(trained).select(selection)


def test_more_checkpoints_than_kept_cannot_be_averaged(trained):
    with pytest.raises(UserError, match="has 3 such checkpoints") as error:
        RunDirectory(trained).select("last:9")
    assert "train.keep_last=9" in error.value.hint


def test_retention_keeps_the_best_and_the_last(trained):
    run = RunDirectory(trained)
    state = checkpoint.read_json(run.pointer("last") / "state.json")
    assert {step for *_, step in state["best"]} <= set(run.steps())
    assert run.steps()[-1] == state["step"] == 12


def test_pointers_and_fingerprint_are_files_of_a_model(trained):
    assert {trained / "best", trained / "last", trained / "fingerprint"} <= set(model_files(trained))


def test_damaged_numbers_are_reported(model, trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "best").write_bytes(b"\xff")
    assert nmt("translate", "-m", run, "-i", os.devnull) == 3
    newest = RunDirectory(run).checkpoint(RunDirectory(run).steps()[-1])
    (newest / "state.json").write_text("{}")
    with pytest.raises(DataError, match="no list of best checkpoints"):
        RunDirectory(run).select("best:1")
    with pytest.raises(UserError, match="write it as last:N"):
        RunDirectory(run).select("last:²")
    (newest / "config.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not valid JSON"):
        read_info(newest)


def test_a_copy_of_a_checkpoint_under_another_name_is_none(trained, tmp_path):
    run = RunDirectory(shutil.copytree(trained, tmp_path / "run"))
    steps = run.steps()
    shutil.copytree(run.checkpoint(steps[-1]), run.checkpoints / "step-99")
    assert run.steps() == steps


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_weights_have_the_permissions_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_tensors(tmp_path / "weights.safetensors", {"one": torch.ones(2)})
        Shortlist(np.zeros((2, 2), np.int32), np.zeros(2, np.int32), 8).save(tmp_path)
    finally:
        os.umask(before)
    for name in ("weights.safetensors", SHORTLIST):
        assert (tmp_path / name).stat().st_mode & 0o777 == mode


def test_a_full_disk_while_weights_are_written_is_an_oserror(tmp_path):
    """safetensors hides the errno in the words of an error of its own."""
    with pytest.raises(OSError, match="No space left") as error, tensor_file(tmp_path / "weights"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert error.value.errno == errno.ENOSPC


def test_only_whole_checkpoints_of_a_diverged_training_come_back(tmp_path):
    run = RunDirectory(tmp_path)
    names = "config.json", "state.json"
    for step in (1, 2, 3):
        run.save(step, lambda directory: [(directory / name).write_text("{}") for name in names])
    run.set_aside([2, 3])
    assert run.steps() == [1]
    half = run.checkpoints / ".step-0000004.partial"  # a kill while it was deleted
    half.mkdir()
    (half / "state.json").write_text("{}")
    run.bring_back()
    assert run.steps() == [1, 2, 3]
    run.set_aside([2, 3])
    run.point("last", 1)
    run.prune({1})
    run.bring_back()
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-0000001"]
