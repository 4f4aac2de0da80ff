"""How many kernels a GPU would launch at least in one update, validation batch and search step; without a GPU.

    python benchmarks/launches.py DATA [PRESET …] [--precision bf16]

Tensors of the device `meta` have a shape and no values. They take the branches for GPUs, and reading one raises, where
a GPU would make the host wait. Each operator that computes or copies counts once: on a GPU it is at least one kernel.
cuDNN's recurrent layers and the attention kernel count once in each direction. Sizes do not change the counts, so
models are 64 wide here.
Prints Markdown. tests/models/test_launches.py holds these counts below a budget.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nmtcli.checkpoint import RunDirectory
from nmtcli.data.batching import Sentences
from nmtcli.data.directory import PreparedData, open_data
from nmtcli.settings import load_config, presets
from nmtcli.train.batches import Batch, make_batch
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.run import resolve
from nmtcli.train.trainer import Trainer
from nmtcli.vocabulary import BOS

META = torch.device("meta")
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALL = [
    "model.embedding.size=64",
    "model.encoder.hidden_size=64",
    "model.decoder.hidden_size=64",
    "model.dropout=0.1",
]
PRESETS = [name for name in presets() if name != "bert-rnn"]  # needs a folder
# Operators that change or read what is known of a tensor, or allocate: no kernel.
FREE = {
    *("alias", "as_strided", "detach", "diagonal", "expand", "lift_fresh", "permute", "select", "set_", "slice"),
    *("split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"),
    *("_reshape_alias", "_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
}
HALF = {"linear", "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm"}


class Launches(TorchDispatchMode):
    """Counts the operators that compute or copy."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in FREE and not name.startswith("_record_function"):
            self.operators[name] += 1
        return func(*args, **(kwargs or {}))


class _Attention(torch.autograd.Function):
    """The shapes of scaled dot-product attention, one operator in each direction."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(query, keys, values)
        return query.new_zeros(*query.shape[:-1], values.size(-1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        query, keys, values = ctx.saved_tensors
        return torch.zeros_like(query), torch.empty_like(keys), torch.empty_like(values)


class _CudnnLayer(torch.autograd.Function):
    """The shapes of a recurrent layer, one operator in each direction."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, *weights)
        return inputs.new_zeros(*inputs.shape[:2], weights[1].size(1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        inputs, *weights = ctx.saved_tensors
        return torch.zeros_like(inputs), *(torch.empty_like(weight) for weight in weights)


_ACTIVE: list[torch.dtype | None] = []  # types of the contexts entered


class _Gpu(TorchFunctionMode):
    """A GPU's kernels for recurrent layers, attention and dropout; autocast, which casts each weight once."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.dtype, self.weights = dtype, dict[int, tuple[Tensor, Tensor]]()

    def __enter__(self) -> "_Gpu":
        _ACTIVE.append(self.dtype)
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        _ACTIVE.pop()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, named = getattr(func, "__name__", ""), kwargs or {}
        if name in ("lstm", "gru"):
            layer = args[0], *args[2]
            if self.dtype is not None:  # whatever the type of autocast
                layer = tuple(one.to(torch.float16) for one in layer)
            hidden: Tensor = _CudnnLayer.apply(*layer)  # type: ignore[no-untyped-call]
            last = hidden[:, -1][None]
            return (hidden, last) if name == "gru" else (hidden, last, last.float())
        if func is F.dropout:
            return torch.native_dropout(args[0], named["p"], True)[0]
        if name == "scaled_dot_product_attention":
            return _Attention.apply(*map(self._half, args[:3]))
        if name in HALF:
            args = tuple(map(self._half, args))
            named = {key: self._half(value) for key, value in named.items()}
        return func(*args, **named)

    def _half(self, value: Any) -> Any:
        if self.dtype is None or not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(self.dtype)
        if id(value) not in self.weights:
            self.weights[id(value)] = value, value.to(self.dtype)
        return self.weights[id(value)][1]


@contextmanager
def pretended_gpu(precision: str) -> Iterator[None]:
    """A context in which the device `meta` does for a GPU."""
    dtype = DTYPES[precision]
    kinds = ["cuda", "cpu", "meta"]
    with (
        _Gpu(None),
        patch("torch.autocast", lambda *_, enabled=True: _Gpu(dtype if enabled else None)),
        patch("torch.is_autocast_enabled", lambda *_: _ACTIVE[-1] is not None),
        patch("torch._C._is_any_autocast_enabled", lambda *_: _ACTIVE[-1] is not None),
        patch("torch.get_autocast_dtype", lambda *_: _ACTIVE[-1]),
        patch.object(Tensor, "pin_memory", lambda self: self),
        patch("torch.optim.optimizer._get_fused_kernels_supported_devices", lambda: kinds),
        patch("torch.utils._foreach_utils._get_foreach_kernels_supported_devices", lambda: kinds),
    ):
        yield


def make_trainer(data: PreparedData, preset: str, precision: str, *settings: str) -> Trainer:
    """A small model of a preset on the pretended GPU."""
    overrides = [*SMALL, "train.precision=fp32", "train.log_every=1000000", *settings]
    config = load_config(preset, overrides=overrides, base={"data": data.manifest.data.model_dump()})
    resolved = resolve(config, data, torch.device("cpu"))  # which refuses fp16
    train = resolved.train.model_copy(update={"precision": precision})
    resolved = resolved.model_copy(update={"train": train})
    return Trainer(resolved, data, RunDirectory(Path(tempfile.mkdtemp())), META, [])


def batch_of(pairs: int, length: int) -> Batch:
    """Pairs of one length in tokens on both sides, EOS not counted."""
    side = Sentences.of([[5] * length] * pairs)
    return make_batch(side, side)


def launches(work: Callable[[], object]) -> int:
    """Operators that compute or copy."""
    with Launches() as counted:
        work()
    return counted.operators.total()


def of_update(trainer: Trainer, batch: Batch) -> int:
    """Those of an update after the first, which allocates."""
    trainer.update([batch])
    return launches(lambda: trainer.update([batch]))


@torch.no_grad()
def of_validation(trainer: Trainer, batch: Batch) -> int:
    """Those of the loss of one batch."""
    trainer.model.eval()
    moved = batch.to(META)
    return launches(lambda: TrainingLoss(trainer.model, 0.1).evaluate(moved))


@torch.inference_mode()
def of_search_step(trainer: Trainer, batch: Batch) -> int:
    """Those of the second step of a search, up to the log-probabilities."""
    model, moved = trainer.model.eval(), batch.to(META)
    tokens = torch.full((len(moved.source), 1), BOS, device=META)
    memory, cache = model.start(moved.source, moved.source_length)
    cache = model.step(tokens, memory, cache).cache
    return launches(lambda: model.step(tokens, memory, cache))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="made by nmt prepare")
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--precision", choices=DTYPES, default="bf16")
    parser.add_argument("--operators", action="store_true", help="list those of an update of 20 tokens")
    options = parser.parse_args()
    data = open_data(options.data)
    print(
        "| preset | update, 20 tokens | update, 40 tokens | validation | step of a search |\n|---|---:|---:|---:|---:|"
    )
    for preset in options.presets:
        with pretended_gpu(options.precision):
            trainer = make_trainer(data, preset, options.precision)
            short, long = batch_of(8, 19), batch_of(8, 39)
            counts = [of_update(trainer, short), of_update(trainer, long)]
            counts += [of_validation(trainer, short), of_search_step(trainer, short)]
            print(f"| {preset} | {' | '.join(f'{count:,}' for count in counts)} |", flush=True)
            if options.operators:
                with Launches() as counted:
                    trainer.update([short])
                print(*(f"{count} {name}" for name, count in counted.operators.most_common()), sep=", ")


if __name__ == "__main__":
    main()
