"""Evaluates a model in training: loss by teacher forcing, BLEU and chrF by translating with the search settings."""

import operator
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from nmtcli.config import Config
from nmtcli.config.section import settled
from nmtcli.data.directory import PreparedData
from nmtcli.data.shards import Rows
from nmtcli.metrics import perplexity
from nmtcli.metrics.scores import Variant, score_corpus
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.batches import BatchPlan
from nmtcli.train.distributed import Ranks
from nmtcli.train.epochs import Epochs
from nmtcli.train.exposure import by_bucket, count_by_position
from nmtcli.train.logs import Sample
from nmtcli.train.loss import TrainingLoss
from nmtcli.translate.concurrency import each_batch
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.translator import Translator

SAMPLES = 3


class Validator:
    """The validation set, to evaluate a model repeatedly; each rank evaluates its share."""

    def __init__(self, data: PreparedData, config: Config, device: torch.device, ranks: Ranks) -> None:
        self.config, self.device, self.ranks, self.tokenizers = config, device, ranks, data.tokenizers
        texts = data.valid.texts()[: config.train.valid_sentences]
        batch_tokens = settled(config.train.batch_tokens)
        self.plan, self.few = (
            BatchPlan(data.valid, Epochs([rows], [Fraction(1)], seed=0), batch_tokens, update_tokens=None)
            for rows in (len(data.valid), len(texts))
        )
        self.sources = [pair.source for pair in texts]
        self.references = [pair.target for pair in texts]
        self.variant = Variant.in_training(config.data.target_language, data.tokenizers.target.lowercases)

    def measure(self, model: Seq2Seq, go_on: Callable[[int, int], bool]) -> tuple[dict[str, Any], list[Sample]] | None:
        """Loss, perplexity, accuracy (by position too), BLEU, chrF, exact match, and a few translations.

        `go_on` is called with the done and total sentences of this rank; if it returns False, every rank returns None.
        No random number is used. The model is left in evaluation mode.
        """
        model.eval()
        runtime = TorchRuntime(model, self.device, "search.batch_tokens or search.beam_size")
        metrics = self._teacher_forced(runtime)
        sources = self.sources[self.ranks.rank :: self.ranks.size]
        positions = self._by_position(runtime, lambda: go_on(0, len(sources)))
        translated = self._translate(runtime, sources, go_on) if positions is not None else None
        if self.ranks.most(int(translated is None)):
            return None
        everyone = self.ranks.gather([translated, positions])
        translations = [""] * len(self.sources)
        for rank, (part, _) in enumerate(everyone):
            translations[rank :: self.ranks.size] = part
        metrics["accuracy_by_position"] = by_bucket([counts for _, counts in everyone])
        names = ("bleu", "chrf")
        scores = score_corpus(translations, [self.references], names, variant=self.variant)
        metrics |= {name: score.value for name, score in zip(names, scores, strict=True)}
        fold = str.lower if self.variant.lowercase else str
        equal = map(operator.eq, map(fold, translations), map(fold, self.references))
        metrics["exact_match"] = sum(equal) / len(self.references)
        samples = list(zip(self.sources, self.references, translations, strict=True))
        return metrics, samples[:SAMPLES]

    def _translate(
        self, runtime: TorchRuntime, sources: list[str], go_on: Callable[[int, int], bool]
    ) -> list[str] | None:
        translator = Translator(runtime, self.tokenizers, self.config.search)
        translations = [""] * len(sources)
        done = 0
        for rows, candidates in translator.batches(sources):
            for row, candidate in zip(rows, candidates, strict=True):
                translations[row] = candidate[0].text if candidate else ""
            done += len(rows)
            if not go_on(done, len(sources)):
                return None
        return translations

    def _by_position(self, runtime: TorchRuntime, go_on: Callable[[], bool]) -> list[list[int]] | None:
        total = torch.zeros(0)

        def count(rows: Rows) -> Tensor:
            return count_by_position(runtime.model, self.few.load(rows).to(self.device))

        for number, counts in enumerate(each_batch(runtime, count, self._share(self.few))):
            total = counts if number == 0 else total + counts
            if not go_on():
                return None
        return total.tolist()

    def _teacher_forced(self, runtime: TorchRuntime) -> dict[str, Any]:
        objective = TrainingLoss(runtime.model, self.config.train.label_smoothing)

        def evaluate(rows: Rows) -> list[float]:
            batch = self.plan.load(rows)
            return [*objective.evaluate(batch.to(self.device)).tolist(), batch.target_tokens]

        sums = [0.0] * 4
        for measured in each_batch(runtime, evaluate, self._share(self.plan)):
            sums = [total + one for total, one in zip(sums, measured, strict=True)]
        loss, negative_log_prob, correct, tokens = self.ranks.sum(*sums)
        return {
            "loss": loss / tokens,
            "perplexity": perplexity(-negative_log_prob / tokens),
            "accuracy": correct / tokens,
        }

    def _share(self, plan: BatchPlan) -> list[Rows]:
        """The batches that this rank evaluates."""
        blocks = (plan.block(0, number) for number in range(plan.epochs.blocks(0)))
        return [rows for (rows,) in chain.from_iterable(blocks)][self.ranks.rank :: self.ranks.size]
