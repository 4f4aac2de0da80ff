"""Every setting of `nmt`: its type, its bounds, its default and the sentence the reference prints."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nmtcli.vocabulary import check_symbols

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Section(BaseModel):
    """A group of settings. Frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class TokenizerConfig(Section):
    """SentencePiece."""

    type: Literal["unigram", "bpe", "char", "word"] = Field(
        "unigram",
        description="What a piece is: a subword of a unigram language model or of byte-pair encoding, a character, or"
        " a word between blanks.",
    )
    vocab_size: int = Field(
        8000, ge=16, le=1_000_000, description="Pieces in a vocabulary; fewer when the text has no more."
    )
    joint: bool = Field(True, description="One tokenizer for both sides (true) or one for each (false).")
    character_coverage: float = Field(
        0.9995,
        ge=0.98,
        le=1,
        description="Share of the characters that become pieces; the rest go to bytes or unknown. Not for words.",
    )
    byte_fallback: bool = Field(
        True,
        description="Spell rare characters as bytes, so that no character is unknown. Not for words: one that is not in"
        " the vocabulary is unknown.",
    )
    normalization: Literal["nmt_nfkc", "nfkc", "none"] = Field(
        "nmt_nfkc",
        description="What is done to characters first: Unicode's NFKC with control characters and odd blanks cleared"
        " away, NFKC alone, or nothing. Blanks become single in any case.",
    )
    lowercase: bool = Field(False, description="Fold upper case to lower case, in what the model writes too.")
    symbols: tuple[str, ...] = Field(
        (),
        description="Placeholders and inline tags: each is one piece, never split, never changed. With words, put"
        " blanks around them.",
    )
    training_pairs: int = Field(
        200_000, ge=1, description="Sentence pairs the tokenizer is trained on, sampled when the corpus has more."
    )

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        check_symbols(symbols)
        return symbols

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.lowercase and self.normalization == "none":
            raise ValueError("lowercase needs normalization nmt_nfkc or nfkc")
        return self


class CorpusConfig(Section):
    """Aligned text: two line files (source, target), one file with both sides (path), or a data set (hub)."""

    name: str | None = Field(None, min_length=1, description="How reports and weights call it; null for the file's.")
    source: str | None = Field(None, description="Line file of the source side, a path or URL.")
    target: str | None = Field(None, description="Line file of the target side, line by line.")
    path: str | None = Field(None, description="File with both sides: TSV, JSON lines, CSV, Parquet or TMX.")
    format: Literal["auto", "tsv", "jsonl", "csv", "parquet", "tmx"] = Field(
        "auto", description="Format of path; auto goes by its name."
    )
    hub: str | None = Field(None, description="A data set that datasets.load_dataset finds, read as a stream.")
    hub_config: str | None = Field(None, description="Configuration of that data set, for example de-en.")
    hub_revision: str | None = Field(None, description="Its revision; give one for runs that can be repeated.")
    split: str = Field("train", description="Split of that data set.")
    columns: tuple[str, str] | None = Field(
        None, description="Source and target columns: names, or numbers from 1 in TSV; null finds the usual ones."
    )
    tag: str | None = Field(
        None,
        pattern=r"^<[^\s<>]+>$",
        description="Put before each source sentence as one token, in angle brackets: <2de> or <bt>.",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _numbers(cls, columns: Any) -> Any:
        return [str(column) if isinstance(column, int) else column for column in columns or ()] or None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        pair = self.source is not None or self.target is not None
        if pair and (self.source is None or self.target is None):
            raise ValueError("source and target go together")
        if pair + (self.path is not None) + (self.hub is not None) != 1:
            raise ValueError("a corpus is either source and target, or path, or hub")
        return self


class CleaningConfig(Section):
    """Which training pairs are dropped, rule by rule, in the order of this list; null or false turns a rule off.

    Pairs that cannot be read and pairs with an empty side are always dropped; validation pairs only then.
    """

    control_characters: bool = Field(
        True, description="A side holds a control character other than a blank, or U+FFFD: broken encoding."
    )
    max_characters: int | None = Field(2000, ge=1, description="A side has more characters than this.")
    markup: bool = Field(True, description="A side holds an HTML or XML tag, or an entity: ampersand, name, semicolon.")
    max_length_ratio: float | None = Field(
        9.0, gt=1, description="One side has more UTF-8 bytes than this times the other; fewer than 10 count as 10."
    )
    copied: bool = Field(True, description="Both sides are the same text, and it has a letter.")
    max_symbol_share: float | None = Field(
        0.8,
        gt=0,
        lt=1,
        description="Digits and symbols are a larger share of a side of over 10 characters.",
    )
    max_repeats: int | None = Field(20, ge=2, description="A character other than a blank is repeated more often.")
    source_scripts: tuple[str, ...] | None = Field(
        None, description="Scripts of the source, for example [latin]; a side with more of others is dropped."
    )
    target_scripts: tuple[str, ...] | None = Field(None, description="Scripts of the target.")
    min_script_share: float = Field(0.5, gt=0, le=1, description="Share of the letters that must be of these scripts.")
    min_language_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="A side of over 20 characters is in another language than data.source_language or"
        " data.target_language, with more than this confidence. Needs the extra langid; slow.",
    )
    held_out: bool = Field(
        True, description="A side equals a validation or test line of 5 words or more (15 characters where unspaced)."
    )
    held_out_ngram: int | None = Field(
        None, ge=3, description="A side shares so many words in a row with a validation or test line. 13 is usual."
    )
    duplicates: bool = Field(True, description="The same pair came before.")
    duplicate_sources: bool = Field(False, description="The same source came before.")
    duplicate_targets: bool = Field(False, description="The same target came before.")
    max_tokens: int | None = Field(200, ge=1, description="A side has more tokens than this.")


class DataConfig(Section):
    """What `nmt prepare` reads and keeps."""

    source_language: str = Field(
        "source", min_length=1, description="Source language code; a name, but for TMX, JSON and language rules."
    )
    target_language: str = Field("target", min_length=1, description="Target language code.")
    train: tuple[CorpusConfig, ...] = Field((), description="Training corpora.")
    valid: tuple[CorpusConfig, ...] = Field((), description="Validation corpora: training measures itself on them.")
    test: tuple[CorpusConfig, ...] = Field(
        (), description="Test corpora: never trained on; held_out keeps training pairs clear of them."
    )
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    cleaning: CleaningConfig = Field(default_factory=CleaningConfig)
    seed: int = Field(1, ge=0, description="Seed of the tokenizer's training sample.")

    def settings(self) -> Self:
        """The settings alone, without where the text lies."""
        return self.model_copy(update={"train": (), "valid": (), "test": ()})


class EmbeddingConfig(Section):
    """Token embeddings."""

    size: int = Field(256, ge=1, description="Width of an embedding.")
    tie: Literal["auto", "all", "target", "none"] = Field(
        "auto",
        description="Which weights are one: source, target and output (all), target and output (target), or none;"
        " auto is all with a joint tokenizer and target without.",
    )
    scale: bool = Field(
        False,
        description="Multiply embeddings by the square root of their width: attention is found sooner, but with strong"
        " dropout the result is worse (measured on the phrasebook and on Multi30k).",
    )


class EncoderConfig(Section):
    """Reads the source sentence."""

    type: Literal["rnn"] = Field("rnn", description="Kind of encoder.")
    layers: int = Field(1, ge=1, description="Stacked layers.")
    hidden_size: int = Field(512, ge=1, description="Width of a state, both directions together.")
    bidirectional: bool = Field(True, description="Read the source from both ends.")

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError("hidden_size must be even when bidirectional is true")
        return self


class DecoderConfig(Section):
    """Writes the target sentence."""

    type: Literal["rnn"] = Field("rnn", description="Kind of decoder.")
    layers: int = Field(1, ge=1, description="Stacked layers.")
    hidden_size: int = Field(512, ge=1, description="Width of a state.")


class AttentionConfig(Section):
    """How the decoder looks at the source (Luong et al. 2015, section 3.1)."""

    type: Literal["general", "dot"] = Field("general", description="Score function.")


class ModelConfig(Section):
    """The network: any encoder with any decoder."""

    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    decoder: DecoderConfig = Field(default_factory=DecoderConfig)
    attention: AttentionConfig = Field(default_factory=AttentionConfig)
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of activations dropped in training.")

    @model_validator(mode="after")
    def _widths(self) -> Self:
        if self.attention.type == "dot" and self.encoder.hidden_size != self.decoder.hidden_size:
            raise ValueError("attention.type dot needs encoder.hidden_size equal to decoder.hidden_size")
        return self


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


class SearchConfig(Section):
    """Beam search."""

    beam_size: int = Field(5, ge=1, description="Hypotheses kept at each step; 1 is greedy search.")
    length_penalty: float = Field(
        1.0, ge=0, description="Exponent of the GNMT length penalty ((5 + length) / 6); 0 for none."
    )
    max_length_factor: float = Field(2.0, gt=0, description="Longest translation, in tokens for each source token.")
    max_length_offset: int = Field(10, ge=1, description="Tokens added to that limit.")
    batch_tokens: int = Field(
        2000, ge=1, description="Source tokens translated together, padding counted. Changes speed and memory only."
    )


class Config(Section):
    """All settings of a run."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
