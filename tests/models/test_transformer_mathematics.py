"""The Transformer and the SSRU against the equations of their papers, written out in float64 NumPy."""

import math

import numpy as np
import pytest
import torch

from nmtcli.models.multihead import CrossAttention, SelfAttention
from nmtcli.models.positions import RotaryPositions, SinusoidalPositions
from nmtcli.models.ssru import Ssru
from nmtcli.models.transformer import EncoderLayer, TransformerEncoder
from tests.conftest import model_config

WIDTH, HEADS = 16, 4


def weights(module):
    """The weights of a module by name, in float64."""
    return {name: weight.detach().double().numpy() for name, weight in module.state_dict().items()}


def random_weights(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(0.5 * torch.randn_like(weight))
    return module.eval()


def assert_close(found, expected):
    found = found.detach().double().numpy()
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def multihead(query, keys, values, heads):
    """Concat(head_1, …): attention of each head, query by query (Vaswani et al. 2017, eq. 1 and section 3.2.2)."""
    width = query.shape[1] // heads
    context = np.zeros_like(query)
    probabilities = np.zeros((heads, len(query), len(keys)))
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        for position in range(len(query)):
            scores = np.array([query[position, columns] @ key for key in keys[:, columns]]) / math.sqrt(width)
            probabilities[head, position] = softmax(scores)
            context[position, columns] = probabilities[head, position] @ values[:, columns]
    return context, probabilities


def layer_norm(state, gain, bias):
    """Ba, Kiros and Hinton 2016, eq. 3, with the small constant of PyTorch."""
    mean, variance = state.mean(axis=-1, keepdims=True), state.var(axis=-1, keepdims=True)
    return (state - mean) / np.sqrt(variance + 1e-5) * gain + bias


def sinusoid(position, width):
    """PE(pos, 2i) and PE(pos, 2i+1) (Vaswani et al. 2017, section 3.5)."""
    vector = np.zeros(width)
    for column in range(width):
        angle = position / 10000 ** (column // 2 * 2 / width)
        vector[column] = math.cos(angle) if column % 2 else math.sin(angle)
    return vector


def rotation(position, width):
    """The matrix R of a position (Su et al. 2021, eq. 15; eq. 34 is its product with a vector)."""
    matrix = np.zeros((width, width))
    for pair in range(width // 2):
        angle = position * 10000 ** (-2 * pair / width)
        block = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        matrix[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = block
    return matrix


@pytest.mark.parametrize("width", [2, 7, 16])
def test_sinusoidal_positions_equal_the_equation(width):
    expected = np.stack([sinusoid(position, width) for position in range(30, 45)])
    assert_close(SinusoidalPositions(width)(30, 15), expected)


def test_rotary_positions_equal_the_equation():
    vectors = torch.randn(3, 2, 11, 8, generator=torch.Generator().manual_seed(0))
    expected = np.zeros(vectors.shape)
    for position in range(11):
        expected[:, :, position] = vectors[:, :, position].double().numpy() @ rotation(position + 20, 8).T
    assert_close(RotaryPositions(8)(vectors, 20), expected)


def test_cross_attention_equals_the_equation():
    attention = random_weights(CrossAttention(WIDTH, HEADS, 10))
    inputs, states = torch.randn(5, WIDTH), torch.randn(7, 10)
    real = 4  # of the source tokens
    w, source = weights(attention), states[:real].double().numpy()
    query = inputs.double().numpy() @ w["query.weight"].T + w["query.bias"]
    projected = source @ w["project.weight"].T + w["project.bias"]
    context, probabilities = multihead(query, projected[:, :WIDTH], projected[:, WIDTH:], HEADS)
    expected = context @ w["output.weight"].T + w["output.bias"]
    mask = (torch.arange(7) < real)[None, None, None]
    output, mean = attention(inputs[None], *attention.keys_and_values(states[None]), mask, need_weights=True)
    assert_close(output[0], expected)
    assert_close(mean[0, :, :real], probabilities.mean(axis=0))


@pytest.mark.parametrize("rotary", [True, False])
def test_decoder_self_attention_equals_the_equation(rotary):
    attention = random_weights(SelfAttention(WIDTH, HEADS, rotary))
    inputs = torch.randn(6, WIDTH)
    w = weights(attention)
    query, keys, values = np.split(inputs.double().numpy() @ w["project.weight"].T + w["project.bias"], 3, axis=1)
    if rotary:
        query, keys = turned(query), turned(keys)
    context = np.zeros_like(query)
    for position in range(6):  # each looks at itself and what came before
        seen = slice(position + 1)
        context[position] = multihead(query[position : position + 1], keys[seen], values[seen], HEADS)[0][0]
    expected = context @ w["output.weight"].T + w["output.bias"]
    output, _ = attention.extend(inputs[None], attention.begin(inputs[None]))
    assert_close(output[0], expected)


def turned(vectors):
    """Each head of each position, turned by its place."""
    width = WIDTH // HEADS
    rows = [np.concatenate([rotation(p, width) @ part for part in np.split(v, HEADS)]) for p, v in enumerate(vectors)]
    return np.stack(rows)


def test_ssru_steps_equal_the_equation():
    """Kim et al. 2019: f_t = σ(W_f x_t + b_f), c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ W x_t, o_t = ReLU(c_t)."""
    layer = random_weights(Ssru(WIDTH))
    inputs, first = torch.randn(3, 9, WIDTH), torch.randn(3, WIDTH)
    w = weights(layer)
    forget_weight, weight = np.split(w["project.weight"], 2)
    cell, expected = first.double().numpy(), np.zeros((3, 9, WIDTH))
    for position in range(9):
        x = inputs[:, position].double().numpy()
        forget = 1 / (1 + np.exp(-(x @ forget_weight.T + w["forget_bias"])))
        cell = forget * cell + (1 - forget) * (x @ weight.T)
        expected[:, position] = np.maximum(cell, 0)
    output, last = layer.extend(inputs, first)
    assert_close(output, expected)
    assert_close(last, cell)
    assert not layer.begin(inputs).any()


ERROR_FUNCTION = np.vectorize(math.erf)
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * 0.5 * (1 + ERROR_FUNCTION(x / math.sqrt(2))),
}


def feedforward(inputs, w, activation):
    inner = inputs @ w["feedforward.inner.weight"].T + w["feedforward.inner.bias"]
    if activation == "swiglu":  # Shazeer 2020, eq. 5
        gate, value = np.split(inner, 2, axis=1)
        inner = gate / (1 + np.exp(-gate)) * value
    else:
        inner = ACTIVATIONS[activation](inner)
    return inner @ w["feedforward.output.weight"].T + w["feedforward.output.bias"]


def encoder_layer(state, w, norm, activation):
    """A layer as in figure 1, or with the normalisation inside (Wang et al. 2019, eq. 2)."""

    def attention(inputs):
        parts = inputs @ w["attention.project.weight"].T + w["attention.project.bias"]
        context, _ = multihead(*np.split(parts, 3, axis=1), HEADS)
        return context @ w["attention.output.weight"].T + w["attention.output.bias"]

    for name, sublayer in (("attention", attention), ("feedforward", lambda x: feedforward(x, w, activation))):
        gain, bias = w[f"around_{name}.norm.weight"], w[f"around_{name}.norm.bias"]
        if norm == "pre":
            state = state + sublayer(layer_norm(state, gain, bias))
        else:
            state = layer_norm(state + sublayer(state), gain, bias)
    return state


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
def test_encoder_layer_equals_the_equation(norm, activation):
    settings = ["type=transformer", f"norm={norm}", f"activation={activation}"]
    config = model_config(*(f"model.encoder.{setting}" for setting in settings))
    layer = random_weights(EncoderLayer(config.encoder, 0.0))
    state = torch.randn(1, 7, WIDTH)
    expected = encoder_layer(state[0].double().numpy(), weights(layer), norm, activation)
    assert_close(layer(state, torch.ones(1, 1, 1, 7, dtype=torch.bool))[0], expected)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_encoder_of_two_layers_equals_the_equation(norm):
    """Positions on embeddings, layers, and with norm pre one more normalisation."""
    given = ["model.encoder.type=transformer", "model.encoder.layers=2", f"model.encoder.norm={norm}"]
    encoder = random_weights(TransformerEncoder(model_config(*given, "model.embedding.size=10")))
    embedded = torch.randn(1, 7, 10)
    w = weights(encoder)
    state = embedded[0].double().numpy() @ w["project.weight"].T + w["project.bias"]
    state = state + np.stack([sinusoid(position, WIDTH) for position in range(7)])
    for index in range(2):
        prefix = f"layers.{index}."
        own = {name.removeprefix(prefix): weight for name, weight in w.items() if name.startswith(prefix)}
        state = encoder_layer(state, own, norm, "relu")
    if norm == "pre":
        state = layer_norm(state, w["norm.weight"], w["norm.bias"])
    found = encoder(embedded, torch.tensor([7]))
    assert_close(found.states[0], state)
    assert_close(found.summary[0], state.mean(axis=0))
