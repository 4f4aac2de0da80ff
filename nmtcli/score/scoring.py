"""The library function `score`: translations, sentence pairs by a model, and word alignments."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nmtcli.checkpoint import load_tokenizers, model_files
from nmtcli.data.files import File, as_text, name_of, opened
from nmtcli.errors import CheckFailed, DataError, UserError
from nmtcli.metrics import METRICS
from nmtcli.metrics import texts as reading
from nmtcli.metrics.alignment import AlignmentQuality, GoldLinks, Link, judge, read_gold, read_links
from nmtcli.metrics.scores import Score, Variant, check_seed, make_metrics, score_system, split_pair
from nmtcli.metrics.texts import Text, read_text, require_parallel
from nmtcli.options import Tell, check_rules, silent
from nmtcli.paths import PIPE, require_apart
from nmtcli.prepare.readers.lines import LinePairs
from nmtcli.score.analysis import Analysis, analyse
from nmtcli.score.options import RULES, ScoreOptions
from nmtcli.score.pairs import PairScore, PairScorer
from nmtcli.score.report.page import Results, check_page, page
from nmtcli.score.robustness import Robustness, robustness
from nmtcli.score.significance import Comparison, compare
from nmtcli.score.testsets import open_test_set
from nmtcli.staging import write_output
from nmtcli.translate.engines import ModelOptions
from nmtcli.translate.runtimes import Searcher
from nmtcli.translate.translator import Translator

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

_RESAMPLES = 1000
# 1000 resamples of 20,000 lines need 1.6 GB; the interval of a longer test set is narrow anyway
_MOST_LINES_RESAMPLED = 20_000
_WINDOW = 2000  # pairs sorted by length and scored before the next ones


@dataclass(frozen=True)
class TextScores:
    """Scores of translations; `scores` has a list of metrics for each system."""

    systems: list[Text]
    references: list[Text]
    scores: list[list[Score]]
    warnings: list[str]
    comparison: Comparison | None = None
    analysis: Analysis | None = None
    minima: dict[str, float] = field(default_factory=dict)  # by metric

    def check(self, metrics: Sequence[str]) -> None:
        """Raise CheckFailed if a score is below its minimum."""
        for system, of_system in zip(self.systems, self.scores, strict=True):
            for name, score in zip(metrics, of_system, strict=True):
                if score.value < self.minima.get(name, score.value):
                    raise CheckFailed(f"{system.name}: {score.name} is {score.value:.4f}, below {self.minima[name]:g}")


class NotReported(UserError):
    """The training text was damaged, or the report could not be written; `scores` have what was done."""

    def __init__(self, scores: TextScores, error: UserError) -> None:
        super().__init__(error.message, error.hint)
        self.scores, self.exit_code = scores, error.exit_code


@dataclass
class PairTotals:
    """Sums over all pairs."""

    pairs: int = 0
    scored: int = 0
    tokens: int = 0
    log_prob: float = 0.0
    first_unscored: int | None = None

    def add(self, scores: Sequence[PairScore | None]) -> None:
        """Add more scores."""
        for score in scores:
            self.pairs += 1
            if score is None:
                self.first_unscored = self.first_unscored or self.pairs
            else:
                self.scored += 1
                self.tokens += len(score.log_probs)
                self.log_prob += score.log_prob


@dataclass(frozen=True)
class AlignmentScores:
    """The alignment error rate of each system."""

    names: list[str]
    qualities: list[AlignmentQuality]
    totals: PairTotals | None = None  # if a model aligned the pairs


@dataclass(frozen=True)
class PairScores:
    """Scores of sentence pairs by a model, computed lazily: `windows` can be iterated once."""

    windows: Iterator[tuple[list[str], list[str], list[PairScore | None]]]  # sources, targets, scores
    totals: PairTotals  # of the windows so far


Scores = TextScores | PairScores | AlignmentScores | Robustness


def score(
    options: ScoreOptions, tell: Tell = silent, on_progress: Callable[[int, int], None] = lambda *_: None
) -> Scores:
    """`TextScores` of translations, `PairScores` of pairs by a model, `Robustness` of it, or `AlignmentScores`.

    `on_progress` gets the number of scored pairs or translated lines and the total. Raises UserError and DataError;
    NotReported, which has the scores, if only the analysis or the report failed.
    """
    check_rules(options, RULES)
    texts = [*options.hypotheses, *options.reference]
    texts += [path for path in (options.source, options.target, options.gold_alignment, options.train_target) if path]
    inputs = [*texts, *(model_files(options.model) if options.model is not None else ())]
    require_apart(inputs, [PIPE, *([options.report] if options.report is not None else [])])
    if options.perturb and options.model is not None:
        return _score_robustness(options, options.model, tell, on_progress)
    if options.model is not None:
        return _score_pairs(options, options.model, on_progress)
    if options.gold_alignment is not None:
        return _score_alignments(options.hypotheses, options.gold_alignment)
    return _score_texts(options, tell)


def _score_texts(options: ScoreOptions, tell: Tell) -> TextScores:
    """Score translations; compare, analyse and report if requested."""
    variant = _variant(options)
    check_seed()
    if "comet" in options.metrics:
        from nmtcli.score.comet import require_comet

        require_comet()
    if options.report:
        check_page(options.report, len(options.hypotheses))
    minima = _minima(options.at_least, options.metrics) if options.at_least is not None else {}
    with _training_text(options.train_target) as training:  # opened before the work, as it may not be there
        return _scored(options, variant, minima, training, tell)


def _scored(
    options: ScoreOptions, variant: Variant, minima: dict[str, float], training: Iterator[str] | None, tell: Tell
) -> TextScores:
    """The work of `_score_texts`."""
    systems, references, source = _read(options)
    streams = [one.lines for one in references]
    advice = reading.warnings(systems, references, options.metrics, variant.tokenizer)
    for line in advice:
        tell(line, warning=True)
    resamples = _resamples(len(systems[0].lines), options.paired, tell)
    metrics = make_metrics(options.metrics, streams, variant, _comet(options, source, streams))
    lines = [system.lines for system in systems]
    comparison = compare(lines, metrics, options.paired) if options.paired else None
    scores = [score_system(metrics, one, resamples) for one in lines]
    scored = TextScores(systems, references, scores, advice, comparison, minima=minima)
    if not (options.details or options.report):
        return scored
    try:
        analysis = analyse(lines, streams, source.lines if source else None, training, variant, options.metrics)
        scored = replace(scored, analysis=analysis)
        if options.report:
            _write_report(options.report, scored, analysis)
            tell(f"report: {options.report}")
    except UserError as error:
        raise NotReported(scored, error) from error
    return scored


def _variant(options: ScoreOptions) -> Variant:
    pair = split_pair(options.language_pair) if options.language_pair else None
    if options.language_pair and pair is None:
        raise UserError(f"-l {options.language_pair} is not a language pair", "write it as en-de")
    return Variant(options.lowercase, options.tokenize, pair[1] if pair else "")


def _score_robustness(
    options: ScoreOptions, model: Path, tell: Tell, on_progress: Callable[[int, int], None]
) -> Robustness:
    """Translate the source and its changed versions, and score all."""
    variant = _variant(options)
    _, references, source = _read(options)
    assert source is not None
    for line in reading.warnings([], references, options.metrics, variant.tokenizer):
        tell(line, warning=True)
    batch = {"batch_tokens": options.batch_tokens} if options.batch_tokens else {}
    streams = [one.lines for one in references]
    make_metrics(options.metrics, streams, variant)  # raises UserError for a missing tokenizer before the translation
    translator = Translator.open(ModelOptions((model,), options.device, batch))
    return robustness(translator, str(model), source.lines, streams, options.metrics, variant, on_progress)


def _read(options: ScoreOptions) -> tuple[list[Text], list[Text], Text | None]:
    """Systems, references and source, all line-aligned."""
    source = read_text(options.source) if options.source else None
    if options.test_set:
        test_set = open_test_set(options.test_set, str(options.language_pair))
        source, references = test_set.source, test_set.references
    else:
        references = [read_text(path) for path in options.reference]
    systems = [read_text(path) for path in options.hypotheses]
    for text in (*systems, *([source] if source else [])):
        for one in references:
            require_parallel(text, one)
    return systems, references, source


def _resamples(lines: int, paired: str | None, tell: Tell) -> int:
    if lines <= _MOST_LINES_RESAMPLED:
        return _RESAMPLES
    if paired:
        raise UserError(
            f"--paired: {lines:,} lines would take too much memory", f"compare on {_MOST_LINES_RESAMPLED:,} or fewer"
        )
    tell(f"no 95 % confidence interval: resampling more than {_MOST_LINES_RESAMPLED} lines would take too much memory")
    return 0


def _comet(options: ScoreOptions, source: Text | None, streams: list[list[str]]) -> "dict[str, Metric]":
    if "comet" not in options.metrics or source is None:
        return {}
    from nmtcli.models.device import open_device
    from nmtcli.score.comet import DEFAULT_MODEL, Comet

    gpu = open_device(options.device).type == "cuda"
    return {"comet": Comet(source.lines, streams, options.comet_model or DEFAULT_MODEL, gpu)}


@contextmanager
def _training_text(path: Path | None) -> Iterator[Iterator[str] | None]:
    """The lines of a training text, read when they are needed; None without one. Raises DataError."""
    if path is None:
        yield None
        return
    readable = File(name_of(path), path).readable
    with opened(path) as file:
        with readable():
            content = as_text(file, path)

        def lines() -> Iterator[str]:
            with readable():
                for line in content:
                    yield line.decode("utf-8", "replace")

        yield lines()


def _write_report(path: Path, scored: TextScores, analysis: Analysis) -> None:
    names, references = ([text.name for text in group] for group in (scored.systems, scored.references))
    lines = len(scored.references[0].lines)
    results = Results(names, references, lines, scored.scores, analysis, scored.comparison, scored.warnings)
    write_output(path, page(results).encode("utf-8", "replace"))


def _minima(text: str, metrics: Sequence[str]) -> dict[str, float]:
    """The minimum scores of `--at-least` by metric."""
    minima: dict[str, float] = {}
    for part in text.split(","):
        name, number = (one.strip() for one in part.lower().partition("=")[::2])
        if name == "ter":
            raise UserError(f"--at-least {text}: a lower TER is a better one", "name bleu or chrf")
        if name in METRICS and name not in metrics:
            raise UserError(f"--at-least {text}: {name} is not among those scored", "add it to --metric")
        if name not in metrics or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", number):
            raise UserError(f"--at-least {text}: cannot read {part!r}", "write it as bleu=30 or bleu=30,chrf=55")
        if name in minima:
            raise UserError(f"--at-least {text}: has {name} twice", "leave one out")
        minima[name] = float(number)
    return minima


def _score_alignments(paths: Sequence[Path], gold_path: Path) -> AlignmentScores:
    """The alignment error rate of Pharaoh files."""
    gold_text = read_text(gold_path)
    gold = read_gold(gold_text)
    qualities = []
    texts = [read_text(path) for path in paths]
    for text in texts:
        require_parallel(text, gold_text)
        judged = (judge(links, true) for links, true in zip(read_links(text), gold, strict=True))
        qualities.append(sum(judged, AlignmentQuality()))
    return AlignmentScores([text.name for text in texts], qualities)


def _score_pairs(
    options: ScoreOptions, model: Path, on_progress: Callable[[int, int], None]
) -> PairScores | AlignmentScores:
    """Scores of pairs window by window; or the quality of their alignment."""
    pairs = LinePairs(*(File(str(path), path) for path in (options.source, options.target) if path is not None))
    for file in pairs.files:
        file.check(empty=True)
    count = sum(block.size for block in pairs.blocks())  # also checks that both sides have the same number of lines
    gold = None if options.gold_alignment is None else read_gold(read_text(options.gold_alignment))
    if gold is not None and len(gold) != count:
        raise DataError(
            f"{options.gold_alignment} has {len(gold):,} lines, {pairs.name} {count:,}: the files must be line-aligned",
            "line n of a gold alignment has the links of pair n",
        )
    links = options.form == "pharaoh" or gold is not None
    totals = PairTotals()
    windows = _windows(_open_scorer(options, model, links), pairs, links, totals, count, on_progress)
    if gold is None:
        return PairScores(windows, totals)
    return AlignmentScores([str(model)], [_judge_pairs(windows, gold)], totals)


def _judge_pairs(
    windows: Iterator[tuple[list[str], list[str], list[PairScore | None]]], gold: Sequence[GoldLinks]
) -> AlignmentQuality:
    pairs = (score for _, _, scores in windows for score in scores)
    alignments: Iterator[Sequence[Link]] = (score.links or [] if score else [] for score in pairs)
    return sum((judge(links, true) for links, true in zip(alignments, gold, strict=True)), AlignmentQuality())


def _windows(
    scorer: PairScorer,
    pairs: LinePairs,
    links: bool,
    totals: PairTotals,
    count: int,
    on_progress: Callable[[int, int], None],
) -> Iterator[tuple[list[str], list[str], list[PairScore | None]]]:
    """Window by window: sources, targets, scores; counted in `totals`."""
    on_progress(0, count)
    for block in pairs.blocks():
        rows = block.rows()
        sources = ["" if row in rows.problems else text for row, text in enumerate(rows.sources)]
        for start in range(0, block.size, _WINDOW):
            window = slice(start, start + _WINDOW)
            scores = scorer.score(sources[window], rows.targets[window], links)
            totals.add(scores)
            yield rows.sources[window], rows.targets[window], scores
            on_progress(totals.pairs, count)


def _open_scorer(options: ScoreOptions, model: Path, links: bool) -> PairScorer:
    batch = {"batch_tokens": options.batch_tokens} if options.batch_tokens else {}
    opening = ModelOptions((model,), options.device, batch)
    models = opening.check()
    if links and models.infos[0].kind == "ctranslate2":
        raise UserError(
            f"{model}: CTranslate2 returns no attention for given translations",
            "use the run it was exported from, or --format tsv or jsonl",
        )
    if links and not models.infos[0].model.attends:
        raise UserError(f"{model}: the model has no attention, so no alignment", "use --format tsv or jsonl")
    (engine,) = opening.open_engines(models, packed=False)
    most = engine.max_tokens if isinstance(engine, Searcher) else None
    return PairScorer(engine.forced, load_tokenizers(models.directories[0]), models.search.batch_tokens, most)
