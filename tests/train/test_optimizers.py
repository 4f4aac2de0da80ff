"""Optimizers: weight decay, moments by parameter name, exact resume."""

import copy

import pytest
import torch

from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.optimizers import is_matrix, load_optimizer, make_optimizer, optimizer_tensors, state_bytes
from tests.conftest import TINY, model_config

KINDS = ["adam", "adamw", "sgd"]
WITH_VECTORS = ["model.attention.type=additive", "model.encoder.layer_norm=true", "model.embedding.tie=target"]


def settings(*overrides):
    return load_config(overrides=[*TINY, *overrides]).train


def tiny():
    torch.manual_seed(0)
    return Seq2Seq(model_config(*WITH_VECTORS), 12, 12)


def set_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


def step(optimizer, model, seed, rate=0.01):
    for group in optimizer.param_groups:
        group["lr"] = rate
    set_gradients(model, seed)
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_optimizer_continues_exactly(kind):
    config = settings(f"train.optimizer={kind}", *(["train.weight_decay=0.1"] if kind != "adam" else []))
    model = tiny()
    optimizer = make_optimizer(model, config)
    for seed in range(3):
        step(optimizer, model, seed)
    other = copy.deepcopy(model)
    resumed = make_optimizer(other, config)
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    load_optimizer(resumed, {**saved, "random.cpu": torch.zeros(1), "raw.encoder": torch.zeros(1)})
    for seed in range(3, 6):
        step(optimizer, model, seed)
        step(resumed, other, seed)
    for (name, weight), twin in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, twin), name
    after = optimizer_tensors(resumed)
    for name, tensor in optimizer_tensors(optimizer).items():
        assert torch.equal(tensor, after[name]), name
    assert (not saved) == (kind == "sgd")
    if kind != "sgd":
        assert saved.keys() == {
            f"{kind}.{key}.{name}" for key in ("step", "exp_avg", "exp_avg_sq") for name, _ in model.named_parameters()
        }


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_weight_decay_acts_on_matrices_only(kind):
    """Of a weight w without gradient an update leaves (1 - lr · decay) w (Loshchilov and Hutter 2019, equation 12)."""
    model = tiny()
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(2.0)
            weight.grad = torch.zeros_like(weight)
    optimizer = make_optimizer(model, settings(f"train.optimizer={kind}", "train.weight_decay=0.5"))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    vectors = {name for name, weight in model.named_parameters() if (weight == 2.0).all()}
    for name, weight in model.named_parameters():
        if name not in vectors:
            torch.testing.assert_close(weight, torch.full_like(weight, 1.9), msg=name)
    assert {name for name, weight in model.named_parameters() if not is_matrix(weight)} == vectors
    for part in ("bias_ih", "norms.cell.weight", "attention.score"):
        assert any(part in name for name in vectors), part
    for part in ("embedding.weight", "weight_hh", "project_keys.weight"):
        assert not any(part in name for name in vectors), part


def test_sgd_is_plain_descent_and_adamw_without_decay_is_adam():
    model, start = tiny(), [weight.detach().clone() for weight in tiny().parameters()]
    step(make_optimizer(model, settings("train.optimizer=sgd")), model, seed=0, rate=0.25)
    for before, weight in zip(start, model.parameters(), strict=True):
        torch.testing.assert_close(weight, before - 0.25 * weight.grad)
    one, other = tiny(), tiny()
    for kind, model in (("adam", one), ("adamw", other)):
        optimizer = make_optimizer(model, settings(f"train.optimizer={kind}"))
        for seed in range(3):
            step(optimizer, model, seed)
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_weight_without_stored_moments_starts_anew():
    model, config = tiny(), settings()
    optimizer = make_optimizer(model, config)
    step(optimizer, model, 0)
    saved = {name: value for name, value in optimizer_tensors(optimizer).items() if "source_embed" not in name}
    resumed = make_optimizer(model, config)
    load_optimizer(resumed, saved)
    assert model.source_embedding.weight not in resumed.state
    step(resumed, model, 1)
    assert float(resumed.state[model.source_embedding.weight]["step"]) == 1
    assert float(resumed.state[model.target_embedding.weight]["step"]) == 2


def test_optimizer_memory_counts_trained_weights_only():
    model = tiny()
    everything = sum(weight.nbytes for weight in model.parameters())
    assert state_bytes(model, settings()) == 4 * everything
    assert state_bytes(model, settings("train.optimizer=sgd")) == 2 * everything
    assert state_bytes(model, settings("train.ema=0.99")) == 5 * everything
    model.source_embedding.requires_grad_(False)
    assert state_bytes(model, settings()) == 4 * everything - 3 * model.source_embedding.weight.nbytes
