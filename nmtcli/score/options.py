"""The options of `nmt score` and their rules."""

from collections.abc import Callable, Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from nmtcli.metrics import METRICS
from nmtcli.options import CommandOptions, Option, Rule
from nmtcli.paths import PIPE

Work = Literal["translations", "pairs by --model", "robustness by --perturb", "alignments"]


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(CommandOptions):
    """Scoring of translations, of sentence pairs by a `model`, of its robustness (`perturb`), or of word alignments
    against `gold_alignment`."""

    hypothesis: Annotated[
        tuple[Path, ...],
        Option("Translations, one file per system; - or none: stdin.", metavar="HYPOTHESIS", argument=True),
    ] = ()
    reference: Annotated[
        tuple[Path, ...],
        Option("Reference translation; repeat for several.", ("-r", "--reference"), metavar="FILE"),
    ] = ()
    test_set: Annotated[
        str | None, Option("Official test set in place of -r, such as wmt14; needs -l.", metavar="NAME")
    ] = None
    language_pair: Annotated[
        str | None,
        Option(
            "Language pair, such as en-de, of the test set and for BLEU's tokenizer.",
            ("-l", "--language-pair"),
            metavar="PAIR",
        ),
    ] = None
    metric: Annotated[str, Option("Metrics: bleu, chrf, ter, comet.", metavar="LIST")] = "bleu,chrf,ter"
    lowercase: Annotated[bool, Option("Ignore case in BLEU and chrF; TER always does.")] = False
    tokenize: Annotated[
        str | None,
        Option(
            "BLEU's tokenizer: 13a, intl, zh, ja-mecab, ko-mecab, char, flores200, none … Default: by -l, else 13a.",
            metavar="NAME",
        ),
    ] = None
    comet_model: Annotated[
        str | None, Option("COMET model: name or file. Default: Unbabel/wmt22-comet-da.", metavar="NAME")
    ] = None
    source: Annotated[
        Path | None,
        Option("Source text: of the pairs, for --perturb, or for COMET and scores by length.", metavar="FILE"),
    ] = None
    paired: Annotated[
        Literal["bootstrap", "randomization"] | None,
        Option("Paired significance test against the first system."),
    ] = None
    details: Annotated[bool, Option("Also print scores by length and word frequency, and single sentences.")] = False
    report: Annotated[Path | None, Option("Write all results to a web page with charts.", metavar="FILE.html")] = None
    train_target: Annotated[
        Path | None, Option("Training text, target side, for scores by word frequency.", metavar="FILE")
    ] = None
    at_least: Annotated[str | None, Option("Exit with code 5 if a score is lower.", metavar="METRIC=SCORE,…")] = None
    as_json: Annotated[bool, Option("Print unrounded scores as JSON.", ("--json",))] = False
    model: Annotated[
        Path | None,
        Option("Score the pairs of --source and --target with this model.", ("-m", "--model"), metavar="MODEL"),
    ] = None
    perturb: Annotated[
        bool,
        Option("Robustness of -m MODEL to typing errors, changed case and missing punctuation in --source."),
    ] = False
    target: Annotated[Path | None, Option("Target text of the pairs.", metavar="FILE")] = None
    form: Annotated[
        Literal["tsv", "jsonl", "pharaoh"],
        Option("Output format of pair scores; pharaoh: word alignment.", ("--format",)),
    ] = "tsv"
    batch_tokens: Annotated[int | None, Option("Batch size in tokens. Default: the model's, 2000.", min=1)] = None
    gold_alignment: Annotated[
        Path | None,
        Option(
            "Gold alignment for the alignment error rate (AER) of HYPOTHESIS (Pharaoh) or the model; 0-0 is sure, 0?0"
            " possible.",
            metavar="FILE",
        ),
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("Device; auto: a GPU if there is one.")] = "auto"

    @property
    def work(self) -> Work:
        """The kind of scoring."""
        if self.perturb:
            return "robustness by --perturb"
        return "pairs by --model" if self.model else "alignments" if self.gold_alignment else "translations"

    @property
    def hypotheses(self) -> tuple[Path, ...]:
        """The texts or alignments to score."""
        return self.hypothesis or (() if self.model or self.perturb else (PIPE,))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics by name, each once."""
        return tuple(dict.fromkeys(name.strip().lower() for name in self.metric.split(",")))

    @property
    def ignored(self) -> tuple[str, str]:
        """The first given option that this kind of scoring does not use, and the kinds that use it; empty for none."""
        for one in fields(self):
            if getattr(self, one.name) != one.default and one.name not in _USED[self.work]:
                return _written(one.name), " or ".join(kind for kind, names in _USED.items() if one.name in names)
        return "", ""

    @property
    def unknown_metric(self) -> str:
        """The first unknown metric, quoted."""
        return next((repr(name) for name in self.metrics if name not in METRICS), "")


# Options of each kind of scoring.
_METRICS = "reference test_set language_pair metric lowercase tokenize source device as_json"
_TEXTS = "hypothesis comet_model paired details report train_target at_least"
_USED: dict[Work, Set[str]] = {
    "translations": {*_METRICS.split(), *_TEXTS.split()},
    "pairs by --model": {*("model", "source", "target", "form", "batch_tokens", "device", "gold_alignment", "as_json")},
    "robustness by --perturb": {"model", "perturb", "batch_tokens", *_METRICS.split()},
    "alignments": {"hypothesis", "gold_alignment", "as_json"},
}


def _written(name: str) -> str:
    special = {"hypothesis": "HYPOTHESIS", "form": "--format", "as_json": "--json"}
    return special.get(name, f"--{name.replace('_', '-')}")


def _texts(broken: Callable[[ScoreOptions], object], message: str, hint: str) -> Rule[ScoreOptions]:
    """A rule for scoring translations, given ones or those of a model."""
    return Rule(lambda o: o.work in ("translations", "robustness by --perturb") and broken(o), message, hint)


RULES: tuple[Rule[ScoreOptions], ...] = (
    Rule(
        lambda o: o.ignored[0],
        "{o.ignored[0]} cannot be used when scoring {o.work}",
        "use it when scoring {o.ignored[1]}",
    ),
    Rule(
        lambda o: o.work == "pairs by --model" and (o.source is None or o.target is None),
        "-m scores sentence pairs: it needs --source and --target",
        "give both sides: --source FILE --target FILE",
    ),
    Rule(
        lambda o: o.work == "pairs by --model" and PIPE in (o.source, o.target),
        "-m reads pairs twice, which standard input cannot be",
        "give files",
    ),
    Rule(lambda o: o.report == PIPE, "--report writes a file, not to standard output", "--report FILE.html"),
    Rule(
        lambda o: o.work == "pairs by --model" and o.as_json and o.gold_alignment is None,
        "--json is not for scores of pairs",
        "use --format jsonl",
    ),
    Rule(
        lambda o: o.work == "alignments" and [*o.hypotheses, o.gold_alignment].count(PIPE) > 1,
        "standard input can be read only once",
        "give a file for every alignment but one",
    ),
    Rule(
        lambda o: o.work == "pairs by --model" and o.gold_alignment is not None and o.form != "tsv",
        "--format is for scores of pairs, not for their alignment",
        "leave --format or --gold-alignment out",
    ),
    Rule(
        lambda o: o.perturb and not o.model,
        "--perturb needs a model",
        "give it: -m MODEL --source FILE -r REFERENCE",
    ),
    Rule(
        lambda o: o.perturb and not (o.source or o.test_set),
        "--perturb needs the source text",
        "add --source FILE",
    ),
    Rule(
        lambda o: o.perturb and "comet" in o.metrics,
        "--perturb: COMET cannot ignore case or punctuation",
        "choose from bleu, chrf, ter",
    ),
    _texts(
        lambda o: bool(o.reference) == bool(o.test_set),
        "nmt score needs a reference",
        "give either -r FILE or --test-set NAME -l PAIR, such as en-de",
    ),
    _texts(
        lambda o: o.test_set and not o.language_pair,
        "--test-set {o.test_set} needs a language pair",
        "give it as -l en-de",
    ),
    _texts(lambda o: o.test_set and o.source, "--source: a test set includes the source", "leave the option out"),
    _texts(
        lambda o: [*o.hypotheses, *o.reference, o.source, o.train_target].count(PIPE) > 1,
        "standard input can be read only once",
        "give a file for every text but one",
    ),
    _texts(lambda o: o.unknown_metric, "unknown metric {o.unknown_metric}", f"choose from {', '.join(METRICS)}"),
    _texts(
        lambda o: o.paired and len(o.hypotheses) < 2,
        "--paired needs two systems or more",
        "give two files or more, with the baseline first",
    ),
    _texts(
        lambda o: o.train_target and not (o.details or o.report),
        "--train-target needs --details or --report",
        "add --details or --report FILE.html",
    ),
    _texts(
        lambda o: o.tokenize and "bleu" not in o.metrics and not o.train_target,
        "--tokenize {o.tokenize} is of no use: only BLEU and word frequencies need a tokenizer",
        "leave it out",
    ),
    _texts(
        lambda o: o.lowercase and not {"bleu", "chrf"}.intersection(o.metrics) and not (o.details or o.report),
        "--lowercase is of no use: it changes BLEU and chrF only",
        "leave it out",
    ),
    _texts(
        lambda o: o.comet_model and "comet" not in o.metrics,
        "--comet-model needs --metric comet",
        "add it: --metric bleu,chrf,comet",
    ),
    _texts(
        lambda o: "comet" in o.metrics and not (o.source or o.test_set),
        "--metric comet needs the source",
        "add --source FILE",
    ),
    _texts(
        lambda o: o.device != "auto" and not o.model and "comet" not in o.metrics,
        "--device {o.device} is of no use: only COMET and models compute on a device",
        "leave it out",
    ),
)
