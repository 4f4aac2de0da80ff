"""A loop over target positions as CUDA graphs: launched as one, not kernel by kernel.

A position is some twenty small kernels, which take longer to launch than to run. A graph holds all of them, forward or
backward, for one shape; so shapes are rounded up, and a graph is made where a rounded shape is seen first.
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

MOST = 128  # graphs kept, the most recently used


def rounded(size: int, least: int) -> int:
    """The size rounded up to a multiple of `least`, or of an eighth to a sixteenth of itself if that is more."""
    step = max(least, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def rounded_up(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a loop with B, T and S rounded up, so that few different shapes are left.

    What is added are positions and sentences of zeros whose results nobody reads. Such a sentence has one source token,
    for attention to have somewhere to look.
    """
    size, batch, _ = inputs["projected"].shape
    targets, sentences = rounded(size, 4), rounded(batch, 8)

    def extended(tensor: Tensor, *sizes: int) -> Tensor:
        """With the first dimensions of these sizes."""
        added = [amount for new, old in zip(sizes, tensor.shape, strict=False) for amount in (new - old, 0)]
        return F.pad(tensor, [0, 0] * (tensor.dim() - len(sizes)) + added[::-1])

    memory = dict(inputs["memory"])
    for name, tensor in memory.items():
        sizes = (sentences,) if name == "summary" else (sentences, rounded(tensor.size(1), 4))
        memory[name] = extended(tensor, *sizes)
    if "mask" in memory and sentences > batch:
        memory["mask"][batch:, 0] = True
    found = dict(inputs, memory=memory, cache=map_rows(inputs["cache"], lambda tensor: extended(tensor, sentences)))
    for name in ("projected", "tokens"):
        if name in inputs:
            found[name] = extended(inputs[name], targets, sentences)
    if "outputs" in inputs:
        found["outputs"] = extended(inputs["outputs"], targets, len(inputs["outputs"][0]), sentences)
    if "recurrent" in inputs:
        found["recurrent"] = tuple(extended(mask, sentences) for mask in inputs["recurrent"])
    return found


class LoopGraphs:
    """Runs a loop with its gradient by CUDA graphs, one pair a shape, all in the same memory.

    One run's gradient must come before the next run; where it does not, that next run goes kernel by kernel, as do all
    runs once a graph could not be made.
    """

    def __init__(self) -> None:
        self._graphs: OrderedDict[Any, _Graph] = OrderedDict()
        self._memory: _Memory | None = None
        self._off = False

    def __call__(self, loop: nn.Module, inputs: Tree) -> Tree:
        """loop(inputs), a tree of tensors, with gradients for inputs and weights.

        The loop must not depend on anything else that changes, draw random numbers or wait for the device.
        """
        leaves = _leaves(inputs)
        weights = [weight for weight in loop.parameters() if weight.requires_grad]
        wanted = any(tensor.requires_grad for tensor in (*leaves, *weights))
        if self._off or not wanted or (self._memory is not None and self._memory.busy()):
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
            except RuntimeError as error:  # no memory for it, or an operation that cannot be captured
                self._off = True
                self._graphs.clear()
                warnings.warn(f"training without CUDA graphs, which is slower: {error}", stacklevel=2)
                return loop(inputs)
            self._graphs[key] = graph
            if len(self._graphs) > MOST:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        outputs: tuple[Tensor, ...] = _Replay.apply(graph, *leaves, *weights)  # type: ignore[no-untyped-call]
        return _with_leaves(graph.shape_of_outputs, outputs)


class _Memory:
    """Where graphs find their inputs and leave their outputs: the same place for all of them."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._buffers: dict[Any, Tensor] = {}
        self._pending: weakref.ref[_Run] | None = None

    def tensors(self, role: str, likes: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Tensors of the shapes and types of `likes` that keep their place; those of a role share it between graphs."""
        return [None if like is None else self._tensor((role, number), like) for number, like in enumerate(likes)]

    def _tensor(self, name: tuple[str, int], like: Tensor) -> Tensor:
        key = (*name, like.dtype)
        if key not in self._buffers or self._buffers[key].numel() < like.numel():
            self._buffers[key] = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return self._buffers[key][: like.numel()].view(like.shape)

    def busy(self) -> bool:
        """Whether a run's gradient is still to come."""
        return self._pending is not None and self._pending() is not None

    def begin(self) -> "_Run":
        """A run forward; as long as the returned object lives, its gradient may be asked for."""
        run = _Run()
        self._pending = weakref.ref(run)
        return run

    def end(self) -> None:
        """The gradient of the run is done."""
        self._pending = None


class _Run:
    """Lives as long as the gradient of a run can be asked for."""


class _Graph:
    """The loop at one shape, forward and backward."""

    def __init__(self, loop: nn.Module, inputs: Tree, memory: _Memory) -> None:
        self.memory = memory
        leaves = _leaves(inputs)
        self.inputs = [own for own in memory.tensors("input", leaves) if own is not None]
        _copy(leaves, self.inputs)
        static = [
            own.detach().requires_grad_(leaf.requires_grad) for own, leaf in zip(self.inputs, leaves, strict=True)
        ]
        tree = _with_leaves(inputs, static)
        # Weights under another name: autograd ties a tensor to the stream it was first used on, which a graph must not
        # wait for.
        weights = {
            name: weight.detach().requires_grad_() for name, weight in loop.named_parameters() if weight.requires_grad
        }
        sources = [*static, *weights.values()]
        self.wanted = [source.requires_grad for source in sources]
        wanted = [source for source in sources if source.requires_grad]
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
                    ends, wanted, [grad for grad in grads if grad is not None], allow_unused=True
                )

        # Once without a graph, copies included: libraries set themselves up and kernels are loaded, which must not
        # happen while a graph is being made, and the shapes become known.
        stream = memory.stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = forward()
            found = _leaves(outputs)
            self.shape_of_outputs = map_rows(outputs, lambda output: None)
            self.outputs = [own for own in memory.tensors("output", found) if own is not None]
            self.output_grads = memory.tensors("output gradient", [one if one.requires_grad else None for one in found])
            _copy(found, self.outputs)
            for grad in self.output_grads:
                if grad is not None:
                    grad.zero_()
            grads = backward(outputs, self.output_grads)
            self.grads = memory.tensors("gradient", grads)
            _copy(grads, self.grads)
        torch.cuda.current_stream().wait_stream(stream)
        del outputs, found, grads
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with _captured(self.forward, memory):
            outputs = forward()
            _copy(_leaves(outputs), self.outputs)
        with _captured(self.backward, memory):
            _copy(backward(outputs, self.output_grads), self.grads)


@contextmanager
def _captured(graph: torch.cuda.CUDAGraph, memory: _Memory) -> Iterator[None]:
    """What is launched meanwhile goes into the graph. Raises the RuntimeError that came first."""
    try:
        with torch.cuda.graph(graph, memory.pool, memory.stream, capture_error_mode="thread_local"):
            yield
    except RuntimeError as error:
        while isinstance(error.__context__, RuntimeError):
            error = error.__context__
        # A capture that failed leaves the random numbers in its hands; one that succeeds sets them free again.
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
        """Gradients of inputs and weights; those of weights are copies, since they stay."""
        graph: _Graph = ctx.graph
        for own, grad in zip(graph.output_grads, grads, strict=True):
            if own is not None:
                own.zero_() if grad is None else own.copy_(grad)
        graph.backward.replay()
        graph.memory.end()
        found = iter(graph.grads)
        given = [next(found) if wanted else None for wanted in graph.wanted]
        count = len(graph.inputs)
        return None, *given[:count], *(None if grad is None else grad.clone() for grad in given[count:])


def _leaves(tree: Tree) -> list[Tensor]:
    found: list[Tensor] = []
    map_rows(tree, found.append)
    return found


def _with_leaves(tree: Tree, leaves: Sequence[Tensor]) -> Tree:
    """The same nesting with other tensors."""
    remaining = iter(leaves)
    return map_rows(tree, lambda _: next(remaining))
