"""The papers' equations in NumPy: one sentence, one position, one vector at a time.

What the tests of mathematics compare the package with. It shares nothing with the package but the names under which
weights are stored (`w`, a dict of arrays) and PyTorch's order of the gates in them: i f g o of an LSTM, r z n of a GRU.
"""

import numpy as np


def part(w, prefix):
    """The weights below a prefix, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in w.items() if name.startswith(f"{prefix}.")}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def affine(w, x):
    return w["weight"] @ x + w.get("bias", 0)


def layer_norm(w, x):
    """Ba, Kiros and Hinton 2016, eq. 4 with PyTorch's epsilon."""
    return w["weight"] * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + w["bias"]


# Cells: weights, input [E] and state, a tuple of [H], to the next state. `kept` [H] is multiplied onto h before U h.


def lstm(w, x, state, kept=1.0):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000 (also Sutskever et al. 2014)."""
    h, c = state
    i, f, g, o = np.split(
        w["rnn.weight_ih_l0"] @ x + w["rnn.bias_ih_l0"] + w["rnn.weight_hh_l0"] @ (kept * h) + w["rnn.bias_hh_l0"], 4
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(w, x, state, kept=1.0):
    """Cho et al. 2014 in cuDNN's form: r gates U h + b, not h before the product (reset after).

    z has the sense of Cho et al. (how much of the old state stays); Bahdanau et al. 2015 write 1 - z for it.
    """
    (h,) = state
    x_r, x_z, x_n = np.split(w["rnn.weight_ih_l0"] @ x + w["rnn.bias_ih_l0"], 3)
    h_r, h_z, h_n = np.split(w["rnn.weight_hh_l0"] @ (kept * h) + w["rnn.bias_hh_l0"], 3)
    z = sigmoid(x_z + h_z)
    n = np.tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (z * h + (1 - z) * n,)


def normed_lstm(w, x, state, kept=1.0):
    """Ba, Kiros and Hinton 2016, eq. 20 to 22: all four gates of U h, and of W x, are normalised as one vector."""
    h, c = state
    from_input = layer_norm(part(w, "norms.input.parts.0"), w["rnn.weight_ih_l0"] @ x)
    from_hidden = layer_norm(part(w, "norms.hidden.parts.0"), w["rnn.weight_hh_l0"] @ (kept * h))
    i, f, g, o = np.split(from_hidden + from_input + w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(layer_norm(part(w, "norms.cell"), c)), c


def normed_gru(w, x, state, kept=1.0):
    """Ba, Kiros and Hinton 2016, supplement: the two gates are normalised as one vector, the candidate apart."""
    (h,) = state
    size = len(h)
    found = []
    for name, short, vector in (("input", "ih", x), ("hidden", "hh", kept * h)):
        product = w[f"rnn.weight_{short}_l0"] @ vector
        gates = layer_norm(part(w, f"norms.{name}.parts.0"), product[: 2 * size])
        candidate = layer_norm(part(w, f"norms.{name}.parts.1"), product[2 * size :])
        found.append(np.split(np.concatenate([gates, candidate]) + w[f"rnn.bias_{short}_l0"], 3))
    (x_r, x_z, x_n), (h_r, h_z, h_n) = found
    z = sigmoid(x_z + h_z)
    n = np.tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (z * h + (1 - z) * n,)


CELLS = {("lstm", False): lstm, ("gru", False): gru, ("lstm", True): normed_lstm, ("gru", True): normed_gru}


def zero_state(cell, w):
    zeros = np.zeros(w["rnn.weight_hh_l0"].shape[1])
    return (zeros, zeros) if cell in (lstm, normed_lstm) else (zeros,)


def unroll(cell, w, inputs, state=None, kept=1.0):
    """The states after each input."""
    states = [zero_state(cell, w) if state is None else state]
    for x in inputs:
        states.append(cell(w, x, states[-1], kept))
    return states[1:]


def encode(cell, w, inputs, residual=False):
    """A stack over one sentence [S, E], in both directions where it has weights for both (Schuster and Paliwal 1997).

    Returns the top states [S, H], of the top layer [what is last from the left; what is last from the right], and the
    last state of each layer's cells.
    """
    layers = len({name.split(".")[1] for name in w if name.startswith("forwards.")})
    finals = []
    for index in range(layers):
        left = unroll(cell, part(w, f"forwards.{index}"), inputs)
        outputs, final = np.array([state[0] for state in left]), left[-1]
        backward = part(w, f"backwards.{index}")
        if backward:
            right = unroll(cell, backward, inputs[::-1])  # right[0] has read the last token
            outputs = np.concatenate([outputs, np.array([state[0] for state in right[::-1]])], axis=1)
            final = tuple(np.concatenate(pair) for pair in zip(final, right[-1], strict=True))
        finals.append(final)
        inputs = outputs + inputs if residual and index else outputs
    half = len(left[0][0])  # the whole width in one direction
    return inputs, np.concatenate([inputs[-1][:half], inputs[0][half:]]), finals


# Attention: weights, query s [H] and encoder states h [S, H] to a score for each state.


def dot(w, s, h):
    """Luong et al. 2015, eq. 8."""
    return np.array([s @ state for state in h])


def scaled_dot(w, s, h):
    """Vaswani et al. 2017, eq. 1."""
    return dot(w, s, h) / np.sqrt(len(s))


def general(w, s, h):
    """Luong et al. 2015, eq. 8."""
    return np.array([s @ w["project_keys.weight"] @ state for state in h])


def scaled_general(w, s, h):
    """The same, scaled as in Vaswani et al. 2017, eq. 1."""
    return general(w, s, h) / np.sqrt(len(s))


def additive(w, s, h):
    """Bahdanau et al. 2015, A.1.2. Luong's concat is the same: W_a [s; h] = W s + U h."""
    joint = np.hstack([w["project_query.weight"], w["project_keys.weight"]])
    return np.array([w["score"][0] @ np.tanh(joint @ np.concatenate([s, state])) for state in h])


def location(w, s, h):
    """Luong et al. 2015, eq. 8: softmax(W_a s), where W_a has a row for each position there may be."""
    return (w["score"] @ s)[: len(h)]


SCORES = {"dot": dot, "scaled_dot": scaled_dot, "general": general, "scaled_general": scaled_general}
SCORES |= {"additive": additive, "location": location}


def attend(scores, values, window=None):
    """Weights a [S] and context (Bahdanau et al. 2015, eq. 5 and 6), among the positions `window` [S] allows."""
    weights = np.zeros(len(scores))
    chosen = np.arange(len(scores)) if window is None else np.flatnonzero(window)
    weights[chosen] = softmax(scores[chosen])
    return weights, weights @ values


def predicted_position(w, s, size):
    """Luong et al. 2015, eq. 9: between 0 and the length of the source."""
    return size * sigmoid(w["score_position.weight"][0] @ np.tanh(w["project_position.weight"] @ s))


def local_p(w, s, scores, values, reach):
    """Luong et al. 2015, eq. 10: a Gaussian of deviation D/2 around p, times the softmax within p ± D."""
    distance = np.arange(len(scores)) - predicted_position(w, s, len(scores))
    weights, _ = attend(scores, values, np.abs(distance) <= reach)
    weights = weights * np.exp(-(distance**2) / (2 * (reach / 2) ** 2))
    return weights, weights @ values


def local_m(scores, values, reach, position):
    """Luong et al. 2015, section 3.2: p_t = t, which stays at the last token where the target is longer."""
    centre = min(position, len(scores) - 1)
    return attend(scores, values, np.abs(np.arange(len(scores)) - centre) <= reach)


def multi_head(w, s, h, heads, kind):
    """Vaswani et al. 2017, 3.2.2, and with additive scores Chen et al. 2018: query, keys and values are projected to
    each head's part of the width; the heads' contexts stand side by side. Returns the mean of the weights."""
    contexts, found = [], []
    query, keys, values = (np.split(w[f"project_{name}.weight"], heads) for name in ("query", "keys", "values"))
    for head in range(heads):
        q, k, v = query[head] @ s, h @ keys[head].T, h @ values[head].T
        scores = scaled_dot(w, q, k) if kind == "scaled_dot" else np.tanh(q + k) @ w["score"][head]
        weights, context = attend(scores, v)
        contexts.append(context)
        found.append(weights)
    return np.mean(found, axis=0), np.concatenate(contexts)


def maxout(w, x):
    """Bahdanau et al. 2015, A.2.2: the larger of units 2j-1 and 2j."""
    pairs = affine(w, x)
    return np.array([max(pairs[2 * j], pairs[2 * j + 1]) for j in range(len(pairs) // 2)])
