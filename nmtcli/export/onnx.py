"""A PyTorch model as two ONNX graphs: `encoder.onnx` reads a batch of sentences, `step.onnx` extends hypotheses.

The search stays ours, so the graphs have no loop. Everything that is worked out once a sentence (attention keys, the
mask) is an output of the first and an input of the second; names tell which: `memory.*`, `cache.*`, `next_cache.*`.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nmtcli.errors import UserError
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.translate.runtimes.onnx import ENCODER_FILE, STEP_FILE

OPSET = 18


class StartGraph(nn.Module):
    """`Seq2Seq.start` with flat outputs."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, source_length: Tensor) -> tuple[Tensor, ...]:
        """source [B, S], source_length [B] to the arrays of memory, then those of the cache."""
        memory, cache = self.model.start(source, source_length)
        return tuple(array for _, array in flatten((memory, cache)))


class StepGraph(nn.Module):
    """`Seq2Seq.step` with flat inputs and outputs."""

    def __init__(self, model: Seq2Seq, memory: Any, cache: Any) -> None:
        super().__init__()
        self.model = model
        self.structure = (memory, cache)

    def forward(self, tokens: Tensor, arrays: list[Tensor]) -> tuple[Tensor, ...]:
        """tokens [B, K] and the arrays of memory and cache to log_probs, attention and the arrays of the next cache."""
        memory, cache = unflatten(self.structure, iter(arrays))
        step = self.model.step(tokens, memory, cache)
        return (step.log_probs, step.attention, *(array for _, array in flatten(step.cache)))


def flatten(tree: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The arrays of nested tuples and dicts with dotted names, in a fixed order."""
    if isinstance(tree, Tensor):
        yield name, tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from flatten(value, f"{name}.{key}" if name else str(key))


def unflatten(tree: Any, arrays: Iterator[Tensor]) -> Any:
    """Arrays in the order of `flatten` as a tree of the same shape."""
    if isinstance(tree, Tensor):
        return next(arrays)
    if isinstance(tree, dict):
        return {key: unflatten(value, arrays) for key, value in tree.items()}
    return tuple(unflatten(value, arrays) for value in tree)


def export_onnx(model: Seq2Seq, directory: Path) -> None:
    """Write both graphs of a model in evaluation mode into an existing directory, fp32."""
    try:
        import onnxscript  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise UserError("ONNX export needs the onnx extra", "pip install 'nmtcli[onnx]'") from None
    batch, beam, length = 2, 3, 5
    source = torch.full((batch, length), 4)
    source_length = torch.tensor([length, length - 2])
    with torch.no_grad():
        memory, cache = model.start(source, source_length)
    memory_names = [name for name, _ in flatten(memory, "memory")]
    cache_names = [name for name, _ in flatten(cache, "cache")]
    _export(
        StartGraph(model),
        (source, source_length),
        (2, 1),
        ["source", "source_length"],
        [*memory_names, *cache_names],
        directory / ENCODER_FILE,
    )
    memory_arrays = [array for _, array in flatten(memory)]
    cache_arrays = [array.repeat_interleave(beam, dim=0) for _, array in flatten(cache)]
    _export(
        StepGraph(model, memory, cache),
        (torch.full((batch, beam), 4), [*memory_arrays, *cache_arrays]),
        (2, [2] * len(memory_arrays) + [1] * len(cache_arrays)),
        ["tokens", *memory_names, *cache_names],
        ["log_probs", "attention", *(f"next_{name}" for name in cache_names)],
        directory / STEP_FILE,
    )


def _export(
    module: nn.Module, inputs: tuple[Any, ...], free: Any, names: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    """Write one graph. `free` says for each input how many of its first axes vary: batch and length, or rows."""

    def shapes(tree: Any) -> Any:
        if isinstance(tree, int):
            return dict.fromkeys(range(tree), torch.export.Dim.DYNAMIC)
        return type(tree)(shapes(item) for item in tree)

    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            dynamic_shapes=shapes(free),
            input_names=list(names),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's progress and its remarks on packages we do not use are not for our users."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
