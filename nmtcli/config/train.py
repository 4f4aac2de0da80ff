"""Settings of `nmt train`."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nmtcli.config.section import AUTO, OrAuto, Section

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ModelPart = Literal["source_embedding", "target_embedding", "encoder", "decoder", "attention", "output"]


REMOVED = {"cuda_graphs": "0.2.0"}  # settings of train that are ignored, and since which version


class TrainConfig(Section):
    """One training run."""

    max_updates: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO, description="Updates, at most; auto: 20 epochs of 30,000 pairs, more for fewer pairs (docs/training.md)."
    )
    max_epochs: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Passes over the data, at most, reckoned in updates of the first; null for no limit.",
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
        description="Target tokens in an update, gathered from several batches; null for one batch.",
    )
    corpus_weights: dict[str, Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]] = Field(
        {}, description="By corpus name, how often an epoch visits its pairs: 2 twice, 0 never; 1 where none is given."
    )
    corpus_temperature: float | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Weights from sizes instead: a corpus's share of an epoch is proportional to its size to the power"
        " 1 / temperature; 1 is the sizes' own proportion, more favours small corpora; null for corpus_weights.",
    )
    subword_sampling: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Draws another segmentation of each training sentence each time it is read: smoothing of unigram"
        " sampling (0.2 to 0.5; lower is wilder), or the share of merges BPE-dropout leaves out (0.1); null for off.",
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
        description="Share of each matrix, times the learning rate, that an update takes away; biases, gains and other"
        " vectors keep theirs. For adamw and sgd.",
    )
    learning_rate: OrAuto[Annotated[float, Field(gt=0, le=3.4e38, allow_inf_nan=False)]] = Field(
        AUTO, description="Peak learning rate; auto: by optimizer, kind and width of the model (docs/training.md)."
    )
    warmup_updates: OrAuto[Annotated[int, Field(ge=0, le=1_000_000_000)]] = Field(
        AUTO,
        description="Updates in which the learning rate rises from zero to its peak; auto: by the model, at most a"
        " tenth of all.",
    )
    schedule: Literal[
        "cosine", "linear", "inverse_sqrt", "constant", "noam", "luong5", "luong10", "luong234", "plateau"
    ] = Field(
        "cosine",
        description="How the learning rate falls after the warm-up; cosine and linear reach zero at the end, the"
        " luong schedules halve it in steps, plateau when validations improve no more (docs/training.md).",
    )
    plateau_patience: int = Field(
        3, ge=1, le=1_000_000, description="Schedule plateau: validations without improvement before each halving."
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the weights, for example 0.999; the average is what is validated and"
        " saved as the model; null for off.",
    )
    average: str | None = Field(
        None,
        description="Checkpoints averaged at the end, last:5 or best:3; the average is validated and saved, and best"
        " names it if it is; null for none.",
    )
    freeze: tuple[ModelPart, ...] = Field(
        (), description="Parts that keep the weights they begin with; attention is the decoder's, to the source."
    )
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Probability spread evenly over the vocabulary.")
    guided_alignment: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Weight of the cross entropy between the data's word alignment and attention (Chen et al. 2016);"
        " 0 for off, 1 is a start. Needs corpora with alignment.",
    )
    scheduled_sampling: Literal["linear", "exponential", "inverse_sigmoid"] | None = Field(
        None,
        description="Decay of teacher forcing: ever more often a target token fed is drawn from the model itself"
        " (Bengio et al. 2015); null feeds the true tokens always.",
    )
    teacher_forcing_half_life: int = Field(
        10_000,
        ge=1,
        le=1_000_000_000,
        description="Scheduled sampling: the update at which half the tokens fed are the true ones.",
    )
    teacher_forcing_floor: float = Field(
        0.0, ge=0, le=1, description="Scheduled sampling: least share of true tokens fed."
    )
    objective: Literal["cross_entropy", "mrt"] = Field(
        "cross_entropy",
        description="What is minimised: label-smoothed cross entropy, or the expected loss of a metric (minimum risk"
        " training, Shen et al. 2016), which begins with a trained model: --finetune-from.",
    )
    mrt_metric: Literal["bleu", "chrf"] = Field(
        "bleu", description="Objective mrt: the metric of a sentence; risk is 1 - metric / 100."
    )
    mrt_samples: int = Field(
        16, ge=1, le=10_000, description="Objective mrt: translations drawn for each sentence; the paper has 100."
    )
    mrt_sharpness: float = Field(
        0.005,
        gt=0,
        le=1_000_000,
        description="Objective mrt: power of the model's probabilities by which candidates are weighted (alpha).",
    )
    clip_norm: float = Field(1.0, gt=0, le=1e30, description="Largest norm of a gradient.")
    valid_every: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO, description="Updates between validations; auto: about a twelfth of the run, 2,500 at most."
    )
    valid_sentences: int = Field(
        2000, ge=1, le=1_000_000_000, description="Validation sentences translated, at most, for BLEU and chrF."
    )
    valid_metric: Literal["bleu", "chrf", "loss", "perplexity", "accuracy"] = Field(
        "bleu", description="Decides the best checkpoint, patience and schedule plateau."
    )
    save_every: OrAuto[Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        AUTO,
        description="Updates between checkpoints; there is one at each validation too; auto: half of valid_every, 500"
        " at most.",
    )
    patience: int | None = Field(
        10, ge=1, le=1_000_000_000, description="Validations without improvement before stopping; null for never."
    )
    keep_last: int = Field(3, ge=1, le=1_000_000, description="Newest checkpoints kept.")
    keep_best: int = Field(1, ge=1, le=1_000_000, description="Best checkpoints kept.")
    log_every: int = Field(50, ge=1, le=1_000_000_000, description="Updates between lines of the training log.")
    wandb_project: str | None = Field(
        None,
        min_length=1,
        description="Project at Weights & Biases that the numbers of the run are sent to; null for none. Needs wandb.",
    )
    precision: Precision = Field(
        "auto", description="Arithmetic of training; auto is bf16 where the device is made for it."
    )
    sharded: bool = Field(
        False,
        description="Divides weights, gradients and optimizer state among the ranks (FSDP2), for models that do not fit"
        " on one device. Slower than whole models where those fit.",
    )
    max_skipped: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Updates skipped in a row, their gradients not finite, that count as divergence.",
    )
    on_divergence: Literal["lower_rate", "safer_precision", "stop"] = Field(
        "lower_rate",
        description="Go back to the last checkpoint with half the learning rate, or with the next safer precision (fp16"
        " to bf16 to fp32, then lower_rate), five times at most; or stop at once. Stopping saves the batch.",
    )
    threads: int | None = Field(None, ge=1, le=4_096, description="CPU threads; null for one a core.")
    seed: int = Field(
        1, ge=0, le=9_223_372_036_854_775_807, description="Seed of the weights, dropout and the order of the data."
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

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if conflicts := list(self._conflicts()):
            raise ValueError("\n".join(conflicts))  # each begins with the key it is about
        return self

    def _conflicts(self) -> Iterator[str]:
        """What does not fit together, in words."""
        if self.corpus_weights and self.corpus_temperature is not None:
            yield "corpus_weights and corpus_temperature exclude each other; give one of them"
        if self.objective == "mrt" and self.scheduled_sampling is not None:
            yield "scheduled_sampling is for objective cross_entropy, not mrt"
        if self.objective == "mrt" and self.guided_alignment:
            yield "guided_alignment is for objective cross_entropy, not mrt"
        yield from self._orphans()
        if self.sharded and (self.scheduled_sampling is not None or self.objective == "mrt"):
            yield "sharded weights cannot be sampled from: not with scheduled_sampling or objective mrt"
        if self.sharded and self.precision == "fp16":
            yield "sharded weights train in bf16 or fp32: set precision"
        if self.optimizer == "adam" and self.weight_decay:
            yield "weight_decay is for adamw and sgd: Adam would divide it by the gradient's size; set optimizer=adamw"
        if self.schedule == "noam":
            if self.learning_rate != AUTO:
                yield "learning_rate must be auto with schedule noam, which sets it; inverse_sqrt is the same fall"
            if self.warmup_updates == 0:
                yield "warmup_updates must be 1 or more with schedule noam"
        if self.schedule == "plateau" and self.patience is not None and self.plateau_patience >= self.patience:
            yield f"plateau_patience must be less than patience, {self.patience}: training stops before the rate halves"
        if self.average is not None:
            kind, number = self.average.split(":")
            key = f"keep_{kind}"
            if int(number) > getattr(self, key):
                yield f"average {self.average} needs that many checkpoints kept: set {key}={number}"

    def _orphans(self) -> Iterator[str]:
        """Settings of something that is off."""
        owners = {
            "teacher_forcing_": ("scheduled_sampling", self.scheduled_sampling is not None),
            "mrt_": ("objective mrt", self.objective == "mrt"),
            "plateau_": ("schedule plateau", self.schedule == "plateau"),
        }
        for name, field in type(self).model_fields.items():
            for prefix, (owner, wanted) in owners.items():
                if name.startswith(prefix) and not wanted and getattr(self, name) != field.default:
                    yield f"{name} is for {owner}, which is not set"
