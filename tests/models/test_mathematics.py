"""Cells, encoder, attention, bridges and readouts against the papers' equations in NumPy (tests/equations.py)."""

from itertools import product

import numpy as np
import pytest
import torch

from nmtcli.config import AttentionConfig
from nmtcli.models.attention import Attention
from nmtcli.models.cells import RecurrentLayer
from nmtcli.models.interfaces import Encoded
from nmtcli.models.recurrent import Bridge, Readout, RecurrentDecoder, RecurrentEncoder
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.vocabulary import EOS, PAD
from tests import equations
from tests.conftest import model_config
from tests.equations import CELLS

LENGTHS = torch.tensor([5, 3, 1])
cells = pytest.mark.parametrize("cell", ["lstm", "gru"])
norms = pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer_norm"])


def in_float64(module, seed=0):
    """The module in float64 with random weights, biases and gains too, in evaluation mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in module.double().parameters():
            weight.normal_(std=0.5)
    return module.eval()


def arrays(module):
    """A module's weights by name."""
    return {name: weight.numpy(force=True) for name, weight in module.state_dict().items()}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(found, expected, rtol=1e-9):
    np.testing.assert_allclose(found.numpy(force=True), np.array(expected), rtol=rtol, atol=rtol / 10)


def from_softmax(found, expected):
    """Attention weights are worked out in fp32, whatever the type of the model."""
    close(found, expected, rtol=1e-5)


@cells
@norms
def test_cells_over_a_sequence_equal_the_equations(cell, layer_norm):
    layer, equation = in_float64(RecurrentLayer(3, 4, cell, layer_norm)), CELLS[cell, layer_norm]
    inputs, state = draw(2, 6, 3), tuple(draw(2, 4) for _ in range(2 if cell == "lstm" else 1))
    found, _ = layer(inputs, state)
    for row in range(2):
        first = tuple(half[row].numpy() for half in state)
        expected = equations.unroll(equation, arrays(layer), inputs[row].numpy(), first)
        close(found[row], [step[0] for step in expected])


@cells
@norms
@pytest.mark.parametrize("gradients", [False, True])
def test_cells_step_by_step_equal_the_equations(cell, layer_norm, gradients):
    layer, equation = in_float64(RecurrentLayer(3, 4, cell, layer_norm)), CELLS[cell, layer_norm]
    inputs = draw(6, 3)
    expected = equations.unroll(equation, arrays(layer), inputs.numpy())
    state = layer.zero_state(inputs[:1])
    with torch.set_grad_enabled(gradients):
        for position in range(6):
            state = layer.step(layer.project(inputs[position][None]), state)
            for found, part in zip(state, expected[position], strict=True):
                close(found[0], part)


@cells
@norms
def test_the_last_state_is_that_after_the_last_real_token(cell, layer_norm):
    layer, equation = in_float64(RecurrentLayer(3, 4, cell, layer_norm)), CELLS[cell, layer_norm]
    inputs = draw(3, 5, 3)
    found, final = layer(inputs, length=LENGTHS)
    for row, length in enumerate(LENGTHS):
        expected = equations.unroll(equation, arrays(layer), inputs[row, :length].numpy())
        close(found[row, :length], [step[0] for step in expected])
        for part, ours in zip(final, expected[-1], strict=True):
            close(part[row], ours)


@cells
@norms
def test_recurrent_dropout_acts_between_positions(cell, layer_norm):
    layer, equation = in_float64(RecurrentLayer(3, 4, cell, layer_norm)), CELLS[cell, layer_norm]
    inputs, mask = draw(2, 6, 3), torch.tensor([[0.0, 2, 2, 0], [2, 2, 0, 2]])
    found, _ = layer(inputs, mask=mask)
    for row in range(2):
        expected = equations.unroll(equation, arrays(layer), inputs[row].numpy(), kept=mask[row].numpy())
        close(found[row], [step[0] for step in expected])


def only_mask(equation, w, inputs, first, states):
    """The one mask of units, the same at all positions, that explains the states."""
    masks = [np.array(units) for units in product([0.0, 2.0], repeat=len(first[0]))]
    fits = [
        mask
        for mask in masks
        if np.allclose([step[0] for step in equations.unroll(equation, w, inputs, first, mask)], states)
    ]
    assert len(fits) == 1
    return tuple(fits[0])


DROPPING = [
    "model.recurrent_dropout=0.5",
    "model.dropout=0",
    "model.attention.type=none",
    "model.decoder.readout=state",
]


@cells
def test_recurrent_dropout_of_an_encoder_has_one_mask_per_sentence(cell):
    encoder = in_float64(
        RecurrentEncoder(sizes(*DROPPING, f"model.encoder.cell={cell}", "model.encoder.hidden_size=10"))
    )
    inputs = draw(8, 6, 6)
    found = encoder.train()(inputs, torch.full((8,), 6)).states.numpy(force=True)
    masks = set()
    for side, part in (("forwards.0", slice(0, 5)), ("backwards.0", slice(5, 10))):
        w = equations.part(arrays(encoder), side)
        order = 1 if side == "forwards.0" else -1
        for row in range(8):
            sequence, states = inputs[row].numpy()[::order], found[row, ::order, part]
            masks.add(only_mask(CELLS[cell, False], w, sequence, equations.zero_state(CELLS[cell, False], w), states))
    assert len(masks) > 4


@pytest.mark.parametrize("feeding", [False, True])
def test_recurrent_dropout_of_a_decoder_has_one_mask_per_sentence(feeding):
    settings = [*DROPPING, "model.decoder.cell=gru", "model.decoder.hidden_size=6"]
    decoder = in_float64(RecurrentDecoder(sizes(*settings, f"model.decoder.input_feeding={str(feeding).lower()}")))
    encoded, embedded = Encoded(draw(8, 5, 8), torch.ones(8, 5, dtype=torch.bool), draw(8, 8)), draw(8, 6, 6)
    memory, cache = decoder.start(encoded)
    features = decoder.train().forward(embedded, memory, cache).features.numpy(force=True)  # the states themselves
    w = equations.part(arrays(decoder), "layers.0")
    inputs = embedded.numpy()
    if feeding:  # the readout of one position beside the token of the next
        w["rnn.weight_ih_l0"] = np.hstack([w["rnn.weight_ih_l0"], decoder.feed.weight.numpy(force=True)])
        before = np.concatenate([np.zeros((8, 1, 6)), features[:, :-1]], axis=1)
        inputs = np.concatenate([inputs, before], axis=2)
    masks = set()
    for row in range(8):
        first = (cache["layers"][0][0][row].numpy(force=True),)
        masks.add(only_mask(equations.gru, w, inputs[row], first, features[row]))
    assert len(masks) > 4


def sizes(*settings):
    """Settings of a model whose widths all differ."""
    widths = ["model.embedding.size=6", "model.encoder.hidden_size=8", "model.decoder.hidden_size=10"]
    return model_config(*widths, *settings)


ENCODERS = [
    ["model.encoder.bidirectional=false"],
    ["model.encoder.cell=gru"],
    ["model.encoder.layers=3", "model.encoder.residual=true"],
    ["model.encoder.layers=3", "model.encoder.residual=true", "model.encoder.bidirectional=first"],
    ["model.encoder.layers=2", "model.encoder.layer_norm=true"],
    ["model.encoder.layers=2", "model.encoder.layer_norm=true", "model.encoder.cell=gru"],
]


@pytest.mark.parametrize("settings", ENCODERS, ids=",".join)
@pytest.mark.parametrize("finals", [False, True])
def test_a_padded_batch_is_each_sentence_alone(settings, finals):
    config = sizes(*settings)
    encoder = in_float64(RecurrentEncoder(config))
    encoder.keep_finals = finals
    inputs = draw(3, 5, 6)
    found = encoder(inputs, LENGTHS)
    assert found.mask.sum(dim=1).tolist() == LENGTHS.tolist()
    equation = CELLS[config.encoder.cell, config.encoder.layer_norm]
    for row, length in enumerate(LENGTHS):
        sentence = inputs[row, :length].numpy()
        states, summary, last = equations.encode(equation, arrays(encoder), sentence, config.encoder.residual)
        close(found.states[row, :length], states)
        close(found.summary[row], summary)
        assert len(found.finals) == (config.encoder.layers if finals else 0)
        for ours, theirs in zip(found.finals, last, strict=False):
            for part, expected in zip(ours, theirs, strict=True):
                close(part[row], expected)


def attention(decoder_size=8, **settings):
    """An attention on states of width 8, queries [3, 4, decoder_size], states [3, 5, 8] and the mask of LENGTHS."""
    module = in_float64(Attention(AttentionConfig(**settings), 8, decoder_size))
    return module, draw(3, 4, decoder_size), draw(3, 5, 8), torch.arange(5) < LENGTHS[:, None]


def compare(module, query, states, mask, expected, position=None):
    """Weights and contexts of each query against `expected(w, s, h, target position)`; padding gets no weight."""
    context, weights = module(query, module.source(states, mask), position)
    for row, length in enumerate(LENGTHS):
        for number in range(query.shape[1]):
            s, h = query[row, number].numpy(force=True), states[row, :length].numpy()
            ours, vector = expected(arrays(module), s, h, number)
            from_softmax(weights[row, number, :length], ours)
            from_softmax(context[row, number], vector)
            assert not weights[row, number, length:].any()


@pytest.mark.parametrize("kind", list(equations.SCORES))
def test_attention_scores_equal_the_equations(kind):
    wider = kind in ("general", "scaled_general", "additive", "location")
    score = equations.SCORES[kind]
    given = attention(type=kind, decoder_size=6 if wider else 8)
    compare(*given, lambda w, s, h, _: equations.attend(score(w, s, h), h))


@pytest.mark.parametrize("gradients", [False, True])
def test_concat_is_additive_with_its_own_width(gradients):
    module, query, *rest = attention(type="concat", hidden_size=7, decoder_size=6)
    query.requires_grad_(gradients)  # chooses between two forms of the score
    compare(module, query, *rest, lambda w, s, h, _: equations.attend(equations.additive(w, s, h), h))


def test_location_weights_end_at_max_length():
    def expected(w, s, h, _):
        scores = equations.location(w, s, h)
        return equations.attend(np.append(scores, np.zeros(len(h) - len(scores))), h, np.arange(len(h)) < len(scores))

    compare(*attention(type="location", max_length=2), expected)


@pytest.mark.parametrize("kind", list(equations.SCORES))
def test_local_p_attention_equals_the_equation(kind):
    def expected(w, s, h, _):
        return equations.local_p(w, s, equations.SCORES[kind](w, s, h), h, 2)

    compare(*attention(type=kind, window="local-p", window_size=2), expected)


@pytest.mark.parametrize("kind", list(equations.SCORES))
def test_local_m_attention_equals_the_equation(kind):
    def expected(w, s, h, position):
        return equations.local_m(equations.SCORES[kind](w, s, h), h, 1, position)

    position = torch.arange(4).expand(3, -1)  # beyond the end of two of the sentences
    compare(*attention(type=kind, window="local-m", window_size=1), expected, position)


@pytest.mark.parametrize("kind", ["scaled_dot", "additive"])
def test_attention_with_several_heads_equals_the_equation(kind):
    given = attention(type=kind, heads=3, hidden_size=12, decoder_size=6)
    compare(*given, lambda w, s, h, _: equations.multi_head(w, s, h, 3, kind))


@pytest.mark.parametrize("kind", ["dense", "mean", "backward", "zero"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bridges_equal_the_equations(kind, cell):
    bridge = in_float64(
        Bridge(sizes(f"model.decoder.bridge={kind}", f"model.decoder.cell={cell}", "model.decoder.layers=2"))
    )
    states, summary = draw(3, 5, 8), draw(3, 8)
    found = bridge(Encoded(states, torch.arange(5) < LENGTHS[:, None], summary))
    for row, length in enumerate(LENGTHS):
        read = {
            "dense": summary[row],
            "mean": states[row, :length].mean(dim=0),
            "backward": summary[row, 4:],  # W_s of the state that read from the right: Bahdanau et al. 2015, A.2.2
        }
        hidden = np.zeros(20)
        if kind != "zero":
            hidden = np.tanh(equations.affine(equations.part(arrays(bridge), "project"), read[kind].numpy()))
        for index in range(2):
            close(found[index][0][row], hidden[10 * index : 10 * index + 10])
            assert len(found[index]) == (2 if cell == "lstm" else 1)
            assert not any(part[row].any() for part in found[index][1:])  # the cell


def test_the_bridge_copy_hands_over_hidden_state_and_cell():
    bridge = Bridge(sizes("model.decoder.bridge=copy", "model.decoder.hidden_size=8"))
    finals = ((draw(3, 8), draw(3, 8)),)
    assert bridge(Encoded(draw(3, 5, 8), torch.ones(3, 5, dtype=torch.bool), draw(3, 8), finals)) is finals


@pytest.mark.parametrize("with_context", [False, True])
@pytest.mark.parametrize("kind", ["attentional", "maxout", "deep", "state"])
def test_readouts_equal_the_equations(kind, with_context):
    readout = in_float64(Readout(sizes(f"model.decoder.readout={kind}"), 7 if with_context else 0))
    state, embedded, context = draw(2, 3, 10), draw(2, 3, 6), draw(2, 3, 7) if with_context else None
    found = readout(state, embedded, context)
    w = equations.part(arrays(readout), "combine")
    for row, number in product(range(2), range(3)):
        s, e = state[row, number].numpy(), embedded[row, number].numpy()
        c = context[row, number].numpy() if with_context else np.zeros(0)
        expected = {
            "attentional": lambda s, e, c: np.tanh(equations.affine(w, np.concatenate([s, c]))),  # Luong, eq. 5
            "maxout": lambda s, e, c: equations.maxout(w, np.concatenate([s, e, c])),
            "deep": lambda s, e, c: np.tanh(equations.affine(w, np.concatenate([s, e, c]))),
            "state": lambda s, e, c: equations.affine(w, s),
        }
        close(found[row, number], expected[kind](s, e, c))


def test_word_dropout_takes_whole_embeddings_and_scales_up_the_rest():
    model = Seq2Seq(sizes("model.word_dropout=0.25", "model.embedding.scale=true"), 50, 50).double()
    ids = torch.randint(4, 50, (40, 50))
    plain, dropped = (model.train(mode)._embed(model.source_embedding, ids) for mode in (False, True))
    close(plain, model.source_embedding.weight[ids].numpy(force=True) * 6**0.5)
    kept = dropped.ne(0).any(dim=-1)
    close(dropped[kept], plain[kept].numpy(force=True) / 0.75)
    assert not dropped[~kept].any()
    assert 0.2 < 1 - kept.double().mean() < 0.3  # of 2000 words: five deviations


ONCE = [[4, 5, 6, EOS], [7, 8, EOS, PAD], [EOS, PAD, PAD, PAD]]
REVERSED = [[6, 5, 4, EOS], [8, 7, EOS, PAD], [EOS, PAD, PAD, PAD]]
TWICE = [[4, 5, 6, 4, 5, 6, EOS], [7, 8, 7, 8, EOS, PAD, PAD], [EOS, PAD, PAD, PAD, PAD, PAD, PAD]]
TWICE_REVERSED = [[6, 5, 4, 6, 5, 4, EOS], [8, 7, 8, 7, EOS, PAD, PAD], [EOS, PAD, PAD, PAD, PAD, PAD, PAD]]


@pytest.mark.parametrize(
    "settings, order, length",
    [
        ([], ONCE, [4, 3, 1]),
        (["model.encoder.reverse_source=true"], REVERSED, [4, 3, 1]),
        (["model.encoder.repeat_source=true"], TWICE, [7, 5, 1]),
        (["model.encoder.reverse_source=true", "model.encoder.repeat_source=true"], TWICE_REVERSED, [7, 5, 1]),
    ],
)
def test_encoder_directions_equal_the_equations(settings, order, length):
    """Sutskever et al. 2014, section 3.3; Zaremba and Sutskever 2014: the EOS stays last."""
    model = Seq2Seq(sizes("model.attention.type=none", *settings), 12, 12)
    read = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: read.extend(inputs))
    model.start(torch.tensor(ONCE), torch.tensor([4, 3, 1]))
    embedded = 6**0.5 * model.source_embedding.weight[torch.tensor(order)]
    torch.testing.assert_close(read[0], embedded)
    assert read[1].tolist() == length
