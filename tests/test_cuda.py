"""What needs a GPU: the same losses as on the CPU, every precision, resume, translation, loops as CUDA graphs."""

import json

import pytest
import torch

from nmtcli.checkpoint import RunDirectory
from nmtcli.models import graphs
from nmtcli.models.device import open_device
from nmtcli.models.graphs import LoopGraphs
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_model_laws import BAHDANAU, FEEDING, VARIANTS
from tests.laws.test_training_laws import tiny_batch
from tests.test_loop import LOOPS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.fixture(autouse=True)
def device():
    return open_device("cuda")


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda settings: ",".join(settings) or "default")
def test_loss_and_gradients_equal_those_of_the_cpu(tiny_model, settings):
    batch = tiny_batch()
    results = []
    for device in ("cpu", "cuda"):
        model = tiny_model(*settings, "model.dropout=0", vocabulary=30).to(device).train()
        loss = TrainingLoss(model, smoothing=0.1)(batch.to(torch.device(device)))
        loss.backward()
        results.append([loss.detach().cpu(), *(weight.grad.cpu() for weight in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=1e-4 + 2e-3 * theirs.abs().max().item())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains_resumes_and_translates(data, corpus, tmp_path, precision):
    run = tmp_path / "run"
    settings = [*TINY, "train.learning_rate=0.01", "train.valid_every=40"]
    command = ["train", data, "-o", run, "--device", "cuda", "--precision", precision]
    for updates in (40, 80):
        assert nmt(*command, *overrides(*settings, f"train.max_updates={updates}")) == 0
    assert RunDirectory(run).steps()[-1] == 80
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["event"] == "updated"]
    assert losses[-1] < 0.8 * losses[0]
    for device in ("cuda", "cpu"):
        command = ["translate", "-m", run, "-i", corpus / "valid.words", "-o", tmp_path / device, "--device", device]
        assert nmt(*command) == 0
    lines = [(tmp_path / device).read_bytes().split(b"\n") for device in ("cuda", "cpu")]
    assert sum(one == other for one, other in zip(*lines, strict=True)) >= 39


OBJECTIVES = {
    "scheduled sampling": ["train.scheduled_sampling=exponential", "train.teacher_forcing_half_life=5"],
    "minimum risk": ["train.objective=mrt", "train.mrt_samples=4"],
}


@pytest.mark.parametrize("settings", OBJECTIVES.values(), ids=OBJECTIVES.keys())
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_objective_trains_and_resumes(data, tmp_path, settings, precision):
    command = ["train", data, "-o", tmp_path / "run", "--device", "cuda", "--precision", precision]
    for updates in (6, 12):
        assert nmt(*command, *overrides(*TINY, *settings, f"train.max_updates={updates}")) == 0
    assert RunDirectory(tmp_path / "run").steps()[-1] == 12


def losses_and_gradients(model, batches, dtype, updates=3):
    """Of some updates of two micro-batches each, with steps of the weights in between."""
    objective, found = TrainingLoss(model.train(), smoothing=0.1), []
    for update in range(updates):
        torch.manual_seed(update)
        model.zero_grad(set_to_none=True)
        losses = []
        for batch in batches[update : update + 2]:
            with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                loss = objective(batch)
            loss.backward()
            losses.append(loss.detach())
        found += [*losses, *(weight.grad.clone() for weight in model.parameters())]
        with torch.no_grad():
            for weight in model.parameters():
                weight.sub_(weight.grad, alpha=1e-3)
    return found


def batches(count):
    device = torch.device("cuda")
    return [tiny_batch(size=9, seed=number).to(device) for number in range(count)]


@pytest.mark.parametrize("settings", LOOPS, ids=",".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_loop_as_graphs_is_the_loop(tiny_model, settings, dtype):
    results, data = [], batches(4)
    for graphed in (False, True):
        model = tiny_model(*settings, "model.dropout=0", vocabulary=30).to("cuda")
        if graphed:
            model.decoder.graphs = LoopGraphs()
        results.append(losses_and_gradients(model, data, dtype))
        if graphed:
            assert model.decoder.graphs._graphs and not model.decoder.graphs._off
    close = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.1}
    for number, (plain, ours) in enumerate(zip(*results, strict=True)):
        torch.testing.assert_close(ours, plain, **close, msg=lambda words, number=number: f"{number}: {words}")


def test_few_graphs_are_kept(tiny_model, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 1)
    model, data = tiny_model(*FEEDING, vocabulary=30).to("cuda"), batches(1)
    model.decoder.graphs = LoopGraphs()
    small = tiny_batch(size=3, seed=7).to(torch.device("cuda"))
    for batch in (data[0], small, data[0]):
        losses_and_gradients(model, [batch, batch], torch.float32, updates=1)
        assert len(model.decoder.graphs._graphs) == 1


def test_a_run_whose_gradient_waits_keeps_its_numbers(tiny_model):
    model, (one, other) = tiny_model(*FEEDING, "model.dropout=0", vocabulary=30).to("cuda").train(), batches(2)
    objective = TrainingLoss(model, smoothing=0.1)
    objective(one).backward()
    alone = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    model.decoder.graphs = LoopGraphs()
    waiting = objective(one)
    objective(other)  # would write over what the gradient of the first needs
    waiting.backward()
    for ours, weight in zip(alone, model.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, ours, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_captured_runs_without_graphs(tiny_model, monkeypatch):
    model, data = tiny_model(*BAHDANAU, vocabulary=30).to("cuda"), batches(2)
    model.decoder.graphs = LoopGraphs()
    positions = model.decoder.positions

    def waits(inputs):
        inputs["projected"].sum().item()
        return positions(inputs)

    monkeypatch.setattr(model.decoder, "positions", waits)
    with pytest.warns(UserWarning, match="without CUDA graphs"):
        ours = losses_and_gradients(model, data, torch.float32, updates=1)
    monkeypatch.undo()
    model.decoder.graphs = None
    assert all(part.isfinite().all() for part in ours)
    losses_and_gradients(model, data, torch.float32, updates=1)
