"""CUDA against CPU: losses of the first updates in each precision, then tokens/s and memory at sizes that fill a GPU.

    python benchmarks/gpu.py DATA        DATA is made by nmt prepare
Prints Markdown. `benchmarks/gpu.sh` runs it with the tests and a recipe.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from nmtcli.checkpoint import RunDirectory
from nmtcli.models.device import open_device
from nmtcli.models.seq2seq import parameter_count
from nmtcli.prepare.directory import PreparedData, open_data
from nmtcli.settings import load_config
from nmtcli.train.run import resolve
from nmtcli.train.trainer import Trainer

UPDATES = 50
WIDE = [f"model.{part}=1024" for part in ("embedding.size", "encoder.hidden_size", "decoder.hidden_size")]
TWO = ["model.encoder.layers=2", "model.decoder.layers=2"]
WORKLOADS = {  # what: preset, settings, batch tokens
    "luong-general": ("luong-general", [], 8_192),
    "luong-general, 2 × 1024": ("luong-general", [*WIDE, *TWO], 32_768),
    "the same, input feeding": ("luong-general", [*WIDE, *TWO, "model.decoder.input_feeding=true"], 32_768),
    "bahdanau, 1024": ("bahdanau", WIDE, 32_768),
    "gnmt, 1024": ("gnmt", WIDE, 32_768),
    "transformer-base": ("transformer-base", [], 32_768),
    "hybrid-ssru": ("hybrid-ssru", [], 32_768),
}


def trainer(data: PreparedData, device_name: str, *settings: str, preset: str | None = None) -> Trainer:
    """A fresh trainer with the given settings."""
    device = open_device("cuda" if device_name == "cuda" else "cpu")
    config = load_config(preset, overrides=settings, base={"data": data.manifest.data.model_dump()})
    folder = Path(tempfile.mkdtemp())
    return Trainer(resolve(config, data, device), data, RunDirectory(folder), device, [])


def losses(data: PreparedData, device: str, precision: str) -> list[float]:
    """The loss a token of each of the first updates; no dropout, so that devices compare."""
    made = trainer(data, device, f"train.precision={precision}", "model.dropout=0", "train.batch_tokens=2000")
    updates, found = made._updates(), []
    for _ in range(UPDATES):
        made._update(next(updates))
        found.append(made.meter.read()["loss"])
    return found


def throughput(data: PreparedData, precision: str, workload: str) -> tuple[float, float, int]:
    """Target tokens/s, peak GPU memory in GB, parameters."""
    preset, settings, tokens = WORKLOADS[workload]
    settings = [*settings, f"train.batch_tokens={tokens}", f"train.precision={precision}"]
    made = trainer(data, "cuda", *settings, preset=preset)
    updates = made._updates()
    for _ in range(5):
        made._update(next(updates))
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    before, start = made.state.target_tokens, time.perf_counter()
    for _ in range(30):
        made._update(next(updates))
    torch.cuda.synchronize()
    rate = (made.state.target_tokens - before) / (time.perf_counter() - start)
    return rate, torch.cuda.max_memory_allocated() / 1e9, parameter_count(made.model)


def main() -> None:
    """Print both tables."""
    data = open_data(Path(sys.argv[1]))
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}\n")
    reference = losses(data, "cpu", "fp32")
    print(f"| precision | largest relative difference of the loss to CPU fp32, {UPDATES} updates | last loss |")
    print("|---|---|---|")
    for precision in ("fp32", "bf16", "fp16"):
        found = losses(data, "cuda", precision)
        worst = max(abs(ours / theirs - 1) for ours, theirs in zip(found, reference, strict=True))
        print(f"| {precision} | {worst:.2e} | {found[-1]:.4f} (CPU {reference[-1]:.4f}) |", flush=True)
    print("\n| model | parameters | batch tokens | precision | target tokens/s | peak memory, GB |")
    print("|---|---|---|---|---|---|")
    for workload, (_, _, tokens) in WORKLOADS.items():
        for precision in ("fp32", "bf16", "fp16"):
            rate, memory, count = throughput(data, precision, workload)
            print(f"| {workload} | {count:,} | {tokens:,} | {precision} | {rate:,.0f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
