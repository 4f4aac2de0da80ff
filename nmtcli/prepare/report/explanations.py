"""The meaning of each cleaning rule, its settings, and advice for when it drops many pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nmtcli.config import CleaningConfig
from nmtcli.prepare.cleaning.rules import (
    DUPLICATE,
    DUPLICATE_SOURCE,
    DUPLICATE_TARGET,
    EMPTY,
    SAMPLED,
    TOO_MANY_TOKENS,
)
from nmtcli.prepare.rows import INVALID_UTF8, MALFORMED


@dataclass(frozen=True)
class Explanation:
    """One rule. Its description is that of its setting, unless it has none or several."""

    advice: str
    settings: tuple[str, ...] = ()  # of CleaningConfig
    description: str | None = None
    active: str = "always active"  # when, for a rule without settings

    @property
    def meaning(self) -> str:
        """The condition of a dropped pair."""
        if self.description is not None:
            return self.description
        return str(CleaningConfig.model_fields[self.settings[0]].description)

    def defaults(self) -> Iterator[tuple[str, str]]:
        """The key and default of each setting, as in a settings file."""
        for name in self.settings:
            yield f"data.cleaning.{name}", _yaml(CleaningConfig.model_fields[name].default)


EXPLANATIONS = {
    MALFORMED: Explanation(
        "Check format and columns of the corpus against the examples.",
        description="The row cannot be parsed, or does not have two texts.",
    ),
    INVALID_UTF8: Explanation(
        "Convert the file from its encoding first, for example: iconv -f LATIN1 -t UTF-8.",
        description="The line is not valid UTF-8.",
    ),
    EMPTY: Explanation(
        "Check that line n translates line n: many empty lines on one side are often lost lines.",
        description="A side is empty.",
    ),
    "control-characters": Explanation(
        "The text was decoded with a wrong encoding: get it again as UTF-8. data.cleaning.control_characters: false"
        " keeps these pairs.",
        ("control_characters",),
    ),
    "too-many-characters": Explanation(
        "Split the text into sentences, or raise data.cleaning.max_characters.", ("max_characters",)
    ),
    "markup": Explanation(
        "To keep these pairs, set data.cleaning.markup: strip removes tags and decodes entities, mask lets the model"
        " copy tags, keep changes nothing. List tags that the model should translate in data.tokenizer.symbols.",
        ("markup",),
        "A side has an HTML or XML tag, or an entity: ampersand, name, semicolon.",
    ),
    "length-ratio": Explanation(
        "Check the examples: if they are translations, raise data.cleaning.max_length_ratio; if not, the files are not"
        " line-aligned.",
        ("max_length_ratio",),
    ),
    "copied": Explanation(
        "Check whether both sides are the same file, or a part is not translated. data.cleaning.copied: false keeps"
        " these pairs; the model then learns to copy.",
        ("copied",),
    ),
    "too-many-symbols": Explanation(
        "To translate numbers, tables or code, raise data.cleaning.max_symbol_share.", ("max_symbol_share",)
    ),
    "repeated-characters": Explanation(
        "To translate rows of dots or dashes, raise data.cleaning.max_repeats.", ("max_repeats",)
    ),
    "wrong-script": Explanation(
        "Check whether the sides are swapped; else check data.cleaning.source_scripts and target_scripts, or lower"
        " min_script_share.",
        ("source_scripts", "target_scripts", "min_script_share"),
        "A side has too few letters in the given scripts.",
    ),
    "wrong-language": Explanation(
        "Check whether the sides are swapped, and data.source_language and data.target_language. A higher"
        " data.cleaning.min_language_confidence drops less.",
        ("min_language_confidence",),
    ),
    SAMPLED: Explanation(
        "Nothing to do: data.hold_out and data.hold_out_test hold out these pairs, and all other pairs with the same"
        " sources, so that scores are not too high.",
        description="Held out for validation or test, or with the source of a held-out pair.",
        active="with --hold-out and --hold-out-test",
    ),
    "held-out": Explanation(
        "These pairs are not trained on, so that scores are not too high; use other validation and test text if too"
        " many are dropped.",
        ("held_out",),
    ),
    "held-out-ngram": Explanation(
        "These pairs are not trained on, so that scores are not too high; a larger data.cleaning.held_out_ngram drops"
        " less.",
        ("held_out_ngram",),
    ),
    DUPLICATE: Explanation(
        "The first of each is kept. Check whether a corpus is listed twice. data.cleaning.duplicates: false keeps all.",
        ("duplicates",),
    ),
    DUPLICATE_SOURCE: Explanation(
        "The first translation of each source is kept. data.cleaning.duplicate_sources: false keeps all.",
        ("duplicate_sources",),
    ),
    DUPLICATE_TARGET: Explanation(
        "The first source of each target is kept. data.cleaning.duplicate_targets: false keeps all.",
        ("duplicate_targets",),
    ),
    TOO_MANY_TOKENS: Explanation(
        "Split the text into sentences, raise data.cleaning.max_tokens, or raise data.tokenizer.vocab_size for fewer"
        " tokens per text.",
        ("max_tokens",),
    ),
}


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value).lower()
