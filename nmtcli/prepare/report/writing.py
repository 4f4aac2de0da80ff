"""The scripts of languages, where there is no doubt."""

from collections.abc import Mapping

from nmtcli.text.languages import primary

_NO_SCRIPTS = {"blanks", "control", "digits", "symbols", "combining"}
_SYSTEMS = (
    ("cjk", "hiragana", "katakana", "bopomofo"),  # Japanese, Chinese
    ("hangul", "cjk"),  # Korean
)
# By two-letter codes; languages with two scripts in use, such as Serbian, are left out.
_LANGUAGES = {
    ("latin",): "af ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms mt nb nl nn no pl pt ro sk sl sq sv"
    " sw tl tr vi",
    ("cyrillic",): "be bg mk ru uk",
    ("greek",): "el",
    ("arabic",): "ar fa ps ur",
    ("hebrew",): "he yi",
    ("devanagari",): "hi mr ne",
    ("bengali",): "bn",
    ("gujarati",): "gu",
    ("tamil",): "ta",
    ("telugu",): "te",
    ("kannada",): "kn",
    ("malayalam",): "ml",
    ("thai",): "th",
    ("lao",): "lo",
    ("khmer",): "km",
    ("georgian",): "ka",
    ("armenian",): "hy",
    _SYSTEMS[0]: "ja zh",
    _SYSTEMS[1]: "ko",
}
_SCRIPTS_OF = {code: scripts for scripts, codes in _LANGUAGES.items() for code in codes.split()}


def is_letter(kind: str) -> bool:
    """Whether a name in a report is a script."""
    return kind not in _NO_SCRIPTS


def scripts_of(language: str) -> tuple[str, ...] | None:
    """The scripts of a language, by a code such as de or zh-Hant; None if it is not known."""
    return _SCRIPTS_OF.get(primary(language))


def system_of(shares: Mapping[str, float]) -> tuple[str, ...]:
    """The scripts of the writing system that has most letters."""
    systems = [*((name,) for name in shares if is_letter(name)), *_SYSTEMS]
    largest = max(systems, key=lambda system: sum(shares.get(name, 0) for name in system))
    return tuple(name for name in largest if name in shares)
