"""Settings of `nmt train`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nmtcli.config.section import Section

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class TrainConfig(Section):
    """One training run."""

    max_updates: int = Field(20_000, ge=1, description="Updates of the weights, at most.")
    max_epochs: int | None = Field(
        None, ge=1, description="Passes over the data, at most, reckoned in updates of the first; null for no limit."
    )
    batch_tokens: int = Field(
        4096, ge=1, description="Tokens in a batch, padding counted: sentences times the longest side."
    )
    update_tokens: int | None = Field(
        None, ge=1, description="Target tokens in an update, gathered from several batches; null for one batch."
    )
    corpus_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        {}, description="By corpus name, how often an epoch visits its pairs: 2 twice, 0 never; 1 where none is given."
    )
    corpus_temperature: float | None = Field(
        None,
        ge=1,
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
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of Adam.")
    warmup_updates: int = Field(
        400, ge=0, description="Updates in which the learning rate rises from zero to its peak."
    )
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"] = Field(
        "cosine", description="How the learning rate falls after the warm-up; cosine and linear reach zero at the end."
    )
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Probability spread evenly over the vocabulary.")
    guided_alignment: float = Field(
        0.0,
        ge=0,
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
        10_000, ge=1, description="Scheduled sampling: the update at which half the tokens fed are the true ones."
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
        16, ge=1, description="Objective mrt: translations drawn for each sentence; the paper has 100."
    )
    mrt_sharpness: float = Field(
        0.005,
        gt=0,
        description="Objective mrt: power of the model's probabilities by which candidates are weighted (alpha).",
    )
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    valid_every: int = Field(1000, ge=1, description="Updates between validations.")
    valid_sentences: int = Field(2000, ge=1, description="Validation sentences translated, at most, for BLEU and chrF.")
    valid_metric: Literal["bleu", "chrf", "loss"] = Field(
        "bleu", description="Decides the best checkpoint and patience."
    )
    save_every: int = Field(500, ge=1, description="Updates between checkpoints; there is one at each validation too.")
    patience: int | None = Field(
        10, ge=1, description="Validations without improvement before stopping; null for never."
    )
    keep_last: int = Field(3, ge=1, description="Newest checkpoints kept.")
    keep_best: int = Field(1, ge=1, description="Best checkpoints kept.")
    log_every: int = Field(50, ge=1, description="Updates between lines of the training log.")
    precision: Precision = Field(
        "auto", description="Arithmetic of training; auto is bf16 where the device is made for it."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; null for one a core.")
    seed: int = Field(1, ge=0, description="Seed of the weights, dropout and the order of the data.")

    @model_validator(mode="after")
    def _one_mixture(self) -> Self:
        if self.corpus_weights and self.corpus_temperature is not None:
            raise ValueError("corpus_weights and corpus_temperature exclude each other; give one of them")
        return self

    @model_validator(mode="after")
    def _one_objective(self) -> Self:
        if self.objective == "mrt" and self.scheduled_sampling is not None:
            raise ValueError("scheduled_sampling is for objective cross_entropy, not mrt")
        if self.objective == "mrt" and self.guided_alignment:
            raise ValueError("guided_alignment is for objective cross_entropy, not mrt")
        owners = {
            "teacher_forcing_": ("scheduled_sampling", self.scheduled_sampling is not None),
            "mrt_": ("objective mrt", self.objective == "mrt"),
        }
        for name, field in type(self).model_fields.items():
            for prefix, (owner, wanted) in owners.items():
                if name.startswith(prefix) and not wanted and getattr(self, name) != field.default:
                    raise ValueError(f"{name} is for {owner}, which is not set")
        return self
