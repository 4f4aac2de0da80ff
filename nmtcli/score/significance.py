"""Whether systems differ by more than chance: sacreBLEU's paired tests.

Paired bootstrap resampling (Koehn 2004) and approximate randomisation (Riezler and Maxwell 2005), each system against
the first one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest, Result

from nmtcli.metrics.scores import check_seed

Method = Literal["bootstrap", "randomization"]

_SACREBLEU: dict[Method, str] = {"bootstrap": "bs", "randomization": "ar"}


@dataclass(frozen=True)
class Compared:
    """One system by one metric beside the first system.

    `p_value` is, roughly, the probability of so large a difference by chance if both systems were alike; None for the
    first system, and 1 where the scores are the same. `better` tells whether it beats the first, by the metric's own
    direction; None for the first system and for equal scores. `mean` and `ci` are the mean of the resamples and half
    the width of their 95 % interval; None with randomisation, which resamples nothing.
    """

    score: float
    p_value: float | None
    mean: float | None
    ci: float | None
    better: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """All systems beside the first."""

    method: Method
    signatures: dict[str, str]  # by metric
    systems: list[dict[str, Compared]]  # by metric, a system each


def compare(systems: Sequence[Sequence[str]], metrics: Mapping[str, Metric], method: Method) -> Comparison:
    """Compare systems, each given by its translations, by metrics made with their references.

    The numbers are those of `sacrebleu --paired-bs` and `--paired-ar`, 1000 resamples or 10,000 trials. The metrics
    must not have been bootstrapped before, or their signatures would tell of that too. Raises UserError if
    SACREBLEU_SEED is no seed.
    """
    check_seed()
    named = [(str(number), translations) for number, translations in enumerate(systems)]
    signatures, columns = PairedTest(named, metrics, references=None, test_type=_SACREBLEU[method])()
    rows: list[dict[str, Compared]] = [{} for _ in systems]
    for name in signatures:
        for row, found in zip(rows, columns[name], strict=True):
            assert isinstance(found, Result)  # the names of the systems are in a column of their own
            p_value, mean, ci = (None if one is None else float(one) for one in (found.p_value, found.mean, found.ci))
            row[name] = Compared(float(found.score), p_value, mean, ci)
    for row in rows[1:]:
        for name, one in row.items():
            difference = (one.score - rows[0][name].score) * (-1 if name == "TER" else 1)
            # of a difference of nothing, any is as large
            p_value = one.p_value if difference else 1.0
            row[name] = replace(one, p_value=p_value, better=difference > 0 if difference else None)
    return Comparison(method, {name: str(signature) for name, signature in signatures.items()}, rows)
