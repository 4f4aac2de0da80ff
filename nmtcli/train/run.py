"""Start a run, or go on with the one that is there: settings found out, compared and written down."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from nmtcli.checkpoint import RunDirectory, write_text_whole
from nmtcli.config import Config, dump_config, keys, load_config
from nmtcli.errors import DataError, UserError
from nmtcli.prepare.directory import PreparedData
from nmtcli.train.precision import resolve_precision

# Settings that a run may go on with changed: they decide what is written down, or how long it lasts.
FREE = {"max_updates", "max_epochs", "patience", "valid_every", "save_every", "keep_last", "keep_best", "log_every"}


def resolve(config: Config, data: PreparedData, device: torch.device) -> Config:
    """The settings with every `auto` and null that depends on data or device found out, and the data's own section."""
    tie = config.model.embedding.tie
    if tie == "all" and not data.tokenizers.joint:
        raise UserError(
            "model.embedding.tie is all, but the data has a tokenizer for each side",
            "set model.embedding.tie=target, or prepare the data with --joint",
        )
    if tie == "auto":
        tie = "all" if data.tokenizers.joint else "target"
    embedding = config.model.embedding.model_copy(update={"tie": tie})
    found_out = {
        "precision": resolve_precision(config.train.precision, device),
        "threads": config.train.threads or torch.get_num_threads(),
    }
    return config.model_copy(
        update={
            "data": data.manifest.data,
            "model": config.model.model_copy(update={"embedding": embedding}),
            "train": config.train.model_copy(update=found_out),
        }
    )


def open_run(path: Path, config: Config, fingerprint: str) -> tuple[RunDirectory, list[str]]:
    """The run directory for these settings: a new one, or an earlier run of the same settings to go on with.

    Returns it with the settings that changed, each in words. Raises UserError where the run there is another one.
    """
    run = RunDirectory(path)
    if not (path / "config.yaml").exists():
        if path.is_dir() and any(path.iterdir()):
            raise DataError(f"{path}: holds files, but no run", "choose another -o")
        try:
            run.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path}: cannot make the run directory: {error.strerror}") from None
        _write_settings(run, config, fingerprint)
        return run, []
    if (path / "fingerprint").read_text("utf-8").strip() != fingerprint:
        raise UserError(
            f"{path}: this run was trained on other data", "choose another -o, or give the data it began with"
        )
    before = load_config(files=[path / "config.yaml"])
    free, fixed = _changes(before, config)
    if fixed:
        lines = "\n".join(f"{path}: the run began with other settings: {change}" for change in fixed)
        raise UserError(lines, "choose another -o for a new run, or give the settings it began with")
    if free:
        _write_settings(run, config, fingerprint)
    return run, free


def _write_settings(run: RunDirectory, config: Config, fingerprint: str) -> None:
    write_text_whole(run.path / "fingerprint", fingerprint + "\n")
    write_text_whole(run.path / "config.yaml", dump_config(config))


def _changes(before: Config, now: Config) -> tuple[list[str], list[str]]:
    """What changed in the settings: what may, and what may not."""
    free: list[str] = []
    fixed: list[str] = []
    for path, old, new in _differences(before, now):
        is_free = path[0] == "search" or (path[0] == "train" and path[1] in FREE)
        (free if is_free else fixed).append(f"{'.'.join(path)} was {old}, is {new}")
    return free, fixed


def _differences(before: Config, now: Config) -> Iterator[tuple[Sequence[str], Any, Any]]:
    for path, _ in keys():
        old: Any = before
        new: Any = now
        for part in path:
            old, new = getattr(old, part), getattr(new, part)
        if old != new:
            yield path, old, new
