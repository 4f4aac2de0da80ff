"""The library function behind `nmt train`: a data directory and settings in, a run directory out."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from nmtcli.checkpoint import AGAIN, RunDirectory
from nmtcli.config import Config, EncoderConfig
from nmtcli.config.section import settled
from nmtcli.data.directory import PreparedData, open_data
from nmtcli.errors import UserError
from nmtcli.interchange.encoders import EncoderFolder
from nmtcli.models.device import explain_out_of_memory, has_bf16, open_device
from nmtcli.options import Tell, check_rules, silent
from nmtcli.settings import load_config, removed_settings
from nmtcli.staging import writing
from nmtcli.train.batches import BatchPlan
from nmtcli.train.curves import CurvesPage
from nmtcli.train.distributed import check_gpus, joined, local_rank
from nmtcli.train.finetuning import First, FirstEncoder, FirstModel
from nmtcli.train.logs import Observer, WandbLog, open_logs
from nmtcli.train.memory import keep_freed_memory, limit_kernel_cache, release_memory
from nmtcli.train.options import RULES, TrainOptions
from nmtcli.train.run import automatic_values, open_run, require_shared, resolve, settings_of
from nmtcli.train.trainer import Trainer
from nmtcli.train.vectors import WordVectorPair, read_word_vectors


def train(options: TrainOptions, observers: Sequence[Observer] = (), tell: Tell = silent) -> str:
    """Train a model, or resume the run in `options.output` exactly; returns the reason why training stopped.

    `observers` receive events besides the logs of the run. A process started by torchrun is one of several ranks.
    Raises UserError and DataError before training where options, settings and data do not fit, and Interrupted after a
    signal, with everything saved.
    """
    return open_training(options, tell).run(observers)


@dataclass(frozen=True)
class Training:
    """A training ready to start: everything is read and checked, nothing is written yet."""

    options: TrainOptions
    given: Config  # the settings as given
    settings: Config  # and resolved
    data: PreparedData
    device: torch.device
    first: First | None
    vectors: WordVectorPair
    tell: Tell

    def run(self, observers: Sequence[Observer]) -> str:
        """See `train`."""
        run, settings, fingerprint = RunDirectory(self.options.output), self.settings, self.data.manifest.fingerprint
        with ExitStack() as stack:
            if self.device.type == "cpu":
                stack.callback(release_memory)
            ranks = stack.enter_context(joined(self.device))
            everyone: list[Observer] = []
            if ranks.first:
                stack.enter_context(run.lock())
                with writing(run.path, AGAIN):
                    finetuned = self.options.finetune_from is not None
                    _, changes = open_run(run.path, settings, fingerprint, self.options.allow_changes, finetuned)
                for change in changes:
                    self.tell(f"changed since this run began: {change}", warning=True)
                everyone = [*observers, *open_logs(run.path, settings), CurvesPage(run.path)]
            require_shared(run.path, fingerprint, ranks)  # until here the others wait for the directory
            with explain_out_of_memory("train.batch_tokens; the same command resumes from the last checkpoint"):
                return Trainer(settings, self.data, run, self.device, everyone, self.first, self.vectors, ranks).fit()


def open_training(options: TrainOptions, tell: Tell = silent) -> Training:
    """Read and check everything that a training needs. Raises UserError and DataError."""
    check_rules(options, RULES)
    limit_kernel_cache()
    output = options.output
    data = open_data(options.data)
    first: First | None = None
    trained = FirstModel.find(options.finetune_from, output) if options.finetune_from else None
    base = {"data": data.manifest.data.model_dump(), **({"model": trained.model.model_dump()} if trained else {})}
    overrides = [*options.overrides, *([f"train.precision={options.precision}"] if options.precision else [])]
    given = load_config(options.preset, options.config, overrides, base=base)
    for warning in removed_settings(options.config, options.overrides):
        tell(warning, warning=True)
    check_gpus(options.device)
    device = open_device(options.device, given.train.threads, local_rank())
    if device.type == "cpu":
        keep_freed_memory()
    before = settings_of(output) if (output / "config.yaml").exists() else None
    settings = resolve(given, data, device, before, finetuning=trained is not None)
    if before is None and (values := automatic_values(given, settings)):
        tell(f"automatic settings: {values}")
    updates = BatchPlan.training(data, settings.train).total_updates(settings.train)
    warmup = settled(settings.train.warmup_updates)
    if before is None and warmup >= updates > 1:
        tell(
            f"train.warmup_updates {warmup:,} is not below the {updates:,} updates of the run: the learning rate only"
            " grows; leave it to auto, or train longer",
            warning=True,
        )
    if settings.train.precision == "bf16" and not has_bf16(device):
        slow = f"this {device.type.upper()} has no bf16 instructions: --precision fp32 is several times faster"
        tell(slow, warning=True)
    if trained:
        first = trained
        for line in trained.check(settings, data, options.extend_vocabulary):
            tell(line)
    elif settings.train.objective == "mrt" and not (output / "last").exists():
        tell(
            "train.objective mrt starts from random weights; use --finetune-from to start from a trained model",
            warning=True,
        )
    encoder = settings.model.encoder
    if first is None and encoder.type == "pretrained" and not RunDirectory(output).steps():
        first = _first_encoder(encoder, data)
    vectors: WordVectorPair = (None, None)
    if not RunDirectory(output).steps():  # a resumed run has trained embeddings
        vectors = read_word_vectors(settings.model.embedding, data.tokenizers)
        for one in dict.fromkeys(filter(None, vectors)):
            tell(one.summary, warning=one.few)
    if settings.train.wandb_project:
        WandbLog.require()
    return Training(options, given, settings, data, device, first, vectors, tell)


def _first_encoder(encoder: EncoderConfig, data: PreparedData) -> FirstEncoder:
    """The pretrained encoder that a run starts from. Raises UserError unless its folder is that of the settings."""
    assert encoder.name is not None  # by `resolve`
    folder = EncoderFolder.open(encoder.name)
    folder.check(data.tokenizers)
    assert encoder.architecture is not None
    if not folder.has(encoder.architecture):
        raise UserError(
            f"model.encoder.name: {encoder.name} has a different architecture than model.encoder.architecture",
            "leave out the settings of a run with another encoder, or give the name of that encoder",
        )
    return FirstEncoder(folder)
