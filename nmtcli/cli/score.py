"""`nmt score`: what was asked for, and which of its three kinds of work that is."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmtcli.cli.options import Device
from nmtcli.errors import UserError
from nmtcli.paths import PIPE, require_apart

Hypotheses = Annotated[
    list[Path] | None,
    typer.Argument(metavar="HYPOTHESIS", help="Translated text, one file a system; - or none: standard input."),
]
References = Annotated[
    list[Path] | None,
    typer.Option("-r", "--reference", metavar="FILE", help="Reference translation; repeat for several."),
]
TestSetName = Annotated[
    str | None,
    typer.Option("--test-set", metavar="NAME", help="Official test set in place of -r, such as wmt14; needs -l."),
]
LanguagePair = Annotated[
    str | None,
    typer.Option(
        "-l", "--language-pair", metavar="PAIR", help="Such as en-de: the test set's, and for BLEU's tokenizer."
    ),
]
Metrics = Annotated[str, typer.Option("--metric", metavar="LIST", help="Of bleu, chrf, ter, comet.")]
Lowercase = Annotated[bool, typer.Option("--lowercase", help="BLEU and chrF ignore case, as TER always does.")]
Tokenize = Annotated[
    str | None,
    typer.Option(
        "--tokenize",
        metavar="NAME",
        help="BLEU's tokenizer: 13a (default), intl, zh, ja-mecab, ko-mecab, char, flores200, none …",
    ),
]
CometModel = Annotated[
    str | None,
    typer.Option("--comet-model", metavar="NAME", help="Name or file. Default: Unbabel/wmt22-comet-da."),
]
Paired = Annotated[
    Literal["bootstrap", "randomization"] | None,
    typer.Option("--paired", help="Is each system's difference from the first more than chance?"),
]
Details = Annotated[
    bool, typer.Option("--details", help="Also scores by length and word frequency, and single sentences.")
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.html", help="Everything as one web page, with charts.")
]
TrainTarget = Annotated[
    Path | None,
    typer.Option("--train-target", metavar="FILE", help="Training text: scores by how rare words are in it."),
]
AtLeast = Annotated[
    str | None,
    typer.Option("--at-least", metavar="METRIC=SCORE,…", help="Exit with code 5 where a score is lower."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Unrounded scores for programs.")]
Model = Annotated[
    Path | None,
    typer.Option("-m", "--model", metavar="MODEL", help="Score the pairs of --source and --target by this model."),
]
Source = Annotated[
    Path | None,
    typer.Option("--source", metavar="FILE", help="Source text: of the pairs; or for COMET, scores by its length."),
]
Target = Annotated[Path | None, typer.Option("--target", metavar="FILE", help="Target text of the pairs.")]
Form = Annotated[
    Literal["tsv", "jsonl", "pharaoh"],
    typer.Option("--format", help="Of the scores of pairs; pharaoh: links between their words."),
]
BatchTokens = Annotated[
    int | None, typer.Option("--batch-tokens", min=1, help="Tokens at a time. Default: the model's, 2000.")
]
Gold = Annotated[
    Path | None,
    typer.Option(
        "--gold-alignment",
        metavar="FILE",
        help="Alignment error rate of HYPOTHESIS (Pharaoh), or of the model's links; 0-0 is sure, 0?0 possible.",
    ),
]

# What goes with each kind of work, beside what it is known by.
_TEXTS = "reference test_set language_pair metric lowercase tokenize comet_model paired details report train_target"
_ALLOWED = {
    "translations": {"hypothesis", "source", "at_least", "as_json", "device", *_TEXTS.split()},
    "--model": {"model", "source", "target", "form", "batch_tokens", "device", "gold_alignment", "as_json"},
    "alignments": {"hypothesis", "gold_alignment", "as_json"},
}


def score(
    context: typer.Context,
    hypothesis: Hypotheses = None,
    *,
    reference: References = None,
    test_set: TestSetName = None,
    language_pair: LanguagePair = None,
    metric: Metrics = "bleu,chrf,ter",
    lowercase: Lowercase = False,
    tokenize: Tokenize = None,
    comet_model: CometModel = None,
    source: Source = None,
    paired: Paired = None,
    details: Details = False,
    report: Report = None,
    train_target: TrainTarget = None,
    at_least: AtLeast = None,
    as_json: AsJson = False,
    model: Model = None,
    target: Target = None,
    form: Form = "tsv",
    batch_tokens: BatchTokens = None,
    gold_alignment: Gold = None,
    device: Device = "auto",
) -> None:
    """Score translations with sacreBLEU: BLEU, chrF and TER with 95 % intervals and signatures.

    Give plain text: joined to words, detokenised, one sentence a line. Several systems are compared side by side.

    With -m, score given pairs by a model: a line for each pair with its number, log-probability, mean over tokens,
    perplexity and number of tokens. With --gold-alignment, score word alignments.
    """
    work = "--model" if model else "alignments" if gold_alignment else "translations"
    _check_options(context, work)
    texts = [*([] if model else hypothesis or [PIPE]), *(reference or ()), source, target, gold_alignment, train_target]
    _check_places([path for path in texts if path is not None], model, report)
    if model is not None:
        if source is None or target is None:
            raise UserError("-m scores pairs of lines", "give both sides: --source FILE --target FILE")
        from nmtcli.cli.score_pairs import PairWork, score_pairs

        if as_json and gold_alignment is None:
            raise UserError("--json: the scores of pairs have formats of their own", "use --format jsonl")
        score_pairs(PairWork(model, source, target, form, batch_tokens, gold_alignment, as_json, device))
    elif gold_alignment is not None:
        from nmtcli.cli.score_pairs import score_alignments

        score_alignments(hypothesis or [PIPE], gold_alignment, as_json)
    else:
        from nmtcli.cli.score_texts import TextWork, score_texts

        score_texts(
            TextWork(
                hypotheses=hypothesis or [PIPE],
                references=reference or [],
                test_set=test_set,
                language_pair=language_pair,
                metrics=list(dict.fromkeys(name.strip().lower() for name in metric.split(","))),
                lowercase=lowercase,
                tokenize=tokenize,
                comet_model=comet_model,
                source=source,
                paired=paired,
                details=details,
                report=report,
                train_target=train_target,
                at_least=at_least,
                as_json=as_json,
                device=device,
            )
        )


def _check_places(texts: list[Path], model: Path | None, report: Path | None) -> None:
    """What is written, standard output included, is none of what is read."""
    from nmtcli.checkpoint import model_files

    inputs = [*texts, *(model_files(model) if model is not None else ())]
    require_apart(inputs, [PIPE, *([report] if report is not None else [])])


def _check_options(context: typer.Context, work: str) -> None:
    """Raise UserError for an option that would be ignored."""
    for parameter in context.command.params:
        name = str(parameter.name)
        origin = context.get_parameter_source(name)
        if origin is not None and origin.name == "COMMANDLINE" and name not in _ALLOWED[work]:
            kinds = " or ".join(kind for kind, names in _ALLOWED.items() if name in names)
            option = parameter.opts[-1] if parameter.opts[-1].startswith("-") else name.upper()
            raise UserError(
                f"{option} does not go with scoring {work.replace('--model', 'pairs by --model')}",
                f"it belongs to scoring {kinds.replace('--model', 'pairs by --model')}",
            )
