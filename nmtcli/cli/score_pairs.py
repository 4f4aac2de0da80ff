"""`nmt score -m`: given pairs by a model, a line each; and word alignments against gold ones."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nmtcli import strict_json
from nmtcli.cli.console import say, stdout, warn
from nmtcli.cli.progress import Progress
from nmtcli.errors import DataError, UserError

if TYPE_CHECKING:
    from nmtcli.models.device import DeviceName
    from nmtcli.prepare.readers.lines import LinePairs
    from nmtcli.score.alignment import AlignmentQuality
    from nmtcli.score.pairs import PairScore, PairScorer

_WINDOW = 2000  # pairs sorted by length and scored before the next ones


@dataclass(frozen=True)
class PairWork:
    """What the command line asks for; see the options of `nmt score`."""

    model: Path
    source: Path
    target: Path
    form: Literal["tsv", "jsonl", "pharaoh"]
    batch_tokens: int | None
    gold: Path | None
    as_json: bool
    device: DeviceName


@dataclass
class _Totals:
    """Sums over all pairs."""

    pairs: int = 0
    scored: int = 0
    tokens: int = 0
    log_prob: float = 0.0
    first_unscored: int | None = None

    def add(self, scores: Sequence[PairScore | None]) -> None:
        """Count some more."""
        for score in scores:
            self.pairs += 1
            if score is None:
                self.first_unscored = self.first_unscored or self.pairs
            else:
                self.scored += 1
                self.tokens += len(score.log_probs)
                self.log_prob += score.log_prob


def score_pairs(work: PairWork) -> None:
    """Score pairs window by window, writing each as it is done; or judge their alignment."""
    from nmtcli.data.files import File
    from nmtcli.prepare.readers.lines import LinePairs
    from nmtcli.score.alignment import AlignmentQuality, judge, read_gold
    from nmtcli.score.texts import read_text

    pairs = LinePairs(*(File(str(path), path) for path in (work.source, work.target)))
    for file in pairs.files:
        file.check(empty=True)
    count = sum(block.size for block in pairs.blocks())  # and that both sides have as many lines
    gold = None if work.gold is None else read_gold(read_text(work.gold))
    if gold is not None and len(gold) != count:
        raise DataError(
            f"{work.gold} has {len(gold):,} lines, but {pairs.name} have {count:,}", "line n has the links of pair n"
        )
    links = work.form == "pharaoh" or gold is not None
    scorer = _open_scorer(work, links)
    totals = _Totals()
    if gold is None:
        _write(scorer, pairs, work.form, totals, count)
    else:
        quality = AlignmentQuality()
        for _, _, scores in _scored(scorer, pairs, True, totals, count):
            first = totals.pairs - len(scores)
            for score, true in zip(scores, gold[first : totals.pairs], strict=True):
                quality += judge(score.links or [] if score else [], true)
        _print_qualities([str(work.model)], [quality], work.as_json)
    if totals.scored < totals.pairs:
        warn(
            f"{totals.pairs - totals.scored:,} pairs have no score: no source text, or not UTF-8;"
            f" the first is pair {totals.first_unscored:,}"
        )
    if totals.tokens:
        per_token = totals.log_prob / totals.tokens
        say(f"{totals.scored:,} pairs, {totals.tokens:,} tokens: perplexity {math.exp(min(-per_token, 700)):.3f}")


def score_alignments(paths: list[Path], gold_path: Path, as_json: bool) -> None:
    """The alignment error rate of Pharaoh files."""
    from nmtcli.score.alignment import AlignmentQuality, judge, read_gold, read_links
    from nmtcli.score.texts import read_text, require_parallel

    if [*paths, gold_path].count(Path("-")) > 1:
        raise UserError("standard input can be read only once", "give a file for every alignment but one")
    gold_text = read_text(gold_path)
    gold = read_gold(gold_text)
    qualities = []
    texts = [read_text(path) for path in paths]
    for text in texts:
        require_parallel(text, gold_text)
        judged = (judge(links, true) for links, true in zip(read_links(text), gold, strict=True))
        qualities.append(sum(judged, AlignmentQuality()))
    _print_qualities([text.name for text in texts], qualities, as_json)


def _open_scorer(work: PairWork, links: bool) -> PairScorer:
    from nmtcli.checkpoint import check_export, find_model, load_model, read_info
    from nmtcli.data.tokenizer import Tokenizers
    from nmtcli.score.forced import Forced, ForcedScores, ForcedSteps, ForcedTorch
    from nmtcli.score.pairs import PairScorer
    from nmtcli.translate.engines import check_onnx_device

    directory = find_model(work.model)
    info = read_info(directory)
    check_export(directory, info)
    if links and info.kind == "ctranslate2":
        raise UserError(
            f"{work.model}: CTranslate2 does not tell where it looks at given translations",
            "score alignments with the run it came from, or with --format tsv or jsonl",
        )
    if links and not info.model.attends:
        raise UserError(f"{work.model}: the model has no attention, and so no alignment", "use --format tsv or jsonl")
    forced: Forced
    if info.kind == "onnx":
        check_onnx_device([info], work.device)
        from nmtcli.translate.runtimes.onnx import OnnxRuntime

        forced = ForcedSteps(OnnxRuntime(directory))
    elif info.kind == "ctranslate2":
        from nmtcli.translate.runtimes.ctranslate2 import CTranslate2Runtime

        forced = ForcedScores(CTranslate2Runtime(directory, info.precision, work.device).log_probs)
    else:
        from nmtcli.models.device import open_device

        where = open_device(work.device, precision="int8" if info.precision == "int8" else None)
        forced = ForcedTorch(load_model(directory), where)
    return PairScorer(forced, Tokenizers.load(directory), work.batch_tokens or info.search.batch_tokens)


def _scored(
    scorer: PairScorer, pairs: LinePairs, links: bool, totals: _Totals, count: int
) -> Iterator[tuple[list[str], list[str], list[PairScore | None]]]:
    """Window by window: sources, targets, scores; counted in `totals`."""
    with Progress() as progress:
        progress.move("pairs", 0, count)
        for block in pairs.blocks():
            rows = block.rows()
            sources = ["" if row in rows.problems else text for row, text in enumerate(rows.sources)]
            for start in range(0, block.size, _WINDOW):
                window = slice(start, start + _WINDOW)
                scores = scorer.score(sources[window], rows.targets[window], links)
                totals.add(scores)
                yield rows.sources[window], rows.targets[window], scores
                progress.move("pairs", totals.pairs, count)


def _write(scorer: PairScorer, pairs: LinePairs, form: str, totals: _Totals, count: int) -> None:
    for sources, targets, scores in _scored(scorer, pairs, form == "pharaoh", totals, count):
        first = totals.pairs - len(scores) + 1
        rows = zip(range(first, first + len(scores)), sources, targets, scores, strict=True)
        text = "".join(_render(*row, form) + "\n" for row in rows)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads, head for example, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            break


def _render(line: int, source: str, target: str, score: PairScore | None, form: str) -> str:
    """What is written for a pair, always one line."""
    from nmtcli.score.alignment import format_links

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


def _print_qualities(names: list[str], qualities: list[AlignmentQuality], as_json: bool) -> None:
    if as_json:
        rows = [
            {"system": name, "error_rate": one.error_rate, "precision": one.precision, "recall": one.recall}
            | {"links": one.links, "sure_links": one.sure}
            for name, one in zip(names, qualities, strict=True)
        ]
        print(strict_json.dumps({"systems": rows}, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("alignment", overflow="fold")
    for title in ("AER ↓", "precision ↑", "recall ↑", "links", "sure links"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, one in zip(names, qualities, strict=True):
        shares = (f"{value:.4f}" for value in (one.error_rate, one.precision, one.recall))
        table.add_row(Text(name), *shares, f"{one.links:,}", f"{one.sure:,}")
    stdout.print(table)
