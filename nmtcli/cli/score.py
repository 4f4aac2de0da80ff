"""`nmt score`: translations, pairs by a model, or alignments; scores as tables, JSON or lines."""

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from nmtcli import strict_json
from nmtcli.cli.console import say, tell, warn
from nmtcli.cli.options import command
from nmtcli.cli.score_display import print_details, print_qualities, print_scores
from nmtcli.options import check_rules
from nmtcli.score.options import RULES, ScoreOptions

if TYPE_CHECKING:
    from nmtcli.score.pairs import PairScore
    from nmtcli.score.scoring import PairScores, PairTotals, TextScores


@command(ScoreOptions)
def score(context: typer.Context, options: ScoreOptions) -> None:
    """Score translations with sacreBLEU: BLEU, chrF and TER with 95 % intervals and signatures.

    Give plain text: joined to words, detokenised, one sentence a line. Several systems are compared side by side.

    With -m, score given pairs by a model: a line for each pair with its number, log-probability, mean over tokens,
    perplexity and number of tokens. With --gold-alignment, score word alignments.
    """
    del context
    check_rules(options, RULES)  # before anything heavy is imported
    from nmtcli.cli.progress import Progress
    from nmtcli.score import scoring

    with ExitStack() as stack:
        progress = Progress()

        def on_progress(done: int, total: int) -> None:
            if done == 0:
                stack.enter_context(progress)
            progress.move("pairs", done, total)

        found = scoring.score(options, tell, on_progress)
        if isinstance(found, scoring.PairScores):
            _write_pairs(found, options.form)
            stack.close()
            _tell_totals(found.totals)
    if isinstance(found, scoring.AlignmentScores):
        print_qualities(found.names, found.qualities, options.as_json)
        if found.totals is not None:
            _tell_totals(found.totals)
    elif isinstance(found, scoring.TextScores):
        _show(found, options)
        found.check(options.metrics)


def _show(found: "TextScores", options: ScoreOptions) -> None:
    if options.as_json:
        print(_json(found))
        return
    names = [system.name for system in found.systems]
    print_scores(names, found.scores, found.comparison)
    if options.details and found.analysis:
        print_details(names, found.analysis)


def _json(found: "TextScores") -> str:
    rows = [
        {"system": system.name, "lines": len(system.lines), "empty_lines": system.lines.count(""), "scores": of_system}
        for system, of_system in zip(found.systems, found.scores, strict=True)
    ]
    document = {"systems": rows, "references": [one.name for one in found.references], "warnings": found.warnings}
    if found.comparison:
        document["paired"] = found.comparison
    if found.analysis:
        document["details"] = {
            "breakdowns": found.analysis.breakdowns,
            "worst": found.analysis.worst,
            "different": found.analysis.different,
        }
    return strict_json.dumps(document, indent=2)


def _write_pairs(found: "PairScores", form: str) -> None:
    for sources, targets, scores in found.windows:
        first = found.totals.pairs - len(scores) + 1
        rows = zip(range(first, first + len(scores)), sources, targets, scores, strict=True)
        text = "".join(_render(*row, form) + "\n" for row in rows)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads, head for example, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            break


def _render(line: int, source: str, target: str, score: "PairScore | None", form: str) -> str:
    """What is written for a pair, always one line."""
    from nmtcli.metrics.alignment import format_links

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
    return strict_json.dumps(record)


def _tell_totals(totals: "PairTotals") -> None:
    from nmtcli.metrics.perplexity import perplexity

    if totals.scored < totals.pairs:
        warn(
            f"{totals.pairs - totals.scored:,} pairs have no score: no source text, or not UTF-8;"
            f" the first is pair {totals.first_unscored:,}"
        )
    if totals.tokens:
        ppl = perplexity(totals.log_prob / totals.tokens)
        say(f"{totals.scored:,} pairs, {totals.tokens:,} tokens: perplexity {ppl:.3f}")
