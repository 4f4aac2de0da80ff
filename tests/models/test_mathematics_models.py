"""Whole models of the literature against their equations, from the ids to the log-probabilities and to the gradient.

Each equation is written out for one sentence; the model gets a padded batch of three.
"""

import numpy as np
import pytest
import torch

from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.vocabulary import BOS, EOS, PAD
from tests import equations
from tests.equations import affine, attend, encode, gru, log_softmax, lstm, maxout, part
from tests.models.test_mathematics import arrays, in_float64, sizes

SOURCE = torch.tensor([[4, 5, 6, 7, EOS], [8, 9, EOS, PAD, PAD], [EOS, PAD, PAD, PAD, PAD]])
TARGET = torch.tensor([[BOS, 5, 6, 7], [BOS, 9, 8, 4], [BOS, 4, 4, 5]])
LENGTHS = [5, 3, 1]


def words(w, source, target):
    """Embeddings of a sentence pair, scaled as in Vaswani et al. 2017, section 3.4."""
    tables = w["source_embedding.weight"], w["target_embedding.weight"]
    return tuple(table.shape[1] ** 0.5 * table[ids] for table, ids in zip(tables, (source, target), strict=True))


def with_fed(w, layer=0):
    """A decoder layer's weights, with those of what else goes into it beside W: W x + C c = [W C] [x; c]."""
    found = part(w, f"decoder.layers.{layer}")
    if layer == 0 and "decoder.feed.weight" in w:
        found["rnn.weight_ih_l0"] = np.hstack([found["rnn.weight_ih_l0"], w["decoder.feed.weight"]])
    return found


def bridge(w, read):
    return np.tanh(affine(part(w, "decoder.bridge.project"), read))


def bahdanau(w, source, target):
    """Bahdanau, Cho and Bengio 2015, A.1 and A.2, with the GRU in cuDNN's form, and s_i in place of s_{i-1} in the
    readout, as their eq. 4 has it."""
    xs, ys = words(w, source, target)
    h, _, _ = encode(gru, part(w, "encoder"), xs)
    s = bridge(w, h[0][h.shape[1] // 2 :])  # s_0 = tanh(W_s h_1), h_1 of the backward network
    found, looked = [], []
    for y in ys:
        weights, c = attend(equations.additive(part(w, "decoder.attention"), s, h), h)  # from s_{i-1}
        (s,) = gru(with_fed(w), np.concatenate([y, c]), (s,))
        t = maxout(part(w, "decoder.readout.combine"), np.concatenate([s, y, c]))
        found.append(log_softmax(w["output.weight"] @ t))
        looked.append(weights)
    return found, looked


def luong(w, source, target, score=equations.general, reach=None):
    """Luong, Pham and Manning 2015, section 3, with input feeding (3.3) and if `reach` is given local-p."""
    xs, ys = words(w, source, target)
    h, summary, _ = encode(lstm, part(w, "encoder"), xs)
    first = bridge(w, summary)
    state, fed = (first, np.zeros_like(first)), np.zeros(len(ys[0]))
    a = part(w, "decoder.attention")
    found, looked = [], []
    for y in ys:
        state = lstm(with_fed(w), np.concatenate([y, fed]), state)
        scores = score(a, state[0], h)  # from the new state h_t: h_t -> a_t -> c_t -> h̃_t
        weights, c = attend(scores, h) if reach is None else equations.local_p(a, state[0], scores, h, reach)
        fed = np.tanh(affine(part(w, "decoder.readout.combine"), np.concatenate([state[0], c])))  # eq. 5
        found.append(log_softmax(w["output.weight"] @ fed))  # eq. 6
        looked.append(weights)
    return found, looked


def sutskever(w, source, target):
    """Sutskever, Vinyals and Le 2014: the encoder's last states, hidden and cell, layer by layer, are the decoder's
    first. The words of the source are reversed (section 3.3)."""
    xs, ys = words(w, [*source[-2::-1], source[-1]], target)
    _, _, states = encode(lstm, part(w, "encoder"), xs)
    states, found = list(states), []
    for y in ys:
        x = y
        for index in range(len(states)):
            states[index] = lstm(with_fed(w, index), x, states[index])
            x = states[index][0]
        found.append(log_softmax(w["output.weight"] @ affine(part(w, "decoder.readout.combine"), x)))
    return found, None


def cho(w, source, target):
    """Cho et al. 2014, section 2.2: s_t = f(s_{t-1}, y_{t-1}, c) and p(y_t) = g(s_t, y_{t-1}, c), c the same at every
    position: the encoder's last state. Their appendix has c = tanh(V h_N), and a reset gate that acts on C c too."""
    xs, ys = words(w, source, target)
    _, c, _ = encode(gru, part(w, "encoder"), xs)
    s, found = bridge(w, c), []
    for y in ys:
        (s,) = gru(with_fed(w), np.concatenate([y, c]), (s,))
        found.append(log_softmax(w["output.weight"] @ maxout(part(w, "decoder.readout.combine"), np.r_[s, y, c])))
    return found, None


def gnmt(w, source, target):
    """Wu et al. 2016, section 3: the first layer attends and its context goes into all layers above; residual sums; one
    bidirectional encoder layer, the first. Not theirs: the bridge, the readout tanh(W [s; c]), residual sums from
    the second layer on, and that the query is of this position (theirs is of the one before)."""
    xs, ys = words(w, source, target)
    h, summary, _ = encode(lstm, part(w, "encoder"), xs, residual=True)
    states = [(s, np.zeros_like(s)) for s in np.split(bridge(w, summary), 3)]
    found, looked = [], []
    for y in ys:
        states[0] = lstm(with_fed(w), y, states[0])
        x = states[0][0]
        weights, c = attend(equations.additive(part(w, "decoder.attention"), x, h), h)
        for index in (1, 2):
            states[index] = lstm(with_fed(w, index), np.concatenate([x, c]), states[index])
            x = states[index][0] + x
        features = np.tanh(affine(part(w, "decoder.readout.combine"), np.concatenate([x, c])))
        found.append(log_softmax(w["output.weight"] @ features))
        looked.append(weights)
    return found, looked


def deep_bahdanau(w, source, target):
    """Two layers, normalised: the upper one asks, and the context goes into the lower one, where all that goes in is
    normalised together (Ba, Kiros and Hinton 2016)."""
    xs, ys = words(w, source, target)
    h, _, _ = encode(lstm, part(w, "encoder"), xs)
    lower, upper = [(s, np.zeros_like(s)) for s in np.split(bridge(w, h.mean(axis=0)), 2)]
    found, looked = [], []
    for y in ys:
        weights, c = attend(equations.additive(part(w, "decoder.attention"), upper[0], h), h)
        lower = equations.normed_lstm(with_fed(w), np.concatenate([y, c]), lower)
        upper = equations.normed_lstm(with_fed(w, 1), lower[0], upper)
        features = np.tanh(affine(part(w, "decoder.readout.combine"), np.concatenate([upper[0], y, c])))
        found.append(log_softmax(w["output.weight"] @ features))
        looked.append(weights)
    return found, looked


GRU = ["model.encoder.cell=gru", "model.decoder.cell=gru"]
BAHDANAU = ["model.attention.type=additive", "model.decoder.query=previous_state"]
PLAIN = ["model.attention.type=none", "model.encoder.bidirectional=false", "model.embedding.tie=target"]
THREE = ["model.encoder.layers=3", "model.decoder.layers=3"]
RESIDUAL = ["model.encoder.bidirectional=first", "model.encoder.residual=true", "model.decoder.residual=true"]
DEEP = ["model.decoder.layers=2", "model.decoder.layer_norm=true"]
FEEDING = ["model.decoder.input_feeding=true", "model.embedding.tie=all"]
MODELS = {
    "bahdanau": (
        bahdanau,
        [*GRU, *BAHDANAU, "model.decoder.bridge=backward", "model.decoder.readout=maxout", "model.embedding.tie=none"],
    ),
    "luong": (luong, [*FEEDING, "model.attention.type=general"]),
    "luong-scaled": (lambda *given: luong(*given, score=equations.scaled_general), FEEDING),
    "luong-dot": (
        lambda *given: luong(*given, score=equations.dot),
        [*FEEDING, "model.attention.type=dot", "model.decoder.hidden_size=8"],
    ),
    "luong-local-p": (
        lambda *given: luong(*given, reach=2),
        [*FEEDING, "model.attention.type=general", "model.attention.window=local-p", "model.attention.window_size=2"],
    ),
    "sutskever": (
        sutskever,
        [
            *PLAIN,
            "model.encoder.reverse_source=true",
            *THREE,
            "model.decoder.bridge=copy",
            "model.decoder.readout=state",
            "model.decoder.hidden_size=8",
        ],
    ),
    "cho": (
        cho,
        [*GRU, *PLAIN, "model.decoder.context_every_step=true", "model.decoder.readout=maxout"],
    ),
    "gnmt": (
        gnmt,
        [*THREE, *RESIDUAL, "model.attention.type=additive", "model.decoder.query=first_layer"],
    ),
    "bahdanau-deep": (
        deep_bahdanau,
        [*BAHDANAU, *DEEP, "model.decoder.bridge=mean", "model.decoder.readout=deep"],
    ),
}
models = pytest.mark.parametrize("equation, settings", MODELS.values(), ids=MODELS.keys())


def build(settings):
    return in_float64(Seq2Seq(sizes("model.dropout=0", *settings), 12, 12))


def expected_of(equation, model):
    """Log-probabilities [B, T, V] and weights [B, T, S], zero on padding."""
    w, log_probs, attention = arrays(model), [], np.zeros((*TARGET.shape, SOURCE.shape[1]))
    for row, length in enumerate(LENGTHS):
        found, looked = equation(w, SOURCE[row, :length].numpy(), TARGET[row].numpy())
        log_probs.append(found)
        if looked is not None:
            attention[row, :, :length] = looked
    return np.array(log_probs), attention


def agree(found, expected):
    """Softmax and log-probabilities are worked out in fp32, whatever the type of the model."""
    np.testing.assert_allclose(found.numpy(force=True), expected, rtol=1e-5, atol=1e-6)


@models
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_forward_equals_the_equations(equation, settings, training):
    model = build(settings).train(training)
    log_probs, attention = expected_of(equation, model)
    with torch.set_grad_enabled(training):
        decoded = model.decode(SOURCE, torch.tensor(LENGTHS), TARGET, need_attention=True)
    agree(model.log_probs(decoded.features), log_probs)
    if model.config.attention.type != "none":
        agree(decoded.attention, attention)


@models
@torch.no_grad()
def test_steps_equal_the_equations(equation, settings):
    model = build(settings)
    log_probs, attention = expected_of(equation, model)
    memory, cache = model.start(SOURCE, torch.tensor(LENGTHS))
    for position in range(TARGET.shape[1]):
        step = model.step(TARGET[:, position, None], memory, cache)
        cache = step.cache
        agree(step.log_probs[:, 0], log_probs[:, position])
        if step.attention is not None:
            agree(step.attention[:, 0], attention[:, position])


@models
def test_gradients_equal_finite_differences_of_the_equations(equation, settings):
    """Along a random direction through all weights, for a random weighing of all log-probabilities."""
    model = build(settings).train()
    weighing = torch.randn(*TARGET.shape, 12, dtype=torch.float64)
    direction = {name: torch.randn_like(weight) for name, weight in model.named_parameters()}
    features = model(SOURCE, torch.tensor(LENGTHS), TARGET)
    (torch.log_softmax(model.output(features), dim=-1) * weighing).sum().backward()
    slope = sum((weight.grad * direction[name]).sum().item() for name, weight in model.named_parameters())
    values, tiny = [], 1e-5
    for distance in (tiny, -2 * tiny):  # one step forth from where it is, then to one step back
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.add_(direction[name], alpha=distance)
        values.append((expected_of(equation, model)[0] * weighing.numpy()).sum())
    assert slope == pytest.approx((values[0] - values[1]) / (2 * tiny), rel=1e-4)


@torch.no_grad()
def test_attention_positions_of_a_reversed_source_start_at_its_first_token():
    """The states of a reversed source are handed to attention in the order in which it was written."""
    forth, back = build([]), build(["model.encoder.reverse_source=true"])
    reversed_source = torch.tensor([[7, 6, 5, 4, EOS], [9, 8, EOS, PAD, PAD], [EOS, PAD, PAD, PAD, PAD]])
    length = torch.tensor(LENGTHS)
    attention = forth.decode(reversed_source, length, TARGET).attention
    order = torch.tensor([[3, 2, 1, 0, 4], [1, 0, 2, 3, 4], [0, 1, 2, 3, 4]])[:, None].expand(-1, 4, -1)
    agree(back.decode(SOURCE, length, TARGET).attention, attention.gather(2, order).numpy())
