"""Settings of the network: any encoder with any decoder."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from nmtcli.config.section import AUTO, OrAuto, Section

TokenId = Annotated[int, Field(ge=0, le=10**9)]


class Part(Section):
    """A group with a `type`, some of whose settings apply to certain types only.

    Such a setting lists its types in `json_schema_extra`. For another type it is an error, and it is not stored: a
    stored model then does not depend on defaults of settings that it does not use.
    """

    @model_serializer(mode="wrap")
    def _applicable_settings(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = dump(self)
        return {name: value for name, value in tree.items() if self._applies(name)}

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        for name, field in type(self).model_fields.items():
            if not self._applies(name) and getattr(self, name) != field.default:
                yield f"{name} needs type {' or '.join(types_of(field))}, not {self._kind}"

    def _applies(self, name: str) -> bool:
        types = types_of(type(self).model_fields[name])
        return not types or self._kind in types

    @property
    def _kind(self) -> str:
        return str(getattr(self, "type"))  # noqa: B009 - declared by each subclass


def types_of(field: Any) -> list[str]:
    """The types that a setting applies to; empty for all."""
    types: list[str] = (field.json_schema_extra or {}).get("only", [])
    return types


def _only(*types: str) -> dict[str, Any]:
    return {"only": list(types)}


RNN = _only("rnn")
TRANSFORMER = _only("transformer")
OURS = _only("rnn", "transformer")  # encoders that are not pretrained
PRETRAINED = _only("pretrained")
LAYERED = _only("transformer", "ssru")


class EmbeddingConfig(Section):
    """Token embeddings."""

    size: int = Field(256, ge=1, le=65_536, description="Width of an embedding.")
    tie: Literal["auto", "all", "target", "none"] = Field(
        "auto",
        description="Tied embeddings: source, target and output (all), target and output (target), or none; auto: all"
        " with a joint tokenizer, else target.",
    )
    scale: bool = Field(
        True,
        description="Multiply embeddings by the square root of their width (Vaswani et al. 2017, section 3.4)."
        " Recurrent models learn attention earlier with it.",
    )
    zero_start: bool = Field(
        False, description="A zero vector for BOS, the decoder's first input, as in Marian; no trained embedding."
    )
    source_vectors: str | None = Field(
        None, description="Initial source embeddings: a text file of word2vec, GloVe, fastText (.vec) or gensim."
    )
    target_vectors: str | None = Field(None, description="The same for the target embeddings.")

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        if self.tie == "all" and self.source_vectors != self.target_vectors:
            yield "with tie all, source_vectors and target_vectors must be the same file"


class EncoderConfig(Part):
    """The encoder of the source sentence."""

    type: Literal["rnn", "transformer", "pretrained"] = Field(
        "rnn", description="Kind of encoder; pretrained: BERT and others (docs/pretrained.md)."
    )
    name: str | None = Field(
        None,
        min_length=1,
        json_schema_extra=PRETRAINED,
        description="Pretrained encoder: a folder, or OWNER/NAME of the Hugging Face Hub. Read at the start of a run"
        " only.",
    )
    architecture: dict[str, Any] | None = Field(
        None,
        json_schema_extra=PRETRAINED,
        description="Pretrained encoder: the settings of its config.json; nmt train sets them.",
    )
    special_ids: tuple[TokenId, TokenId, TokenId, TokenId] | None = Field(
        None,
        json_schema_extra=PRETRAINED,
        description="Pretrained encoder: its ids of padding, of the tokens before and after a sentence and of the"
        " unknown token; nmt train sets them.",
    )
    layers: int = Field(1, ge=1, le=1_000, description="Stacked layers; nmt train sets those of a pretrained encoder.")
    hidden_size: int = Field(
        512,
        ge=1,
        le=65_536,
        description="Width of a state; of a bidirectional RNN, both directions together. nmt train sets that of a"
        " pretrained encoder.",
    )
    cell: Literal["lstm", "gru"] = Field("lstm", json_schema_extra=RNN, description="Recurrent cell.")
    bidirectional: Literal[True, False, "first"] = Field(
        True, json_schema_extra=RNN, description="Bidirectional: all layers, the first layer only, or none."
    )
    residual: bool = Field(False, json_schema_extra=RNN, description="Residual connections, from the second layer on.")
    layer_norm: bool = Field(
        False,
        json_schema_extra=RNN,
        description="Layer normalisation in the cell (Ba, Kiros and Hinton 2016); slow: no fused kernel.",
    )
    reverse_source: bool = Field(
        False,
        json_schema_extra=OURS,
        description="Reverse the source (Sutskever et al. 2014); attention positions stay those of the text.",
    )
    repeat_source: bool = Field(
        False,
        json_schema_extra=OURS,
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
        "sinusoidal", json_schema_extra=TRANSFORMER, description="Position encoding (rotary: Su et al. 2021)."
    )
    activation: Literal["relu", "gelu", "silu", "swiglu"] = Field(
        "relu",
        json_schema_extra=TRANSFORMER,
        description="Feed-forward activation (silu: swish; SwiGLU: Shazeer 2020).",
    )

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        yield from super().conflicts()
        if self.type == "rnn" and self.bidirectional and self.hidden_size % 2:
            yield "hidden_size must be even in a bidirectional encoder"
        if self.type == "transformer":
            yield from conflicts_of_heads(self.hidden_size, self.heads, rotary=self.positions == "rotary")


class DecoderConfig(Part):
    """The decoder of the target sentence."""

    type: Literal["rnn", "transformer", "ssru"] = Field(
        "rnn", description="Kind of decoder; ssru: a Transformer with an SSRU in place of self-attention."
    )
    layers: int = Field(1, ge=1, le=1_000, description="Stacked layers.")
    hidden_size: int = Field(512, ge=1, le=65_536, description="Width of a state.")
    cell: Literal["lstm", "gru"] = Field("lstm", json_schema_extra=RNN, description="Recurrent cell.")
    residual: bool = Field(False, json_schema_extra=RNN, description="Residual connections, from the second layer on.")
    layer_norm: bool = Field(False, json_schema_extra=RNN, description="Layer normalisation in the cell; slow.")
    query: Literal["state", "previous_state", "first_layer"] = Field(
        "state",
        json_schema_extra=RNN,
        description="Attention query: the top state (state; Luong et al. 2015); the last layer's own state at the"
        " previous position, with the context as an input of the cell (previous_state; Bahdanau et al. 2015); or the"
        " first layer's state, with the context as an input of the layers above (first_layer; Wu et al. 2016).",
    )
    input_feeding: bool = Field(
        False,
        json_schema_extra=RNN,
        description="Input feeding (Luong et al. 2015, section 3.3); trains slower.",
    )
    context_every_step: bool = Field(
        False,
        json_schema_extra=RNN,
        description="Without attention: feed the encoder's last state to every step as the context vector (Cho et al."
        " 2014).",
    )
    bridge: Literal["dense", "mean", "backward", "copy", "zero"] = Field(
        "dense",
        json_schema_extra=RNN,
        description="Initial decoder state: tanh of a projection of the encoder's last states (dense), of its mean"
        " state (mean) or of its last backward state (backward); its last states, layer by layer (copy); or zero.",
    )
    readout: Literal["attentional", "maxout", "deep", "state"] = Field(
        "attentional",
        json_schema_extra=RNN,
        description="Features of the output layer: tanh of context and state (attentional; Luong et al. 2015); maxout"
        " or tanh of context, state and previous token (maxout, deep; Bahdanau et al. 2015, A.2.2); or the state.",
    )
    heads: int = Field(4, ge=1, le=1_024, json_schema_extra=LAYERED, description="Attention heads.")
    feedforward_size: int | None = Field(
        None, ge=1, le=1_000_000, json_schema_extra=LAYERED, description="Inner width; null for 4 × hidden_size."
    )
    norm: Literal["pre", "post"] = Field(
        "pre", json_schema_extra=LAYERED, description="Layer normalisation before or after each sublayer."
    )
    positions: Literal["sinusoidal", "rotary"] = Field(
        "sinusoidal", json_schema_extra=TRANSFORMER, description="Position encoding (rotary: Su et al. 2021)."
    )
    activation: Literal["relu", "gelu", "silu", "swiglu"] = Field(
        "relu", json_schema_extra=LAYERED, description="Feed-forward activation (silu: swish; SwiGLU: Shazeer 2020)."
    )

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        yield from super().conflicts()
        if self.type != "rnn":
            yield from conflicts_of_heads(self.hidden_size, self.heads, rotary=self.positions == "rotary")
            return
        if self.query == "first_layer" and self.layers < 2:
            yield "query first_layer needs layers 2 or more"
        if self.query != "state" and self.input_feeding:
            yield f"input_feeding needs query state, not {self.query}"


def conflicts_of_heads(width: int, heads: int, rotary: bool = False) -> Iterator[str]:
    """A message unless the width is divisible by the heads, into even widths for rotary positions."""
    if width % heads or (rotary and width // heads % 2):
        yield f"hidden_size {width} must be a multiple of {'2 × ' if rotary else ''}heads {heads}"


AttentionType = Literal["none", "dot", "scaled_dot", "general", "scaled_general", "additive", "location"]
ATTENDING = _only(*(one for one in get_args(AttentionType) if one != "none"))


class AttentionConfig(Part):
    """Attention of a recurrent decoder. A Transformer decoder has `heads` instead."""

    type: AttentionType = Field(
        "scaled_general",
        description="Score function (Luong et al. 2015, section 3.1), or none; scaled: divided by the square root of"
        " the width, with which attention is learned earlier. additive is Bahdanau's and Luong's concat; concat is"
        " accepted too.",
    )
    hidden_size: int | None = Field(
        None,
        ge=1,
        le=65_536,
        json_schema_extra=_only("scaled_dot", "additive"),
        description="Width of the score's projections; null for the decoder's. scaled_dot: with several heads only.",
    )
    heads: int = Field(
        1,
        ge=1,
        le=1_024,
        json_schema_extra=_only("scaled_dot", "additive"),
        description="Attention heads (Chen et al. 2018).",
    )
    window: Literal["global", "local-m", "local-p"] = Field(
        "global",
        json_schema_extra=ATTENDING,
        description="Attend to all source tokens (global), or to a window around the same position (local-m) or a"
        " predicted one (local-p) (Luong et al. 2015, section 3.2).",
    )
    window_size: int = Field(
        10,
        ge=1,
        le=100_000,
        json_schema_extra=ATTENDING,
        description="Half width of a local window in tokens (D in the paper).",
    )
    max_length: int = Field(
        256,
        ge=1,
        le=1_000_000,
        json_schema_extra=_only("location"),
        description="Maximum source position with attention; later positions get zero weight.",
    )

    @field_validator("type", mode="before")
    @classmethod
    def _concat_is_additive(cls, kind: Any) -> Any:
        return "additive" if kind == "concat" else kind

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        yield from super().conflicts()
        if self.type == "scaled_dot" and self.heads == 1 and self.hidden_size is not None:
            yield "hidden_size of scaled_dot needs heads 2 or more"


class ModelConfig(Section):
    """The network: any encoder with any decoder."""

    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    decoder: DecoderConfig = Field(default_factory=DecoderConfig)
    attention: AttentionConfig = Field(default_factory=AttentionConfig)
    output_bias: bool = Field(False, description="A bias of the output layer, as in Marian.")
    dropout: OrAuto[Annotated[float, Field(ge=0, lt=1)]] = Field(
        AUTO,
        description="Dropout rate; auto: 0.1 to 0.4, more for more epochs.",
    )
    recurrent_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout rate of recurrent states, with one mask for all positions of a sentence (Gal and"
        " Ghahramani 2016); slow: no fused kernel.",
    )
    word_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of tokens whose whole embedding is dropped in training, source and target; with a pretrained"
        " encoder, target only.",
    )

    def conflicts(self) -> Iterator[str]:
        """See `Section.conflicts`."""
        yield from (message for is_broken, message in self._rules() if is_broken)

    @model_serializer(mode="wrap")
    def _attention_where_it_is_used(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = dump(self)
        return {name: value for name, value in tree.items() if name != "attention" or self.decoder.type == "rnn"}

    @property
    def attends(self) -> bool:
        """Whether the model has attention to the source."""
        return self.decoder.type != "rnn" or self.attention.type != "none"

    def unread(self) -> list[str]:
        """What a new run must not have: weights and settings that nothing reads. Models of older versions may."""
        encoder, decoder, attention = self.encoder, self.decoder, self.attention
        messages = [
            f"{name}.residual needs {name}.layers 2 or more: the first layer has no residual connection"
            for name, part in (("encoder", encoder), ("decoder", decoder))
            if part.type == "rnn" and part.residual and part.layers == 1
        ]
        if decoder.type != "rnn":
            return messages
        if (
            attention.window == "global"
            and attention.window_size != type(attention).model_fields["window_size"].default
        ):
            messages.append("attention.window_size needs a window: local-m or local-p")
        if self.attends and decoder.readout == decoder.query == "state":
            messages.append(
                "decoder.readout state needs a decoder.query other than state: nothing would read the context"
            )
        if not self.attends and decoder.bridge == "backward" and not decoder.context_every_step:
            messages.append(
                "decoder.bridge backward needs attention or context_every_step: nothing would read the forward states"
            )
        return messages

    def _rules(self) -> list[tuple[bool, str]]:
        """Conditions that are errors, each with its message; of such with the same cause, one."""
        encoder, decoder, attention = self.encoder, self.decoder, self.attention
        recurrent = decoder.type == "rnn"
        attends = recurrent and self.attends
        pretrained = encoder.type == "pretrained"
        settled = not pretrained or encoder.architecture is not None
        same_width = encoder.hidden_size == decoder.hidden_size or not settled
        direct = attention.type == "dot" or (attention.type == "scaled_dot" and attention.heads == 1)
        halves = encoder.type == "rnn" and encoder.bidirectional is True
        alike = encoder.type == "rnn" and (encoder.layers, encoder.cell) == (decoder.layers, decoder.cell)
        width = attention.hidden_size or decoder.hidden_size
        return [
            (
                not recurrent and attention != AttentionConfig(),
                f"attention needs decoder.type rnn, not {decoder.type}",
            ),
            (
                attends and direct and not same_width,
                f"attention.type {attention.type} needs encoder.hidden_size equal to decoder.hidden_size",
            ),
            (
                attends and width % attention.heads > 0,
                f"attention: the width {width} must be a multiple of heads {attention.heads}",
            ),
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
                "attention.type none needs a decoder.bridge other than zero, or context_every_step: the decoder would"
                " not depend on the source",
            ),
            (
                pretrained and (self.embedding.tie == "all" or self.embedding.source_vectors is not None),
                "embedding.tie all and source_vectors exclude a pretrained encoder, which has embeddings of its own",
            ),
            (
                self.recurrent_dropout > 0 and encoder.type != "rnn" and not recurrent,
                "recurrent_dropout needs a recurrent encoder or decoder",
            ),
        ]
