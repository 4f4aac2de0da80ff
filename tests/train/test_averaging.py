"""Exponential moving average of the weights, and checkpoint averaging."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from nmtcli.checkpoint import RunDirectory, find_model, load_model
from nmtcli.train.averaging import FinalAverage, MovingAverage, averaged
from nmtcli.train.stopping import EarlyStopping, Validation
from tests.conftest import TINY, nmt, overrides
from tests.train.runs import train as train_shortly


def drift(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator))


def copies(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(model, weights):
    return all(torch.equal(weight, weights[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("decay", [0.05, 0.6, 0.999])
def test_the_moving_average_is_its_sum_over_all_updates(tiny_model, decay):
    model = tiny_model()
    average, expected = MovingAverage(model, decay), copies(model)
    for update in range(1, 12):
        drift(model, update)
        average.update(update)
        own = min(decay, (1 + update) / (10 + update))
        expected = {name: own * expected[name] + (1 - own) * weight for name, weight in copies(model).items()}
    with average.swap():
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight, expected[name], msg=name)


def test_the_moving_average_of_a_short_run_leaves_its_start(tiny_model):
    """Without the growing decay, ten updates at 0.999 would be one hundredth of the average."""
    model = tiny_model()
    average = MovingAverage(model, 0.999)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    start = {name: weight - 1.0 for name, weight in copies(model).items()}
    for update in range(1, 11):
        average.update(update)
    with average.swap():
        assert all((weight - start[name]).min() > 0.99 for name, weight in model.named_parameters())


def test_a_swap_is_undone_bit_for_bit_even_by_an_error(tiny_model):
    model = tiny_model()
    average = MovingAverage(model, 0.5)
    drift(model, 1)
    average.update(1)
    raw, mean = copies(model), {name: value.clone() for name, value in average.averages.items()}
    assert all(torch.equal(average.tensors()[f"raw.{name}"], weight) for name, weight in raw.items())
    with pytest.raises(RuntimeError), average.swap():
        assert same(model, mean)
        assert all(torch.equal(average.tensors()[f"raw.{name}"], weight) for name, weight in raw.items())
        raise RuntimeError
    assert same(model, raw)
    assert all(torch.equal(value, mean[name]) for name, value in average.averages.items())


def test_a_loaded_moving_average_continues_exactly(tiny_model):
    model = tiny_model()
    average = MovingAverage(model, 0.9)
    drift(model, 1)
    average.update(1)
    with average.swap():
        saved = copy.deepcopy(model)
    tensors = {name: weight.clone() for name, weight in average.tensors().items()}
    resumed = MovingAverage(saved, 0.9)
    resumed.load({**tensors, "random.cpu": torch.zeros(1)})
    assert same(saved, copies(model))
    for other in (model, saved):
        drift(other, 2)
    for one in (average, resumed):
        one.update(2)
    assert all(torch.equal(value, resumed.averages[name]) for name, value in average.averages.items())


def test_frozen_weights_are_not_averaged(tiny_model):
    model = tiny_model()
    model.encoder.requires_grad_(False)
    assert not any(name.startswith("encoder") for name in MovingAverage(model, 0.9).averages)


# ---- in training ----


def train(data, run, *settings):
    return nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *settings))


def records(run, event):
    found = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [record for record in found if record["event"] == event]


def test_the_saved_model_is_the_average_and_the_trainer_keeps_the_weights(data, tmp_path):
    assert train(data, tmp_path / "plain") == 0
    assert train(data, tmp_path / "ema", "train.ema=0.9") == 0
    plain, smooth = (RunDirectory(tmp_path / name).pointer("last") for name in ("plain", "ema"))
    weights, raw = load_file(plain / "model.safetensors"), load_file(smooth / "trainer.safetensors")
    for name, weight in weights.items():  # the average is a passenger: it changes no update
        assert torch.equal(raw[f"raw.{name}"], weight), name
    assert not all(torch.equal(weights[name], value) for name, value in load_file(smooth / "model.safetensors").items())
    losses = [records(tmp_path / name, "validated")[-1]["loss"] for name in ("plain", "ema")]
    assert losses[0] != losses[1]


def test_without_the_moving_average_training_goes_on_from_the_trained_weights(data, tmp_path):
    assert train(data, tmp_path / "run", "train.ema=0.99", "train.schedule=constant") == 0
    raw = load_file(RunDirectory(tmp_path / "run").pointer("last") / "trainer.safetensors")
    more = ["train.ema=null", "train.schedule=constant", "train.learning_rate=1e-12", "train.max_updates=14"]
    settings = overrides(*TINY, *more)
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", "--allow-changes", *settings) == 0
    for name, weight in load_file(RunDirectory(tmp_path / "run").pointer("last") / "model.safetensors").items():
        torch.testing.assert_close(weight, raw[f"raw.{name}"], rtol=0, atol=1e-6, msg=name)


AVERAGE = ["train.average=last:3", "train.keep_last=3", "train.valid_metric=loss", "train.learning_rate=0.01"]


def test_the_average_of_checkpoints_is_a_checkpoint(data, tmp_path, capsys):
    run = RunDirectory(tmp_path / "run")
    assert train(data, run.path, *AVERAGE) == 0
    assert "average of 3 checkpoints" in capsys.readouterr().err
    average = run.checkpoints / "average"
    (record,) = records(run.path, "averaged")
    assert record["checkpoints"] == ["step-0000006", "step-0000009", "step-0000012"]
    parts = [load_file(run.checkpoint(step) / "model.safetensors") for step in (6, 9, 12)]
    for name, mean in load_file(average / "model.safetensors").items():
        expected = torch.stack([part[name].double() for part in parts]).mean(dim=0).float()
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-7, msg=name)
    best = min(validated["loss"] for validated in records(run.path, "validated"))
    assert record["improved"] == (record["loss"] < best)
    assert (find_model(run.path) == average) == record["improved"]
    load_model(average)
    text = tmp_path / "text"
    text.write_text("one two\n")
    assert nmt("translate", "-m", average, "-i", text, "-o", tmp_path / "translated", "--device", "cpu") == 0


@pytest.mark.parametrize("content", ["", "{}", '{"checkpoints": '])
def test_a_damaged_record_of_an_average_is_made_again(data, tmp_path, content):
    run = RunDirectory(tmp_path / "run")
    assert train(data, run.path, *AVERAGE) == 0
    record = run.checkpoints / "average" / "average.json"
    record.write_text(content)
    assert train(data, run.path, *AVERAGE) == 0
    assert json.loads(record.read_text())["checkpoints"][-1] == "step-0000012"


def test_a_damaged_checkpoint_of_an_average_is_told_with_a_way_out(data, tmp_path, capsys):
    run = RunDirectory(tmp_path / "run")
    assert train(data, run.path, *AVERAGE) == 0
    shutil.rmtree(run.checkpoints / "average")
    weights = run.checkpoint(6) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    assert train(data, run.path, *AVERAGE) == 3
    assert "resume with --set train.average=null" in " ".join(capsys.readouterr().err.split())
    assert train(data, run.path, *AVERAGE, "train.average=null") == 0


def test_an_average_is_made_once_and_anew_after_more_updates(data, tmp_path):
    run = RunDirectory(tmp_path / "run")
    assert train(data, run.path, *AVERAGE) == 0
    written = (run.checkpoints / "average" / "average.json").stat().st_mtime_ns
    last = (run.path / "best").read_text()
    assert train(data, run.path, *AVERAGE) == 0
    assert (run.checkpoints / "average" / "average.json").stat().st_mtime_ns == written
    assert (run.path / "best").read_text() == last
    assert train(data, run.path, *AVERAGE, "train.max_updates=15") == 0
    record = json.loads((run.checkpoints / "average" / "average.json").read_text())
    assert record["checkpoints"] == ["step-0000009", "step-0000012", "step-0000015"]
    find_model(run.path)


def test_a_better_average_of_an_earlier_end_is_kept(data, tmp_path):
    run = RunDirectory(tmp_path / "run")
    assert train(data, run.path, *AVERAGE) == 0
    record = run.checkpoints / "average" / "average.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"loss": 0.5}))
    for _ in range(2):
        assert train(data, run.path, *AVERAGE, "train.max_updates=15") == 0
        told = records(run.path, "averaged")[-1]
        assert (told["loss"], told["checkpoints"][-1], told["improved"]) == (0.5, "step-0000012", True)
        assert find_model(run.path) == run.checkpoints / "average"


@pytest.mark.parametrize(("selection", "steps"), [("last:2", [9, 12]), ("best:2", [6, 12]), ("last:9", [6, 9, 12])])
def test_averaged_checkpoints_are_the_newest_or_the_best(trained, tmp_path, selection, steps):
    run = RunDirectory(shutil.copytree(trained, tmp_path / "run"))
    stopping = EarlyStopping(
        "bleu", patience=None, keep_best=2, best=[Validation(1.0, 1.0, 6), Validation(0.5, 1.0, 12)]
    )
    average = FinalAverage(run, selection, stopping)
    assert average.parts() == [run.checkpoint(step) for step in steps]
    model = load_model(run.checkpoint(12))
    before, seen = copies(model), []

    def measure(score):
        seen.append(copies(model))
        return None if score is None else {"bleu": score}

    assert average.make(model, lambda: measure(None), lambda directory: None) is None
    assert not average.directory.exists()
    done = average.make(model, lambda: measure(0.9), lambda directory: (directory / "config.json").write_text("{}"))
    assert done == {"bleu": 0.9, "checkpoints": [run.checkpoint(step).name for step in steps], "improved": False}
    assert same(model, before)
    with averaged(model, average.parts()):
        assert same(model, seen[0])
    assert run.pointer("best") in (run.checkpoint(6), run.checkpoint(12))
    shutil.rmtree(average.directory)
    assert average.make(model, lambda: measure(1.5), lambda directory: (directory / "config.json").write_text("{}"))
    assert run.pointer("best") == average.directory


def test_an_average_is_measured_again_for_another_set_of_sentences(data, tmp_path):
    run, average = tmp_path / "run", ["train.average=last:2", "train.keep_last=9"]
    assert train_shortly(data, run, *average) == 0
    record = run / "checkpoints" / "average" / "average.json"
    first = json.loads(record.read_text())
    more = [*average, "train.valid_sentences=3"]
    assert train_shortly(data, run, *more, options=["--allow-changes"]) == 0
    again = json.loads(record.read_text())
    assert first["checkpoints"] == again["checkpoints"]
    assert (first["measure"], again["measure"]) == tuple(
        f"bleu of {sentences} sentences, beam_size 2" for sentences in (10, 3)
    )
