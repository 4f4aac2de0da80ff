"""Minimum risk training (Shen et al. 2016): fewer expected mistakes by the metric that translations are judged by.

The risk of a sentence is the mean cost of its candidates y under Q(y) ∝ P(y)^α, cost = 1 - metric / 100 (eq. 7 and 8 of
the paper). Candidates are translations drawn from the model, each once, and the reference.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nmtcli.config import Config
from nmtcli.config.section import settled
from nmtcli.data.batching import Sentences, cut, pad
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.metrics.scores import Variant, score_sentences
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.batches import Batch
from nmtcli.train.sampling import sample_translations
from nmtcli.vocabulary import BOS, EOS, PAD

Candidates = list[list[tuple[int, ...]]]  # of each sentence, each up to and with EOS; the reference first


class MinimumRisk(nn.Module):
    """The sum of the risks of a batch's sentences: every sentence counts alike, as in the paper.

    The trainer divides it by target tokens, a matter of scale that does not change Adam's updates; `metrics` has the
    mean risk of a sentence.
    """

    log_sums = 2

    def __init__(self, model: Seq2Seq, tokenizer: Tokenizer, config: Config) -> None:
        """`tokenizer` is that of the target."""
        super().__init__()
        self.model, self.tokenizer, self.settings, self.search = model, tokenizer, config.train, config.search
        self.variant = Variant.in_training(config.data.target_language, tokenizer.lowercases)

    def forward(self, batch: Batch, update: int) -> tuple[Tensor, Tensor]:
        """See `Objective`. The sums are the risk and the number of sentences."""
        risks = self.risks(batch, self.draw_candidates(batch))
        risk = risks.sum()
        return risk, torch.stack([risk.detach(), torch.full_like(risk, len(risks), requires_grad=False)])

    def metrics(self, sums: Sequence[float], tokens: int, update: int) -> dict[str, float]:
        """See `Objective`."""
        risk, sentences = sums
        return {"risk": risk / sentences}

    def draw_candidates(self, batch: Batch) -> Candidates:
        """The reference of each sentence and what the model says itself, as it is used: no dropout, length limited."""
        length = batch.source_length
        limits = (length * self.search.max_length_factor).long() + self.search.max_length_offset
        samples = sample_translations(self.model, batch.source, length, limits, self.settings.mrt_samples)
        references = (tuple(row[: row.index(EOS) + 1]) for row in batch.target_output.tolist())
        return [list(dict.fromkeys([true, *sampled])) for true, sampled in zip(references, samples, strict=True)]

    def risks(self, batch: Batch, candidates: Candidates) -> Tensor:
        """The risk of each sentence [B], with gradients."""
        counts = torch.tensor(list(map(len, candidates)))
        there = (torch.arange(int(counts.max()))[None] < counts[:, None]).to(batch.source.device)  # [B, C]
        costs = torch.tensor(self._costs(candidates), device=batch.source.device)
        flat = self._log_probs(batch, candidates)
        log_probs = torch.full(there.shape, -math.inf, device=flat.device).masked_scatter(there, flat)  # [B, C]
        weights = torch.softmax(self.settings.mrt_sharpness * log_probs, dim=1)  # Q
        return (weights * torch.zeros_like(weights).masked_scatter(there, costs)).sum(dim=1)

    def _costs(self, candidates: Candidates) -> list[float]:
        """1 - metric / 100 of all candidates, one sentence after the other."""
        texts = list(map(self.tokenizer.decode_all, candidates))
        hypotheses = [text for pool in texts for text in pool]
        references = [pool[0] for pool in texts for _ in pool]
        scores = score_sentences(hypotheses, references, self.settings.mrt_metric, self.variant)
        return [1 - score / 100 for score in scores]

    def _log_probs(self, batch: Batch, candidates: Candidates) -> Tensor:
        """Log-probabilities of all candidates [M], one sentence after the other, with gradients.

        Worked out in batches of the usual budget, each once more in the backward pass: memory is that of one.
        """
        pairs = [(row, tokens) for row, pool in enumerate(candidates) for tokens in pool]
        source_length = batch.source_length.tolist()
        longest = np.array([max(source_length[row], len(tokens)) for row, tokens in pairs])
        order = np.argsort(longest, kind="stable")
        bounds = cut(longest[order], settled(self.settings.batch_tokens))
        parts = []
        for start, end in pairwise(bounds.tolist()):
            chosen = [pairs[place] for place in order[start:end]]
            part = _repeat(batch, source_length, chosen)
            parts.append(checkpoint(sequence_log_probs, self.model, *part, use_reentrant=False))
        back = torch.from_numpy(np.argsort(order)).to(batch.source.device)
        return torch.cat(parts)[back]


def _repeat(
    batch: Batch, source_length: Sequence[int], chosen: Sequence[tuple[int, tuple[int, ...]]]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Source, its length, target input and output of (sentence, candidate) pairs."""
    where = batch.source.device
    rows = [row for row, _ in chosen]
    width = max(source_length[row] for row in rows)
    index = torch.tensor(rows, device=where)
    words = Sentences.of([tokens[:-1] for _, tokens in chosen])
    target_input, target_output = pad(words, before=BOS)[0], pad(words, after=EOS)[0]
    return (
        batch.source[index, :width],
        batch.source_length[index],
        torch.from_numpy(target_input).to(where),
        torch.from_numpy(target_output).to(where),
    )


def sequence_log_probs(
    model: Seq2Seq, source: Tensor, source_length: Tensor, target_input: Tensor, target_output: Tensor
) -> Tensor:
    """The log-probability of each target sentence, EOS counted: [B]. Nothing [B, T, V] is made of padding."""
    real = target_output != PAD  # [B, T]
    features = model(source, source_length, target_input)[real]  # [M, E]
    log_probs = model.log_probs(features).gather(1, target_output[real][:, None])[:, 0]  # [M]
    return torch.zeros(real.shape, device=log_probs.device).masked_scatter(real, log_probs).sum(dim=1)
