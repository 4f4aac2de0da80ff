"""On a GPU: the losses of the CPU, every precision, resume, translation."""

import json

import pytest
import torch

from nmtcli.checkpoint import RunDirectory
from nmtcli.models.device import open_device
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_model_laws import VARIANTS
from tests.laws.test_training_laws import tiny_batch

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
        loss, _ = TrainingLoss(model, smoothing=0.1)(batch.to(torch.device(device)))
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
    "professor forcing": ["train.objective=professor_forcing", "train.professor_hidden_size=8"],
}


@pytest.mark.parametrize("settings", OBJECTIVES.values(), ids=OBJECTIVES.keys())
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_objective_trains_and_resumes(data, tmp_path, settings, precision):
    command = ["train", data, "-o", tmp_path / "run", "--device", "cuda", "--precision", precision]
    for updates in (6, 12):
        assert nmt(*command, *overrides(*TINY, *settings, f"train.max_updates={updates}")) == 0
    assert RunDirectory(tmp_path / "run").steps()[-1] == 12
