"""Settings of `nmt prepare`: corpora, tokenizer, cleaning."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from nmtcli.config.section import AUTO, OrAuto, Section
from nmtcli.vocabulary import check_symbols

Protected = Literal["tag", "url", "email", "icu", "variable", "symbol", "number"]  # of nmtcli.text.spans.Kind
Markup = Literal["drop", "keep", "strip", "mask"]


class TokenizerConfig(Section):
    """SentencePiece, or for the source the tokenizer of a pretrained encoder."""

    pretrained: str | None = Field(
        None,
        min_length=1,
        description="Pretrained encoder whose tokenizer encodes the source: a folder, or OWNER/NAME of the Hugging Face"
        " Hub (docs/pretrained.md). The target then has a SentencePiece tokenizer of its own.",
    )

    type: Literal["unigram", "bpe", "char", "word"] = Field(
        "unigram",
        description="Tokenizer type: subwords of a unigram language model or of byte-pair encoding (bpe), characters,"
        " or whitespace-separated words.",
    )
    vocab_size: OrAuto[Annotated[int, Field(ge=16, le=1_000_000)]] = Field(
        AUTO,
        description="Vocabulary size in pieces, smaller if the text has fewer; auto: 2,000 to 32,000 subwords, by the"
        " size of the training text (docs/training.md), or 8,000 characters or words.",
    )
    joint: bool = Field(True, description="One tokenizer for both sides (true) or one for each (false).")
    character_coverage: OrAuto[Annotated[float, Field(ge=0.98, le=1)]] = Field(
        AUTO,
        description="Share of the text's characters in the vocabulary; the rest become bytes or UNK. auto: 1 for text"
        " of at most 500 different characters, as of alphabets, otherwise 0.9995. Not for type word.",
    )
    byte_fallback: bool = Field(
        True,
        description="Encode rare characters as bytes, so that no character is UNK. Not for type word: words outside the"
        " vocabulary are UNK.",
    )
    normalization: Literal["auto", "nmt_nfc", "nmt_nfkc", "nfkc", "none"] = Field(
        "auto",
        description="Unicode normalisation: nmt_nfc (NFC; removes control characters and unifies spaces) keeps all"
        " visible characters; nmt_nfkc and nfkc also fold character variants, such as full-width punctuation; none does"
        " nothing. Repeated spaces are merged in any case. auto: nmt_nfc, or nmt_nfkc for a separate source tokenizer.",
    )
    lowercase: bool = Field(False, description="Lowercase the text; translations are lowercase too.")
    symbols: tuple[str, ...] = Field(
        (),
        description="User-defined symbols, such as placeholders and inline tags: one token each, never split or"
        " changed. With type word, put spaces around them.",
    )
    training_pairs: int = Field(
        200_000,
        ge=1,
        le=100_000_000,
        description="Maximum sentence pairs for training the tokenizer; a larger corpus is sampled.",
    )

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        check_symbols(symbols)
        return symbols

    @model_validator(mode="before")
    @classmethod
    def _separate(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("pretrained") is not None:
            return {"joint": False, **given}
        return given

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before this setting existed, so that data prepared by earlier versions stays the same."""
        fields: dict[str, Any] = serialize(self)
        return fields if self.pretrained else {name: value for name, value in fields.items() if name != "pretrained"}

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        if self.pretrained and self.joint:
            yield "joint must be false with pretrained: the target has a tokenizer of its own"
        if self.pretrained and self.symbols:
            yield "symbols exclude pretrained: the encoder has no embeddings of them"
        if self.lowercase and self.normalization == "none":
            yield "lowercase needs a normalization other than none"


class AugmentConfig(Section):
    """Changed copies of pairs that are added to a training corpus: the share of its pairs with a copy of each kind."""

    upper: float = Field(0.0, ge=0, le=1, description="Share of pairs with a copy in upper case, on both sides.")
    title: float = Field(
        0.0, ge=0, le=1, description="Share of pairs with a copy with capitalised words, on both sides."
    )
    lower_start: float = Field(
        0.0, ge=0, le=1, description="Share of pairs with a copy whose first letters are lower case, on both sides."
    )
    typos: float = Field(
        0.0, ge=0, le=1, description="Share of pairs with a copy with one to three typing errors in the source."
    )
    no_punctuation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of pairs with a copy without punctuation marks in the source and at the end of the target.",
    )
    placeholders: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of pairs with a copy in which a placeholder symbol replaces a name that both sides have;"
        " needs data.protect.",
    )

    def shares(self) -> dict[str, float]:
        """The kinds in use, each with its share."""
        return {kind: share for kind, share in self if share}


class CorpusConfig(Section):
    """Aligned text: two line files (source, target), one file with both sides (path), or a data set (hub)."""

    name: str | None = Field(
        None, min_length=1, description="Name in reports and corpus weights; null for the file name."
    )
    source: str | None = Field(None, description="Source text, one sentence a line; a path or URL.")
    target: str | None = Field(None, description="Target text, line-aligned with source; a path or URL.")
    path: str | None = Field(None, description="File with both sides: TSV, JSON Lines, CSV, Parquet or TMX.")
    format: Literal["auto", "tsv", "jsonl", "csv", "parquet", "tmx"] = Field(
        "auto", description="Format of path; auto: by the file name."
    )
    hub: str | None = Field(None, description="Data set for datasets.load_dataset, read as a stream.")
    hub_config: str | None = Field(None, description="Configuration of the data set, for example de-en.")
    hub_revision: str | None = Field(None, description="Revision of the data set; pin it for reproducible runs.")
    split: str = Field("train", description="Split of the data set.")
    columns: tuple[str, str] | None = Field(
        None, description="Source and target columns: names, or numbers from 1; null: detected."
    )
    alignment: str | None = Field(
        None,
        description="Word alignment file in Pharaoh format (0-0 1-2 …), line-aligned with source, for"
        " train.guided_alignment.",
    )
    tag: str | None = Field(
        None,
        pattern=r"^<[^\s<>]+>$",
        description="Token that begins each source sentence, in angle brackets: <2de> or <bt>.",
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig)

    @field_validator("tag")
    @classmethod
    def _tag(cls, tag: str | None) -> str | None:
        check_symbols([] if tag is None else [tag])
        return tag

    @field_validator("columns", mode="before")
    @classmethod
    def _numbers(cls, columns: Any) -> Any:
        if columns is None:
            return None
        if not isinstance(columns, list | tuple):
            raise ValueError("a list of two columns: [NAME, NAME], or numbers from 1: [1, 2]")
        return [str(column) if isinstance(column, int) else column for column in columns] or None

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        pair = self.source is not None or self.target is not None
        if pair and (self.source is None or self.target is None):
            yield "source and target go together"
        if pair + (self.path is not None) + (self.hub is not None) != 1:
            yield "a corpus is either source and target, or path, or hub"
            return
        if self.alignment is not None and not pair:
            yield "alignment needs source and target: it is line-aligned with them"
        for owner, given, names in (
            ("hub", self.hub is not None, ("hub_config", "hub_revision", "split")),
            ("path", self.path is not None, ("format",)),
            ("path or hub", not pair, ("columns",)),
        ):
            for name in names if not given else ():
                if getattr(self, name) != type(self).model_fields[name].default:
                    yield f"{name} needs {owner}"


class CleaningConfig(Section):
    """Which training pairs are dropped, rule by rule, in the order of this list; null or false turns a rule off.

    Pairs that cannot be read and pairs with an empty side are always dropped; validation pairs only then, or if
    they are too long for a pretrained encoder.
    """

    control_characters: bool = Field(
        True, description="A side has a control character other than whitespace, or U+FFFD (broken encoding)."
    )
    max_characters: int | None = Field(
        2000, ge=1, le=1_000_000_000, description="A side has more characters than this."
    )
    markup: Markup = Field(
        "drop",
        description="A side has an HTML or XML tag, or an entity (ampersand, name, semicolon). drop (or true): the"
        " pair is dropped; keep (or false): it is kept as it is; strip: it is kept without tags and with entities"
        " decoded; mask: tags of both sides become symbols of the tokenizer, the others are removed.",
    )
    max_length_ratio: float | None = Field(
        9.0,
        gt=1,
        le=1_000_000,
        description="One side has more UTF-8 bytes than this times the other; fewer than 10 count as 10.",
    )
    copied: bool = Field(True, description="Both sides are the same text, with at least one letter.")
    max_symbol_share: float | None = Field(
        0.8,
        gt=0,
        lt=1,
        description="Digits and symbols make up more than this share of a side with over 10 characters.",
    )
    max_repeats: int | None = Field(
        20, ge=2, le=1_000_000_000, description="A character other than a space occurs more often than this in a row."
    )
    source_scripts: tuple[str, ...] | None = Field(
        None, description="Scripts of the source, for example [latin]; pairs with too few such letters are dropped."
    )
    target_scripts: tuple[str, ...] | None = Field(None, description="Scripts of the target.")
    min_script_share: float = Field(0.5, gt=0, le=1, description="Minimum share of letters in these scripts.")
    min_language_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="A side with over 20 characters is identified as a language other than data.source_language or"
        " data.target_language, with more than this confidence. Needs the extra langid; slow.",
    )
    held_out: bool = Field(
        True,
        description="A side equals a validation or test line of at least 5 words (15 characters in unspaced scripts).",
    )
    held_out_ngram: int | None = Field(
        None,
        ge=3,
        le=1_000,
        description="A side shares an n-gram of this many words with a validation or test line. 13 is usual.",
    )
    duplicates: bool = Field(True, description="Repeated pair; the first is kept.")
    duplicate_sources: bool = Field(False, description="Repeated source; the first pair is kept.")
    duplicate_targets: bool = Field(False, description="Repeated target; the first pair is kept.")
    max_tokens: int | None = Field(200, ge=1, le=1_000_000, description="A side has more tokens than this.")

    @field_validator("markup", mode="before")
    @classmethod
    def _drop_or_keep(cls, given: Any) -> Any:
        return ("drop" if given else "keep") if isinstance(given, bool) else given

    @field_serializer("markup")
    def _as_before(self, markup: Markup) -> Markup | bool:
        """Written as in files of earlier versions, so that data prepared by them stays the same."""
        return {"drop": True, "keep": False}.get(markup, markup)


class DataConfig(Section):
    """Corpora, tokenizer and cleaning of `nmt prepare`."""

    source_language: str = Field(
        "source",
        min_length=1,
        description="Source language code; only a name, except for TMX, JSON and language identification.",
    )
    target_language: str = Field("target", min_length=1, description="Target language code.")
    train: tuple[CorpusConfig, ...] = Field((), description="Training corpora.")
    valid: tuple[CorpusConfig, ...] = Field((), description="Validation corpora, for validation during training.")
    test: tuple[CorpusConfig, ...] = Field(
        (), description="Test corpora: not trained on; held_out drops training pairs that repeat their lines."
    )
    hold_out: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Number of training pairs held out for validation; training pairs with the same source are"
        " dropped.",
    )
    hold_out_test: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Number of training pairs held out as a test set, written as plain text into the data directory.",
    )
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    cleaning: CleaningConfig = Field(default_factory=CleaningConfig)
    protect: tuple[Literal["all", Protected], ...] = Field(
        (),
        description="Kinds of text that a model copies: where both sides of a pair have the same, it becomes a symbol"
        " of the tokenizer. all: every kind.",
    )
    seed: int = Field(
        1,
        ge=0,
        le=9_223_372_036_854_775_807,
        description="Random seed of the tokenizer's training sample, of held-out pairs and of augmented copies.",
    )

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        for split, corpora in (("valid", self.valid), ("test", self.test)):
            if any(corpus.augment.shares() for corpus in corpora):
                yield f"{split}: only training corpora can have augment"
            if any(corpus.alignment is not None for corpus in corpora):
                yield f"{split}: only training corpora can have alignment"
        if any(corpus.augment.placeholders for corpus in self.train) and not self.protected:
            yield "augment.placeholders needs data.protect"

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return fields if self.protect else {name: value for name, value in fields.items() if name != "protect"}

    @property
    def protected(self) -> tuple[Protected, ...]:
        """The kinds to mask, in a fixed order."""
        kinds: tuple[Protected, ...] = get_args(Protected)
        masked = {*self.protect, *(("tag",) if self.cleaning.markup == "mask" else ())}
        return tuple(kind for kind in kinds if kind in masked or "all" in masked)

    @property
    def declared(self) -> tuple[str, ...]:
        """The symbols that the user declares: those of the tokenizer, and the tags of training corpora."""
        tags = (corpus.tag for corpus in self.train if corpus.tag is not None)
        return tuple(dict.fromkeys((*self.tokenizer.symbols, *tags)))

    def settings(self) -> Self:
        """The settings without the corpora."""
        return self.model_copy(update={"train": (), "valid": (), "test": ()})
