"""Findings: possible problems of a corpus, worst first, each with what to do about it."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from nmtcli.prepare.cleaning.rules import DUPLICATE, DUPLICATE_SOURCE, DUPLICATE_TARGET, EMPTY, SAMPLED
from nmtcli.prepare.report.explanations import EXPLANATIONS
from nmtcli.prepare.report.report import CorpusReport, Histogram, Report, SplitReport, TextReport, TokenReport
from nmtcli.prepare.report.writing import is_letter, scripts_of, system_of
from nmtcli.prepare.rows import HEADER, INLINE_CODES, INVALID_UTF8, MALFORMED, QUOTED

Severity = Literal["problem", "warning", "ok"]

# Shares of a corpus dropped by a rule above which it is a finding, and a bad one. Every corpus has some noise; one in
# five pairs is a mistake, or a rule that does not fit the text.
_DROPPED = 0.05, 0.20
_DROPPED_BY = {
    MALFORMED: (0.0, 0.01),  # a file in the right format has none
    INVALID_UTF8: (0.0, 0.01),  # the same
    SAMPLED: (1.0, 1.0),  # requested by the user
    EMPTY: (0.01, 0.05),  # empty lines on one side indicate lost lines
    "markup": (0.001, 0.20),  # translation memories have tags in some texts, which the model then never outputs
    "held-out": (0.001, 0.20),  # independent texts rarely share a longer sentence
    "held-out-ngram": (0.01, 0.20),
    # crawled text has many duplicates, and dropping them is harmless
    **dict.fromkeys((DUPLICATE, DUPLICATE_SOURCE, DUPLICATE_TARGET), (0.20, 0.50)),
}
_LITTLE_KEPT = 0.5  # several rules together may drop most of a corpus

# Lengths of translations correlate. Measured on nine corpora: the correlation of logarithms is 0.81 to 0.97 (0.53 if
# all texts are short), below 0.34 if one side is shifted by a line, and 0.5 if half a file is shuffled.
_UNRELATED, _LOOSE = 0.35, 0.65
_ENOUGH_PAIRS = 200  # the correlation of fewer is too uncertain
_SAME_LENGTHS, _MIXED_LENGTHS = 0.25, 0.5  # standard deviation in octaves; below the first, all lengths are similar

_MOSTLY = 0.5  # minimum share of letters in the script of the language
_OTHER_SCRIPT = 0.05, 0.20  # names and quotations stay below
_LATIN = 0.20, 0.60  # Latin names, code and abbreviations occur in text of every script

_BYTES = 0.01, 0.05  # of tokens; a rare character has up to four
_UNKNOWN = 0.001, 0.02  # of tokens; each is a missing word in a sentence
_MUCH_MORE = 2.0  # times the share in training text
_TOKENS_PER_WORD = 2.5  # 8,000 pieces give 1.2 to 1.7 for European languages, 2.2 for Korean
_SPACED = 0.08  # minimum share of spaces in a text with words

_UNWRITABLE = 0.0, 0.05  # of texts; the model can never output them correctly
_IDENTIFIERS = 0.5  # of the texts of a side
_NAMES = 5  # characters named in a sentence

_LINKS_LOST = 0.05, 0.50  # of pairs with word alignment; unusual spaces and characters occur in every text

_FEW_PAIRS, _VERY_FEW_PAIRS = 10_000, 1_000  # the smallest corpora in NMT have some 10,000
_FEW_VALID = 200  # with fewer, BLEU varies by several points
_OTHER_LENGTH, _CLEARLY_OTHER_LENGTH = 1.3, 2.0  # ratio of mean lengths; the second for few texts
_ENOUGH_TEXTS = 100  # the mean length of fewer varies too much
_OTHER_SCRIPT_SHARE = 0.10  # difference to training text in the share of a script


@dataclass(frozen=True)
class Finding:
    """A possible problem of a corpus, and what to do about it."""

    severity: Severity
    text: str
    hint: str


def percent(share: float) -> str:
    """A share as text: never 0% for more than none, nor 100% for less than all."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def token_facts(sides: Sequence[TokenReport | None]) -> Iterator[tuple[str, list[str]]]:
    """The numbers of each side in tokens as rows of a table; none in a dry run."""
    known = [tokens for tokens in sides if tokens is not None]
    if known:
        yield "tokens", [f"{tokens.tokens:,}" for tokens in known]
        yield "tokens per text", [f"{tokens.mean_length:.1f}" for tokens in known]
        yield "longest text, in tokens", [f"{tokens.longest:,}" for tokens in known]
        yield "tokens per word", [f"{tokens.tokens_per_word:.2f}" for tokens in known]
        yield "unknown tokens", [percent(tokens.unknown_share) for tokens in known]
        yield "byte tokens", [percent(tokens.byte_share) for tokens in known]


def splits(report: Report) -> tuple[tuple[str, SplitReport], ...]:
    """Both splits, each with its name."""
    return ("training", report.train), ("validation", report.valid)


def sides(report: Report, split: SplitReport) -> Iterator[tuple[str, str, TextReport, TokenReport | None]]:
    """Name, language, text and tokens of each side of a split."""
    yield "source", report.source_language, split.source, split.source_tokens
    yield "target", report.target_language, split.target, split.target_tokens


def share_of(text: TextReport, system: tuple[str, ...]) -> float:
    """The share of letters in these scripts; 1 without letters."""
    letters = {name: share for name, share in text.scripts.items() if is_letter(name)}
    return sum(letters.get(name, 0) for name in system) / sum(letters.values()) if letters else 1.0


def named(characters: dict[str, int]) -> str:
    """The most frequent characters, each with its name and count."""
    shown = list(characters.items())[:_NAMES]
    return ", ".join(
        f"{'◌' * bool(unicodedata.combining(one))}{one if one.isprintable() else ''}"
        f" ({unicodedata.name(one, f'U+{ord(one):04X}')}, {count:,} time{'s' * (count != 1)})".strip()
        for one, count in shown
    )


def findings(report: Report) -> tuple[Finding, ...]:
    """All findings, worst first; a single one of severity `ok` if there is none."""
    problems = [finding for check in _CHECKS for finding in check(report)]
    if not problems:
        return (Finding("ok", "No problems found.", ""),)
    return tuple(sorted(problems, key=lambda finding: finding.severity != "problem"))


def _scripts(report: Report) -> Iterator[Finding]:
    """Sides that are not mostly in the script of their language, or for an unknown language in that of training."""
    systems = [scripts_of(language) or system_of(text.scripts) for _, language, text, _ in sides(report, report.train)]
    for name, split in splits(report):
        both = list(sides(report, split))
        shares = [share_of(text, system) for (_, _, text, _), system in zip(both, systems, strict=True)]
        crossed = [share_of(text, system) for (_, _, text, _), system in zip(both, systems[::-1], strict=True)]
        if all(share < _MOSTLY < other for share, other in zip(shares, crossed, strict=True)):
            yield Finding(
                "problem",
                f"The two sides of the {name} text are swapped: the source has the script of the target, and the"
                " target that of the source.",
                f"Swap the source and target files, or data.source_language ({report.source_language}) and"
                f" data.target_language ({report.target_language}).",
            )
            continue
        for (side, language, text, _), share, system in zip(both, shares, systems, strict=True):
            if system and share < _MOSTLY and (name == "validation" or scripts_of(language)):
                yield Finding(
                    "problem",
                    f"Only {percent(share)} of the letters of the {name} {side} ({language}) are {_and(system)}; most"
                    f" are {_and(system_of(text.scripts))}.",
                    f"Check the file and its encoding; data.{side}_language is {language}.",
                )


def _second_scripts(report: Report) -> Iterator[Finding]:
    if "wrong-script" in report.train.rules:
        return  # the user has set the scripts
    for side, language, text, _ in sides(report, report.train):
        system = scripts_of(language) or system_of(text.scripts)
        others = {name: share_of(text, (name,)) for name in text.scripts if is_letter(name) and name not in system}
        if not others or share_of(text, system) < _MOSTLY:
            continue
        other = max(others, key=lambda name: others[name])
        look, bad = _LATIN if other == "latin" else _OTHER_SCRIPT
        if others[other] > look:
            yield Finding(
                "problem" if others[other] > bad else "warning",
                f"{percent(others[other])} of the letters of the {side} ({language}) are {other}.",
                "Check for code, or text in another language. To drop pairs that are mostly in another script:"
                f" data.cleaning.{side}_scripts: [{', '.join(name for name in text.scripts if name in system)}].",
            )


def _alignment(report: Report) -> Iterator[Finding]:
    for name, split in splits(report):
        correlation = _length_correlation(split)
        if correlation is not None:
            unrelated = correlation < _UNRELATED
            text = (
                f"The lengths of the two sides of the {name} text correlate {'too little' if unrelated else 'weakly'}"
                f" (correlation {correlation:.2f}; good translations have 0.8 and more)."
            )
            hint = "Check some lines in the middle: line n of the source must translate line n of the target."
            yield Finding("problem" if unrelated else "warning", text, hint)


def _length_correlation(split: SplitReport) -> float | None:
    """The correlation of log lengths, from their variances and that of their difference; None if it is normal."""
    if sum(split.ratios.counts) < _ENOUGH_PAIRS:
        return None
    source, target, ratio = (_log_variance(h) for h in (split.source.lengths, split.target.lengths, split.ratios))
    deviations = math.sqrt(source), math.sqrt(target)
    if min(deviations) < _SAME_LENGTHS:
        return None
    correlation = (source + target - ratio) / (2 * deviations[0] * deviations[1])
    usual = _LOOSE if min(deviations) >= _MIXED_LENGTHS else _UNRELATED
    return correlation if correlation < usual else None


def _log_variance(histogram: Histogram) -> float:
    """The variance of the binary logarithm, from the centres of the bins and the lower edge of the last, open one."""
    edges = histogram.edges
    middles = [*((low + high) / 2 for low, high in pairwise(edges[:-1])), edges[-2]]
    logarithms = [math.log2(middle) for middle in middles]
    total = sum(histogram.counts)
    mean = sum(x * count for x, count in zip(logarithms, histogram.counts, strict=True)) / total
    return sum((x - mean) ** 2 * count for x, count in zip(logarithms, histogram.counts, strict=True)) / total


def _corpora(report: Report) -> Iterator[Finding]:
    for name, split in splits(report):
        for corpus in split.corpora:
            if not corpus.pairs_read:
                yield Finding("problem", f"The {name} corpus {corpus.name} is empty.", "Check the file.")
            elif corpus.pairs_kept < _LITTLE_KEPT * corpus.pairs_read:
                share = percent(corpus.pairs_kept / corpus.pairs_read) if corpus.pairs_kept else "no pair"
                worst = sorted(corpus.dropped.items(), key=lambda item: -item[1])[:3]
                rules = ", ".join(f"{rule} ({count:,})" for rule, count in worst if count)
                text = f"Cleaning kept {share} of the {name} corpus {corpus.name}."
                yield Finding("problem", text, f"Check the examples of the rules that dropped most: {rules}.")


def _rules(report: Report) -> Iterator[Finding]:
    """One finding per rule, about the training corpus where it drops the largest share."""
    for rule, (share, corpus) in sorted(_worst(report.train).items(), key=lambda item: -item[1][0]):
        look, bad = _DROPPED_BY.get(rule, _DROPPED)
        if share > look:
            where = f" of {corpus.name}" if len(report.train.corpora) > 1 else ""
            yield Finding(
                "problem" if share > bad else "warning",
                f"The rule {rule} dropped {corpus.dropped[rule]:,} of {corpus.pairs_read:,} training pairs{where}"
                f" ({percent(share)}).",
                EXPLANATIONS[rule].advice,
            )
    if "held-out" not in report.train.rules:
        text = "Training pairs were not compared with validation and test text: scores may be too high."
        yield Finding("warning", text, "data.cleaning.held_out: true drops pairs that are in both.")


def _worst(split: SplitReport) -> dict[str, tuple[float, CorpusReport]]:
    """For each rule the largest share of a corpus that it drops, and that corpus."""
    shares = {
        rule: [(corpus.dropped[rule] / max(corpus.pairs_read, 1), corpus) for corpus in split.corpora]
        for rule in split.rules
    }
    return {rule: max(parts, key=lambda part: part[0]) for rule, parts in shares.items() if parts}


def _validation(report: Report) -> Iterator[Finding]:
    split = report.valid
    if dropped := split.pairs_read - split.pairs_kept:
        rules = ", ".join(f"{rule}: {count:,}" for rule, count in split.dropped.items() if count)
        yield Finding(
            "warning",
            f"The validation set lost {dropped:,} of its {split.pairs_read:,} pairs ({rules}).",
            "Fix these lines: scores on a part of a set are not comparable.",
        )
    parts = report.train, report.valid
    texts = [(part.source.texts, part.target.texts) for part in parts]
    means = [
        (part.source.characters + part.target.characters) / max(sum(counts), 1)
        for part, counts in zip(parts, texts, strict=True)
    ]
    other = _OTHER_LENGTH if min(map(min, texts)) >= _ENOUGH_TEXTS else _CLEARLY_OTHER_LENGTH
    if min(means) and max(means) > other * min(means):
        kind = "shorter" if means[1] < means[0] else "longer"
        yield Finding(
            "warning",
            f"Validation texts are much {kind} than training texts: {means[1]:.1f} characters on average, not"
            f" {means[0]:.1f}.",
            "Validate and train on text like the text to translate.",
        )
    for (side, language, seen, _), (_, _, text, _) in zip(*(sides(report, part) for part in parts), strict=True):
        scripts = {name for name in (*seen.scripts, *text.scripts) if is_letter(name)}
        apart = {name: share_of(text, (name,)) - share_of(seen, (name,)) for name in scripts}
        name = max(sorted(apart), key=lambda name: abs(apart[name]), default="")
        if name and abs(apart[name]) > _OTHER_SCRIPT_SHARE and share_of(text, system_of(seen.scripts)) >= _MOSTLY:
            yield Finding(
                "warning",
                f"{percent(share_of(text, (name,)))} of the letters of the validation {side} ({language}) are {name},"
                f" in training text {percent(share_of(seen, (name,)))}.",
                "Validate and train on text like the text to translate.",
            )


def _tokens(report: Report) -> Iterator[Finding]:
    train = [tokens for *_, tokens in sides(report, report.train)]
    for side, language, text, tokens in sides(report, report.train):
        if tokens is not None:
            here = f"training {side} ({language})"
            yield from _rare_characters(here, tokens, None)
            if text.scripts.get("blanks", 0) > _SPACED and tokens.tokens_per_word > _TOKENS_PER_WORD:
                yield Finding(
                    "warning",
                    f"The {here} has {tokens.tokens_per_word:.1f} tokens per word on average, which is high.",
                    "Raise data.tokenizer.vocab_size, or use separate vocabularies (data.tokenizer.joint: false). With"
                    " data.tokenizer.type char this is normal.",
                )
    for (side, language, _, tokens), seen in zip(sides(report, report.valid), train, strict=True):
        if tokens is not None and seen is not None:
            yield from _rare_characters(f"validation {side} ({language})", tokens, seen)


def _rare_characters(here: str, tokens: TokenReport, training: TokenReport | None) -> Iterator[Finding]:
    """UNK and byte tokens; in validation text only if there are many more than in `training` text."""
    unknown, spelled = (training.unknown_share, training.byte_share) if training else (0.0, 0.0)
    new = " The text differs from the training text in domain or language." if training else ""
    if tokens.unknown_share > max(_UNKNOWN[0], _MUCH_MORE * unknown):
        yield Finding(
            "problem" if tokens.unknown_share > _UNKNOWN[1] else "warning",
            f"{percent(tokens.unknown_share)} of the tokens of the {here} are unknown (UNK).{new}",
            "data.tokenizer.byte_fallback: true encodes rare characters as bytes; with data.tokenizer.type word raise"
            " data.tokenizer.vocab_size.",
        )
    if tokens.byte_share > max(_BYTES[0], _MUCH_MORE * spelled):
        yield Finding(
            "problem" if tokens.byte_share > _BYTES[1] else "warning",
            f"{percent(tokens.byte_share)} of the tokens of the {here} are single bytes of rare characters:"
            f" {named(tokens.spelled)}.{new}",
            "Raise data.tokenizer.character_coverage (up to 1), and data.tokenizer.vocab_size with it.",
        )


def _links(report: Report) -> Iterator[Finding]:
    for name, split in splits(report):
        kept, lost = (split.alignment.pairs, split.alignment.pairs_lost) if split.alignment else (0, 0)
        if lost > _LINKS_LOST[0] * (kept + lost):
            share = lost / (kept + lost)
            yield Finding(
                "problem" if share > _LINKS_LOST[1] else "warning",
                f"{percent(share)} of the {name} pairs with word alignment lost it: the tokenizer splits their words"
                " differently than the aligner.",
                "Remove unusual spaces and invisible characters before you align the text.",
            )


def _sizes(report: Report) -> Iterator[Finding]:
    if (kept := report.train.pairs_kept) < _FEW_PAIRS:
        yield Finding(
            "problem" if kept < _VERY_FEW_PAIRS else "warning",
            f"There are only {kept:,} training pairs.",
            "Add corpora to data.train, for example back-translated monolingual text with a tag.",
        )
    if (kept := report.valid.pairs_kept) < _FEW_VALID:
        text = f"There are only {kept:,} validation pairs: scores will vary by chance."
        yield Finding("warning", text, f"Validate on {_FEW_VALID} pairs or more; 1,000 to 3,000 are usual.")


def _line_ends(report: Report) -> Iterator[Finding]:
    if crlf := report.train.crlf_lines + report.valid.crlf_lines:
        text = f"{crlf:,} lines end with CRLF (Windows line ends); the CR was removed."
        yield Finding("warning", text, "Nothing to do.")
    if breaks := report.train.line_breaks + report.valid.line_breaks:
        text = f"{breaks:,} line breaks inside a text were replaced by spaces."
        yield Finding("warning", text, "If texts are paragraphs, split them into sentences.")


def _identifiers(report: Report) -> Iterator[Finding]:
    """A side of identifiers instead of text, probably a wrong column."""
    for name, split in splits(report):
        for side, language, text, _ in sides(report, split):
            if text.identifiers > _IDENTIFIERS * text.texts:
                yield Finding(
                    "problem",
                    f"{percent(text.identifiers / text.texts)} of the texts of the {name} {side} ({language}) are"
                    " numbers or identifiers.",
                    "Check the column; set those of the text in a YAML file, for example columns: [2, 3].",
                )


def _unwritable(report: Report) -> Iterator[Finding]:
    """Characters that no translation can have."""
    for name, split in splits(report):
        tokens = split.target_tokens
        if tokens is not None and tokens.unwritable_share > _UNWRITABLE[0]:
            yield Finding(
                "problem" if tokens.unwritable_share > _UNWRITABLE[1] else "warning",
                f"{percent(tokens.unwritable_share)} of the texts of the {name} target ({report.target_language}) have"
                f" characters that the tokenizer cannot output: {named(tokens.unwritable)}.",
                "data.tokenizer.normalization: nmt_nfc keeps them, unless you give --tokenizer.",
            )


def _notes(report: Report) -> Iterator[Finding]:
    """Changes that readers made to the text."""
    messages = {
        HEADER: ("header line{s} skipped: {corpora}.", "Nothing to do."),
        QUOTED: (
            "quoted cell{s}, as in spreadsheets; the quotes were removed: {corpora}.",
            "Nothing to do. If these quotes are text, give the corpus as JSON Lines.",
        ),
        INLINE_CODES: (
            "inline code{s} (tags of a translation tool) removed from the text: {corpora}.",
            "The model does not learn to place them. data.cleaning.markup: mask keeps them as placeholder symbols.",
        ),
    }
    for note, (text, hint) in messages.items():
        counts: dict[str, int] = {}
        for corpus in (*report.train.corpora, *report.valid.corpora):
            if count := corpus.notes.get(note, 0):
                counts[corpus.name] = counts.get(corpus.name, 0) + count
        if counts:
            total = sum(counts.values())
            message = text.format(s="s" * (total != 1), corpora=", ".join(counts))
            yield Finding("warning", f"{total:,} {message}", hint)


def _and(scripts: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(scripts[:-1]), scripts[-1])))


_CHECKS = (
    *(_scripts, _identifiers, _alignment, _corpora, _rules, _validation, _second_scripts),
    *(_unwritable, _tokens, _links, _sizes, _line_ends, _notes),
)
