"""Run `nmt train` in a separate process and read its metrics: for benchmarks that train whole models."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nmtcli.checkpoint import STATE, RunDirectory, read_json
from nmtcli.models.device import has_bf16

Record = dict[str, Any]

# No stop and no validation but those asked for, and one checkpoint.
WHOLE = ["train.patience=null", "train.keep_last=1", "train.save_every=1000"]


def start_training(data: Path, run: Path, settings: Sequence[str], *arguments: str) -> subprocess.Popen[bytes]:
    """Start or resume `nmt train`, with its output in RUN.log."""
    run.parent.mkdir(parents=True, exist_ok=True)
    given = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "nmtcli", "train", str(data), "-o", str(run), *arguments, *given]
    with log(run).open("ab") as file:
        return subprocess.Popen(command, stderr=file, stdout=file)


def log(run: Path) -> Path:
    """The path of the log of a run."""
    return run.with_name(f"{run.name}.log")


def last_words(run: Path) -> str:
    """The end of the log of a run: an error and its hint."""
    return "; ".join(log(run).read_text("utf-8").splitlines()[-2:])


def events(run: Path) -> list[Record]:
    """The events of a run without repeated ones after a resume."""
    path, found = run / "metrics.jsonl", list[Record]()
    for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
        event = json.loads(line)
        if event["event"] == "started":
            found = [before for before in found if before["step"] <= event["step"] and before["event"] != "stopped"]
        found.append(event)
    return found


def measured(run: Path) -> Record:
    """Updates, target tokens and the seconds they took, without validation; parameters and precision."""
    directory = RunDirectory(run)
    state = read_json(directory.checkpoint(directory.steps()[-1]) / STATE)
    started = next(event for event in events(run) if event["event"] == "started")
    return {
        **{key: started[key] for key in ("parameters", "pairs", "precision")},
        "updates": state["step"],
        "target_tokens": state["target_tokens"],
        "seconds": state["seconds"],
        "tokens_per_second": state["target_tokens"] / state["seconds"],
    }


def machine(threads: int, device: torch.device) -> str:
    """Versions and hardware in general words."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu()
    return f"torch {torch.__version__}, Python {platform.python_version()}, {count(threads, 'thread')}, {where}"


def cpu() -> str:
    """Kind of processor."""
    products = "bf16 products" if has_bf16(torch.device("cpu")) else "no bf16 products"
    kind = torch.backends.cpu.get_cpu_capability().replace("NO AVX", "no AVX")
    return f"{platform.machine()} CPU with {kind} and {products}, {count(os.cpu_count() or 1, 'core')}"


def count(number: int, name: str) -> str:
    """A number with its noun, in the singular or plural."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
