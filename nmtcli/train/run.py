"""Start or resume a run: resolve its settings, compare them with those of an earlier start, and write them."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from nmtcli.checkpoint import RunDirectory
from nmtcli.config import Config, ModelConfig, Precision
from nmtcli.config.section import AUTO
from nmtcli.data.directory import PreparedData
from nmtcli.errors import UserError
from nmtcli.interchange.encoders import EncoderFolder
from nmtcli.settings import changed_settings, dump_config, keys, load_config, replaced, value_of
from nmtcli.staging import write_whole, writing
from nmtcli.train.batches import BatchPlan
from nmtcli.train.defaults import AUTOMATIC, ENCODER_RATE, automatic
from nmtcli.train.distributed import Ranks
from nmtcli.train.freezing import check_freeze, encoder_is_frozen
from nmtcli.train.precision import resolve_precision

FIRST_WEIGHTS = "first-weights"  # a file of the run: how it began
_GIVEN, _RANDOM = "finetune-from", "random"
_APPEARING = 30.0  # seconds in which a file of another machine must appear
DROPOUTS = {f"model.{key}" for key in ("dropout", "recurrent_dropout", "word_dropout")}  # shape no weight
_OF_ENCODER = "architecture", "special_ids", "layers", "hidden_size"  # settings that a pretrained encoder decides
# Settings that may change when a run is resumed: they decide what is logged and saved or how long it lasts, or, as
# the number of threads does, only roundings and the masks of dropout.
FREE = {
    *(f"train.{key}" for key in ("max_updates", "max_epochs", "patience", "valid_every", "save_every")),
    *(f"train.{key}" for key in ("keep_last", "keep_best", "average", "log_every")),
    *(f"train.{key}" for key in ("threads", "sharded", "max_skipped", "on_divergence", "wandb_project")),
    *(".".join(path) for path, _ in keys() if path[0] == "search"),
    "data.tokenizer.pretrained",  # where the tokenizer was from; the fingerprint of the data has its content
}


def resolve(
    config: Config,
    data: PreparedData,
    device: torch.device,
    before: Config | None = None,
    finetuning: bool = False,
) -> Config:
    """Resolve the settings that are `auto` or null and depend on data or device; the data section is that of the data.

    A resumed run keeps the values it had `before`, also on another machine. A new run is either `finetuning` a trained
    model or starts from random weights. Raises UserError for settings that do not fit the data.
    """
    config = config.model_copy(update={"data": config.data.settings()})
    prepared = config.model_copy(update={"data": data.manifest.data})
    if changes := [change for _, change in differences(prepared, config)]:
        lines = "\n".join(f"the data was prepared with other settings: {change}" for change in changes)
        raise UserError(lines, "leave out the data settings, or run nmt prepare with these to another directory")
    if config.model.encoder.type == "pretrained":
        config = _with_encoder(config, data, before)
    config = replaced(config, _automatic(config, data, before, finetuning))
    BatchPlan.training(data, config.train)  # may refuse
    if config.train.guided_alignment:
        _require_alignment(config, data)
    if config.train.subword_sampling is not None:
        for tokenizer in (data.tokenizers.source, data.tokenizers.target):
            tokenizer.sample([], config.train.subword_sampling, seed=0)  # may refuse
    tie = config.model.embedding.tie
    if tie == "all" and not data.tokenizers.joint:
        other = "" if finetuning else "set model.embedding.tie=target, or "
        raise UserError(
            "model.embedding.tie is all, but the data has a tokenizer for each side",
            f"{other}prepare the data with --joint",
        )
    if tie == "auto":
        tie = "all" if data.tokenizers.joint else "target"
        vectors = config.model.embedding
        if tie == "all" and vectors.source_vectors != vectors.target_vectors:
            raise UserError(
                "model.embedding.source_vectors and target_vectors differ, but a joint tokenizer has one table of"
                " embeddings for both sides",
                "give the same file twice, or set model.embedding.tie=target",
            )
    config = replaced(config, {"model.embedding.tie": tie})
    if before is None and not finetuning and (unread := config.model.unread()):
        raise UserError("\n".join(f"model: {message}" for message in unread), "change one of the two settings")
    check_freeze(config)
    threads = config.train.threads or torch.get_num_threads()
    precision = _precision(config, before, device)
    if config.train.sharded and precision == "fp16":  # chosen by auto: shards have no loss scaling
        precision = "fp32"
    config = replaced(config, {"train.precision": precision, "train.threads": threads})
    return Config.model_validate(config.model_dump())  # the run's config.yaml must be readable


def _with_encoder(config: Config, data: PreparedData, before: Config | None) -> Config:
    """The settings with those of the pretrained encoder: from a model or an earlier start that has them, or its folder.

    Raises UserError for a missing or wrong folder and for data with another tokenizer.
    """
    encoder, tokenizers = config.model.encoder, data.tokenizers
    if config.train.sharded:
        raise UserError("train.sharded: a pretrained encoder cannot be sharded", "set train.sharded=false")
    known = before.model.encoder if before is not None else None
    if encoder.architecture is None and known is not None and known.name == encoder.name:
        values = {name: getattr(known, name) for name in _OF_ENCODER}
    elif encoder.architecture is None:
        if encoder.name is None:
            raise UserError(
                "model.encoder.name is missing: the pretrained encoder to start from",
                "--set model.encoder.name=FOLDER, or OWNER/NAME of the Hugging Face Hub",
            )
        folder = EncoderFolder.open(encoder.name)
        folder.check(tokenizers)
        values = folder.settings() | {"special_ids": tokenizers.source.special_ids}
    else:
        values = {name: getattr(encoder, name) for name in _OF_ENCODER}
    if values["special_ids"] != tokenizers.source.special_ids:
        raise UserError(
            "the data was not prepared with the tokenizer of this pretrained encoder",
            "prepare it with --set data.tokenizer.pretrained=NAME, or with --tokenizer MODEL",
        )
    for name in ("layers", "hidden_size"):
        if getattr(encoder, name) not in (type(encoder).model_fields[name].default, values[name]):
            raise UserError(
                f"model.encoder.{name} is {getattr(encoder, name)}, but the pretrained encoder has {values[name]}",
                "leave it out",
            )
    try:
        model = ModelConfig.model_validate({**config.model.model_dump(), "encoder": {**encoder.model_dump(), **values}})
    except ValidationError as error:
        lines = (str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
        raise UserError(
            "\n".join(f"model: {line}" for line in lines),
            f"the pretrained encoder has encoder.layers {values['layers']} and encoder.hidden_size"
            f" {values['hidden_size']}; change the decoder or the attention",
        ) from None
    config = config.model_copy(update={"model": model})
    if config.train.encoder_learning_rate is None and not encoder_is_frozen(config):
        return replaced(config, {"train.encoder_learning_rate": ENCODER_RATE})
    return config


def _automatic(config: Config, data: PreparedData, before: Config | None, finetuning: bool) -> dict[str, Any]:
    """The values of settings that are auto: those of the resumed run, or computed."""
    if before is None:
        return automatic(config, data, finetuning)
    values = {key: value_of(before, key) for key in AUTOMATIC if value_of(config, key) == AUTO}
    values = {key: value for key, value in values.items() if value != AUTO}
    if config.train.schedule == "noam":  # sets the rate itself, from a warm-up
        values.pop("train.learning_rate", None)
        if values.get("train.warmup_updates") == 0:
            del values["train.warmup_updates"]
    if any(value_of(config, key) == AUTO and key not in values for key in AUTOMATIC):  # edited
        values = automatic(replaced(config, values), data, finetuning) | values
    updates = "train.max_updates"
    if updates in values and config.train.max_epochs not in (None, before.train.max_epochs):
        values[updates] = automatic(replaced(config, values | {updates: AUTO}), data, finetuning)[updates]
    return values


def _precision(config: Config, before: Config | None, device: torch.device) -> Precision:
    precision = config.train.precision
    if precision != "auto" or before is None:
        return resolve_precision(precision, device)
    try:
        return resolve_precision(before.train.precision, device)
    except UserError as error:
        now = resolve_precision("auto", device)
        raise UserError(
            f"the run was trained in {before.train.precision}: {error.message}",
            f"resume here with --precision {now} --allow-changes",
        ) from None


def automatic_values(given: Config, settings: Config) -> str:
    """The settings that were `auto`, with the values they have now, in a line."""
    values = [(key, value_of(settings, key)) for key in AUTOMATIC if value_of(given, key) == AUTO]
    return ", ".join(f"{key.partition('.')[2]} {value:,}" for key, value in values if value != AUTO)


def derived(before: Config, now: Config) -> dict[str, Any]:
    """The settings that `resolve` changed, by their keys."""
    unseen = ("data.", "model.encoder.architecture", "model.encoder.special_ids")
    return {key: value for key, _, value in changed_settings(before, now) if not key.startswith(unseen)}


def _require_alignment(config: Config, data: PreparedData) -> None:
    """Raises UserError where guided alignment is not possible."""
    model = config.model
    if not data.train.aligned:
        raise UserError(
            "train.guided_alignment needs word alignments, and the training data has none",
            "prepare it with --train-alignment, or set train.guided_alignment=0",
        )
    if not model.attends:
        raise UserError(
            "train.guided_alignment needs attention, but model.attention.type is none", "choose another type"
        )
    if config.train.subword_sampling is not None:
        raise UserError(
            "train.guided_alignment and train.subword_sampling are mutually exclusive: alignments are of the"
            " stored tokens",
            "set one of them only",
        )


def open_run(
    path: Path, config: Config, fingerprint: str, allow_changes: bool = False, finetuned: bool = False
) -> tuple[RunDirectory, list[str]]:
    """The run directory for these settings: a new one, or an earlier run to resume.

    `finetuned`: the weights of a trained model are given. Returns the run with a line for each changed setting. Raises
    UserError where the earlier run has other data, another model or other first weights, or, without `allow_changes`,
    other training settings.
    """
    run = RunDirectory(path)
    if not (path / "config.yaml").exists():
        new = ("checkpoints", "fingerprint", FIRST_WEIGHTS)
        if path.is_dir() and any(entry.name not in new for entry in path.glob("[!.]*")):
            raise UserError(f"{path}: has files, but no run", "choose another -o")
        with writing(path):
            run.checkpoints.mkdir(parents=True, exist_ok=True)
        write_whole(path / FIRST_WEIGHTS, f"{_GIVEN if finetuned else _RANDOM}\n".encode())
        _write_settings(run, config, fingerprint)
        return run, []
    _check_first_weights(run, finetuned)
    trained_on = path / "fingerprint"
    if not trained_on.is_file() or trained_on.read_text("utf-8", "replace").strip() != fingerprint:
        raise UserError(
            f"{path}: this run was trained on other data", "choose another -o, or give the data of this run"
        )
    before = settings_of(path)
    changes = list(differences(before, config))
    fixed = [(key, change) for key, change in changes if key not in FREE]
    changeable = [key.startswith("train.") or key in DROPOUTS for key, _ in fixed]
    if fixed and not (allow_changes and all(changeable)):
        lines = "\n".join(f"{path}: the run has other settings: {change}" for _, change in fixed)
        hint = "choose another -o for a new run, or give the settings of this run"
        raise UserError(lines, hint + ("; --allow-changes resumes it with these" if all(changeable) else ""))
    if changes:
        if config.search != before.search:
            run.set_search(config.search)
        _write_settings(run, config, fingerprint)
    return run, [change for _, change in changes]


def _check_first_weights(run: RunDirectory, finetuned: bool) -> None:
    """Raise UserError where a run that began with random weights is resumed with those of a model, or one that has no
    checkpoint yet without them.
    """
    record = run.path / FIRST_WEIGHTS
    began = record.read_text("utf-8", "replace").strip() if record.is_file() else None  # older versions have none
    if finetuned and began == _RANDOM:
        raise UserError(
            f"{run.path}: this run began with random weights, not with those of --finetune-from",
            "choose another -o for a new run, or resume this one without --finetune-from",
        )
    if not finetuned and began == _GIVEN and not run.steps():
        raise UserError(
            f"{run.path}: this run began with --finetune-from and has no checkpoint yet",
            "give --finetune-from again, or choose another -o",
        )


def require_shared(path: Path, fingerprint: str, ranks: Ranks) -> None:
    """Raise UserError, on all ranks, if a rank sees another run directory or other data than the first rank.

    The description in the lock file, which the first rank has just written, is different for each run. On a network
    file system it may appear late.
    """
    lock = path / ".lock"
    expected = ranks.gather([_first_line(lock), fingerprint])[0]
    end = time.monotonic() + _APPEARING
    while not (same := _first_line(lock) == expected[0]) and time.monotonic() < end:
        time.sleep(0.2)
    problem = None if same else f"sees a different {path}"
    if fingerprint != expected[1]:
        problem = "sees different data"
    for number, (host, found) in enumerate(ranks.gather([socket.gethostname(), problem])):
        if found is not None:
            raise UserError(
                f"rank {number} on {host} {found} than rank 0",
                "all machines need the data and the run directory at the same path: use shared storage",
            )


def _first_line(path: Path) -> str:
    try:
        return path.read_text("utf-8").partition("\n")[0]
    except OSError:
        return ""


def settings_of(run: Path) -> Config:
    """The settings a run was last trained with."""
    return load_config(files=[run / "config.yaml"])


def _write_settings(run: RunDirectory, config: Config, fingerprint: str) -> None:
    write_whole(run.path / "fingerprint", f"{fingerprint}\n".encode())
    write_whole(run.path / "config.yaml", dump_config(config).encode())


def differences(before: Config, now: Config) -> Iterator[tuple[str, str]]:
    """The settings that differ: the key, and a line with both values."""
    for key, old, new in changed_settings(before, now):
        yield key, f"{key} was {old}, is {new}"
