"""Settings of `nmt train`."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from nmtcli.config.section import AUTO, OrAuto, Section

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ModelPart = Literal["source_embedding", "target_embedding", "encoder", "decoder", "attention", "output"]


REMOVED = {"cuda_graphs": "0.2.0"}  # settings of train that are ignored, and since which version


class TrainConfig(Section):
    """One training run."""

    max_updates: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO,
        description="Maximum updates; auto: 20 epochs for 30,000 pairs, more for fewer pairs (docs/training.md).",
    )
    max_epochs: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Maximum epochs, counted in updates of the first epoch; null for no limit.",
    )
    batch_tokens: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO,
        description="Tokens in a batch, padding counted: sentences times the longest side; auto: 1,000 to 4,096, by"
        " the tokens of an epoch (docs/training.md).",
    )
    update_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Target tokens of an update, accumulated over several micro-batches; null for one batch.",
    )
    corpus_weights: dict[str, Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]] = Field(
        {}, description="How often an epoch visits the pairs of each corpus, by name: 2 twice, 0 never; default 1."
    )
    corpus_temperature: float | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Temperature sampling of corpora: the share of an epoch is proportional to size to the power"
        " 1 / temperature. 1 keeps the proportions, higher favours small corpora; null for corpus_weights.",
    )
    subword_sampling: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Subword regularisation: samples a segmentation of each training sentence in each epoch. Smoothing"
        " of unigram sampling (0.2 to 0.5; lower varies more), or the dropout of BPE-dropout (0.1); null for off.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam",
        description="Adam (Kingma and Ba 2015, with the Transformer's betas 0.9 and 0.98), Adam with decoupled weight"
        " decay (Loshchilov and Hutter 2019), or plain stochastic gradient descent.",
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="Weight decay of matrices, multiplied by the learning rate and subtracted at each update; not of"
        " biases, gains and other vectors. For adamw and sgd.",
    )
    learning_rate: OrAuto[Annotated[float, Field(gt=0, le=3.4e38, allow_inf_nan=False)]] = Field(
        AUTO, description="Peak learning rate; auto: by optimizer, kind and width of the model (docs/training.md)."
    )
    encoder_learning_rate: float | None = Field(
        None,
        gt=0,
        le=3.4e38,
        allow_inf_nan=False,
        description="Peak learning rate of the encoder, which follows the same schedule; null: 5e-5 for a pretrained"
        " encoder, learning_rate for others.",
    )
    warmup_updates: OrAuto[Annotated[int, Field(ge=0, le=1_000_000_000)]] = Field(
        AUTO,
        description="Updates in which the learning rate rises from zero to its peak; auto: by the model, at most a"
        " tenth of all, three tenths for Transformers.",
    )
    schedule: Literal[
        "cosine", "linear", "inverse_sqrt", "constant", "noam", "luong5", "luong10", "luong234", "plateau"
    ] = Field(
        "cosine",
        description="Learning-rate schedule after warmup: cosine and linear reach zero at the end, the luong schedules"
        " halve it in steps, plateau halves it when validation stops improving (docs/training.md).",
    )
    plateau_patience: int = Field(
        3, ge=1, le=1_000_000, description="Schedule plateau: validations without improvement before each halving."
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of the exponential moving average (EMA) of the weights, for example 0.999; the average is"
        " validated and saved as the model; null for off.",
    )
    average: str | None = Field(
        None,
        description="Checkpoint averaging at the end, last:5 or best:3; the average is validated and saved, and becomes"
        " best if it scores better than every checkpoint; null for none.",
    )
    freeze: tuple[ModelPart, ...] = Field(
        (), description="Modules with frozen parameters; attention is the decoder's attention to the source."
    )
    trained_encoder_layers: int | None = Field(
        None,
        ge=0,
        le=1_000,
        description="Pretrained encoder: number of its top layers that are trained; 0 for a frozen encoder, null for"
        " all with its embeddings. Frozen layers have no dropout.",
    )
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="Label smoothing: probability spread evenly over the vocabulary."
    )
    guided_alignment: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Weight of guided alignment, the cross entropy between word alignment and attention (Chen et al."
        " 2016); 0 for off; start with 1. Needs corpora with alignment.",
    )
    scheduled_sampling: Literal["linear", "exponential", "inverse_sigmoid"] | None = Field(
        None,
        description="Scheduled sampling: decay of teacher forcing, with which previous target tokens are increasingly"
        " sampled from the model (Bengio et al. 2015); null for teacher forcing only.",
    )
    teacher_forcing_half_life: int = Field(
        10_000,
        ge=1,
        le=1_000_000_000,
        description="Scheduled sampling: the update at which half of the previous tokens are reference tokens.",
    )
    teacher_forcing_floor: float = Field(
        0.0, ge=0, le=1, description="Scheduled sampling: minimum share of reference tokens."
    )
    objective: Literal["cross_entropy", "mrt", "professor_forcing"] = Field(
        "cross_entropy",
        description="Training objective: label-smoothed cross entropy, minimum risk training (mrt; Shen et al. 2016)"
        " of a trained model (--finetune-from), or professor forcing (Lamb et al. 2016) of a recurrent decoder.",
    )
    mrt_metric: Literal["bleu", "chrf"] = Field(
        "bleu", description="Objective mrt: sentence metric; risk is 1 - metric / 100."
    )
    mrt_samples: int = Field(
        16, ge=1, le=10_000, description="Objective mrt: samples for each sentence; the paper has 100."
    )
    mrt_sharpness: float = Field(
        0.005,
        gt=0,
        le=1_000_000,
        description="Objective mrt: exponent of the model's probabilities as candidate weights (alpha).",
    )
    professor_weight: float = Field(
        1.0,
        gt=0,
        le=1_000_000,
        description="Objective professor_forcing: weight of the adversarial loss of a sentence; cross entropy has 1.",
    )
    professor_hidden_size: int = Field(
        128, ge=1, le=65_536, description="Objective professor_forcing: units of the discriminator in each direction."
    )
    professor_learning_rate: float = Field(
        1e-3, gt=0, le=1, description="Objective professor_forcing: constant learning rate of the discriminator (Adam)."
    )
    clip_norm: float = Field(1.0, gt=0, le=1e30, description="Gradient clipping: maximum gradient norm.")
    valid_every: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO, description="Updates between validations; auto: about a twentieth of the run, 2,500 at most."
    )
    valid_sentences: int = Field(
        2000, ge=1, le=1_000_000_000, description="Maximum validation sentences translated for BLEU and chrF."
    )
    valid_metric: Literal["bleu", "chrf", "loss", "perplexity", "accuracy"] = Field(
        "bleu", description="Validation metric of the best checkpoint, patience and schedule plateau."
    )
    save_every: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO,
        description="Updates between checkpoints; there is one at each validation too; auto: half of valid_every, 500"
        " at most.",
    )
    patience: int | None = Field(
        10, ge=1, le=1_000_000_000, description="Early stopping: validations without improvement; null for never."
    )
    keep_last: int = Field(3, ge=1, le=1_000_000, description="Newest checkpoints kept.")
    keep_best: int = Field(1, ge=1, le=1_000_000, description="Best checkpoints kept.")
    log_every: int = Field(50, ge=1, le=1_000_000_000, description="Updates between lines of the training log.")
    wandb_project: str | None = Field(
        None,
        min_length=1,
        description="Weights & Biases project for the metrics of the run; null for none. Needs wandb.",
    )
    precision: Precision = Field(
        "auto",
        description="Training precision; auto: bf16 where the device has instructions for it, else fp16 on a GPU and"
        " fp32 on a CPU.",
    )
    compile: bool = Field(
        False,
        description="Compile Transformer layers (torch.compile) for training on a GPU with Triton: fewer kernels, after"
        " a minute at the start. Layers stay eager where the compiler fails.",
    )
    sharded: bool = Field(
        False,
        description="Shard weights, gradients and optimizer state over the ranks (FSDP2), for models that do not fit on"
        " one device. Slower than whole models where those fit; a single process keeps the model whole.",
    )
    max_skipped: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Consecutive updates skipped for non-finite gradients at which the run counts as diverged.",
    )
    on_divergence: Literal["lower_rate", "safer_precision", "stop"] = Field(
        "lower_rate",
        description="Return to the last checkpoint with half the learning rate, or with a safer precision (fp16 to bf16"
        " to fp32, then lower_rate), five times at most; or stop at once. Stopping saves the batch.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=4_096,
        description="CPU threads, each with a part of the pairs of a batch; null for one per core.",
    )
    seed: int = Field(
        1, ge=0, le=9_223_372_036_854_775_807, description="Random seed of weights, dropout and data order."
    )

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _null_is_auto(cls, rate: Any) -> Any:
        return AUTO if rate is None else rate  # as files of 0.1.0 have it

    @model_validator(mode="before")
    @classmethod
    def _without_removed(cls, given: Any) -> Any:
        """Accept settings that were removed, so that runs and configs of older versions still open."""
        if isinstance(given, dict):
            return {key: value for key, value in given.items() if key not in REMOVED}
        return given

    @field_validator("average")
    @classmethod
    def _selection(cls, average: str | None) -> str | None:
        if average is not None and not re.fullmatch("(last|best):[1-9][0-9]*", average):
            raise ValueError("write it as last:5 or best:3")
        return average

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        if self.corpus_weights and self.corpus_temperature is not None:
            yield "corpus_weights and corpus_temperature are mutually exclusive; give one of them"
        if self.objective != "cross_entropy" and self.scheduled_sampling is not None:
            yield f"scheduled_sampling needs objective cross_entropy, not {self.objective}"
        if self.objective != "cross_entropy" and self.guided_alignment:
            yield f"guided_alignment needs objective cross_entropy, not {self.objective}"
        yield from self._conflicts_of_encoder()
        yield from self._unused_settings()
        if self.sharded:
            yield from self._conflicts_of_sharding()
        if self.optimizer == "adam" and self.weight_decay:
            yield "weight_decay is for adamw and sgd: Adam would divide it by the gradient's size; set optimizer=adamw"
        if self.schedule == "noam":
            if self.learning_rate != AUTO:
                yield "learning_rate must be auto with schedule noam, which sets it; inverse_sqrt has the same decay"
            if self.warmup_updates == 0:
                yield "warmup_updates must be 1 or more with schedule noam"
        if self.schedule == "plateau" and self.patience is not None and self.plateau_patience >= self.patience:
            yield f"plateau_patience must be less than patience, {self.patience}: training stops before the rate halves"
        if self.average is not None:
            kind, number = self.average.split(":")
            key = f"keep_{kind}"
            if int(number) > getattr(self, key):
                yield f"average {self.average} needs {number} kept checkpoints: set {key}={number}"

    def _conflicts_of_sharding(self) -> Iterator[str]:
        if self.scheduled_sampling is not None or self.objective != "cross_entropy":
            yield "sharded models cannot be sampled from: set scheduled_sampling null and objective cross_entropy"
        if self.precision == "fp16":
            yield "sharded needs precision bf16 or fp32, not fp16"
        if self.compile:
            yield "compile needs whole weights: set sharded false"

    def _conflicts_of_encoder(self) -> Iterator[str]:
        frozen = "encoder" in self.freeze
        if frozen and self.trained_encoder_layers is not None:
            yield "freeze encoder and trained_encoder_layers are mutually exclusive; give one of them"
        if (frozen or self.trained_encoder_layers == 0) and self.encoder_learning_rate is not None:
            yield "encoder_learning_rate needs an encoder that is not frozen"

    def _unused_settings(self) -> Iterator[str]:
        """Settings of a feature that is off."""
        owners = {
            "teacher_forcing_": ("scheduled_sampling", self.scheduled_sampling is not None),
            "mrt_": ("objective mrt", self.objective == "mrt"),
            "professor_": ("objective professor_forcing", self.objective == "professor_forcing"),
            "plateau_": ("schedule plateau", self.schedule == "plateau"),
        }
        for name, field in type(self).model_fields.items():
            for prefix, (owner, is_set) in owners.items():
                if name.startswith(prefix) and not is_set and getattr(self, name) != field.default:
                    yield f"{name} needs {owner}, which is not set"
