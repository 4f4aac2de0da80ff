"""Training on the threads of a CPU: each operation divided among them, as PyTorch does, or the pairs of a batch.

    python benchmarks/training_threads.py DATA [--threads 2] [--updates 20] [--batch-tokens 1280 4096] [--only WORD …]

Updates of the default model and of transformer-small on the batches of DATA, forward to optimizer, without reading the
data. All candidates of a row in one process, the better of two rounds. Prints Markdown: target tokens a second, and a
second of CPU time.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as `nmt train` does

import torch

from nmtcli.data.directory import open_data
from nmtcli.models.device import has_bf16
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.batches import Batch, BatchPlan
from nmtcli.train.distributed import Parallel, Ranks
from nmtcli.train.gradients import Gradients
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.memory import keep_freed_memory
from nmtcli.train.optimizers import make_optimizer, set_rate
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.threads import BatchThreads

CPU = torch.device("cpu")
MODELS = {"default RNN": None, "transformer-small": "transformer-small"}
Update = Callable[[Batch], None]


def updating(objective: TrainingLoss, optimizer: torch.optim.Optimizer, precision: str, threads: int) -> Update:
    """A function that makes one update; `threads` above one divide the pairs."""
    divided = BatchThreads(objective, threads) if threads > 1 else None
    parallel = Parallel(objective)
    gradients = Gradients(parallel, Ranks(), CPU, 1, lambda batch: None, threads=divided)
    mixed = MixedPrecision(precision, CPU)  # type: ignore[arg-type]

    def update(batch: Batch) -> None:
        gradients.compute([batch], None, 1, mixed)
        mixed.step(optimizer, 1.0)
        parallel.forget()

    return update


def rates(update: Update, batches: list[Batch], threads: int) -> tuple[float, float]:
    """Target tokens a second and a CPU second, the better of two rounds after a warm-up of one."""
    torch.set_num_threads(threads)
    found = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            update(batch)
        tokens = sum(batch.target_tokens for batch in batches)
        found.append((tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu)))
    return max(found[1:])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[1_280, 4_096])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="of a row, as in: RNN, bf16")
    options = parser.parse_args()
    keep_freed_memory()
    data = open_data(options.data)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()},"
        f" {torch.cpu.get_capabilities()['cpu_name']} ({torch.backends.cpu.get_cpu_capability()}),"
        f" {options.threads} threads; target tokens/s (a CPU second)\n"
    )
    columns = [
        "model",
        "batch tokens",
        "precision",
        "one thread",
        "operations divided",
        "pairs divided",
        "× one thread",
    ]
    print(f"| {' | '.join(columns)} |\n|---|---:|---|---:|---:|---:|---:|")
    for name, preset in MODELS.items():
        for tokens in options.batch_tokens:
            for precision in ("bf16", "fp32") if has_bf16(CPU) else ("fp32",):
                row = [name, f"{tokens:,}", precision]
                if any(word not in " ".join(row) for word in options.only):
                    continue
                config = load_config(preset, overrides=[f"train.batch_tokens={tokens}", "model.dropout=0.3"])
                plan = BatchPlan.training(data, config.train)
                batches = [plan.load(rows[0]) for rows in list(plan.block(0, 0))[: options.updates]]
                torch.manual_seed(1)
                model = Seq2Seq(config.model, len(data.tokenizers.source), len(data.tokenizers.target)).train()
                objective, optimizer = TrainingLoss(model, 0.1), make_optimizer(model, config.train)
                set_rate(optimizer, 1e-4, 1.0)
                whole = updating(objective, optimizer, precision, 1)
                divided = updating(objective, optimizer, precision, options.threads)
                found = [rates(whole, batches, 1), rates(whole, batches, options.threads)]
                found.append(rates(divided, batches, options.threads))
                row += [f"{wall:,.0f} ({cpu:,.0f})" for wall, cpu in found]
                print(f"| {' | '.join([*row, f'{found[2][0] / found[0][0]:.2f}'])} |", flush=True)


if __name__ == "__main__":
    main()
