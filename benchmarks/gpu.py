"""CUDA against CPU: losses of the first updates in each precision, then tokens/s and memory at sizes that fill a GPU.

    python benchmarks/gpu.py DATA [--losses] [--throughput] [--only WORKLOAD …]

DATA is made by nmt prepare. Without --losses and --throughput, both. Prints Markdown. Every workload runs in bf16, some
also in fp32 and fp16; one that runs out of memory has no figures. Use is what the products with weights alone would
take at the rate of a large product in the same precision, as a share of the time taken; embeddings and attention are
not counted. `make gpu-report` runs this with the tests and recipes.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path

import torch

from nmtcli.checkpoint import RunDirectory
from nmtcli.data.directory import PreparedData, open_data
from nmtcli.models.device import open_device
from nmtcli.models.seq2seq import parameter_count
from nmtcli.settings import load_config
from nmtcli.train.run import resolve
from nmtcli.train.trainer import Trainer

UPDATES, MEASURED = 50, 20
EXACT = ["model.dropout=0", "train.batch_tokens=2000", f"train.log_every={10 * UPDATES}"]  # the meter is read here
WIDE = [f"model.{part}=1024" for part in ("embedding.size", "encoder.hidden_size", "decoder.hidden_size")]
TWO = ["model.encoder.layers=2", "model.decoder.layers=2"]
WORKLOADS = {  # what: preset, settings, batch tokens
    "luong-general": ("luong-general", [], 8_192),
    "luong-general, 2 × 1024": ("luong-general", [*WIDE, *TWO], 32_768),
    "the same, input feeding": ("luong-general", [*WIDE, *TWO, "model.decoder.input_feeding=true"], 32_768),
    "luong-general, input feeding": ("luong-general", ["model.decoder.input_feeding=true"], 4_096),
    "bahdanau, 1024": ("bahdanau", WIDE, 32_768),
    "gnmt, 1024": ("gnmt", WIDE, 32_768),
    "transformer-base": ("transformer-base", [], 32_768),
    "transformer-base, compiled": ("transformer-base", ["train.compile=true"], 32_768),
    "transformer-big": ("transformer-big", [], 16_384),
    "deep-shallow": ("deep-shallow", [], 32_768),
    "deep-shallow, compiled": ("deep-shallow", ["train.compile=true"], 32_768),
    "hybrid-ssru": ("hybrid-ssru", [], 32_768),
}
EVERY_PRECISION = "luong-general", "transformer-base"  # workloads that also run in fp32 and fp16


def trainer(data: PreparedData, device_name: str, *settings: str, preset: str | None = None) -> Trainer:
    """A fresh trainer with the given settings."""
    device = open_device("cuda" if device_name == "cuda" else "cpu")
    config = load_config(preset, overrides=settings, base={"data": data.manifest.data.model_dump()})
    folder = Path(tempfile.mkdtemp())
    return Trainer(resolve(config, data, device), data, RunDirectory(folder), device, [])


def losses(data: PreparedData, device: str, precision: str) -> list[float]:
    """The loss a token of each of the first updates; no dropout, so that devices compare."""
    made = trainer(data, device, f"train.precision={precision}", *EXACT)
    updates, found = made.feed.updates(made.state), []
    for _ in range(UPDATES):
        made.update(next(updates))
        found.append(made.meter.read(made.state, 0.0)["loss"])
    return found


def throughput(data: PreparedData, precision: str, workload: str, rate: float) -> tuple[float, float, float, int]:
    """Target tokens/s, use of a device that makes `rate` operations a second, peak GPU memory in GB, parameters.

    Raises torch.OutOfMemoryError also where the trainer would halve the batches.
    """
    gc.collect()  # trainers have cycles
    torch.cuda.empty_cache()
    preset, settings, tokens = WORKLOADS[workload]
    settings = [*settings, f"train.batch_tokens={tokens}", f"train.precision={precision}"]
    made = trainer(data, "cuda", *settings, preset=preset)
    updates = made.feed.updates(made.state)
    measured = [next(updates) for _ in range(MEASURED)]
    for batches in measured:  # once before, so that kernels and plans of these shapes are there
        made.update(batches)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for batches in measured:
        made.update(batches)
    torch.cuda.synchronize()
    if made.meter.splits:
        raise torch.OutOfMemoryError(f"{workload}: batches had to be halved")
    seconds = time.perf_counter() - start
    source = sum(int(batch.source_length.sum()) for batches in measured for batch in batches)
    target = sum(batch.target_tokens for batches in measured for batch in batches)
    model = made.model
    decoding = parameter_count(model.decoder) + model.output.weight.numel()
    operations = 6 * (parameter_count(model.encoder) * source + decoding * target)
    memory = torch.cuda.max_memory_allocated() / 1e9
    return target / seconds, operations / rate / seconds, memory, parameter_count(model)


def product_rate(precision: str) -> float:
    """Operations a second of a large product."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = torch.randn(2, 8192, 8192, device="cuda", dtype=dtype)
    for _ in range(3):
        left @ right
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(10):
        left @ right
    torch.cuda.synchronize()
    return float(10 * 2 * 8192**3 / (time.perf_counter() - start))


def compare_losses(data: PreparedData) -> None:
    """Print a table of the losses in each precision against those of the CPU in fp32."""
    reference = losses(data, "cpu", "fp32")
    print(f"| precision | largest relative difference of the loss to CPU fp32, {UPDATES} updates | last loss |")
    print("|---|---|---|")
    for precision in ("fp32", "bf16", "fp16"):
        ours = losses(data, "cuda", precision)
        worst = max(abs(one / other - 1) for one, other in zip(ours, reference, strict=True))
        print(f"| {precision} | {worst:.2e} | {ours[-1]:.4f} (CPU {reference[-1]:.4f}) |", flush=True)


def compare_throughput(data: PreparedData, workloads: list[str]) -> None:
    """Print a table of the workloads, bf16 first."""
    rates = {precision: product_rate(precision) for precision in ("bf16", "fp32", "fp16")}
    found = ", ".join(f"{precision} {rate / 1e12:.0f}" for precision, rate in rates.items())
    print(f"A product of 8192 × 8192 matrices, Tflop/s: {found}\n")
    print("| model | parameters | batch tokens | precision | target tokens/s | use | peak memory, GB |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for precision, rate in rates.items():
        for workload in workloads:
            if precision != "bf16" and workload not in EVERY_PRECISION:
                continue
            tokens = WORKLOADS[workload][2]
            try:
                speed, use, memory, count = throughput(data, precision, workload, rate)
            except torch.OutOfMemoryError:
                cells = [workload, "", f"{tokens:,}", precision, "out of memory", "", ""]
            else:
                cells = [
                    workload,
                    f"{count:,}",
                    f"{tokens:,}",
                    precision,
                    f"{speed:,.0f}",
                    f"{use:.0%}",
                    f"{memory:.2f}",
                ]
            print(f"| {' | '.join(cells)} |", flush=True)
            torch.cuda.empty_cache()


def main() -> None:
    """Print both tables, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--throughput", action="store_true")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    options = parser.parse_args()
    data = open_data(options.data)
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}\n")
    both = options.losses == options.throughput
    if both or options.losses:
        compare_losses(data)
    if both or options.throughput:
        compare_throughput(data, options.only)


if __name__ == "__main__":
    main()
