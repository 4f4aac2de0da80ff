"""Cleaning rules, in a fixed order, with counts of dropped pairs.

The first rule that a pair breaks drops it. Rules drop whole pairs and never change a kept pair. Every rule applies to
training pairs. Validation pairs are dropped only if they cannot be read or are empty, so that scores stay comparable.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nmtcli.config import CleaningConfig, DataConfig, Section
from nmtcli.errors import UserError, nearest
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
from nmtcli.prepare.rows import INVALID_UTF8, MALFORMED, Block, Rows, line_of

EMPTY = "empty"
DUPLICATE, DUPLICATE_SOURCE, DUPLICATE_TARGET = "duplicate", "duplicate-source", "duplicate-target"
TOO_MANY_TOKENS = "too-many-tokens"
SAMPLED = "held-out-sample"

# All rules in the order of application. A verdict is 0 for a kept pair, else 1 + the index of the rule here.
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
    SAMPLED,
    "held-out",
    "held-out-ngram",
    DUPLICATE,
    DUPLICATE_SOURCE,
    DUPLICATE_TARGET,
    TOO_MANY_TOKENS,
)
_CODES = {name: code for code, name in enumerate(RULES, start=1)}

EXAMPLES = 10  # kept for each rule
_EXCERPT = 120  # characters of a side shown in an example
_SHORT = 10  # characters or bytes; ratios and shares of shorter sides are meaningless
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<!--|&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]*")

Verdicts = npt.NDArray[np.uint8]


class Example(Section):
    """A dropped pair, with its place and the reason."""

    file: str
    line: int
    reason: str
    excerpt: str


def example(file: str, line: int, reason: str, *texts: str) -> Example:
    """A dropped pair, with texts shortened to fit a line."""
    excerpt = " ||| ".join(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…" for text in texts)
    return Example(file=file, line=line, reason=reason, excerpt=excerpt)


def code(rule: str) -> int:
    """The verdict of a rule."""
    return _CODES[rule]


class Rule(Protocol):
    """A reason to drop a pair."""

    @property
    def name(self) -> str:
        """The name in reports."""

    def broken(self, source: Texts, target: Texts) -> Mask:
        """Which pairs of a block break the rule."""

    def reason(self, source: str, target: str) -> str:
        """Why a pair breaks the rule."""


@dataclass(frozen=True)
class SideRule:
    """A rule about single sides, with the same test for both or a test for each."""

    name: str
    message: str  # the predicate of the reason; the side is its subject
    source: Callable[[Texts], Mask]
    target: Callable[[Texts], Mask]

    def broken(self, source: Texts, target: Texts) -> Mask:
        """Which pairs have a side that breaks the rule."""
        return self.source(source) | self.target(target)

    def reason(self, source: str, _target: str) -> str:
        """The side that breaks the rule, and why."""
        return f"the {'source' if self.source(Texts([source]))[0] else 'target'} {self.message}"


@dataclass(frozen=True)
class PairRule:
    """A rule about both sides."""

    name: str
    message: str  # may have {source} and {target}, the lengths in bytes
    broken: Callable[[Texts, Texts], Mask]

    def reason(self, source: str, target: str) -> str:
        """Why the pair breaks the rule."""
        return self.message.format(source=len(source.encode()), target=len(target.encode()))


def text_rules(config: DataConfig, held_out: HeldOut, *, training: bool = True) -> list[Rule]:
    """The rules that need only the text of the pair, in order; for validation pairs the first one only."""
    rules: list[Rule] = [_both(EMPTY, "is empty", _blank)]
    if not training:
        return rules
    cleaning = config.cleaning
    if cleaning.control_characters:
        message = "has a control character or U+FFFD"
        rules.append(_both("control-characters", message, lambda texts: texts.having(CONTROL)))
    if (limit := cleaning.max_characters) is not None:
        message = f"has more than {limit} characters"
        rules.append(_both("too-many-characters", message, lambda texts: texts.lengths > limit))
    if cleaning.markup == "drop":
        rules.append(_markup_rule(config))
    if (ratio := cleaning.max_length_ratio) is not None:
        message = "{source} and {target} bytes: " + f"more than {ratio:g} to 1"
        rules.append(PairRule("length-ratio", message, lambda source, target: _uneven(source, target, ratio)))
    if cleaning.copied:
        rules.append(PairRule("copied", "both sides are the same", _copied))
    if (share := cleaning.max_symbol_share) is not None:
        message = f"is more than {share:.0%} digits, punctuation and symbols"
        rules.append(_both("too-many-symbols", message, lambda texts: _symbols(texts, share)))
    if (times := cleaning.max_repeats) is not None:
        message = f"repeats a character more than {times} times"
        rules.append(_both("repeated-characters", message, lambda texts: texts.repeats(times)))
    rules += _script_rules(cleaning)
    if (confidence := cleaning.min_language_confidence) is not None:
        rules.append(LanguageRule(config.source_language, config.target_language, confidence))
    return rules + held_out_rules(config, held_out)


def held_out_rules(config: DataConfig, held_out: HeldOut) -> list[Rule]:
    """The rules about validation and test text, in order."""
    cleaning = config.cleaning
    rules: list[Rule] = []
    if config.hold_out or config.hold_out_test:
        message = "the source was held out for validation or test"
        rules.append(PairRule(SAMPLED, message, lambda source, _: held_out.has_sampled(source)))
    if cleaning.held_out:
        message = "a side is a validation or test line"

        def is_line(source: Texts, target: Texts) -> Mask:
            return held_out.has_line(source) | held_out.has_line(target)

        rules.append(PairRule("held-out", message, is_line))
    if cleaning.held_out_ngram is not None:
        message = f"shares an n-gram of {cleaning.held_out_ngram} words with a validation or test line"
        rules.append(_both("held-out-ngram", message, held_out.shares_ngram))
    return rules


def active_rules(config: CleaningConfig, text_rules: Sequence[Rule], *, training: bool) -> tuple[str, ...]:
    """The names of all active rules in order, including those that need more than the text of a pair."""
    names = {MALFORMED, INVALID_UTF8, *(rule.name for rule in text_rules)}
    if training:
        names |= {*duplicate_rules(config)}
        if config.max_tokens is not None:
            names.add(TOO_MANY_TOKENS)
    return tuple(name for name in RULES if name in names)


def duplicate_rules(config: CleaningConfig) -> list[str]:
    """The active rules about repeated text, in order."""
    switches = {
        DUPLICATE: config.duplicates,
        DUPLICATE_SOURCE: config.duplicate_sources,
        DUPLICATE_TARGET: config.duplicate_targets,
    }
    return [name for name, on in switches.items() if on]


@dataclass
class Judged:
    """A verdict on each row of a block, and the first examples of each broken rule."""

    verdicts: Verdicts
    examples: dict[str, list[Example]] = field(default_factory=dict)


def judge(block: Block, rows: Rows, source: Texts, target: Texts, rules: Sequence[Rule]) -> Judged:
    """Apply the rules to a block: the verdict of a pair is the first rule that it breaks."""
    judged = Judged(np.zeros(block.size, np.uint8))
    for index, problem in sorted(rows.problems.items()):
        judged.verdicts[index] = code(problem.rule)
        examples = judged.examples.setdefault(problem.rule, [])
        if len(examples) < EXAMPLES:
            examples.append(example(problem.file, line_of(block, rows, index), problem.reason, problem.text))
    for rule in rules:
        broken = np.flatnonzero(rule.broken(source, target) & (judged.verdicts == 0))
        judged.verdicts[broken] = code(rule.name)
        for index in broken[:EXAMPLES].tolist():
            pair = rows.sources[index], rows.targets[index]
            dropped = example(block.file, line_of(block, rows, index), rule.reason(*pair), *pair)
            judged.examples.setdefault(rule.name, []).append(dropped)
    return judged


def _both(name: str, message: str, test: Callable[[Texts], Mask]) -> SideRule:
    return SideRule(name, message, test, test)


def _blank(texts: Texts) -> Mask:
    blank: Mask = np.asarray(texts.lengths == 0)
    starts = texts.ends - texts.lengths
    suspects = np.flatnonzero(~blank)
    first = texts.kinds[starts[suspects]]
    for row in suspects[(first == BLANK) | (first == OTHER)].tolist():
        blank[row] = _INVISIBLE.fullmatch(texts.texts[row]) is not None
    return blank


def _markup_rule(config: DataConfig) -> Rule:
    """Tags and entities, apart from declared symbols and spans that will be masked."""
    known = frozenset(config.declared)
    rule = _both("markup", "has a tag or an entity", lambda texts: _markup(texts, known))
    if not config.protected:
        return rule
    return PairRule(
        "markup", "a side has a tag or an entity", lambda source, target: rule.broken(source.read, target.read)
    )


def _markup(texts: Texts, known: frozenset[str]) -> Mask:
    marked = np.zeros(len(texts.texts), np.bool_)
    suspects = texts.count((texts.codes == ord("<")) | (texts.codes == ord("&")))
    for row in np.flatnonzero(suspects).tolist():
        marked[row] = any(match not in known for match in _MARKUP.findall(texts.texts[row]))
    return marked


def _uneven(source: Texts, target: Texts, ratio: float) -> Mask:
    sizes: list[npt.NDArray[np.int64]] = [
        np.fromiter(map(len, side.encoded), np.int64, len(side.texts)).clip(min=_SHORT) for side in (source, target)
    ]
    return np.asarray(np.maximum(*sizes) > ratio * np.minimum(*sizes))


def _copied(source: Texts, target: Texts) -> Mask:
    copied = np.zeros(len(source.texts), np.bool_)
    for row in np.flatnonzero(source.hashes == target.hashes).tolist():
        copied[row] = any(map(str.isalpha, source.texts[row]))
    return copied


def _symbols(texts: Texts, share: float) -> Mask:
    symbols = texts.count((texts.kinds == DIGIT) | (texts.kinds == SYMBOL))
    return np.asarray((symbols > share * texts.lengths) & (texts.lengths > _SHORT))


def _script_rules(config: CleaningConfig) -> list[Rule]:
    if config.source_scripts is config.target_scripts is None:
        return []
    given = config.source_scripts, config.target_scripts
    sides = [side and tuple(name.lower() for name in side) for side in given]
    names = script_names()
    unknown = [
        f"data.cleaning.{key}: no script {name}{nearest(name, names)}"
        for key, side in zip(("source_scripts", "target_scripts"), sides, strict=True)
        for name in side or ()
        if name not in names
    ]
    if unknown:
        hint = "scripts have their Unicode names: latin, cyrillic, greek, arabic, cjk, hiragana, hangul …"
        raise UserError("\n".join(unknown), hint)
    source, target = (_outside(side, names, config.min_script_share) for side in sides)
    message = f"has less than {config.min_script_share:.0%} of its letters in the given scripts"
    return [SideRule("wrong-script", message, source, target)]


def _outside(scripts: Sequence[str] | None, names: Sequence[str], share: float) -> Callable[[Texts], Mask]:
    if scripts is None:
        return lambda texts: np.zeros(len(texts.texts), np.bool_)
    allowed = np.zeros(256, np.bool_)
    allowed[[FIRST_SCRIPT + names.index(name) for name in scripts]] = True
    combining = FIRST_SCRIPT + names.index("combining")

    def outside(texts: Texts) -> Mask:
        letters = texts.count((texts.kinds >= FIRST_SCRIPT) & (texts.kinds != combining))  # marks are of any script
        return texts.count(allowed[texts.kinds]) < share * letters

    return outside
