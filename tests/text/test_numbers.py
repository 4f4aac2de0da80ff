"""Numbers in another language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.text.numbers import localized


@pytest.mark.parametrize(
    ("number", "source", "target", "expected"),
    [
        ("12,500", "en", "de", "12.500"),
        ("12.500", "de", "en", "12,500"),
        ("$1,234,567.89", "en", "de", "$1.234.567,89"),
        ("3.5 km", "en", "de-AT", "3,5 km"),
        ("3,5 %", "de", "ja", "3.5 %"),
        ("12,500", "en", "fr", "12\u202f500"),
        ("12\u00a0500,5", "fr", "en", "12,500.5"),
        ("1\u202f234", "sv", "en", "1,234"),
        ("12,500", "en", "en-GB", "12,500"),
        ("2026-11-30", "en", "de", "2026-11-30"),
        ("10:45", "en", "de", "10:45"),
        ("24.12.2026", "de", "en", "24.12.2026"),
        ("192.168.100.200", "de", "en", "192.168.100.200"),
        ("192.168.100.300", "de", "en", "192,168,100,300"),
        ("7", "en", "de", "7"),
        ("12,500", "source", "de", "12,500"),
        ("12,500", "en", "xx", "12,500"),
    ],
)
def test_separators_of_the_language(number, source, target, expected):
    assert localized(number, source, target) == expected


@given(st.integers(0, 10**9), st.integers(0, 99), st.sampled_from(["de", "fr", "ru", "ja", "pt-BR", "de-CH"]))
def test_there_and_back(whole, part, language):
    number = f"{whole:,}.{part:02}"
    assert localized(localized(number, "en", language), language, "en") == number
