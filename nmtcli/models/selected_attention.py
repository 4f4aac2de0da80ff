"""Selection of the attention layer and head whose weights a model returns. Does not import PyTorch."""

from typing import NamedTuple

from nmtcli.config import ModelConfig
from nmtcli.errors import UserError


class AttentionChoice(NamedTuple):
    """A decoder layer, counted from 1 at the bottom, and one of its heads, counted from 1.

    The default layer is the last but one of a Transformer, whose word alignment is best (Garg et al. 2019), and the
    only one of a recurrent decoder. Without a head it is the mean of all heads.
    """

    layer: int | None = None
    head: int | None = None


DEFAULT_ATTENTION = AttentionChoice()


def select_attention(config: ModelConfig, choice: AttentionChoice) -> AttentionChoice:
    """The choice with the default layer filled in. Raises UserError if the model has no such layer or head."""
    heads = attention_heads(config)
    if not heads:
        raise UserError("the model has no attention", "use a model with model.attention.type other than none")
    layer = max(len(heads) - 1, 1) if choice.layer is None else choice.layer
    if not 1 <= layer <= len(heads):
        valid = f"1 to {len(heads)}" if len(heads) > 1 else "1 only"
        raise UserError(f"attention layer {layer}: the model has {valid}", "leave it out for the default layer")
    if choice.head is not None and not 1 <= choice.head <= heads[layer - 1]:
        valid = f"1 to {heads[layer - 1]}" if heads[layer - 1] > 1 else "1 only"
        raise UserError(
            f"attention head {choice.head}: the model has {valid}", "leave it out for the mean of all heads"
        )
    return AttentionChoice(layer, choice.head)


def attention_heads(config: ModelConfig) -> tuple[int, ...]:
    """The number of heads of each decoder layer's cross-attention, bottom first; empty without attention."""
    if not config.attends:
        return ()
    decoder = config.decoder
    return (decoder.heads,) * decoder.layers if decoder.type != "rnn" else (config.attention.heads,)


def attention_name(config: ModelConfig, choice: AttentionChoice) -> str:
    """A description of the choice: `layer 5 of 6, mean of 8 heads`; of a recurrent decoder the type, `general`."""
    heads, (layer, head) = attention_heads(config), select_attention(config, choice)
    assert layer is not None
    count = heads[layer - 1]
    of_heads = [] if count == 1 else [f"head {head} of {count}" if head else f"mean of {count} heads"]
    if config.decoder.type != "rnn":
        return ", ".join([f"layer {layer} of {len(heads)}", *of_heads])
    window = [] if config.attention.window == "global" else [config.attention.window]
    return ", ".join([config.attention.type, *window, *of_heads])
