"""A loop over target positions as CUDA graphs: one launch instead of one per kernel.

A position runs some twenty small kernels, whose launch takes longer than their execution. A graph holds all of them,
forward or backward, for one shape. Shapes are therefore rounded up, and each new rounded shape is captured once.
"""

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nmtcli.models.protocol import map_rows

Tree = Any  # nested tuples and dicts of tensors

MAX_GRAPHS = 128  # graphs kept, the most recently used


def rounded(size: int, least: int) -> int:
    """The size rounded up to a multiple of `least`, or of an eighth to a sixteenth of itself if that is more."""
    step = max(least, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def rounded_up(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a loop with B, T and S rounded up, to reduce the number of shapes.

    The padding is positions and sentences of zeros, whose results are discarded. A padding sentence has one unmasked
    source token, so that its softmax is finite.
    """
    size, batch, _ = inputs["projected"].shape
    targets, sentences = rounded(size, 4), rounded(batch, 8)

    def extended(tensor: Tensor, *sizes: int) -> Tensor:
        """The tensor with its first dimensions padded to these sizes."""
        added = [amount for new, old in zip(sizes, tensor.shape, strict=False) for amount in (new - old, 0)]
        return F.pad(tensor, [0, 0] * (tensor.dim() - len(sizes)) + added[::-1])

    memory = dict(inputs["memory"])
    for name, tensor in memory.items():
        sizes = (sentences,) if name == "summary" else (sentences, rounded(tensor.size(1), 4))
        memory[name] = extended(tensor, *sizes)
    if "mask" in memory and sentences > batch:
        memory["mask"][batch:, 0] = True
    padded = dict(inputs, memory=memory, cache=map_rows(inputs["cache"], lambda tensor: extended(tensor, sentences)))
    for name in ("projected", "tokens"):
        if name in inputs:
            padded[name] = extended(inputs[name], targets, sentences)
    if "outputs" in inputs:
        padded["outputs"] = extended(inputs["outputs"], targets, len(inputs["outputs"][0]), sentences)
    if "recurrent" in inputs:
        padded["recurrent"] = tuple(extended(mask, sentences) for mask in inputs["recurrent"])
    return padded


class LoopGraphs:
    """Runs a loop and its gradient by CUDA graphs, one pair per shape, all in the same memory.

    A run that starts before the gradient of the previous one goes kernel by kernel. So do all runs after a capture has
    failed.
    """

    def __init__(self) -> None:
        self._graphs: OrderedDict[Any, _Graph] = OrderedDict()
        self._memory: _Memory | None = None
        self._off = False

    def __call__(self, loop: nn.Module, inputs: Tree) -> Tree:
        """loop(inputs), a tree of tensors, with gradients for inputs and weights.

        The loop must not depend on other changing state, use random numbers or synchronise with the device.
        """
        leaves = _leaves(inputs)
        weights = [weight for weight in loop.parameters() if weight.requires_grad]
        needs_grad = any(tensor.requires_grad for tensor in (*leaves, *weights))
        if self._off or not needs_grad or (self._memory is not None and self._memory.busy()):
            return loop(inputs)
        key = (
            tuple((tuple(leaf.shape), leaf.dtype, leaf.requires_grad) for leaf in leaves),
            tuple(weight.data_ptr() for weight in weights),
            torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda"),
        )
        graph = self._graphs.get(key)
        if graph is None:
            self._memory = self._memory or _Memory()
            try:
                graph = _Graph(loop, inputs, self._memory)
            except RuntimeError as error:  # out of memory, or an operation that cannot be captured
                self._off = True
                self._graphs.clear()
                warnings.warn(f"training without CUDA graphs, which is slower: {error}", stacklevel=2)
                return loop(inputs)
            self._graphs[key] = graph
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        outputs: tuple[Tensor, ...] = _Replay.apply(graph, *leaves, *weights)  # type: ignore[no-untyped-call]
        return _with_leaves(graph.shape_of_outputs, outputs)


class _Memory:
    """Input and output buffers, shared by all graphs."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._buffers: dict[Any, Tensor] = {}
        self._pending: weakref.ref[_Run] | None = None

    def tensors(self, role: str, likes: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Tensors of the shapes and types of `likes` at fixed addresses, shared between graphs for each role."""
        return [None if like is None else self._tensor((role, number), like) for number, like in enumerate(likes)]

    def _tensor(self, name: tuple[str, int], like: Tensor) -> Tensor:
        key = (*name, like.dtype)
        if key not in self._buffers or self._buffers[key].numel() < like.numel():
            self._buffers[key] = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return self._buffers[key][: like.numel()].view(like.shape)

    def busy(self) -> bool:
        """Whether a run still waits for its gradient."""
        return self._pending is not None and self._pending() is not None

    def begin(self) -> "_Run":
        """Start a forward run; its gradient may be computed as long as the returned object lives."""
        run = _Run()
        self._pending = weakref.ref(run)
        return run

    def end(self) -> None:
        """Mark the gradient of the run as computed."""
        self._pending = None


class _Run:
    """Lives as long as the gradient of a run may be computed."""


class _Graph:
    """The loop for one shape, forward and backward."""

    def __init__(self, loop: nn.Module, inputs: Tree, memory: _Memory) -> None:
        self.memory = memory
        leaves = _leaves(inputs)
        self.inputs = [buffer for buffer in memory.tensors("input", leaves) if buffer is not None]
        _copy(leaves, self.inputs)
        static = [
            buffer.detach().requires_grad_(leaf.requires_grad) for buffer, leaf in zip(self.inputs, leaves, strict=True)
        ]
        tree = _with_leaves(inputs, static)
        # Detached weights: autograd ties a tensor to the stream of its first use, and a graph must not wait for it.
        weights = {
            name: weight.detach().requires_grad_() for name, weight in loop.named_parameters() if weight.requires_grad
        }
        sources = [*static, *weights.values()]
        self.needs_grad = [source.requires_grad for source in sources]
        trained = [source for source in sources if source.requires_grad]
        autocast = torch.autocast(
            "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), cache_enabled=False
        )

        def forward() -> Tree:
            with torch.enable_grad(), autocast:
                return functional_call(loop, weights, (tree,))

        def backward(outputs: Tree, grads: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
            ends = [output for output in _leaves(outputs) if output.requires_grad]
            with torch.autocast("cuda", enabled=False):
                return torch.autograd.grad(
                    ends, trained, [grad for grad in grads if grad is not None], allow_unused=True
                )

        # Once without a graph, copies included: libraries initialise and load kernels, which is not allowed during
        # capture, and the shapes become known.
        stream = memory.stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = forward()
            tensors = _leaves(outputs)
            self.shape_of_outputs = map_rows(outputs, lambda output: None)
            self.outputs = [buffer for buffer in memory.tensors("output", tensors) if buffer is not None]
            with_grad = [tensor if tensor.requires_grad else None for tensor in tensors]
            self.output_grads = memory.tensors("output gradient", with_grad)
            _copy(tensors, self.outputs)
            for grad in self.output_grads:
                if grad is not None:
                    grad.zero_()
            grads = backward(outputs, self.output_grads)
            self.grads = memory.tensors("gradient", grads)
            _copy(grads, self.grads)
        torch.cuda.current_stream().wait_stream(stream)
        del outputs, tensors, with_grad, grads
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with _captured(self.forward, memory):
            outputs = forward()
            _copy(_leaves(outputs), self.outputs)
        with _captured(self.backward, memory):
            _copy(backward(outputs, self.output_grads), self.grads)


@contextmanager
def _captured(graph: torch.cuda.CUDAGraph, memory: _Memory) -> Iterator[None]:
    """Capture the kernels launched in the block into the graph. Raises the first RuntimeError of a chain."""
    try:
        with torch.cuda.graph(graph, memory.pool, memory.stream, capture_error_mode="thread_local"):
            yield
    except RuntimeError as error:
        while isinstance(error.__context__, RuntimeError):
            error = error.__context__
        # A failed capture keeps the random generator registered; a successful one releases it.
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            torch.zeros(1, device="cuda")
        raise RuntimeError(str(error)) from error


def _copy(sources: Sequence[Tensor | None], places: Sequence[Tensor | None]) -> None:
    with torch.no_grad():
        for source, place in zip(sources, places, strict=True):
            if source is not None and place is not None:
                place.copy_(source)


class _Replay(torch.autograd.Function):
    """A run of a graph, with its gradient."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The inputs, then the weights, to the outputs."""
        ctx.set_materialize_grads(False)
        ctx.graph, ctx.run = graph, graph.memory.begin()
        _copy(tensors[: len(graph.inputs)], graph.inputs)
        graph.forward.replay()
        outputs = tuple(output.detach() for output in graph.outputs)
        pairs = zip(outputs, graph.output_grads, strict=True)
        ctx.mark_non_differentiable(*(output for output, grad in pairs if grad is None))
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of inputs and weights; those of weights are copies, since the optimizer keeps them."""
        graph: _Graph = ctx.graph
        for buffer, grad in zip(graph.output_grads, grads, strict=True):
            if buffer is not None:
                buffer.zero_() if grad is None else buffer.copy_(grad)
        graph.backward.replay()
        graph.memory.end()
        remaining = iter(graph.grads)
        all_grads = [next(remaining) if needed else None for needed in graph.needs_grad]
        count = len(graph.inputs)
        return None, *all_grads[:count], *(None if grad is None else grad.clone() for grad in all_grads[count:])


def _leaves(tree: Tree) -> list[Tensor]:
    leaves: list[Tensor] = []
    map_rows(tree, leaves.append)
    return leaves


def _with_leaves(tree: Tree, leaves: Sequence[Tensor]) -> Tree:
    """The same nesting with other tensors."""
    remaining = iter(leaves)
    return map_rows(tree, lambda _: next(remaining))
