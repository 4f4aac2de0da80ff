"""`nmt score` of translations: texts against references."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nmtcli import strict_json
from nmtcli.cli.console import say, warn
from nmtcli.cli.score_display import print_details, print_scores
from nmtcli.errors import CheckFailed, UserError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

    from nmtcli.models.device import DeviceName
    from nmtcli.score.analysis import Analysis
    from nmtcli.score.metrics import Score, Variant
    from nmtcli.score.significance import Comparison
    from nmtcli.score.texts import Text

_RESAMPLES = 1000
# 20 000 lines of 1000 resamples take 1.6 GB; the interval of so long a test set is narrow anyway
_MOST_LINES_RESAMPLED = 20_000


@dataclass(frozen=True)
class TextWork:
    """What the command line asks for; see the options of `nmt score`."""

    hypotheses: list[Path]
    references: list[Path]
    test_set: str | None
    language_pair: str | None
    metrics: list[str]
    lowercase: bool
    tokenize: str | None
    comet_model: str | None
    source: Path | None
    paired: Literal["bootstrap", "randomization"] | None
    details: bool
    report: Path | None
    train_target: Path | None
    at_least: str | None
    as_json: bool
    device: "DeviceName"

    def check(self) -> None:
        """Raise UserError for what cannot be asked for together."""
        from nmtcli.score.metrics import METRICS, check_seed

        self._check_texts()
        for name in self.metrics:
            if name not in METRICS:
                raise UserError(f"unknown metric {name!r}", f"choose from {', '.join(METRICS)}")
        check_seed()
        if self.paired and len(self.hypotheses) < 2:
            raise UserError("--paired compares systems", "give two files or more, the one to compare with first")
        if self.train_target and not (self.details or self.report):
            raise UserError("--train-target changes no score", "give --details or --report FILE.html with it")
        if self.comet_model and "comet" not in self.metrics:
            raise UserError("--comet-model without COMET", "add it: --metric bleu,chrf,comet")
        if "comet" in self.metrics:
            from nmtcli.score.comet import require_comet

            require_comet()
            if not (self.source or self.test_set):
                raise UserError("--metric comet reads the source too", "give it as --source FILE")
        if self.report:
            from nmtcli.score.report.page import check_page

            check_page(self.report, len(self.hypotheses))

    def _check_texts(self) -> None:
        from nmtcli.score.metrics import split_pair

        if bool(self.references) == bool(self.test_set):
            raise UserError(
                "nmt score needs what to compare with", "give either -r FILE or --test-set NAME -l PAIR, such as en-de"
            )
        if self.test_set and not self.language_pair:
            raise UserError(f"--test-set {self.test_set} needs a language pair", "give it as -l en-de")
        if self.test_set and self.source:
            raise UserError("--source: a test set has its source", "leave the option out")
        if self.language_pair and split_pair(self.language_pair) is None:
            raise UserError(f"-l {self.language_pair} is no language pair", "write it as en-de")
        paths = [*self.hypotheses, *self.references, *([self.source] if self.source else [])]
        if paths.count(Path("-")) > 1:
            raise UserError("standard input can be read only once", "give a file for every text but one")

    @property
    def target_language(self) -> str:
        """Of the pair; empty if none is given."""
        from nmtcli.score.metrics import split_pair

        pair = split_pair(self.language_pair) if self.language_pair else None
        return pair[1] if pair else ""


@dataclass(frozen=True)
class _Texts:
    """All texts, of one length."""

    systems: "list[Text]"
    references: "list[Text]"
    source: "Text | None"

    @property
    def streams(self) -> list[list[str]]:
        """The lines of the references."""
        return [one.lines for one in self.references]


def score_texts(work: TextWork) -> None:
    """Score, compare, analyse and report as asked."""
    from nmtcli.score import texts as reading
    from nmtcli.score.metrics import Variant, make_metrics, score_system

    work.check()
    least = _minima(work.at_least, work.metrics) if work.at_least else {}
    texts = _read(work)
    variant = Variant(work.lowercase, work.tokenize, work.target_language)
    advice = reading.warnings(texts.systems, texts.references, work.metrics, variant.tokenizer)
    for line in advice:
        warn(line)
    resamples = _resamples(len(texts.systems[0].lines), work.paired)
    metrics = make_metrics(work.metrics, texts.streams, variant, _comet(work, texts))
    comparison = None
    if work.paired:
        from nmtcli.score.significance import compare

        comparison = compare([system.lines for system in texts.systems], metrics, work.paired)
    scores = [score_system(metrics, system.lines, resamples) for system in texts.systems]
    analysis = _analyse(work, texts, variant) if work.details or work.report else None
    if work.report and analysis:
        _write_report(work.report, texts, scores, advice, comparison, analysis)
    if work.as_json:
        print(_json(texts, scores, advice, comparison, analysis))
    else:
        names = [system.name for system in texts.systems]
        print_scores(names, scores, comparison)
        if work.details and analysis:
            print_details(names, analysis)
    for system, of_system in zip(texts.systems, scores, strict=True):
        for name, found in zip(work.metrics, of_system, strict=True):
            if found.value < least.get(name, found.value):
                raise CheckFailed(f"{system.name}: {found.name} is {found.value:.2f}, below {least[name]:g}")


def _read(work: TextWork) -> _Texts:
    from nmtcli.score.texts import read_text, require_parallel

    source = read_text(work.source) if work.source else None
    if work.test_set:
        from nmtcli.score.testsets import open_test_set

        found = open_test_set(work.test_set, str(work.language_pair))
        source, references = found.source, found.references
    else:
        references = [read_text(path) for path in work.references]
    systems = [read_text(path) for path in work.hypotheses]
    for text in (*systems, *([source] if source else [])):
        for one in references:
            require_parallel(text, one)
    return _Texts(systems, references, source)


def _resamples(lines: int, paired: str | None) -> int:
    if lines <= _MOST_LINES_RESAMPLED:
        return _RESAMPLES
    if paired:
        raise UserError(
            f"--paired: {lines:,} lines would take too much memory", f"compare on {_MOST_LINES_RESAMPLED:,} or fewer"
        )
    say(f"no 95 % interval: resampling more than {_MOST_LINES_RESAMPLED} lines would take too much memory")
    return 0


def _comet(work: TextWork, texts: _Texts) -> "dict[str, Metric]":
    if "comet" not in work.metrics or texts.source is None:
        return {}
    from nmtcli.models.device import open_device
    from nmtcli.score.comet import DEFAULT_MODEL, Comet

    gpu = open_device(work.device).type == "cuda"
    return {"comet": Comet(texts.source.lines, texts.streams, work.comet_model or DEFAULT_MODEL, gpu)}


def _analyse(work: TextWork, texts: _Texts, variant: "Variant") -> "Analysis":
    from nmtcli.score.analysis import analyse

    training = _training_lines(work.train_target) if work.train_target else None
    source = texts.source.lines if texts.source else None
    return analyse([system.lines for system in texts.systems], texts.streams, source, training, variant)


def _training_lines(path: Path) -> Iterator[str]:
    from nmtcli.data.files import File

    for block, _ in File(str(path), path).blocks():
        yield from block.decode("utf-8", "replace").split("\n")


def _write_report(
    path: Path,
    texts: _Texts,
    scores: "list[list[Score]]",
    advice: list[str],
    comparison: "Comparison | None",
    analysis: "Analysis",
) -> None:
    from nmtcli.score.report.page import Results, page
    from nmtcli.staging import write_output

    names, references = ([text.name for text in group] for group in (texts.systems, texts.references))
    lines = len(texts.references[0].lines)
    content = page(Results(names, references, lines, scores, analysis, comparison, advice)).encode()
    write_output(path, content)
    say(f"report: {path}")


def _minima(text: str, metrics: list[str]) -> dict[str, float]:
    """What `--at-least` asks for, by metric."""
    from nmtcli.score.metrics import METRICS

    minima = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name == "ter":
            raise UserError(f"--at-least {text}: a lower TER is a better one", "name bleu or chrf")
        if name in METRICS and name not in metrics:
            raise UserError(f"--at-least {text}: {name} is not among those scored", "add it to --metric")
        if name not in metrics or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", number):
            raise UserError(f"--at-least {text}: cannot read {part!r}", "write it as bleu=30 or bleu=30,chrf=55")
        minima[name] = float(number)
    return minima


def _json(
    texts: _Texts,
    scores: "list[list[Score]]",
    advice: list[str],
    comparison: "Comparison | None",
    analysis: "Analysis | None",
) -> str:
    rows = [
        {"system": system.name, "lines": len(system.lines), "empty_lines": system.lines.count(""), "scores": of_system}
        for system, of_system in zip(texts.systems, scores, strict=True)
    ]
    document = {"systems": rows, "references": [one.name for one in texts.references], "warnings": advice}
    if comparison:
        document["paired"] = comparison
    if analysis:
        document["details"] = {
            "breakdowns": analysis.breakdowns,
            "worst": analysis.worst,
            "different": analysis.different,
        }
    return strict_json.dumps(document, indent=2)
