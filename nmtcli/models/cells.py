"""One recurrent layer in one direction: LSTM or GRU, over a whole sequence or step by step with the same weights."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from nmtcli.models.activations import tanh
from nmtcli.models.device import runs_lstm_in
from nmtcli.models.halves import State
from nmtcli.models.loop import Product, loop_product, plain_product


class RecurrentLayer(nn.Module):
    """An LSTM or a GRU of one layer, the GRU in cuDNN's form (the reset gate applies after the product).

    `layer_norm` normalises inside the cell (Ba, Kiros and Hinton 2016, eq. 20 to 22 for the LSTM; of a GRU the two
    gates together and the candidate apart, as in their supplement). It and recurrent dropout have no fused kernel:
    sequences then run in a Python loop.
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
        """The state [N, H] before anything was read, for inputs [N, ...]."""
        zeros = like.new_zeros(like.size(0), self.hidden_size)
        return (zeros, zeros) if self.cell == "lstm" else (zeros,)

    def forward(
        self, inputs: Tensor, state: State | None = None, length: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """inputs [B, L, E] from a state to the states h [B, L, H] of all positions.

        With `length` [B] also the state after the last real position of each sentence. `mask` [B, H] drops units of h
        on their way to the next position.
        """
        state = self.zero_state(inputs) if state is None else state
        if self.norms or mask is not None or not isinstance(self.rnn, nn.RNNBase):  # packed
            return self._loop(inputs, state, length, mask)
        if inputs.is_cpu and torch.is_autocast_enabled("cpu") and not runs_lstm_in(torch.get_autocast_dtype("cpu")):
            with torch.autocast("cpu", enabled=False):
                return self._whole(inputs.float(), tuple(part.float() for part in state), length)
        return self._whole(inputs, state, length)

    def _whole(self, inputs: Tensor, state: State, length: Tensor | None) -> tuple[Tensor, State | None]:
        """`forward` by the kernel for whole sequences."""
        initial = tuple(part.to(inputs.dtype)[None].contiguous() for part in state)  # [1, B, H] each
        if self.cell == "gru":
            hidden, _ = self.rnn(inputs, initial[0])
            return hidden, None if length is None else (last_of(hidden, length),)
        if length is None:
            hidden, _ = self.rnn(inputs, initial)
            return hidden, None
        return self._keep_cell(inputs, initial, length)

    def _keep_cell(self, inputs: Tensor, initial: State, length: Tensor) -> tuple[Tensor, State]:
        """The fused LSTM with the cell as it was at the last real position.

        The kernel gives the cell after the padding. So padding carries a flag, an input of its own whose fixed weights
        close the input gate and open the forget gate: the cell goes through the padding unchanged.
        """
        padding = torch.arange(inputs.size(1), device=inputs.device)[None] >= length[:, None]  # [B, L]
        weight_ih, weight_hh, bias_ih, bias_hh = self.rnn.all_weights[0]
        flag_weight = weight_ih.new_zeros(4, self.hidden_size)
        flag_weight[0], flag_weight[1] = -1e4, 1e4
        flagged = torch.cat([inputs, padding[..., None].to(inputs.dtype)], dim=-1)
        weights = [torch.cat([weight_ih, flag_weight.view(-1, 1)], dim=1), weight_hh, bias_ih, bias_hh]
        hidden, _, cell = torch.lstm(flagged, initial, weights, True, 1, 0.0, self.training, False, True)
        return hidden, (last_of(hidden, length), cell[0])

    def _loop(
        self, inputs: Tensor, state: State, length: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State | None]:
        product = loop_product()
        states = []
        for projected in self.project(inputs).unbind(1):
            state = self.step(projected, state, product, mask)
            states.append(state)
        sequences = tuple(torch.stack(parts, dim=1) for parts in zip(*states, strict=True))  # [B, L, H] each
        return sequences[0], None if length is None else tuple(last_of(sequence, length) for sequence in sequences)

    def project(self, inputs: Tensor, product: Product = plain_product) -> Tensor:
        """The part of the gates that comes from the inputs: [..., E] to [..., 4H] (3H of a GRU).

        What else goes into the cell is added to it before `step`, which normalises the sum where there is `layer_norm`.
        """
        weight_ih, _, bias_ih, bias_hh = self.rnn.all_weights[0]
        if self.norms:
            return product(inputs, weight_ih)
        # The GRU's second bias sits inside the reset gate's product, so it stays with the recurrent part.
        return product(inputs, weight_ih, bias_ih + bias_hh if self.cell == "lstm" else bias_ih)

    def step(
        self, projected: Tensor, state: State, product: Product = plain_product, mask: Tensor | None = None
    ) -> State:
        """One position: projected inputs [N, 4H] (or 3H) and the state to the next state."""
        _, weight_hh, bias_ih, bias_hh = self.rnn.all_weights[0]
        hidden = state[0] if mask is None else state[0] * mask
        if self.norms:
            projected = self.norms["input"](projected) + bias_ih
            recurrent = self.norms["hidden"](product(hidden, weight_hh)) + bias_hh
            if self.cell == "gru":
                return (gru_gates(projected, recurrent, state[0]),)
            return lstm_gates(projected + recurrent, state[1], self.norms["cell"])
        if self.cell == "gru":
            recurrent = product(hidden, weight_hh, bias_hh)
            if projected.requires_grad or recurrent.requires_grad:
                return (FusedGruGates.apply(projected, recurrent, state[0]),)  # type: ignore[no-untyped-call]
            return (gru_gates(projected, recurrent, state[0]),)
        gates = product(hidden, weight_hh, projected)
        if gates.requires_grad:
            fused: State = FusedLstmGates.apply(gates, state[1])  # type: ignore[no-untyped-call]
            return fused
        return lstm_gates(gates, state[1])


class PartsNorm(nn.Module):
    """Layer normalisation of consecutive parts of a vector, each by itself."""

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
    write, forget, candidate, read = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(candidate)
    return torch.sigmoid(read) * torch.tanh(cell if norm is None else norm(cell)), cell


def _lstm_gates_by_sigmoid(gates: Tensor, cell: Tensor, norm: nn.Module | None) -> State:
    """`lstm_gates` in fewer passes, and in place of the gates.

    tanh(x) = 2 σ(2x) - 1: on a CPU a sigmoid costs a third to a tenth of a tanh.
    """
    size = cell.size(-1)
    gates[:, 2 * size : 3 * size].mul_(2)
    write, forget, candidate, read = gates.sigmoid_().chunk(4, dim=-1)
    cell = torch.addcmul(forget * cell, write, candidate, value=2).sub_(write)
    squashed = (2 * (cell if norm is None else norm(cell))).sigmoid_()
    return squashed.mul_(read).mul_(2).sub_(read), cell


def gru_gates(projected: Tensor, recurrent: Tensor, hidden: Tensor) -> Tensor:
    """Both parts of the gates [N, 3H] and the hidden state [N, H] to the next one."""
    reset, update, candidate = projected.chunk(3, dim=-1)
    reset_h, update_h, candidate_h = recurrent.chunk(3, dim=-1)
    update = torch.sigmoid(update + update_h)
    candidate = candidate + torch.sigmoid(reset + reset_h) * candidate_h
    candidate = tanh(candidate, out=candidate) if torch.is_inference_mode_enabled() else torch.tanh(candidate)
    return (1 - update) * candidate + update * hidden


class FusedLstmGates(torch.autograd.Function):
    """`lstm_gates` with its gradient by hand: fewer and in-place passes over [N, 4H]. The cell stays in fp32."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """See `lstm_gates`."""
        size = cell.size(-1)
        active = torch.empty_like(gates)  # the nonlinearities' values, [N, 4H]
        torch.sigmoid(gates[:, : 2 * size], out=active[:, : 2 * size])
        tanh(gates[:, 2 * size : 3 * size], out=active[:, 2 * size : 3 * size])
        torch.sigmoid(gates[:, 3 * size :], out=active[:, 3 * size :])
        write, forget, candidate, read = active.chunk(4, dim=-1)
        new_cell = (forget * cell).addcmul_(write, candidate)
        squashed = tanh(new_cell, out=torch.empty_like(new_cell))
        ctx.save_for_backward(active, cell, squashed)
        return (read * squashed).to(gates.dtype), new_cell

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of gates and cell."""
        active, cell, squashed = ctx.saved_tensors
        grad_hidden, grad_cell = grads
        write, forget, candidate, read = active.chunk(4, dim=-1)
        grad_cell = grad_cell + grad_hidden * read * (1 - squashed * squashed)
        grad = torch.empty_like(active)
        size = cell.size(-1)
        torch.mul(grad_cell * candidate, write * (1 - write), out=grad[:, :size])
        torch.mul(grad_cell * cell, forget * (1 - forget), out=grad[:, size : 2 * size])
        torch.mul(grad_cell * write, 1 - candidate * candidate, out=grad[:, 2 * size : 3 * size])
        torch.mul(grad_hidden * squashed, read * (1 - read), out=grad[:, 3 * size :])
        return grad, grad_cell * forget


class FusedGruGates(torch.autograd.Function):
    """`gru_gates` with its gradient by hand."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, recurrent: Tensor, hidden: Tensor) -> Tensor:
        """See `gru_gates`."""
        size = hidden.size(-1)
        opened = (projected[:, : 2 * size] + recurrent[:, : 2 * size]).sigmoid_()  # reset and update, [N, 2H]
        reset, update = opened.chunk(2, dim=-1)
        inner = recurrent[:, 2 * size :]
        candidate = torch.addcmul(projected[:, 2 * size :], reset, inner)
        tanh(candidate, out=candidate)
        ctx.save_for_backward(opened, candidate, inner, hidden)
        return torch.lerp(candidate, hidden.to(candidate.dtype), update)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of both parts of the gates and of the hidden state."""
        opened, candidate, inner, hidden = ctx.saved_tensors
        (grad,) = grads
        size = hidden.size(-1)
        reset, update = opened.chunk(2, dim=-1)
        grad_projected = grad.new_empty(grad.size(0), 3 * size)
        grad_candidate = torch.mul(grad * (1 - update), 1 - candidate * candidate, out=grad_projected[:, 2 * size :])
        torch.mul(grad_candidate * inner, reset * (1 - reset), out=grad_projected[:, :size])
        torch.mul(grad * (hidden - candidate), update * (1 - update), out=grad_projected[:, size : 2 * size])
        grad_recurrent = grad_projected.clone()
        grad_recurrent[:, 2 * size :].mul_(reset)
        return grad_projected, grad_recurrent, (grad * update).to(hidden.dtype)


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
