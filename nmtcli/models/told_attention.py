"""Which attention a model tells, where there are several: of which layer, of which head. Nothing here needs PyTorch."""

from typing import NamedTuple

from nmtcli.config import ModelConfig
from nmtcli.errors import UserError


class AttentionChoice(NamedTuple):
    """A layer of the decoder and one of its heads, counted from 1; layers from the source embedding's side upwards.

    Without a layer it is the one that links words best: the last but one of a Transformer (Garg et al. 2019), and the
    only one of a recurrent decoder. Without a head it is the mean of all.
    """

    layer: int | None = None
    head: int | None = None


USUAL = AttentionChoice()


def told_attention(config: ModelConfig, choice: AttentionChoice) -> AttentionChoice:
    """The choice with its layer filled in. Raises UserError where the model has no such attention."""
    heads = attention_heads(config)
    if not heads:
        raise UserError("the model has no attention", "it draws on no word more than on others")
    layer = choice.layer or max(len(heads) - 1, 1)
    if not 1 <= layer <= len(heads):
        there = f"1 to {len(heads)}" if len(heads) > 1 else "1 only"
        raise UserError(f"attention layer {layer}: the model has {there}", "leave it out for the one that links best")
    if choice.head is not None and not 1 <= choice.head <= heads[layer - 1]:
        there = f"1 to {heads[layer - 1]}" if heads[layer - 1] > 1 else "1 only"
        raise UserError(f"attention head {choice.head}: the model has {there}", "leave it out for the mean of all")
    return AttentionChoice(layer, choice.head)


def attention_heads(config: ModelConfig) -> tuple[int, ...]:
    """The number of heads of each layer of attention on the source, the lowest layer first; none without attention."""
    if not config.attends:
        return ()
    decoder = config.decoder
    return (decoder.heads,) * decoder.layers if decoder.type != "rnn" else (config.attention.heads,)


def attention_name(config: ModelConfig, choice: AttentionChoice) -> str:
    """What is told, for a person: `layer 5 of 6, mean of 8 heads`; of a recurrent decoder the kind, `general`."""
    heads, (layer, head) = attention_heads(config), told_attention(config, choice)
    assert layer is not None
    count = heads[layer - 1]
    of_heads = [] if count == 1 else [f"head {head} of {count}" if head else f"mean of {count} heads"]
    if config.decoder.type != "rnn":
        return ", ".join([f"layer {layer} of {len(heads)}", *of_heads])
    window = [] if config.attention.window == "global" else [config.attention.window]
    return ", ".join([config.attention.type, *window, *of_heads])
