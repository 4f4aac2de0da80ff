"""Corpus scores, all of them sacreBLEU's, so that a number here means what it means in a paper."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sacrebleu import BLEU, CHRF, TER
from sacrebleu.metrics.base import Metric

from nmtcli.errors import UserError

METRICS = ("bleu", "chrf", "ter")

_INSTALL = {"ja-mecab": "pip install 'sacrebleu[ja]'", "ko-mecab": "pip install 'sacrebleu[ko]'"}


@dataclass(frozen=True)
class Score:
    """One metric on one corpus, on sacreBLEU's scale: BLEU and chrF 0–100, TER edits per 100 reference words.

    `low` and `high` bound the 95 % interval, and are None when no bootstrap was asked for. They lie around the mean of
    the resamples, as sacreBLEU reports them, which is close to `value` but not equal to it. `detail` is what sacreBLEU
    prints behind a score: n-gram precisions, brevity penalty and lengths for BLEU, nothing for chrF and TER.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    signature: str
    detail: str


def score_corpus(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = ("bleu", "chrf"),
    *,
    bootstrap: int = 0,
    lowercase: bool = False,
    tokenize: str | None = None,
) -> list[Score]:
    """Score a corpus of detokenised sentences; without options, the numbers of the `sacrebleu` command.

    `hypotheses` holds one string a sentence, `references` one such sequence for each reference translation.
    `bootstrap` is the number of resamples for the interval; 0 leaves it out and is fast enough for every validation.
    Resampling holds about 80 bytes × sentences × resamples in memory; sacreBLEU fixes its seed (SACREBLEU_SEED).
    `lowercase` acts on BLEU and chrF (TER always ignores case), `tokenize` on BLEU alone.

    Raises UserError for an unknown metric or tokenizer, or one that cannot be loaded; ValueError if a reference differs
    in length from the hypotheses, or there is nothing to score.
    """
    if not hypotheses or not references:
        raise ValueError("nothing to score: no hypotheses or no references")
    if any(len(reference) != len(hypotheses) for reference in references):
        raise ValueError(f"{len(hypotheses)} hypotheses but {[len(reference) for reference in references]} references")
    built = [_metric(name, lowercase, tokenize) for name in metrics]
    return [_score(metric, hypotheses, references, bootstrap) for metric in built]


def score_sentences(
    hypotheses: Sequence[str], references: Sequence[str], metric: Literal["bleu", "chrf"]
) -> list[float]:
    """The score of each sentence by itself, 0 to 100: BLEU with the effective order (no n-gram longer than the sentence
    counts) and sacreBLEU's exponential smoothing, or chrF.
    """
    scorer = BLEU(effective_order=True) if metric == "bleu" else CHRF()
    pairs = zip(hypotheses, references, strict=True)
    return [float(scorer.sentence_score(hypothesis, [reference]).score) for hypothesis, reference in pairs]


def _metric(name: str, lowercase: bool, tokenize: str | None) -> Metric:
    if name == "bleu":
        return _bleu(lowercase, tokenize)
    if name == "chrf":
        return CHRF(lowercase=lowercase)
    if name == "ter":
        return TER()
    raise UserError(f"unknown metric {name!r}", f"choose from {', '.join(METRICS)}")


def _bleu(lowercase: bool, tokenize: str | None) -> Metric:
    if tokenize is not None and tokenize not in BLEU.TOKENIZERS:
        raise UserError(f"unknown BLEU tokenizer {tokenize!r}", f"choose from {', '.join(BLEU.TOKENIZERS)}")
    try:
        # force=True only silences a log line of sacreBLEU's; texts.py looks for tokenised text more closely
        return BLEU(lowercase=lowercase, tokenize=tokenize, force=True)
    except RuntimeError as error:  # a morphological analyser that is not installed
        raise UserError(
            f"the BLEU tokenizer {tokenize} needs a package that is not installed", _INSTALL.get(str(tokenize))
        ) from error
    except OSError as error:  # a SentencePiece model that sacreBLEU downloads on first use
        raise UserError(
            f"sacreBLEU could not download the model of its tokenizer {tokenize}: {error}",
            "run once with network access, or choose --tokenize 13a, intl, zh or char",
        ) from error


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]], bootstrap: int) -> Score:
    result = metric.corpus_score(hypotheses, references, n_bootstrap=bootstrap)
    signature = str(metric.get_signature())
    # sacreBLEU's JSON is the public way to the interval; it leaves the mean out where all resamples scored zero
    report = json.loads(result.format(width=6, signature=signature, is_json=True))
    mean, spread = report.get("confidence_mean", 0.0), report.get("confidence_var", 0.0)
    return Score(
        name=result.name,
        value=float(result.score),
        low=mean - spread if bootstrap > 1 else None,
        high=mean + spread if bootstrap > 1 else None,
        signature=signature,
        detail=report.get("verbose_score", ""),
    )
