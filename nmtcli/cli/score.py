"""`nmt score`: score translations, sentence pairs or word alignments; print tables, JSON or lines."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from nmtcli import strict_json
from nmtcli.cli.console import discard_stdout, require_stdout, say, tell, warn
from nmtcli.cli.options import command
from nmtcli.cli.score_display import print_details, print_qualities, print_robustness, print_scores
from nmtcli.options import check_rules
from nmtcli.score.options import RULES, ScoreOptions

if TYPE_CHECKING:
    from nmtcli.score.pairs import PairScore
    from nmtcli.score.scoring import PairScores, PairTotals, TextScores


@command(lambda: ScoreOptions)
def score(context: typer.Context, options: ScoreOptions) -> None:
    """Score translations with sacreBLEU: BLEU, chrF and TER with 95 % confidence intervals and signatures.

    The input is detokenised text, one sentence per line. Several systems are compared in one table.

    With -m, score sentence pairs with a model: one line per pair with its number, log-probability, mean per token,
    perplexity and number of tokens. With -m and --perturb, test how robust the model is:
    compare translations of changed source text. With --gold-alignment, score word alignments.
    """
    del context
    check_rules(options, RULES)  # before heavy imports
    require_stdout()
    from nmtcli.cli.progress import Progress
    from nmtcli.score import scoring
    from nmtcli.score.robustness import Robustness

    with ExitStack() as stack:
        progress = Progress()

        def on_progress(done: int, total: int) -> None:
            if done == 0:
                stack.enter_context(progress)
            progress.move("lines" if options.perturb else "pairs", done, total)

        try:
            scores = scoring.score(options, tell, on_progress)
        except scoring.NotReported as failure:
            _show(failure.scores, options)
            raise
        if isinstance(scores, scoring.PairScores):
            _write_pairs(scores, options.form)
            stack.close()
            _print_totals(scores.totals)
    if isinstance(scores, scoring.AlignmentScores):
        print_qualities(scores.names, scores.qualities, options.as_json)
        if scores.totals is not None:
            _print_totals(scores.totals)
    elif isinstance(scores, Robustness):
        print_robustness(scores, options.as_json)
    elif isinstance(scores, scoring.TextScores):
        try:
            _show(scores, options)
        except BrokenPipeError:  # the reader, such as grep -q, has closed the pipe
            scores.check(options.metrics)
            raise
        scores.check(options.metrics)


def _show(result: "TextScores", options: ScoreOptions) -> None:
    if options.as_json:
        print(_json(result))
        return
    names = [system.name for system in result.systems]
    print_scores(names, result.scores, result.comparison)
    if options.details and result.analysis:
        print_details(names, result.analysis)


def _json(result: "TextScores") -> str:
    rows = [
        {"system": system.name, "lines": len(system.lines), "empty_lines": system.lines.count(""), "scores": of_system}
        for system, of_system in zip(result.systems, result.scores, strict=True)
    ]
    document = {"systems": rows, "references": [one.name for one in result.references], "warnings": result.warnings}
    if result.comparison:
        document["paired"] = result.comparison
    if result.analysis:
        document["details"] = {
            "breakdowns": result.analysis.breakdowns,
            "worst": result.analysis.worst,
            "different": result.analysis.different,
        }
    return strict_json.dumps(document, indent=2)


def _write_pairs(result: "PairScores", form: str) -> None:
    for sources, targets, scores in result.windows:
        first = result.totals.pairs - len(scores) + 1
        rows = zip(range(first, first + len(scores)), sources, targets, scores, strict=True)
        text = "".join(_render(*row, form) + "\n" for row in rows)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as head, closed the pipe
            discard_stdout()
            break


def _render(line: int, source: str, target: str, score: "PairScore | None", form: str) -> str:
    """The output line of a pair."""
    from nmtcli.metrics.alignment import format_links
    from nmtcli.translate.formats import json_text

    if form == "pharaoh":
        return format_links(score.links) if score else ""
    if form == "tsv":
        if score is None:
            return f"{line}\t\t\t\t0"
        numbers = f"{score.log_prob:.4f}\t{score.per_token:.4f}\t{score.perplexity:.4f}"
        return f"{line}\t{numbers}\t{len(score.log_probs)}"
    record: dict[str, object] = {"line": line, "source": source, "target": target}
    if score is None:
        record |= {"log_prob": None, "per_token": None, "perplexity": None, "tokens": [], "token_log_probs": []}
    else:
        record |= {"log_prob": score.log_prob, "per_token": score.per_token, "perplexity": score.perplexity}
        record |= {"tokens": score.pieces, "token_log_probs": score.log_probs}
    return json_text(record)


def _print_totals(totals: "PairTotals") -> None:
    from nmtcli.metrics import perplexity

    if totals.scored < totals.pairs:
        missing = totals.pairs - totals.scored
        warn(
            f"{missing:,} pair{'s have' if missing > 1 else ' has'} no score: no source text, not UTF-8, or too long"
            f" for the model; the first one is pair {totals.first_unscored:,}"
        )
    if totals.tokens:
        ppl = perplexity(totals.log_prob / totals.tokens)
        say(f"{totals.scored:,} pair{'s' * (totals.scored != 1)}, {totals.tokens:,} tokens: perplexity {ppl:.3f}")
