"""What each cleaning rule means, the settings that change it, and what to do when it drops much."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nmtcli.config import CleaningConfig
from nmtcli.prepare.cleaning.rules import (
    DRAWN,
    DUPLICATE,
    DUPLICATE_SOURCE,
    DUPLICATE_TARGET,
    EMPTY,
    TOO_MANY_TOKENS,
)
from nmtcli.prepare.rows import INVALID_UTF8, MALFORMED


@dataclass(frozen=True)
class Explanation:
    """One rule. Its meaning is the description of its setting, unless it has none or several."""

    advice: str
    settings: tuple[str, ...] = ()  # of CleaningConfig; a rule without any is always on
    own_words: str | None = None

    @property
    def meaning(self) -> str:
        """What is true of a pair that it drops."""
        if self.own_words is not None:
            return self.own_words
        return str(CleaningConfig.model_fields[self.settings[0]].description)

    def defaults(self) -> Iterator[tuple[str, str]]:
        """The key of each setting with its default, as a settings file has it."""
        for name in self.settings:
            yield f"data.cleaning.{name}", _yaml(CleaningConfig.model_fields[name].default)


EXPLANATIONS = {
    MALFORMED: Explanation(
        "Look at the rows shown: are format and columns of the corpus right?",
        own_words="The row cannot be parsed, or has not the two texts it should have.",
    ),
    INVALID_UTF8: Explanation(
        "Convert the file first, for example with iconv -f LATIN1 -t UTF-8, whatever its encoding is.",
        own_words="The line is not valid UTF-8.",
    ),
    EMPTY: Explanation(
        "Check that line n still translates line n: many empty lines on one side are often lines that got lost.",
        own_words="A side is empty or blank.",
    ),
    "control-characters": Explanation(
        "The text was decoded wrongly somewhere: get it again as UTF-8; data.cleaning.control_characters: false keeps"
        " these pairs.",
        ("control_characters",),
    ),
    "too-many-characters": Explanation(
        "Split the text into sentences, or raise data.cleaning.max_characters.", ("max_characters",)
    ),
    "markup": Explanation(
        "Strip tags and decode entities before; list tags that are to be translated in data.tokenizer.symbols;"
        " data.cleaning.markup: false keeps these pairs.",
        ("markup",),
    ),
    "length-ratio": Explanation(
        "Look at the examples: if they do translate each other, raise data.cleaning.max_length_ratio; if not, the"
        " sides are out of step.",
        ("max_length_ratio",),
    ),
    "copied": Explanation(
        "Is one file given for both sides, or is part of it not translated? data.cleaning.copied: false keeps these"
        " pairs, and the model learns to copy.",
        ("copied",),
    ),
    "too-many-symbols": Explanation(
        "If numbers, tables or code are to be translated, raise data.cleaning.max_symbol_share.", ("max_symbol_share",)
    ),
    "repeated-characters": Explanation(
        "If rows of dots or dashes are to be translated, raise data.cleaning.max_repeats.", ("max_repeats",)
    ),
    "wrong-script": Explanation(
        "Are the sides swapped? Otherwise check data.cleaning.source_scripts and target_scripts, or lower"
        " min_script_share.",
        ("source_scripts", "target_scripts", "min_script_share"),
        "A side has too few of its letters in the scripts asked for.",
    ),
    "wrong-language": Explanation(
        "Are the sides swapped, or data.source_language and data.target_language wrong? A higher"
        " data.cleaning.min_language_confidence drops less.",
        ("min_language_confidence",),
    ),
    DRAWN: Explanation(
        "This is no loss: the pairs that data.hold_out and data.hold_out_test ask for, and every other pair with the"
        " source of one of them, so that scores are honest.",
        own_words="Drawn for validation or test, or has the source of a pair that was.",
    ),
    "held-out": Explanation(
        "These pairs stay out of training, so scores are honest; take validation and test text from elsewhere if this"
        " costs too much.",
        ("held_out",),
    ),
    "held-out-ngram": Explanation(
        "These pairs stay out of training, so scores are honest; a larger data.cleaning.held_out_ngram drops less.",
        ("held_out_ngram",),
    ),
    DUPLICATE: Explanation(
        "One of each stays. Is a corpus listed twice? data.cleaning.duplicates: false keeps all.", ("duplicates",)
    ),
    DUPLICATE_SOURCE: Explanation(
        "The first translation of each source stays; data.cleaning.duplicate_sources: false keeps all.",
        ("duplicate_sources",),
    ),
    DUPLICATE_TARGET: Explanation(
        "The first source of each target stays; data.cleaning.duplicate_targets: false keeps all.",
        ("duplicate_targets",),
    ),
    TOO_MANY_TOKENS: Explanation(
        "Split the text into sentences, raise data.cleaning.max_tokens, or raise data.tokenizer.vocab_size so that"
        " texts take fewer tokens.",
        ("max_tokens",),
    ),
}


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
