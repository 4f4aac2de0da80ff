"""The fused output layer and loss against PyTorch's own parts, values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from nmtcli.train import loss as loss_module
from nmtcli.train.loss import FusedSmoothedLoss, TrainingLoss
from nmtcli.train.precision import MixedPrecision
from tests.laws.test_training_laws import tiny_batch


def plain_smoothed_loss(features, weight, bias, targets, smoothing):
    """The sums of `FusedSmoothedLoss` by PyTorch's operators."""
    logits = F.linear(features, weight, bias).float()
    loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    with torch.no_grad():
        right = (logits.argmax(dim=1) == targets).sum()
        sums = torch.stack([F.cross_entropy(logits, targets, reduction="sum"), right])
    return loss, sums


@pytest.mark.parametrize("rows", [1, 7, 512])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("biased", [False, True], ids=["", "bias"])
def test_fused_loss_equals_pytorch(monkeypatch, rows, smoothing, biased):
    monkeypatch.setattr(loss_module, "CPU_ROWS", rows)
    monkeypatch.setattr(loss_module, "CACHED", 3 * 17)  # three rows
    torch.manual_seed(0)
    features, weight = torch.randn(23, 8, requires_grad=True), torch.randn(17, 8, requires_grad=True)
    targets = torch.randint(0, 17, (23,))
    bias = torch.randn(17, requires_grad=True) if biased else None
    trained = (features, weight, bias) if bias is not None else (features, weight)
    plain, plain_sums = plain_smoothed_loss(features, weight, bias, targets, smoothing)
    expected = torch.autograd.grad(plain * 0.37, trained)
    fused, sums = FusedSmoothedLoss.apply(features, weight, bias, targets, smoothing, torch.float32)
    torch.testing.assert_close(sums, plain_sums, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-4)
    found = torch.autograd.grad(fused * 0.37, trained)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_fused_loss_does_not_depend_on_the_default_type_and_device():
    torch.manual_seed(0)
    features, weight, targets = torch.randn(23, 8), torch.randn(17, 8), torch.randint(0, 17, (23,))
    plain, plain_sums = plain_smoothed_loss(features, weight, None, targets, 0.1)
    try:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_default_device("meta")
        fused, sums = FusedSmoothedLoss.apply(features, weight, None, targets, 0.1, torch.float32)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    torch.testing.assert_close(sums, plain_sums, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-4)


def test_fused_loss_of_no_tokens_is_zero():
    features, weight = torch.randn(0, 8, requires_grad=True), torch.randn(17, 8, requires_grad=True)
    fused, sums = FusedSmoothedLoss.apply(features, weight, None, torch.empty(0, dtype=torch.long), 0.1, torch.float32)
    fused.backward()
    assert fused == 0
    assert not sums.any()
    assert features.grad.shape == (0, 8)
    assert not weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1, 1e3])
def test_the_softmax_in_a_cpus_cache_is_that_of_pytorch(dtype, scale):
    torch.manual_seed(0)
    logits, target = (scale * torch.randn(5, 40)).to(dtype), torch.randint(0, 40, (5, 1))
    logits[0, target[0]] = logits[0].max() + 1
    logits[1] = 2.0  # a tie: no token has a higher probability
    plain, cached = (loss_module._softmax(logits, target, room) for room in (None, torch.empty(6, 40)))
    assert plain[2][:2].all()
    for ours, theirs in zip(cached, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fused_loss_in_half_precision_has_gradients_of_the_same_direction(dtype):
    torch.manual_seed(0)
    features, weight = torch.randn(64, 32, requires_grad=True), torch.randn(50, 32, requires_grad=True)
    targets = torch.randint(0, 50, (64,))
    exact = torch.autograd.grad(plain_smoothed_loss(features, weight, None, targets, 0.1)[0], (features, weight))
    rough = torch.autograd.grad(
        FusedSmoothedLoss.apply(features, weight, None, targets, 0.1, dtype)[0], (features, weight)
    )
    for ours, theirs in zip(rough, exact, strict=True):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999


def test_label_smoothing_in_fp16_reaches_each_of_many_tokens():
    """Its share of a gradient, 0.1 / 60,000, is 28 times the smallest number of fp16."""
    torch.manual_seed(0)
    features, weight = torch.randn(8, 4) * 0.1, torch.randn(60_000, 4) * 0.1
    weight[7] += 40 * features[0]  # a token that is certain: all others have the gradient of smoothing alone
    features, weight = (40 * features[:1]).requires_grad_(), weight.requires_grad_()
    targets = torch.tensor([7])
    (exact,) = torch.autograd.grad(plain_smoothed_loss(features, weight, None, targets, 0.1)[0] * 2**10, weight)
    fused, _ = FusedSmoothedLoss.apply(features.half(), weight, None, targets, 0.1, torch.float16)
    (found,) = torch.autograd.grad(fused * 2**10, weight)
    assert (found[8:] - exact[8:]).norm() < 0.02 * exact[8:].norm()


def test_evaluation_gives_the_loss_that_training_minimises(tiny_model):
    objective = TrainingLoss(tiny_model(vocabulary=40), smoothing=0.1)
    batch = tiny_batch(vocabulary=40)
    loss, negative_log_prob, correct = objective.evaluate(batch)
    torch.testing.assert_close(loss, objective(batch)[0].detach(), rtol=1e-5, atol=1e-4)
    assert 0 <= correct.item() <= batch.target_tokens
    assert negative_log_prob.item() > 0


def test_a_rank_without_pairs_in_its_first_update_steps_in_fp16():
    precision = MixedPrecision("fp16", torch.device("cpu"))
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.zeros(3)
    assert precision.step(torch.optim.SGD([weight], lr=0.5), clip_norm=2.0) == 0
    assert precision.state()["_growth_tracker"] == 1


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("way", ["at once", "sharded", "scaled"])
def test_an_update_that_is_not_finite_is_not_applied(kind, way):
    precision = MixedPrecision("fp32", torch.device("cpu"), sharded=way == "sharded")
    if way == "scaled":  # as for fp16
        precision.fixed, precision.scaler = False, torch.amp.GradScaler("cpu", init_scale=1.0)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = kind([weight], lr=0.5, fused=True)
    for factor, finite in ((1.0, True), (float("nan"), False), (2.0, True), (float("inf"), False)):
        before = weight.detach().clone()
        precision.scaler.scale((weight * factor).sum()).backward()
        norm = precision.step(optimizer, clip_norm=2.0)
        optimizer.zero_grad(set_to_none=True)
        assert norm.isfinite().item() == finite
        assert torch.equal(weight.detach(), before) != finite
        if finite:
            assert norm.item() == pytest.approx(factor * 3**0.5)
            change = (before - weight.detach()).norm().item()
            clipped = min(norm.item(), 2.0) * 0.5
            assert kind is torch.optim.Adam or change == pytest.approx(clipped, rel=1e-5)
    assert way == "scaled" or precision.state() == {}
