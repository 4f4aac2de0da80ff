"""Numbers in another language: their separators, by the Unicode CLDR data of Babel."""

import ipaddress
import re
from functools import cache

from nmtcli.errors import UserError

_BLANKS = "\u00a0\u202f"  # no-break spaces, both are used
_FIGURES = re.compile(r"\d(?:.*\d)?")  # without units and currency signs around


def localized(number: str, source: str, target: str) -> str:
    """The number with the separators of the target language: `12,500.5 km` in English is `12.500,5 km` in German.

    Whatever is no number with separators of the source language stays, such as dates, times and IP addresses, and all
    numbers of unknown languages. Raises UserError without Babel.
    """
    before, after = _separators(source), _separators(target)
    match = _FIGURES.search(number)
    if before is None or after is None or match is None:
        return number
    groups = _BLANKS if before[0] in _BLANKS else before[0]
    group, decimal = f"[{re.escape(groups)}]", re.escape(before[1])
    if re.fullmatch(rf"\d{{1,3}}(?:{group}\d{{3}})+(?:{decimal}\d+)?|\d+{decimal}\d+", match[0]) is None:
        return number
    if _is_address(match[0]):
        return number
    changed = match[0].translate({**{ord(one): after[0] for one in groups}, ord(before[1]): after[1]})
    return number[: match.start()] + changed + number[match.end() :]


def _is_address(figures: str) -> bool:
    """Whether it is an IPv4 address; 192.168.100.200 is a number of German form too."""
    try:
        ipaddress.IPv4Address(figures)
    except ValueError:
        return False
    return True


@cache
def _separators(language: str) -> tuple[str, str] | None:
    """The separators of thousands and of decimals in a language; None for an unknown one."""
    try:
        from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - an extra
        from babel.numbers import get_decimal_symbol, get_group_symbol  # noqa: PLC0415
    except ImportError:
        raise UserError("numbers of another language need Babel", "pip install 'nmtcli[documents]'") from None
    try:
        locale = Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None
    return get_group_symbol(locale), get_decimal_symbol(locale)
