"""Measures a model in training: loss by teacher forcing, BLEU and chrF by translating with the search settings."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from typing import Any

import torch

from nmtcli.config import Config
from nmtcli.prepare.directory import PreparedData
from nmtcli.score.metrics import score_corpus
from nmtcli.train.batches import BatchPlan
from nmtcli.train.epochs import Epochs
from nmtcli.train.exposure import accuracy_by_position
from nmtcli.train.logs import Sample
from nmtcli.train.loss import TrainingLoss
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.translator import Translator

SAMPLES = 3


class Validator:
    """The validation set, ready to measure a model as often as asked."""

    def __init__(self, objective: TrainingLoss, data: PreparedData, config: Config, device: torch.device) -> None:
        self.objective, self.device = objective, device
        texts = data.valid.texts()[: config.train.valid_sentences]
        self.plan, self.few = (
            BatchPlan(data.valid, Epochs([rows], [Fraction(1)], seed=0), config.train.batch_tokens, update_tokens=None)
            for rows in (len(data.valid), len(texts))
        )
        self.sources = [pair.source for pair in texts]
        self.references = [pair.target for pair in texts]
        self.translator = Translator(TorchRuntime(objective.model, device), data.tokenizers, config.search)

    def measure(self, go_on: Callable[[int, int], bool]) -> tuple[dict[str, Any], list[Sample]] | None:
        """Loss, perplexity, accuracy (by position too), BLEU, chrF, exact match, and a few translations.

        `go_on` hears of done and all sentences and may answer False: then there is no result. No random number is used.
        """
        self.objective.eval()
        if not go_on(0, len(self.sources)):
            return None
        metrics = self._teacher_forced()
        by_position = accuracy_by_position(
            self.objective.model, self.few, self.device, lambda: go_on(0, len(self.sources))
        )
        if by_position is None:
            return None
        metrics["accuracy_by_position"] = by_position
        translations = [""] * len(self.sources)
        done = 0
        for rows, candidates in self.translator.batches(self.sources):
            for row, candidate in zip(rows, candidates, strict=True):
                translations[row] = candidate[0].text if candidate else ""
            done += len(rows)
            if not go_on(done, len(self.sources)):
                return None
        names = ("bleu", "chrf")
        scores = score_corpus(translations, [self.references], names)
        metrics |= {name: score.value for name, score in zip(names, scores, strict=True)}
        equal = sum(text == reference for text, reference in zip(translations, self.references, strict=True))
        metrics["exact_match"] = equal / len(self.references)
        samples = list(zip(self.sources, self.references, translations, strict=True))
        return metrics, samples[:SAMPLES]

    def _teacher_forced(self) -> dict[str, Any]:
        loss = negative_log_prob = correct = tokens = 0.0
        blocks = (self.plan.block(0, number) for number in range(self.plan.epochs.blocks(0)))
        for (rows,) in chain.from_iterable(blocks):
            batch = self.plan.load(rows)
            sums = self.objective.evaluate(batch.to(self.device))
            loss += sums.loss.item()
            negative_log_prob += sums.negative_log_prob.item()
            correct += sums.correct.item()
            tokens += batch.target_tokens
        perplexity = math.exp(min(negative_log_prob / tokens, 700))
        return {"loss": loss / tokens, "perplexity": perplexity, "accuracy": correct / tokens}
