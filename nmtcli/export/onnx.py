"""Export of a model to two ONNX graphs: `encoder.onnx` encodes a batch of sentences, `step.onnx` extends hypotheses.

The search is that of `nmt`, so the graphs have no loop. The memory of a sentence (attention keys, mask) is an output of
the first graph and an input of the second. Arrays are named `memory.*`, `cache.*` and `next_cache.*`.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from nmtcli.checkpoint import StoredPrecision
from nmtcli.errors import UserError
from nmtcli.models.protocol import Cache, Memory, select_rows
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.translate.runtimes.onnx import ENCODER_FILE, STEP_FILE

OPSET = 18
NEEDED = (2, 13)  # PyTorch: its exporter fails at recurrent layers before


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
        """tokens [B, K] and the arrays of memory and cache to log_probs, attention if any, and the next cache."""
        memory, cache = unflatten(self.structure, iter(arrays))
        step = self.model.step(tokens, memory, cache)
        attention = () if step.attention is None else (step.attention,)
        return (step.log_probs, *attention, *(array for _, array in flatten(step.cache)))


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


def pytorch_exports() -> bool:
    """Whether this PyTorch is new enough."""
    return tuple(map(int, torch.__version__.split(".")[:2])) >= NEEDED


def export_onnx(model: Seq2Seq, directory: Path, precision: StoredPrecision = "fp32") -> None:
    """Write both graphs of a model in evaluation mode into an existing directory; in fp32, int8 or fp16."""
    try:
        import onnxscript  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise UserError("ONNX export needs the onnx extra", "pip install 'nmtcli[onnx]'") from None
    if not pytorch_exports():
        raise UserError(
            f"ONNX export needs PyTorch {'.'.join(map(str, NEEDED))} or newer, this is {torch.__version__}",
            "upgrade torch, or export with --format safetensors or ctranslate2",
        )
    # All sizes differ, and none is 0 or 1, which the exporter would treat as constant.
    example, larger = _Example.of(model, 2, 5, 3, 4), _Example.of(model, 3, 7, 4, 6)
    memory_names = [name for name, _ in flatten(example.memory, "memory")]
    cache_names = [name for name, _ in flatten(example.cache, "cache")]
    _export(
        StartGraph(model),
        example.start_inputs,
        larger.start_inputs,
        ["source", "source_length"],
        [*memory_names, *cache_names],
        directory / ENCODER_FILE,
    )
    attention = ["attention"] if example.attends else []
    _export(
        StepGraph(model, example.memory, example.cache),
        example.step_inputs,
        larger.step_inputs,
        ["tokens", *memory_names, *cache_names],
        ["log_probs", *attention, *(f"next_{name}" for name in cache_names)],
        directory / STEP_FILE,
    )
    if precision in ("int8", "fp16"):
        from nmtcli.export.onnx_precision import reduce_precision  # noqa: PLC0415 - an extra

        for name in (ENCODER_FILE, STEP_FILE):
            reduce_precision(directory / name, precision)


@dataclass(frozen=True)
class _Example:
    """Example inputs of both graphs, from the middle of a search."""

    source: Tensor  # [B, S]
    tokens: Tensor  # [B, K]
    memory: Memory
    cache: Cache
    attends: bool

    @classmethod
    @torch.no_grad()
    def of(cls, model: Seq2Seq, batch: int, length: int, beam: int, steps: int) -> Self:
        """An example of these sizes, after a number of steps."""
        source, tokens = torch.full((batch, length), 4), torch.full((batch, beam), 4)
        memory, cache = model.start(source, torch.full((batch,), length))
        cache = select_rows(cache, torch.arange(batch).repeat_interleave(beam))
        attends = False
        for _ in range(steps):
            step = model.step(tokens, memory, cache)
            cache, attends = step.cache, step.attention is not None
        return cls(source, tokens, memory, cache, attends)

    @property
    def start_inputs(self) -> tuple[Any, ...]:
        return self.source, torch.full((len(self.source),), self.source.size(1))

    @property
    def step_inputs(self) -> tuple[Any, ...]:
        return self.tokens, [array for _, array in flatten((self.memory, self.cache))]


def _varying(tree: Any, larger: Any) -> Any:
    """For each array of nested tuples and lists, the axes whose size differs in the larger example."""
    if isinstance(tree, Tensor):
        free = [axis for axis, (size, other) in enumerate(zip(tree.shape, larger.shape, strict=True)) if size != other]
        return dict.fromkeys(free, torch.export.Dim.DYNAMIC)
    return type(tree)(_varying(item, other) for item, other in zip(tree, larger, strict=True))


def _export(
    module: nn.Module,
    inputs: tuple[Any, ...],
    larger: tuple[Any, ...],
    names: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Write one graph. Axes that differ in size between both inputs become dynamic."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            dynamic_shapes=_varying(inputs, larger),
            input_names=list(names),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress and its warnings about packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
