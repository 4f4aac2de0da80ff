"""The exposure-bias meter: how much worse a model predicts after its own words than after the true ones.

Teacher-forced accuracy is the share of target tokens predicted rightly after the true prefix. Free-running accuracy is
that of greedy decoding, held against the reference position by position up to the reference's length, EOS counted:
strict, since one word too many makes all that follow wrong, and after an EOS that comes too early nothing is right. The
gap between both by position is what Bengio et al. 2015 and Ranzato et al. 2016 speak of: mistakes that add up.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.batches import Batch
from nmtcli.train.loss import in_chunks
from nmtcli.vocabulary import EOS, PAD

LAST = (5, 10, 20, 40)  # position of each bucket but the last, counted from 1
BUCKETS = ("1-5", "6-10", "11-20", "21-40", "41+")

Accuracies = dict[str, dict[str, float]]  # by bucket: teacher_forced, free_running, tokens


@torch.no_grad()
def count_by_position(model: Seq2Seq, batch: Batch) -> Tensor:
    """All tokens, those right by teacher forcing, those right running free: [3, buckets]; `model` is evaluating."""
    real = batch.target_output != PAD  # [B, T]
    position = torch.arange(1, real.size(1) + 1, device=real.device)
    bucket = torch.bucketize(position, torch.tensor(LAST, device=real.device)).expand_as(real)
    right = [real, teacher_forced(model, batch), free_running(model, batch)]
    return torch.stack([torch.bincount(bucket[which], minlength=len(BUCKETS)) for which in right])


def by_bucket(counts: Iterable[Sequence[Sequence[int]]]) -> Accuracies:
    """Both accuracies in each bucket of positions that has tokens, from counts [3, buckets] of `count_by_position`."""
    summed = (map(sum, zip(*rows, strict=True)) for rows in zip(*filter(None, counts), strict=True))
    buckets = zip(BUCKETS, *summed, strict=True)
    return {
        bucket: {"teacher_forced": forced / tokens, "free_running": free / tokens, "tokens": tokens}
        for bucket, tokens, forced, free in buckets
        if tokens
    }


def teacher_forced(model: Seq2Seq, batch: Batch) -> Tensor:
    """Where [B, T] the likeliest token after the true prefix is the true one; False on padding."""
    real = batch.target_output != PAD
    features = model(batch.source, batch.source_length, batch.target_input)[real]  # [M, E]
    chosen = torch.cat([likeliest(model.log_probs(some)) for some in in_chunks(features)])
    right = chosen == batch.target_output[real]
    return torch.zeros_like(real).masked_scatter(real, right)


def free_running(model: Seq2Seq, batch: Batch) -> Tensor:
    """Where [B, T] greedy decoding has the reference's token at this very position; False on padding."""
    memory, cache = model.start(batch.source, batch.source_length)
    tokens = batch.target_input[:, :1]
    going = torch.ones_like(tokens, dtype=torch.bool)
    right = []
    for true in torch.split(batch.target_output, 1, dim=1):  # [B, 1]
        step = model.step(tokens, memory, cache)
        tokens, cache = likeliest(step.log_probs), step.cache
        right.append(going & (tokens == true) & (true != PAD))
        going = going & (tokens != EOS)
    return torch.cat(right, dim=1)


def likeliest(log_probs: Tensor) -> Tensor:
    """The likeliest token [...] of log_probs [..., V]; PAD and BOS, which the search never takes, come before EOS."""
    return log_probs[..., EOS:].argmax(dim=-1) + EOS
