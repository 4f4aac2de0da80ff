"""Tokens drawn from a model's own distribution, by the step protocol.

All random numbers come from torch's generator on the CPU, whatever the device; each update seeds it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nmtcli.models.protocol import select_rows
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.vocabulary import BOS, EOS

TOGETHER = 1024  # translations drawn at a time: bounds the memory of a step's probabilities


@contextmanager
def as_in_search(model: nn.Module) -> Iterator[None]:
    """Without dropout and gradients, in the middle of training."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        # Weights that autocast has cast meanwhile know no gradient; older torch uses them again (its issue 112583).
        torch.clear_autocast_cache()


def draw(log_probs: Tensor, chance: Tensor) -> Tensor:
    """Tokens [B, K, n] from the distributions log_probs [B, K, V], one for each number of chance [B, K, n] in [0, 1).

    PAD and BOS, which the search never takes, come before EOS and are never drawn, however sure the model is of them.
    """
    cumulative = log_probs[..., EOS:].softmax(dim=-1).cumsum(dim=-1)  # [B, K, V - 2]
    place = torch.searchsorted(cumulative, chance * cumulative[..., -1:], right=True)
    return place.clamp(max=cumulative.size(-1) - 1) + EOS


def sample_translations(
    model: Seq2Seq, source: Tensor, source_length: Tensor, limits: Tensor, samples: int
) -> list[list[tuple[int, ...]]]:
    """So many translations of each sentence, drawn at random: ids up to and with EOS.

    source [B, S], source_length [B], limits [B]: a translation that reaches its limit, EOS counted, ends there.
    """
    translations: list[list[tuple[int, ...]]] = []
    count = max(1, TOGETHER // samples)
    with as_in_search(model):
        for first in range(0, len(source), count):
            part = slice(first, first + count)
            rows = _sample(model, source[part], source_length[part], limits[part], samples).tolist()
            translations += [[tuple(tokens[: tokens.index(EOS) + 1]) for tokens in row] for row in rows]
    return translations


def _sample(model: Seq2Seq, source: Tensor, source_length: Tensor, limits: Tensor, samples: int) -> Tensor:
    """Drawn tokens [B, K, T], each with an EOS somewhere."""
    batch, where = source.size(0), source.device
    memory, cache = model.start(source, source_length)
    step = model.step(torch.full((batch, 1), BOS, device=where), memory, cache)
    tokens = draw(step.log_probs, torch.rand(batch, 1, samples).to(where))[:, 0]  # [B, K]
    cache = select_rows(step.cache, torch.arange(batch, device=where).repeat_interleave(samples))
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    positions = []
    for length in range(1, int(limits.max()) + 1):
        tokens = tokens.masked_fill(ended | (length >= limits[:, None]), EOS)
        positions.append(tokens)
        ended = tokens == EOS
        if bool(ended.all()):
            break
        step = model.step(tokens, memory, cache)
        cache = step.cache
        tokens = draw(step.log_probs, torch.rand(batch, samples, 1).to(where))[..., 0]
    return torch.stack(positions, dim=-1)
