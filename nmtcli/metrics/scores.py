"""Corpus scores by sacreBLEU, comparable with published ones."""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sacrebleu import BLEU, CHRF, TER
from sacrebleu.metrics.base import Metric

from nmtcli.errors import UserError
from nmtcli.metrics import METRICS
from nmtcli.text.languages import primary

_INSTALL = {"ja-mecab": "pip install 'sacrebleu[ja]'", "ko-mecab": "pip install 'sacrebleu[ko]'"}
_TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}  # sacreBLEU's, by target language
# By language, for those without spaces between words: tokenizers that need no further package.
_UNSPACED = {"zh": "zh"} | dict.fromkeys(("bo", "ja", "km", "lo", "my", "th", "wuu", "yue"), "char")
_SEED = "SACREBLEU_SEED"  # sacreBLEU reads it before it resamples


class _OneType:
    """A metric whose scores of resamples all have the same type.

    sacreBLEU returns NumPy numbers, but Python numbers if there is nothing to count, and cannot compute an interval of
    both.
    """

    def _compute_score_from_stats(self, stats: Any) -> Any:
        result = super()._compute_score_from_stats(stats)  # type: ignore[misc]
        if isinstance(stats, np.ndarray) and np.issubdtype(stats.dtype, np.floating):  # else counts of one resample
            result.score = stats.dtype.type(result.score)
        return result


class _Chrf(_OneType, CHRF):
    pass


class _Ter(_OneType, TER):
    pass


@dataclass(frozen=True)
class Score:
    """One metric on one corpus: BLEU and chrF from 0 to 100, TER in edits per 100 reference words.

    `low` and `high` are the bounds of the 95 % interval, None without bootstrap. As in sacreBLEU, the interval is
    around the mean of the resamples, which is close to `value` but not equal to it. `detail` is what sacreBLEU prints
    after a score: n-gram precisions, brevity penalty and lengths for BLEU, nothing for the others.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    signature: str
    detail: str


@dataclass(frozen=True)
class Variant:
    """The variant of BLEU and chrF.

    `lowercase` applies to both (TER always ignores case), `tokenize` to BLEU only. Without `tokenize`, BLEU's tokenizer
    is sacreBLEU's default for `target_language`: 13a, or that of Chinese, Japanese or Korean.
    """

    lowercase: bool = False
    tokenize: str | None = None
    target_language: str = ""

    @classmethod
    def in_training(cls, target_language: str, lowercase: bool) -> "Variant":
        """The variant for validation during training: needs no further package, uses characters for languages without
        spaces between words, and ignores case (`lowercase`) for a model with lowercase output.
        """
        return cls(lowercase, _UNSPACED.get(primary(target_language)))

    @property
    def tokenizer(self) -> str:
        """The name of BLEU's tokenizer."""
        return self.tokenize or _TOKENIZERS.get(primary(self.target_language), "13a")

    def bleu(self, references: Sequence[Sequence[str]] | None = None, effective_order: bool = False) -> BLEU:
        """BLEU. Raises UserError for a tokenizer that is unknown or cannot be loaded."""
        if self.tokenize is not None and self.tokenize not in BLEU.TOKENIZERS:
            raise UserError(f"unknown BLEU tokenizer {self.tokenize!r}", f"choose from {', '.join(BLEU.TOKENIZERS)}")
        try:
            return BLEU(
                lowercase=self.lowercase,
                tokenize=self.tokenizer,
                effective_order=effective_order,
                references=references,
                force=True,  # only silences a log line; texts.py looks for tokenised text more closely
            )
        except RuntimeError as error:  # a morphological analyser that is not installed
            raise UserError(
                f"the BLEU tokenizer {self.tokenizer} needs a package that is not installed",
                _INSTALL.get(self.tokenizer),
            ) from error
        except OSError as error:  # a SentencePiece model that sacreBLEU downloads on first use
            raise UserError(
                f"sacreBLEU could not download the model of its tokenizer {self.tokenize}: {error}",
                "run once with network access, or choose --tokenize 13a, intl, zh or char",
            ) from error

    def chrf(self, references: Sequence[Sequence[str]] | None = None) -> CHRF:
        """chrF."""
        return _Chrf(lowercase=self.lowercase, references=references)


_PLAIN = Variant()


def split_pair(pair: str) -> tuple[str, str] | None:
    """Both languages of a pair such as en-de, en-zh_CN or pt-BR-en, with their regions; None if it is not a pair."""
    given = pair.split("-")
    if len(given) == 2:
        return (
            (given[0], given[1]) if all(re.fullmatch("[A-Za-z]{2,8}(_[A-Za-z0-9]+)*", one) for one in given) else None
        )
    languages: list[str] = []
    for part in pair.replace("_", "-").split("-"):
        region = re.fullmatch("[A-Z]{2}|[A-Z][a-z]{3}|[0-9]{3}", part)
        if region and languages and languages[-1][:3].rstrip("-").islower():
            languages[-1] += f"-{part}"
        elif re.fullmatch("[A-Za-z]{2,8}", part):
            languages.append(part)
        else:
            return None
    return (languages[0], languages[1]) if len(languages) == 2 else None


def score_corpus(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = ("bleu", "chrf"),
    *,
    bootstrap: int = 0,
    variant: Variant = _PLAIN,
) -> list[Score]:
    """Score a corpus of detokenised sentences; without options, with the results of the `sacrebleu` command.

    `hypotheses` has one string per sentence, `references` one such sequence for each reference translation. For the
    other parameters see `make_metrics` and `score_system`.

    Raises UserError for an unknown metric or tokenizer, or one that cannot be loaded; ValueError if a reference differs
    in length from the hypotheses, or there is nothing to score.
    """
    if not hypotheses or not references:
        raise ValueError("nothing to score: no hypotheses or no references")
    if any(len(reference) != len(hypotheses) for reference in references):
        raise ValueError(f"{len(hypotheses)} hypotheses but {[len(reference) for reference in references]} references")
    return score_system(make_metrics(metrics, references, variant), hypotheses, bootstrap)


def make_metrics(
    names: Sequence[str],
    references: Sequence[Sequence[str]],
    variant: Variant = _PLAIN,
    others: Mapping[str, Metric] | None = None,
) -> dict[str, Metric]:
    """sacreBLEU's metrics by name, with the references preprocessed once for all systems.

    `others` has metrics made elsewhere. Raises UserError for an unknown metric, or as `Variant` does.
    """
    made = dict(others or {})
    for name in names:
        if name == "bleu":
            made[name] = variant.bleu(references)
        elif name == "chrf":
            made[name] = variant.chrf(references)
        elif name == "ter":
            made[name] = _Ter(references=references)
        elif name not in made:
            raise UserError(f"unknown metric {name!r}", f"choose from {', '.join(METRICS)}")
    return {name: made[name] for name in names}


def score_system(metrics: Mapping[str, Metric], hypotheses: Sequence[str], bootstrap: int = 0) -> list[Score]:
    """A score by each metric against its references.

    `bootstrap` is the number of resamples for the interval, 0 for none. Resampling needs about 80 bytes × sentences ×
    resamples of memory; its seed is SACREBLEU_SEED or sacreBLEU's default. Raises UserError if that is not a seed.
    """
    if bootstrap > 1:
        check_seed()
    return [_score(metric, hypotheses, bootstrap) for metric in metrics.values()]


def score_sentences(
    hypotheses: Sequence[str],
    references: Sequence[str],
    metric: Literal["bleu", "chrf"],
    variant: Variant = _PLAIN,
) -> list[float]:
    """The score of each sentence, 0 to 100: BLEU with effective order (without n-grams longer than the sentence) and
    sacreBLEU's exponential smoothing, or chrF.
    """
    scorer = variant.bleu(effective_order=True) if metric == "bleu" else variant.chrf()
    pairs = zip(hypotheses, references, strict=True)
    return [float(scorer.sentence_score(hypothesis, [reference]).score) for hypothesis, reference in pairs]


def expected_scores(
    samples: Sequence[str], metric: Literal["chrf", "bleu"] = "chrf", target_language: str = ""
) -> list[float]:
    """The mean score (0 to 100) of each sample against all samples, itself included: minimum Bayes risk decoding.

    For samples from the model this estimates the expected score of each (Eikema and Aziz 2022); the highest one has
    minimum risk. Equal texts are scored once; time is quadratic in the number of different texts.
    """
    counts = Counter(samples)
    texts, variant = list(counts), Variant.in_training(target_language, lowercase=False)
    score = {}
    for hypothesis in texts:
        scores = score_sentences([hypothesis] * len(texts), texts, metric, variant)
        score[hypothesis] = sum(counts[text] * one for text, one in zip(texts, scores, strict=True)) / len(samples)
    return [score[text] for text in samples]


def check_seed() -> None:
    """Raise UserError if the environment has an invalid seed for sacreBLEU."""
    seed = os.environ.get(_SEED, "12345")
    if seed.lower() != "none" and not seed.strip().isdecimal():
        raise UserError(
            f"the environment variable {_SEED} is {seed!r}, which is not a seed",
            "unset it, or set an integer, or none for a random seed",
        )


def _score(metric: Metric, hypotheses: Sequence[str], bootstrap: int) -> Score:
    result = metric.corpus_score(hypotheses, None, n_bootstrap=bootstrap)
    signature = str(metric.get_signature())
    report = json.loads(result.format(width=6, signature=signature, is_json=True))
    mean, spread = float(result._mean), float(result._ci)  # the JSON lacks a mean that is zero or negative
    return Score(
        name=result.name,
        value=float(result.score),
        low=mean - spread if bootstrap > 1 else None,
        high=mean + spread if bootstrap > 1 else None,
        signature=signature,
        detail=report.get("verbose_score", ""),
    )
