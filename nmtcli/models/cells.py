"""A unidirectional recurrent layer (LSTM or GRU), over a whole sequence or step by step with the same weights."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from nmtcli.models.activations import sigmoid_backward, tanh, tanh_backward
from nmtcli.models.device import runs_lstm_in
from nmtcli.models.interfaces import State
from nmtcli.models.loop import Product, loop_products, plain_product


class RecurrentLayer(nn.Module):
    """A single-layer LSTM or GRU; the GRU in cuDNN's form, with the reset gate applied after the product.

    `layer_norm` normalises inside the cell (Ba, Kiros and Hinton 2016, eq. 20 to 22 for the LSTM; in a GRU the two
    gates jointly and the candidate separately, as in their supplement). Layer normalisation and recurrent dropout have
    no fused kernel: sequences then run in a Python loop.
    """

    def __init__(
        self, input_size: int, hidden_size: int, cell: Literal["lstm", "gru"], layer_norm: bool = False
    ) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.cell = cell
        self.hidden_size = hidden_size
        self.rnn = kind(input_size, hidden_size, batch_first=True)
        self.norms = nn.ModuleDict()
        if layer_norm:
            parts = [4 * hidden_size] if cell == "lstm" else [2 * hidden_size, hidden_size]
            self.norms["input"], self.norms["hidden"] = PartsNorm(parts), PartsNorm(parts)
            if cell == "lstm":
                self.norms["cell"] = nn.LayerNorm(hidden_size)
        self._initialise()

    def _initialise(self) -> None:
        _, _, bias_ih, bias_hh = self.rnn.all_weights[0]
        with torch.no_grad():
            bias_ih.zero_()
            bias_hh.zero_()
            if self.cell == "lstm":
                bias_ih.view(4, -1)[1] = 1.0  # the forget gate starts open (Jozefowicz et al. 2015)

    def zero_state(self, like: Tensor) -> State:
        """The zero state [N, H] for inputs [N, ...]."""
        zeros = like.new_zeros(like.size(0), self.hidden_size)
        return (zeros, zeros) if self.cell == "lstm" else (zeros,)

    def forward(
        self, inputs: Tensor, state: State | None = None, length: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """inputs [B, L, E] and an initial state to the hidden states [B, L, H] of all positions.

        With `length` [B] also returns the state after the last real position of each sentence. `mask` [B, H] is the
        recurrent dropout mask of h.
        """
        state = self.zero_state(inputs) if state is None else state
        if self.norms or mask is not None or not isinstance(self.rnn, nn.RNNBase):  # packed
            return self._loop(inputs, state, length, mask)
        if inputs.is_cpu and torch.is_autocast_enabled("cpu") and not runs_lstm_in(torch.get_autocast_dtype("cpu")):
            with torch.autocast("cpu", enabled=False):
                return self._whole(inputs.float(), tuple(part.float() for part in state), length)
        if not inputs.is_cpu and torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
            # PyTorch's autocast runs cuDNN's recurrent layers in fp16 even in bf16, which has no loss scaling: small
            # gradients would become zero.
            with torch.autocast("cuda", enabled=False):
                return self._whole(inputs.to(dtype), state, length, [weight.to(dtype) for weight in self._weights()])
        return self._whole(inputs, state, length)

    def _weights(self) -> list[Tensor]:
        """weight_ih, weight_hh, bias_ih, bias_hh."""
        return list(self.rnn.all_weights[0])

    def _whole(
        self, inputs: Tensor, state: State, length: Tensor | None, weights: list[Tensor] | None = None
    ) -> tuple[Tensor, State | None]:
        """`forward` by PyTorch's kernel for whole sequences. `weights`, of the inputs' type, replace the layer's."""
        initial = tuple(part.to(inputs.dtype)[None].contiguous() for part in state)  # [1, B, H] each
        weights = self._weights() if weights is None else weights
        options = True, 1, 0.0, self.training, False, True  # biases, one layer, no dropout, one direction, [B, L, E]
        if self.cell == "gru":
            hidden, _ = torch.gru(inputs, initial[0], weights, *options)
            return hidden, None if length is None else (last_of(hidden, length),)
        if length is None:
            hidden, _, _ = torch.lstm(inputs, initial, weights, *options)
            return hidden, None
        inputs, weights = self._with_padding_flag(inputs, weights, length)
        hidden, _, cell = torch.lstm(inputs, initial, weights, *options)
        return hidden, (last_of(hidden, length), cell[0])

    def _with_padding_flag(self, inputs: Tensor, weights: list[Tensor], length: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Inputs and weights of an LSTM whose last cell state is that of the last real position.

        The kernel returns the cell state after the padding. So padding sets a flag, an additional input whose fixed
        weights close the input gate and open the forget gate: the cell state stays unchanged over the padding.
        """
        padding = torch.arange(inputs.size(1), device=inputs.device)[None] >= length[:, None]  # [B, L]
        weight_ih, *others = weights
        flag_weight = weight_ih.new_zeros(4, self.hidden_size)
        flag_weight[0], flag_weight[1] = -1e4, 1e4
        flagged = torch.cat([inputs, padding[..., None].to(inputs.dtype)], dim=-1)
        return flagged, [torch.cat([weight_ih, flag_weight.view(-1, 1)], dim=1), *others]

    def _loop(
        self, inputs: Tensor, state: State, length: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State | None]:
        states = []
        for product, projected in zip(loop_products(inputs.size(1)), self.project(inputs).unbind(1), strict=True):
            state = self.step(projected, state, product, mask)
            states.append(state)
        sequences = tuple(torch.stack(parts, dim=1) for parts in zip(*states, strict=True))  # [B, L, H] each
        return sequences[0], None if length is None else tuple(last_of(sequence, length) for sequence in sequences)

    def project(self, inputs: Tensor, product: Product = plain_product) -> Tensor:
        """The contribution of the inputs to the gates: [..., E] to [..., 4H] (3H of a GRU).

        Other inputs of the cell are added to it before `step`, which normalises the sum with `layer_norm`.
        """
        weight_ih, _, bias_ih, bias_hh = self.rnn.all_weights[0]
        if self.norms:
            return product(inputs, weight_ih)
        # The GRU's second bias sits inside the reset gate's product, so it stays with the recurrent part.
        return product(inputs, weight_ih, bias_ih + bias_hh if self.cell == "lstm" else bias_ih)

    def step(
        self, projected: Tensor, state: State, product: Product = plain_product, mask: Tensor | None = None
    ) -> State:
        """One position: projected inputs [N, 4H] (3H of a GRU) and the state to the next state."""
        _, weight_hh, bias_ih, bias_hh = self.rnn.all_weights[0]
        hidden = state[0] if mask is None else state[0] * mask
        if self.norms:
            projected = self.norms["input"](projected) + bias_ih
            recurrent = self.norms["hidden"](product(hidden, weight_hh)) + bias_hh
            if self.cell == "gru":
                return (gru_gates(projected, recurrent, state[0]),)
            return lstm_gates(projected + recurrent, precise(state[1]), self.norms["cell"])
        if self.cell == "gru":
            recurrent = product(hidden, weight_hh, bias_hh)
            if projected.requires_grad or recurrent.requires_grad:
                return (FusedGruGates.apply(projected, recurrent, state[0]),)  # type: ignore[no-untyped-call]
            return (gru_gates(projected, recurrent, state[0]),)
        gates = product(hidden, weight_hh, projected)
        if gates.requires_grad:
            fused: State = FusedLstmGates.apply(gates, precise(state[1]))  # type: ignore[no-untyped-call]
            return fused
        return lstm_gates(gates, precise(state[1]))


class PartsNorm(nn.Module):
    """Separate layer normalisation of consecutive parts of a vector."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes
        self.parts = nn.ModuleList(nn.LayerNorm(size) for size in sizes)

    def forward(self, vector: Tensor) -> Tensor:
        """[..., sum of sizes] to the same shape."""
        parts = vector.split_with_sizes(self.sizes, dim=-1)
        return torch.cat([norm(part) for norm, part in zip(self.parts, parts, strict=True)], dim=-1)


def lstm_gates(gates: Tensor, cell: Tensor, norm: nn.Module | None = None) -> State:
    """Gates [N, 4H] before their nonlinearities, in PyTorch's order, and the cell [N, H] to the next state."""
    if gates.is_cpu and torch.is_inference_mode_enabled():
        return _lstm_gates_by_sigmoid(gates, cell, norm)
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
    return torch.sigmoid(output_gate) * torch.tanh(cell if norm is None else norm(cell)), cell


def _lstm_gates_by_sigmoid(gates: Tensor, cell: Tensor, norm: nn.Module | None) -> State:
    """`lstm_gates` in fewer passes, in place; overwrites the gates.

    tanh(x) = 2 σ(2x) - 1: on a CPU a sigmoid costs a third to a tenth of a tanh.
    """
    size = cell.size(-1)
    gates[:, 2 * size : 3 * size].mul_(2)
    input_gate, forget_gate, candidate, output_gate = gates.sigmoid_().chunk(4, dim=-1)
    cell = torch.addcmul(forget_gate * cell, input_gate, candidate, value=2).sub_(input_gate)
    squashed = (2 * (cell if norm is None else norm(cell))).sigmoid_()
    return squashed.mul_(output_gate).mul_(2).sub_(output_gate), cell


def gru_gates(projected: Tensor, recurrent: Tensor, hidden: Tensor) -> Tensor:
    """The input and recurrent parts of the gates [N, 3H] and the hidden state [N, H] to the next hidden state."""
    reset, update, candidate = projected.chunk(3, dim=-1)
    reset_h, update_h, candidate_h = recurrent.chunk(3, dim=-1)
    update = torch.sigmoid(update + update_h)
    candidate = candidate + torch.sigmoid(reset + reset_h) * candidate_h
    candidate = tanh(candidate, out=candidate) if torch.is_inference_mode_enabled() else torch.tanh(candidate)
    return (1 - update) * candidate + update * hidden


class FusedLstmGates(torch.autograd.Function):
    """`lstm_gates` with a hand-written gradient: fewer, in-place passes over [N, 4H]. The cell state stays in fp32."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """See `lstm_gates`."""
        size = cell.size(-1)
        active = torch.empty_like(gates)  # the nonlinearities' values, [N, 4H]
        torch.sigmoid(gates[:, : 2 * size], out=active[:, : 2 * size])
        tanh(gates[:, 2 * size : 3 * size], out=active[:, 2 * size : 3 * size])
        torch.sigmoid(gates[:, 3 * size :], out=active[:, 3 * size :])
        input_gate, forget_gate, candidate, output_gate = active.chunk(4, dim=-1)
        new_cell = (forget_gate * cell).addcmul_(input_gate, candidate)
        squashed = tanh(new_cell, out=torch.empty_like(new_cell))
        ctx.save_for_backward(active, cell, squashed)
        return (output_gate * squashed).to(gates.dtype), new_cell

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of gates and cell."""
        active, cell, squashed = ctx.saved_tensors
        grad_hidden, grad_cell = grads
        input_gate, forget_gate, candidate, output_gate = active.chunk(4, dim=-1)
        through = grad_hidden * output_gate
        tanh_backward(through, squashed, out=through)
        grad_cell = grad_cell + through
        grad = torch.empty_like(active)
        to_input, to_forget, to_candidate, to_output = grad.chunk(4, dim=-1)
        sigmoid_backward(grad_cell * candidate, input_gate, out=to_input)
        sigmoid_backward(grad_cell * cell, forget_gate, out=to_forget)
        tanh_backward(grad_cell * input_gate, candidate, out=to_candidate)
        sigmoid_backward(grad_hidden * squashed, output_gate, out=to_output)
        return grad, grad_cell * forget_gate


class FusedGruGates(torch.autograd.Function):
    """`gru_gates` with a hand-written gradient."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, recurrent: Tensor, hidden: Tensor) -> Tensor:
        """See `gru_gates`."""
        size = hidden.size(-1)
        gates = (projected[:, : 2 * size] + recurrent[:, : 2 * size]).sigmoid_()  # reset and update, [N, 2H]
        reset, update = gates.chunk(2, dim=-1)
        inner = recurrent[:, 2 * size :]
        candidate = torch.addcmul(projected[:, 2 * size :], reset, inner)
        tanh(candidate, out=candidate)
        ctx.save_for_backward(gates, candidate, inner, hidden)
        return torch.lerp(candidate, hidden.to(candidate.dtype), update)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of both parts of the gates and of the hidden state."""
        gates, candidate, inner, hidden = ctx.saved_tensors
        (grad,) = grads
        size = hidden.size(-1)
        reset, update = gates.chunk(2, dim=-1)
        grad_projected = grad.new_empty(grad.size(0), 3 * size)
        to_reset, to_update, to_candidate = grad_projected.chunk(3, dim=-1)
        grad_hidden = grad * update
        tanh_backward(grad - grad_hidden, candidate, out=to_candidate)
        sigmoid_backward(to_candidate * inner, reset, out=to_reset)
        sigmoid_backward(grad * (hidden - candidate), update, out=to_update)
        grad_recurrent = grad_projected.clone()
        grad_recurrent[:, 2 * size :].mul_(reset)
        return grad_projected, grad_recurrent, grad_hidden.to(hidden.dtype)


def precise(cell: Tensor) -> Tensor:
    """A cell state in fp32 at least: it sums over all positions."""
    return cell.to(torch.promote_types(cell.dtype, torch.float32))


def last_of(sequence: Tensor, length: Tensor) -> Tensor:
    """The last real position of [B, L, H]: [B, H]."""
    return take(sequence, (length - 1)[:, None])[:, 0]


def flip_index(length: Tensor, size: int) -> Tensor:
    """Positions [B, S] that reverse each sentence within its own length and leave its padding in place."""
    position = torch.arange(size, device=length.device)[None]  # [1, S]
    flipped = length[:, None] - 1 - position
    return torch.where(flipped >= 0, flipped, position)


def take(states: Tensor, index: Tensor) -> Tensor:
    """states [B, S, H] at positions index [B, Q]: [B, Q, H]."""
    return states.gather(1, index[..., None].expand(-1, -1, states.size(-1)))
