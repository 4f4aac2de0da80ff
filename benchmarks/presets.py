"""Does every preset work? Laws, 200 pairs learnt by heart, one epoch of a real corpus: a row a preset.

    python benchmarks/presets.py DATA --out results.jsonl [--only NAME …] [--width N] [--skip-epoch]

DATA is made by nmt prepare (the figures are of Multi30k). Each check of each preset runs in a process of its own:

- laws: `pytest tests/models/test_presets.py`, the preset's own tests, slow ones too;
- overfit: the first 200 training pairs, without dropout and label smoothing, until 99 % of the target tokens are
  predicted rightly after the true ones. `--width N` makes its decoder N wide, the rest in proportion;
- epoch: `nmt train` at the preset's own size through the whole corpus once, with validation at the end.

What is done is appended to the results and skipped when called again with the same settings; an epoch that was
interrupted goes on. Runs lie beside the results and are deleted once their figures are written. Prints Markdown.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import torch
from shrinking import complete_presets, shrunk
from training import WHOLE, Record, events, last_words, log, machine, measured, row, start_training

from nmtcli.config import Config
from nmtcli.data.directory import open_data
from nmtcli.models.device import open_device
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.settings import load_config
from nmtcli.train.batches import BatchPlan
from nmtcli.train.epochs import Epochs
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.run import resolve
from nmtcli.train.schedule import Schedule

ROOT = Path(__file__).parent.parent
PAIRS, ACCURACY = 200, 0.99
EVERY = 5  # passes over the pairs between measurements
# Small batches: it is updates that count here, not tokens.
HEART = [
    *("model.dropout=0", "model.recurrent_dropout=0", "model.word_dropout=0", "train.label_smoothing=0"),
    *("train.batch_tokens=300", "train.schedule=constant", "train.warmup_updates=50"),
]
# A warm-up of thousands of updates would outlast an epoch of a small corpus.
EPOCH = [
    *("train.max_epochs=1", "train.batch_tokens=4096", "train.warmup_updates=50"),
    *("train.log_every=10", "train.valid_every=1000000", *WHOLE),
]


def check_laws(preset: str) -> Record:
    """The preset's own tests."""
    tests = ["tests/models/test_presets.py", "-k", f"[{preset}"]
    command = [sys.executable, "-m", "pytest", *tests, "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    passed, failed = (re.search(rf"(\d+) {word}", done.stdout) for word in ("passed", "failed"))
    counts = {"passed": int(passed[1]) if passed else 0, "not_passed": int(failed[1]) if failed else 0}
    if done.returncode not in (0, 1) or not sum(counts.values()):
        return {"failed": (done.stderr or done.stdout).strip().rpartition("\n")[2]}
    return {**counts, "ok": done.returncode == 0}


def overfit(data_path: Path, preset: str, settings: Sequence[str], device_name: str) -> Record:
    """Overfit the first pairs, in this process."""
    data = open_data(data_path)
    config = load_config(preset, overrides=settings, base={"data": data.manifest.data.model_dump()})
    device = open_device(device_name, config.train.threads)  # type: ignore[arg-type]
    config = resolve(config, data, device)
    torch.manual_seed(config.train.seed)
    model = Seq2Seq(config.model, len(data.tokenizers.source), len(data.tokenizers.target)).to(device)
    rows = min(PAIRS, len(data.train))
    plan = BatchPlan(data.train, Epochs([rows], [Fraction(1)], config.train.seed), config.train.batch_tokens, None)
    begin = time.perf_counter()
    accuracy, updates = learn(model, plan, config, device)
    return {
        "parameters": parameter_count(model),
        "width": config.model.decoder.hidden_size,
        "pairs": rows,
        "precision": config.train.precision,
        "updates": updates,
        "seconds": time.perf_counter() - begin,
        "accuracy": accuracy,
        "ok": accuracy >= ACCURACY,
    }


def learn(model: Seq2Seq, plan: BatchPlan, config: Config, device: torch.device) -> tuple[float, int]:
    """Train until the accuracy is reached or the updates are spent; the accuracy and how many updates it took."""
    objective = TrainingLoss(model, config.train.label_smoothing)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)
    precision = MixedPrecision(config.train.precision, device)
    schedule = Schedule.of(config, config.train.max_updates)
    update, epoch, accuracy = 0, 0, 0.0
    while accuracy < ACCURACY and update < config.train.max_updates:
        objective.train()
        for (rows,) in plan.block(epoch, 0):
            batch, update = plan.load(rows).to(device), update + 1
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(update)
            with precision.autocast():
                loss, _ = objective(batch)
            precision.scaler.scale(loss / batch.target_tokens).backward()
            precision.step(optimizer, config.train.clip_norm)
            optimizer.zero_grad(set_to_none=True)
        epoch += 1
        if epoch % EVERY == 0 or update >= config.train.max_updates:
            accuracy = teacher_forced(objective.eval(), plan, device)
            print(f"  {accuracy:.1%} after {update:,} updates", file=sys.stderr, flush=True)
    return accuracy, update


def teacher_forced(objective: TrainingLoss, plan: BatchPlan, device: torch.device) -> float:
    """Token accuracy with teacher forcing, by a model in evaluation mode."""
    batches = [plan.load(rows) for (rows,) in plan.block(0, 0)]
    correct = sum(objective.evaluate(batch.to(device))[2].item() for batch in batches)
    return correct / sum(batch.target_tokens for batch in batches)


def train_epoch(data: Path, preset: str, settings: Sequence[str], device: str, run: Path) -> Record:
    """`nmt train` through the corpus once."""
    process = start_training(data, run, settings, "--preset", preset, "--device", device)
    if process.wait():
        return {"failed": f"exit code {process.returncode}: {last_words(run)}"}
    updated = [event["loss"] for event in events(run) if event["event"] == "updated"]
    validated = [event for event in events(run) if event["event"] == "validated"][-1]
    found = measured(run)
    found |= {"first_loss": updated[0], "last_loss": updated[-1], "ok": updated[-1] < updated[0]}
    return found | {f"valid_{key}": validated[key] for key in ("loss", "accuracy", "bleu", "chrf")}


class Results:
    """The results as an append-only JSON Lines file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        if path.is_file():
            self.records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def once(self, preset: str, check: str, settings: Sequence[str], machine: str, run: Callable[[], Record]) -> None:
        """Run a check and record its result, unless it is recorded; failed checks are repeated."""
        key = {"preset": preset, "check": check, "settings": list(settings)}
        if any(key.items() <= record.items() and "failed" not in record for record in self.records):
            return
        print(f"{preset}: {check} …", file=sys.stderr, flush=True)
        record = {**key, "machine": machine, **run()}
        self.records.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def latest(self, preset: str, check: str) -> Record | None:
        """The newest result of a check."""
        found = [record for record in self.records if (record["preset"], record["check"]) == (preset, check)]
        return found[-1] if found else None


HEAD = (
    *("preset", "parameters", "laws", f"{PAIRS} pairs by heart", "one epoch", "target tokens/s", "minutes"),
    *("loss, first → last updates", "validation loss", "validation BLEU"),
)


def table(results: Results) -> str:
    """All results as a Markdown table, and how they were measured."""
    lines = [row(HEAD), "|---|---:|---|---|---|---:|---:|---|---:|---:|"]
    for preset in complete_presets():
        laws, heart, epoch = (results.latest(preset, check) for check in ("laws", "overfit", "epoch"))
        if laws or heart or epoch:
            size = f"{epoch['parameters']:,}" if epoch and "failed" not in epoch else ""
            lines.append(row([preset, size, cell(laws), cell(heart), cell(epoch), *epoch_cells(epoch)]))
    notes = {f"{record['check']}: {record['machine']}": None for record in results.records}
    for check in ("overfit", "epoch"):
        used = [set(record["settings"]) for record in results.records if record["check"] == check]
        if used:
            notes[f"{check}, settings of all: `{' '.join(sorted(set.intersection(*used)))}`"] = None
    return "\n".join([*lines, "", *(f"- {note}" for note in sorted(notes))])


def cell(record: Record | None) -> str:
    """A tick or a cross, and the figure it stands for; empty where it was not measured."""
    if record is None:
        return ""
    if "failed" in record:
        return f"✗ {record['failed']}".replace("|", "/")
    mark = "✓" if record["ok"] else "✗"
    match record["check"]:
        case "laws":
            total = record["passed"] + record["not_passed"]
            return f"{mark} {record['passed']} of {total}"
        case "overfit":
            words = f"{record['accuracy']:.1%} after {record['updates']:,} updates at width {record['width']}"
            return f"{mark} {words}, {record['seconds'] / 60:.1f} min"
        case _:
            return f"{mark} {record['updates']:,} updates, {record['precision']}"


def epoch_cells(epoch: Record | None) -> list[str]:
    """Speed, time, losses and BLEU of an epoch."""
    if epoch is None or "failed" in epoch:
        return [""] * 5
    return [
        f"{epoch['tokens_per_second']:,.0f}",
        f"{epoch['seconds'] / 60:.1f}",
        f"{epoch['first_loss']:.2f} → {epoch['last_loss']:.2f}",
        f"{epoch['valid_loss']:.2f}",
        f"{epoch['valid_bleu']:.1f}",
    ]


def heart_settings(preset: str, options: argparse.Namespace) -> list[str]:
    """Overrides of the overfit check. A Transformer wants a lower rate after so short a warm-up."""
    recurrent = load_config(preset).model.encoder.type == "rnn"
    rate = options.learning_rate or (2e-3 if recurrent else 5e-4)
    width = shrunk(preset, options.width) if options.width else []
    train = {"learning_rate": f"{rate:g}", "max_updates": options.updates, "threads": options.threads}
    return [*HEART, *(f"train.{key}={value}" for key, value in train.items()), *width]


def run_checks(preset: str, results: Results, options: argparse.Namespace) -> None:
    """The checks of one preset that are not done yet."""
    words = machine(options.threads, open_device(options.device))
    results.once(preset, "laws", [], words, lambda: check_laws(preset))

    def in_a_process() -> Record:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                return pool.submit(overfit, options.data, preset, settings, options.device).result()
            except Exception as error:  # one preset's failure is a row of the table
                return {"failed": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}

    settings = heart_settings(preset, options)
    results.once(preset, "overfit", settings, words, in_a_process)
    if options.skip_epoch:
        return
    run = options.out.with_suffix("") / preset
    wanted = [*EPOCH, f"train.threads={options.threads}", *options.set]
    results.once(preset, "epoch", wanted, words, lambda: train_epoch(options.data, preset, wanted, options.device, run))
    if "failed" not in (results.latest(preset, "epoch") or {}):
        shutil.rmtree(run, ignore_errors=True)
        log(run).unlink(missing_ok=True)


def main() -> None:
    """Run what is not done yet and print the table of all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("presets.jsonl"), help="results, appended to")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=complete_presets(), default=complete_presets())
    parser.add_argument("--skip-epoch", action="store_true")
    parser.add_argument("--width", type=int, help="overfit: the decoder's width; the preset's own without")
    parser.add_argument("--updates", type=int, default=4000, help="overfit: updates at most")
    parser.add_argument("--learning-rate", type=float, help="overfit: 2e-3 for recurrent models, 5e-4 for others")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="epoch: more settings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    results = Results(options.out)
    for preset in options.only:
        run_checks(preset, results, options)
    print(table(results))


if __name__ == "__main__":
    main()
