"""Settings of `nmt prepare`: corpora, tokenizer, cleaning."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nmtcli.config.section import AUTO, OrAuto, Section
from nmtcli.vocabulary import check_symbols


class TokenizerConfig(Section):
    """SentencePiece."""

    type: Literal["unigram", "bpe", "char", "word"] = Field(
        "unigram",
        description="What a piece is: a subword of a unigram language model or of byte-pair encoding, a character, or"
        " a word between blanks.",
    )
    vocab_size: OrAuto[Annotated[int, Field(ge=16, le=1_000_000)]] = Field(
        AUTO,
        description="Pieces in a vocabulary, fewer when the text has no more; auto: 2,000 to 32,000 subwords, by the"
        " size of the training text (docs/training.md), or 8,000 characters or words.",
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
    normalization: Literal["auto", "nmt_nfc", "nmt_nfkc", "nfkc", "none"] = Field(
        "auto",
        description="Normalisation of characters: nmt_nfc (NFC, with control characters and odd blanks cleared)"
        " keeps all that a reader would miss; nmt_nfkc and nfkc also fold variants of characters, such as full-width"
        " punctuation; none does nothing. Blanks become single in any case. auto: nmt_nfc, but nmt_nfkc for a source"
        " tokenizer of its own.",
    )
    lowercase: bool = Field(False, description="Fold upper case to lower case, in what the model writes too.")
    symbols: tuple[str, ...] = Field(
        (),
        description="Placeholders and inline tags: each is one piece, never split, never changed. With words, put"
        " blanks around them.",
    )
    training_pairs: int = Field(
        200_000,
        ge=1,
        le=100_000_000,
        description="Sentence pairs the tokenizer is trained on, sampled when the corpus has more.",
    )

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        check_symbols(symbols)
        return symbols

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.lowercase and self.normalization == "none":
            raise ValueError("lowercase needs a normalization other than none")
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
        None, description="Source and target columns: names, or numbers from 1; null finds the usual ones."
    )
    alignment: str | None = Field(
        None,
        description="Word alignment of source and target, line by line: links 0-0 1-2 …, for train.guided_alignment.",
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
        if self.alignment is not None and not pair:
            raise ValueError("alignment goes with source and target; it is for two line files")
        return self


class CleaningConfig(Section):
    """Which training pairs are dropped, rule by rule, in the order of this list; null or false turns a rule off.

    Pairs that cannot be read and pairs with an empty side are always dropped; validation pairs only then.
    """

    control_characters: bool = Field(
        True, description="A side holds a control character other than a blank, or U+FFFD: broken encoding."
    )
    max_characters: int | None = Field(
        2000, ge=1, le=1_000_000_000, description="A side has more characters than this."
    )
    markup: bool = Field(True, description="A side holds an HTML or XML tag, or an entity: ampersand, name, semicolon.")
    max_length_ratio: float | None = Field(
        9.0,
        gt=1,
        le=1_000_000,
        description="One side has more UTF-8 bytes than this times the other; fewer than 10 count as 10.",
    )
    copied: bool = Field(True, description="Both sides are the same text, and it has a letter.")
    max_symbol_share: float | None = Field(
        0.8,
        gt=0,
        lt=1,
        description="Digits and symbols are a larger share of a side of over 10 characters.",
    )
    max_repeats: int | None = Field(
        20, ge=2, le=1_000_000_000, description="A character other than a blank is repeated more often."
    )
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
        None,
        ge=3,
        le=1_000,
        description="A side shares so many words in a row with a validation or test line. 13 is usual.",
    )
    duplicates: bool = Field(True, description="The same pair came before.")
    duplicate_sources: bool = Field(False, description="The same source came before.")
    duplicate_targets: bool = Field(False, description="The same target came before.")
    max_tokens: int | None = Field(200, ge=1, le=1_000_000, description="A side has more tokens than this.")


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
    hold_out: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Draw so many training pairs for validation; no training pair keeps a source that was drawn.",
    )
    hold_out_test: int | None = Field(
        None, ge=1, le=10**9, description="Draw so many for a test set, written as plain text into the data directory."
    )
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    cleaning: CleaningConfig = Field(default_factory=CleaningConfig)
    seed: int = Field(
        1,
        ge=0,
        le=9_223_372_036_854_775_807,
        description="Seed of the tokenizer's training sample and of what hold_out draws.",
    )

    def settings(self) -> Self:
        """The settings alone, without where the text lies."""
        return self.model_copy(update={"train": (), "valid": (), "test": ()})
