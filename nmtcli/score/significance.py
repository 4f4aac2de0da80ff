"""Paired significance tests, by sacreBLEU.

Paired bootstrap resampling (Koehn 2004) and approximate randomisation (Riezler and Maxwell 2005), each system against
the first one.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest, Result

from nmtcli.errors import UserError
from nmtcli.metrics.scores import check_seed

Method = Literal["bootstrap", "randomization"]

_SACREBLEU: dict[Method, str] = {"bootstrap": "bs", "randomization": "ar"}


@dataclass(frozen=True)
class Compared:
    """The score of a system by one metric, compared with the first system.

    `p_value` is the probability of a difference at least as large under the null hypothesis of equal systems; None for
    the first system, and 1 for equal scores. `better` is whether the system is better than the first by this metric;
    None for the first system and for equal scores. `mean` and `ci` are the mean of the resamples and half the width of
    their 95 % interval; None with randomisation.
    """

    score: float
    p_value: float | None
    mean: float | None
    ci: float | None
    better: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """All systems compared with the first."""

    method: Method
    signatures: dict[str, str]  # by metric
    systems: list[dict[str, Compared]]  # by metric, for each system


def compare(systems: Sequence[Sequence[str]], metrics: Mapping[str, Metric], method: Method) -> Comparison:
    """Compare systems, each given by its translations, by metrics made with their references.

    The results are those of `sacrebleu --paired-bs` and `--paired-ar`, with 1000 resamples or 10,000 trials. The
    metrics must not have been bootstrapped before, as their signatures would include that. Raises UserError if
    SACREBLEU_SEED is not a seed.
    """
    check_seed()
    seed = os.environ.get("SACREBLEU_SEED", "").strip()
    if seed.isdecimal() and int(seed) == 0:
        raise UserError("SACREBLEU_SEED is 0, which sacreBLEU's significance tests treat as no seed", "set another one")
    named = [(str(number), translations) for number, translations in enumerate(systems)]
    signatures, columns = PairedTest(named, metrics, references=None, test_type=_SACREBLEU[method])()
    rows: list[dict[str, Compared]] = [{} for _ in systems]
    for name in signatures:
        for row, result in zip(rows, columns[name], strict=True):
            assert isinstance(result, Result)  # the names of the systems are in a separate column
            p_value, mean, ci = (
                None if one is None else float(one) for one in (result.p_value, result.mean, result.ci)
            )
            row[name] = Compared(float(result.score), p_value, mean, ci)
    for row in rows[1:]:
        for name, one in row.items():
            difference = (one.score - rows[0][name].score) * (-1 if name == "TER" else 1)
            # any difference is at least as large as zero
            p_value = one.p_value if difference else 1.0
            row[name] = replace(one, p_value=p_value, better=difference > 0 if difference else None)
    return Comparison(method, {name: str(signature) for name, signature in signatures.items()}, rows)
