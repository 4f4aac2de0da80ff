"""Which pairs are dropped, and why: named rules in a fixed order, each counted.

A pair is dropped by the first rule it breaks; only that pair, and nothing in a pair that stays is changed. Training
pairs meet every rule. Validation pairs are dropped only where they cannot be read or are empty: scores compare only
over the whole set.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nmtcli.config import CleaningConfig, DataConfig, Section
from nmtcli.errors import UserError
from nmtcli.prepare.cleaning.characters import (
    BLANK,
    CONTROL,
    DIGIT,
    FIRST_SCRIPT,
    OTHER,
    SYMBOL,
    Mask,
    Texts,
    script_names,
)
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.languages import LanguageRule
from nmtcli.prepare.rows import INVALID_UTF8, MALFORMED, Block, Rows

EMPTY = "empty"
DUPLICATE, DUPLICATE_SOURCE, DUPLICATE_TARGET = "duplicate", "duplicate-source", "duplicate-target"
TOO_MANY_TOKENS = "too-many-tokens"
DRAWN = "drawn"

# Every rule, in the order they are applied. A verdict is 0 for a pair that stays, or 1 + the index of the rule here.
RULES = (
    MALFORMED,
    INVALID_UTF8,
    EMPTY,
    "control-characters",
    "too-many-characters",
    "markup",
    "length-ratio",
    "copied",
    "too-many-symbols",
    "repeated-characters",
    "wrong-script",
    "wrong-language",
    DRAWN,
    "held-out",
    "held-out-ngram",
    DUPLICATE,
    DUPLICATE_SOURCE,
    DUPLICATE_TARGET,
    TOO_MANY_TOKENS,
)
_CODES = {name: code for code, name in enumerate(RULES, start=1)}

EXAMPLES = 10  # kept of each rule
_EXCERPT = 120  # characters of a side shown in an example
_SHORT = 10  # characters or bytes: ratios and shares of shorter sides say nothing
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<!--|&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]*")

Verdicts = npt.NDArray[np.uint8]


class Example(Section):
    """A dropped pair: where it stands and what is wrong with it."""

    file: str
    line: int
    reason: str
    excerpt: str


def example(file: str, line: int, reason: str, *texts: str) -> Example:
    """A dropped pair, its texts cut to what fits a line."""
    excerpt = " ||| ".join(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…" for text in texts)
    return Example(file=file, line=line, reason=reason, excerpt=excerpt)


def code(rule: str) -> int:
    """The verdict of a rule."""
    return _CODES[rule]


class Rule(Protocol):
    """A reason to drop a pair."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def broken(self, source: Texts, target: Texts) -> Mask:
        """Which pairs of a block break it."""

    def reason(self, source: str, target: str) -> str:
        """What is wrong with a pair that breaks it."""


@dataclass(frozen=True)
class SideRule:
    """A rule that looks at one side at a time, the same for both or one for each."""

    name: str
    words: str  # what is wrong with a side
    source: Callable[[Texts], Mask]
    target: Callable[[Texts], Mask]

    def broken(self, source: Texts, target: Texts) -> Mask:
        """Where either side breaks it."""
        return self.source(source) | self.target(target)

    def reason(self, source: str, _target: str) -> str:
        """Which side, and what is wrong with it."""
        return f"the {'source' if self.source(Texts([source]))[0] else 'target'} {self.words}"


@dataclass(frozen=True)
class PairRule:
    """A rule that looks at both sides together."""

    name: str
    words: str
    broken: Callable[[Texts, Texts], Mask]

    def reason(self, source: str, target: str) -> str:
        """What is wrong with the pair; its lengths in bytes if it is about them."""
        return self.words.format(source=len(source.encode()), target=len(target.encode()))


def text_rules(config: DataConfig, held_out: HeldOut) -> list[Rule]:
    """The rules of a training pair that need only its text, in order."""
    rules: list[Rule] = [_both(EMPTY, "is blank", _blank)]
    cleaning = config.cleaning
    if cleaning.control_characters:
        words = "holds a control character or U+FFFD"
        rules.append(_both("control-characters", words, lambda texts: texts.having(CONTROL)))
    if (limit := cleaning.max_characters) is not None:
        words = f"has more than {limit} characters"
        rules.append(_both("too-many-characters", words, lambda texts: texts.lengths > limit))
    if cleaning.markup:
        known = frozenset((*config.tokenizer.symbols, *(corpus.tag for corpus in config.train if corpus.tag)))
        rules.append(_both("markup", "holds a tag or an entity", lambda texts: _markup(texts, known)))
    if (ratio := cleaning.max_length_ratio) is not None:
        words = "{source} and {target} bytes: " + f"more than {ratio:g} to 1"
        rules.append(PairRule("length-ratio", words, lambda source, target: _uneven(source, target, ratio)))
    if cleaning.copied:
        rules.append(PairRule("copied", "both sides are the same", _copied))
    if (share := cleaning.max_symbol_share) is not None:
        words = f"is more than {share:.0%} digits, punctuation and symbols"
        rules.append(_both("too-many-symbols", words, lambda texts: _symbols(texts, share)))
    if (times := cleaning.max_repeats) is not None:
        words = f"repeats a character more than {times} times"
        rules.append(_both("repeated-characters", words, lambda texts: texts.repeats(times)))
    rules += _script_rules(cleaning)
    if (confidence := cleaning.min_language_confidence) is not None:
        rules.append(LanguageRule(config.source_language, config.target_language, confidence))
    if config.hold_out or config.hold_out_test:
        words = "the source was drawn for validation or test"
        rules.append(PairRule(DRAWN, words, lambda source, _: held_out.drawn_sources(source)))
    if cleaning.held_out:
        words = "is a validation or test line"
        rules.append(SideRule("held-out", words, held_out.in_sources, held_out.in_targets))
    if cleaning.held_out_ngram is not None:
        words = f"shares {cleaning.held_out_ngram} words in a row with a validation or test line"
        rules.append(SideRule("held-out-ngram", words, held_out.ngram_in_sources, held_out.ngram_in_targets))
    return rules


def validation_rules() -> list[Rule]:
    """The rules of a validation pair."""
    return [_both(EMPTY, "is blank", _blank)]


def active_rules(config: CleaningConfig, text_rules: Sequence[Rule], *, training: bool) -> tuple[str, ...]:
    """The names of all rules that are on, in order, with those that need more than one pair's text."""
    names = {MALFORMED, INVALID_UTF8, *(rule.name for rule in text_rules)}
    if training:
        names |= {name for name, _ in duplicate_rules(config)}
        if config.max_tokens is not None:
            names.add(TOO_MANY_TOKENS)
    return tuple(name for name in RULES if name in names)


def duplicate_rules(config: CleaningConfig) -> list[tuple[str, bool]]:
    """The rules about repeated text that are on, in order."""
    switches = {
        DUPLICATE: config.duplicates,
        DUPLICATE_SOURCE: config.duplicate_sources,
        DUPLICATE_TARGET: config.duplicate_targets,
    }
    return [(name, on) for name, on in switches.items() if on]


@dataclass
class Judged:
    """A block with a verdict on each row, and the first examples of each rule broken."""

    verdicts: Verdicts
    examples: dict[str, list[Example]] = field(default_factory=dict)


def judge(block: Block, rows: Rows, source: Texts, target: Texts, rules: Sequence[Rule]) -> Judged:
    """Hold the rules against a block: the first that a pair breaks is its verdict."""
    judged = Judged(np.zeros(block.size, np.uint8))
    for index, problem in sorted(rows.problems.items()):
        judged.verdicts[index] = code(problem.rule)
        examples = judged.examples.setdefault(problem.rule, [])
        if len(examples) < EXAMPLES:
            examples.append(example(problem.file, block.line + index, problem.reason, problem.text))
    for rule in rules:
        found = np.flatnonzero(rule.broken(source, target) & (judged.verdicts == 0))
        judged.verdicts[found] = code(rule.name)
        for index in found[:EXAMPLES].tolist():
            pair = rows.sources[index], rows.targets[index]
            made = example(block.file, block.line + index, rule.reason(*pair), *pair)
            judged.examples.setdefault(rule.name, []).append(made)
    return judged


def _both(name: str, words: str, test: Callable[[Texts], Mask]) -> SideRule:
    return SideRule(name, words, test, test)


def _blank(texts: Texts) -> Mask:
    found: Mask = np.asarray(texts.lengths == 0)
    starts = texts.ends - texts.lengths
    suspects = np.flatnonzero(~found)
    first = texts.kinds[starts[suspects]]
    for row in suspects[(first == BLANK) | (first == OTHER)].tolist():
        found[row] = _INVISIBLE.fullmatch(texts.texts[row]) is not None
    return found


def _markup(texts: Texts, known: frozenset[str]) -> Mask:
    found = np.zeros(len(texts.texts), np.bool_)
    suspects = texts.count((texts.codes == ord("<")) | (texts.codes == ord("&")))
    for row in np.flatnonzero(suspects).tolist():
        found[row] = any(match not in known for match in _MARKUP.findall(texts.texts[row]))
    return found


def _uneven(source: Texts, target: Texts, ratio: float) -> Mask:
    sizes: list[npt.NDArray[np.int64]] = [
        np.fromiter(map(len, side.encoded), np.int64, len(side.texts)).clip(min=_SHORT) for side in (source, target)
    ]
    return np.asarray(np.maximum(*sizes) > ratio * np.minimum(*sizes))


def _copied(source: Texts, target: Texts) -> Mask:
    found = np.zeros(len(source.texts), np.bool_)
    for row in np.flatnonzero(source.lengths == target.lengths).tolist():
        text = source.texts[row]
        found[row] = text == target.texts[row] and any(map(str.isalpha, text))
    return found


def _symbols(texts: Texts, share: float) -> Mask:
    symbols = texts.count((texts.kinds == DIGIT) | (texts.kinds == SYMBOL))
    return np.asarray((symbols > share * texts.lengths) & (texts.lengths > _SHORT))


def _script_rules(config: CleaningConfig) -> list[Rule]:
    if config.source_scripts is config.target_scripts is None:
        return []
    given = config.source_scripts, config.target_scripts
    sides = [side and tuple(name.lower() for name in side) for side in given]
    names = script_names()
    unknown = [name for side in sides for name in side or () if name not in names]
    if unknown:
        hint = "scripts are called by their Unicode names: latin, cyrillic, greek, arabic, cjk, hiragana, hangul …"
        raise UserError(f"data.cleaning: no script {', '.join(unknown)}", hint)
    source, target = (_outside(side, names, config.min_script_share) for side in sides)
    words = f"has less than {config.min_script_share:.0%} of its letters in the scripts asked for"
    return [SideRule("wrong-script", words, source, target)]


def _outside(scripts: Sequence[str] | None, names: Sequence[str], share: float) -> Callable[[Texts], Mask]:
    if scripts is None:
        return lambda texts: np.zeros(len(texts.texts), np.bool_)
    wanted = np.zeros(256, np.bool_)
    wanted[[FIRST_SCRIPT + names.index(name) for name in scripts]] = True

    def outside(texts: Texts) -> Mask:
        letters = texts.count(texts.kinds >= FIRST_SCRIPT)
        return texts.count(wanted[texts.kinds]) < share * letters

    return outside
