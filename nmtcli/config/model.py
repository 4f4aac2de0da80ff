"""Settings of the network: any encoder with any decoder."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from nmtcli.config.section import AUTO, OrAuto, Section


class Part(Section):
    """A group with a `type`, some of whose settings belong to certain types only.

    Such a setting names its types in `json_schema_extra`; given for another type it is an error, not ignored, and it is
    not written down: a model that has no use for a setting does not depend on what its default was.
    """

    @model_serializer(mode="wrap")
    def _that_of_the_type(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = dump(self)
        return {name: value for name, value in tree.items() if self._applies(name)}

    @model_validator(mode="after")
    def _settings_fit_the_type(self) -> Self:
        for name, field in type(self).model_fields.items():
            if not self._applies(name) and getattr(self, name) != field.default:
                raise ValueError(f"{name} is for type {' and '.join(types_of(field))}, not {self._kind}")
        return self

    def _applies(self, name: str) -> bool:
        types = types_of(type(self).model_fields[name])
        return not types or self._kind in types

    @property
    def _kind(self) -> str:
        return str(getattr(self, "type"))  # noqa: B009 - each subclass has its own choice of types


def types_of(field: Any) -> list[str]:
    """The types a setting is for; empty for all."""
    types: list[str] = (field.json_schema_extra or {}).get("only", [])
    return types


def _only(*types: str) -> dict[str, Any]:
    return {"only": list(types)}


RNN = _only("rnn")
TRANSFORMER = _only("transformer")
LAYERED = _only("transformer", "ssru")


class EmbeddingConfig(Section):
    """Token embeddings."""

    size: int = Field(256, ge=1, le=65_536, description="Width of an embedding.")
    tie: Literal["auto", "all", "target", "none"] = Field(
        "auto",
        description="Which weights are one: source, target and output (all), target and output (target), or none;"
        " auto is all with a joint tokenizer and target without.",
    )
    scale: bool = Field(
        False,
        description="Multiply embeddings by the square root of their width, as the Transformer does. Recurrent models:"
        " attention is found sooner, but with strong dropout the result is worse (docs/results).",
    )
    source_vectors: str | None = Field(
        None, description="Word vectors the source embeddings begin with: a text file of word2vec or GloVe."
    )
    target_vectors: str | None = Field(None, description="The same for the target embeddings.")

    @model_validator(mode="after")
    def _one_table_one_file(self) -> Self:
        if self.tie == "all" and self.source_vectors != self.target_vectors:
            raise ValueError("with tie all, source_vectors and target_vectors must be the same file")
        return self


class EncoderConfig(Part):
    """Reads the source sentence."""

    type: Literal["rnn", "transformer"] = Field("rnn", description="Kind of encoder.")
    layers: int = Field(1, ge=1, le=1_000, description="Stacked layers.")
    hidden_size: int = Field(512, ge=1, le=65_536, description="Width of a state; of an RNN both directions together.")
    cell: Literal["lstm", "gru"] = Field("lstm", json_schema_extra=RNN, description="Recurrent cell.")
    bidirectional: Literal[True, False, "first"] = Field(
        True, json_schema_extra=RNN, description="Read from both ends: in all layers, in the first alone, or not."
    )
    residual: bool = Field(
        False, json_schema_extra=RNN, description="Add a layer's input to its output, from the second layer on."
    )
    layer_norm: bool = Field(
        False,
        json_schema_extra=RNN,
        description="Normalise inside the cell (Ba, Kiros and Hinton 2016); slow: no fused kernel.",
    )
    reverse_source: bool = Field(
        False,
        description="Read the source from its end (Sutskever et al. 2014); attention counts from the start.",
    )
    repeat_source: bool = Field(
        False,
        description="Read the source twice in a row (Zaremba and Sutskever 2014); needs model.attention.type none.",
    )
    heads: int = Field(4, ge=1, le=1_024, json_schema_extra=TRANSFORMER, description="Attention heads.")
    feedforward_size: int | None = Field(
        None, ge=1, le=1_000_000, json_schema_extra=TRANSFORMER, description="Inner width; null for 4 × hidden_size."
    )
    norm: Literal["pre", "post"] = Field(
        "pre", json_schema_extra=TRANSFORMER, description="Layer normalisation before or after each sublayer."
    )
    positions: Literal["sinusoidal", "rotary"] = Field(
        "sinusoidal", json_schema_extra=TRANSFORMER, description="How positions are told (rotary: Su et al. 2021)."
    )
    activation: Literal["relu", "gelu", "swiglu"] = Field(
        "relu", json_schema_extra=TRANSFORMER, description="Of the feed-forward sublayer (SwiGLU: Shazeer 2020)."
    )

    @model_validator(mode="after")
    def _widths(self) -> Self:
        if self.type == "rnn" and self.bidirectional and self.hidden_size % 2:
            raise ValueError("hidden_size must be even when bidirectional is true")
        if self.type == "transformer":
            check_heads(self.hidden_size, self.heads, rotary=self.positions == "rotary")
        return self


class DecoderConfig(Part):
    """Writes the target sentence."""

    type: Literal["rnn", "transformer", "ssru"] = Field(
        "rnn", description="Kind of decoder; ssru is a Transformer whose self-attention is a simple recurrence."
    )
    layers: int = Field(1, ge=1, le=1_000, description="Stacked layers.")
    hidden_size: int = Field(512, ge=1, le=65_536, description="Width of a state.")
    cell: Literal["lstm", "gru"] = Field("lstm", json_schema_extra=RNN, description="Recurrent cell.")
    residual: bool = Field(
        False, json_schema_extra=RNN, description="Add a layer's input to its output, from the second layer on."
    )
    layer_norm: bool = Field(False, json_schema_extra=RNN, description="Normalise inside the cell; slow.")
    query: Literal["state", "previous_state", "first_layer"] = Field(
        "state",
        json_schema_extra=RNN,
        description="What attends to the source: the top state, before the output (Luong et al. 2015); the top state of"
        " the previous position, its context going into the cell (Bahdanau et al. 2015); or the first layer, its"
        " context going into the layers above (Wu et al. 2016).",
    )
    input_feeding: bool = Field(
        False,
        json_schema_extra=RNN,
        description="Feed each position's output into the next (Luong et al. 2015, section 3.3); trains slower.",
    )
    context_every_step: bool = Field(
        False,
        json_schema_extra=RNN,
        description="Without attention: show the encoder's last state to every position (Cho et al. 2014).",
    )
    bridge: Literal["dense", "mean", "backward", "copy", "zero"] = Field(
        "dense",
        json_schema_extra=RNN,
        description="First state: tanh of a projection of the encoder's last states, of the mean of all states, or of"
        " the last state read from the right; the encoder's own last states, layer by layer; or zero.",
    )
    readout: Literal["attentional", "maxout", "deep", "state"] = Field(
        "attentional",
        json_schema_extra=RNN,
        description="From state to output: tanh of context and state (Luong et al. 2015); maxout or tanh of context,"
        " state and previous token (Bahdanau et al. 2015, A.2.2); or the state alone.",
    )
    heads: int = Field(4, ge=1, le=1_024, json_schema_extra=LAYERED, description="Attention heads.")
    feedforward_size: int | None = Field(
        None, ge=1, le=1_000_000, json_schema_extra=LAYERED, description="Inner width; null for 4 × hidden_size."
    )
    norm: Literal["pre", "post"] = Field(
        "pre", json_schema_extra=LAYERED, description="Layer normalisation before or after each sublayer."
    )
    positions: Literal["sinusoidal", "rotary"] = Field(
        "sinusoidal", json_schema_extra=TRANSFORMER, description="How positions are told (rotary: Su et al. 2021)."
    )
    activation: Literal["relu", "gelu", "swiglu"] = Field(
        "relu", json_schema_extra=LAYERED, description="Of the feed-forward sublayer (SwiGLU: Shazeer 2020)."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.type != "rnn":
            check_heads(self.hidden_size, self.heads, rotary=self.positions == "rotary")
        if self.query == "first_layer" and self.layers < 2:
            raise ValueError("query first_layer needs layers 2 or more")
        if self.query != "state" and self.input_feeding:
            raise ValueError(f"input_feeding is for query state, not {self.query}")
        return self


def check_heads(width: int, heads: int, rotary: bool = False) -> None:
    """Raises ValueError where a width does not divide into heads."""
    if width % heads or (rotary and width // heads % 2):
        raise ValueError(f"{width} must divide into {heads} heads{' of even width' if rotary else ''}")


AttentionType = Literal["none", "dot", "scaled_dot", "general", "scaled_general", "additive", "location"]
ATTENDING = _only(*(one for one in get_args(AttentionType) if one != "none"))


class AttentionConfig(Part):
    """How a recurrent decoder looks at the source. A Transformer's attention has `heads` in its decoder instead."""

    type: AttentionType = Field(
        "scaled_general",
        description="Score function (Luong et al. 2015, section 3.1), or none; scaled: divided by the square root of"
        " the width, with which attention is found sooner. additive is Bahdanau's; Luong's concat is the same and"
        " another name for it.",
    )
    hidden_size: int | None = Field(
        None,
        ge=1,
        le=65_536,
        json_schema_extra=_only("scaled_dot", "additive"),
        description="Width the score is worked out in; null for the decoder's. scaled_dot: with several heads only.",
    )
    heads: int = Field(
        1,
        ge=1,
        le=1_024,
        json_schema_extra=_only("scaled_dot", "additive"),
        description="Several attentions side by side, each of a part of the width (Chen et al. 2018).",
    )
    window: Literal["global", "local-m", "local-p"] = Field(
        "global",
        json_schema_extra=ATTENDING,
        description="Look at all source tokens, at those around the same position, or around a predicted one"
        " (Luong et al. 2015, section 3.2).",
    )
    window_size: int = Field(
        10,
        ge=1,
        le=100_000,
        json_schema_extra=ATTENDING,
        description="Tokens on each side of a local window's middle (D in the paper).",
    )
    max_length: int = Field(
        256,
        ge=1,
        le=1_000_000,
        json_schema_extra=_only("location"),
        description="Source positions that can be looked at; those beyond get no weight.",
    )

    @field_validator("type", mode="before")
    @classmethod
    def _luongs_name(cls, kind: Any) -> Any:
        return "additive" if kind == "concat" else kind

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.type == "scaled_dot" and self.heads == 1 and self.hidden_size is not None:
            raise ValueError("hidden_size of scaled_dot needs heads 2 or more")
        return self


class ModelConfig(Section):
    """The network: any encoder with any decoder."""

    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    decoder: DecoderConfig = Field(default_factory=DecoderConfig)
    attention: AttentionConfig = Field(default_factory=AttentionConfig)
    dropout: OrAuto[Annotated[float, Field(ge=0, lt=1)]] = Field(
        AUTO,
        description="Share of activations dropped in training; auto: 0.1 to 0.5, more the more epochs there are.",
    )
    recurrent_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of a recurrent state dropped, the same units at all positions of a sentence (Gal and"
        " Ghahramani 2016); slow: no fused kernel.",
    )
    word_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of tokens whose whole embedding is dropped in training, on both sides."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for rule, message in self._rules():
            if rule:
                raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _attention_where_it_is_used(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = dump(self)
        return {name: value for name, value in tree.items() if name != "attention" or self.decoder.type == "rnn"}

    @property
    def attends(self) -> bool:
        """Whether the decoder looks at source tokens."""
        return self.decoder.type != "rnn" or self.attention.type != "none"

    def _rules(self) -> list[tuple[bool, str]]:
        """What must not be, and the words for it."""
        encoder, decoder, attention = self.encoder, self.decoder, self.attention
        recurrent = decoder.type == "rnn"
        attends = recurrent and self.attends
        same_width = encoder.hidden_size == decoder.hidden_size
        direct = attention.type == "dot" or (attention.type == "scaled_dot" and attention.heads == 1)
        halves = encoder.type == "rnn" and encoder.bidirectional is True
        alike = encoder.type == "rnn" and (encoder.layers, encoder.cell) == (decoder.layers, decoder.cell)
        width = attention.hidden_size or decoder.hidden_size
        return [
            (
                not recurrent and attention != AttentionConfig(),
                f"attention is for decoder.type rnn, not {decoder.type}",
            ),
            (
                attends and direct and not same_width,
                f"attention.type {attention.type} needs encoder.hidden_size equal to decoder.hidden_size",
            ),
            (attends and width % attention.heads > 0, f"attention: {width} must divide into {attention.heads} heads"),
            (attends and decoder.context_every_step, "decoder.context_every_step needs attention.type none"),
            (
                recurrent and not attends and decoder.query != "state",
                f"decoder.query {decoder.query} needs an attention.type other than none",
            ),
            (
                encoder.repeat_source and (attends or not recurrent),
                "encoder.repeat_source needs a recurrent decoder with attention.type none",
            ),
            (
                recurrent and decoder.bridge == "copy" and not (alike and same_width),
                "decoder.bridge copy needs encoder and decoder of type rnn with the same cell, layers and hidden_size",
            ),
            (
                recurrent and decoder.bridge == "backward" and not halves,
                "decoder.bridge backward needs encoder.type rnn and bidirectional true",
            ),
            (
                recurrent and not attends and decoder.bridge == "zero" and not decoder.context_every_step,
                "attention.type none with decoder.bridge zero would never see the source",
            ),
            (
                self.recurrent_dropout > 0 and encoder.type != "rnn" and not recurrent,
                "recurrent_dropout needs a recurrent encoder or decoder",
            ),
        ]
