"""The fast training loop against its plain reference: losses and gradients."""

import gc
import weakref
from itertools import repeat

import pytest
import torch

from nmtcli.models import attention, cells, loop, recurrent
from nmtcli.models.attention import AdditiveScores, plain_additive_scores
from nmtcli.models.cells import FusedGruGates, FusedLstmGates, gru_gates, lstm_gates
from nmtcli.models.loop import DeferredProduct, plain_product
from nmtcli.train.loss import TrainingLoss
from nmtcli.vocabulary import PAD
from tests.laws.test_model_laws import BAHDANAU, FEEDING, VARIANTS
from tests.laws.test_training_laws import tiny_batch
from tests.train.test_loss import plain_smoothed_loss


def use_plain_forms(monkeypatch):
    """Everything that has a reference takes it."""
    monkeypatch.setattr(recurrent, "loop_products", lambda steps: repeat(plain_product, steps))
    monkeypatch.setattr(cells, "loop_products", lambda steps: repeat(plain_product, steps))
    monkeypatch.setattr(FusedLstmGates, "apply", lstm_gates)
    monkeypatch.setattr(FusedGruGates, "apply", gru_gates)
    monkeypatch.setattr(attention.AdditiveScores, "apply", plain_additive_scores)


def loss_and_gradients(model, batch, plain=False, dtype=None):
    model.train()
    model.zero_grad()
    torch.manual_seed(5)  # the same dropout for both
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        if plain:
            features = model(batch.source, batch.source_length, batch.target_input)
            real = batch.target_output != PAD
            output, targets = model.output, batch.target_output[real]
            loss, _ = plain_smoothed_loss(features[real], output.weight, output.bias, targets, 0.1)
        else:
            loss, _ = TrainingLoss(model, 0.1)(batch)
    loss.backward()
    return loss.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda settings: ",".join(settings) or "default")
def test_fast_training_equals_the_reference(monkeypatch, tiny_model, settings):
    model = tiny_model(*settings, "model.dropout=0.3", "model.word_dropout=0.1", vocabulary=30)
    batch = tiny_batch()
    loss, gradients = loss_and_gradients(model, batch)
    use_plain_forms(monkeypatch)
    expected_loss, expected = loss_and_gradients(model, batch, plain=True)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-4, atol=1e-3)
    for name, gradient in gradients.items():
        scale = expected[name].abs().max().item()
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-3 * scale + 1e-6, msg=name)


@pytest.mark.parametrize("settings", [FEEDING, BAHDANAU], ids=["feeding", "bahdanau"])
def test_bf16_gradients_have_the_direction_of_fp32(tiny_model, settings):
    torch.manual_seed(0)
    model = tiny_model(*settings, "model.dropout=0", vocabulary=30)
    with torch.no_grad():
        for weight in model.parameters():
            weight.div_(3.0)  # as a model begins
    batch = tiny_batch()
    _, exact = loss_and_gradients(model, batch)
    _, rough = loss_and_gradients(model, batch, dtype=torch.bfloat16)
    for name in ("source_embedding.weight", "decoder.feed.weight", "decoder.layers.0.rnn.weight_hh_l0"):
        assert torch.cosine_similarity(rough[name].flatten(), exact[name].flatten(), dim=0) > 0.99, name


def test_gates_have_the_gradient_of_their_reference():
    torch.manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)  # noqa: E731
    assert torch.autograd.gradcheck(FusedLstmGates.apply, (draw(3, 8), draw(3, 2)))
    assert torch.autograd.gradcheck(FusedGruGates.apply, (draw(3, 6), draw(3, 6), draw(3, 2)))


@pytest.mark.parametrize("chunk", [1, 30, 10**6])
def test_additive_scores_equal_their_reference(monkeypatch, chunk):
    monkeypatch.setattr(attention, "CHUNK", chunk)
    torch.manual_seed(0)
    shapes = ((5, 3, 4), (5, 6, 4), (4,))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    torch.testing.assert_close(AdditiveScores.apply(*inputs), plain_additive_scores(*inputs))
    assert torch.autograd.gradcheck(AdditiveScores.apply, inputs)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("per_sentence", [False, True])
def test_a_deferred_product_has_the_gradients_of_a_plain_one(transposed, per_sentence):
    torch.manual_seed(0)
    shape = (3, 4) if transposed else (4, 3)
    matrix = torch.randn((5, *shape) if per_sentence else shape, dtype=torch.float64, requires_grad=True)
    inputs = [torch.randn((5, 2, 3) if per_sentence else (5, 3), dtype=torch.float64) for _ in range(3)]
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    first = inputs[0].requires_grad_()
    found = []
    for products in (loop.loop_products(len(inputs)), repeat(plain_product, len(inputs))):
        results = [product(part, matrix, bias, transposed) for product, part in zip(products, inputs, strict=True)]
        loss = sum((result.sin() * number).sum() for number, result in enumerate(results, start=1))
        found.append((loss, *torch.autograd.grad(loss, (matrix, bias, first))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_deferred_product_accepts_a_transposed_matrix():
    torch.manual_seed(0)
    states, query = (torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = []
    for product in (DeferredProduct(), plain_product):
        context = product(product(query, states).softmax(-1), states, transposed=True)  # dot attention
        found.append(torch.autograd.grad(context.sin().sum(), (states, query)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_products_are_not_deferred_without_gradients():
    with torch.no_grad():
        assert list(loop.loop_products(2)) == [plain_product] * 2
    assert all(isinstance(product, DeferredProduct) for product in loop.loop_products(2))


class Traced(torch.autograd.Function):
    """The identity; its node keeps `alive` for as long as the graph is kept."""

    @staticmethod
    def forward(ctx, inputs, alive):
        ctx.alive = alive
        return inputs.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class Alive:
    pass


def loop_of(steps, matrix, state, alive):
    for product in loop.loop_products(steps):
        state = Traced.apply(torch.tanh(product(state, matrix)), alive)
    return state.sum()


def test_a_frozen_matrix_keeps_no_graph():
    """The recorded uses would be a cycle that Python cannot see, if nothing cleared them."""
    alive = Alive()
    kept = weakref.ref(alive)
    loop_of(4, torch.randn(3, 3), torch.randn(2, 3, requires_grad=True), alive).backward()
    del alive
    assert kept() is None


def test_a_backward_pass_that_fails_keeps_no_graph():
    alive = Alive()
    kept = weakref.ref(alive)
    state = torch.randn(2, 3, requires_grad=True)
    state.register_hook(lambda grad: 1 / 0)  # after all steps, before the matrix has its gradient
    with pytest.raises(ZeroDivisionError):
        loop_of(4, torch.randn(3, 3, requires_grad=True), state, alive).backward()
    del alive
    gc.collect()
    assert kept() is None
