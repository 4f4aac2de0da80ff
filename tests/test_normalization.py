"""What a reader would miss comes back from the tokenizer, in any language, by default settings."""

import unicodedata

import pytest

from nmtcli.config import TokenizerConfig
from nmtcli.data.normalization import rules
from nmtcli.data.tokenizer import Tokenizer

# Lines with what NFKC would change: full-width punctuation, joiners, word breaks, letters of two parts, superscripts.
LINES = {
    "zh": ["你好，世界！这是（测试）：“真的吗？”；百分之５０～６０。", "他说：「走吧……」价格为￥３００，约１００㎡。"],
    "ja": ["「え！？　ほんとう？」と彼女は言った（笑）。", "東京〜大阪間は約５００㎞、第②章：ﾃｽﾄ％。"],
    "ko": ["“정말요?” 그는 ‘네…’라고 말했다. 약 30㎡(9평)·１층", "㈜한국은 ｢시험｣을 보았다."],
    "th": ["น้ำแข็งทำให้เย็นฉ่ำ และสำคัญมากๆ", "ราคา ๒๕๐ บาท ฯลฯ ตำรวจ\u200bกำลัง\u200bทำงาน"],
    "fa": ["می‌خواهم کتاب‌ها را بخوانم؛ آیا می‌شود؟", "خانه‌ی ما ۱۲٫۵ کیلومتر دورتر است، نه؟ «بله»"],
    "km": ["ខ្ញុំ\u200bស្រឡាញ់\u200bប្រទេស\u200bកម្ពុជា។", "តើ\u200bអ្នក\u200bសុខសប្បាយ\u200bទេ? ១០០៛"],
    "hi": ["क्‍या आप ज़रूर आएँगे? यह १००% सच है।", "श्री शर्मा ने कहा — “नमस्ते”; क्\u200cष और क्\u200dष।"],
    "ar": ["هل هذا صحيح؟ نعم، ١٢٫٥٪ من السكّان؛ ﷺ", "قال: «لا إله إلا الله»… كتـــاب\u200f!"],
    "vi": ["Tôi không hiểu tiếng Việt… “Thật không?” 25 m²", "Giá là 1.000₫, giảm ½ – nhanh lên!"],
    "de": ["Straße, Größe: 5 m², ½ Liter, 20 °C … „Nein!“ – ‚doch‘", "Das kostet 3 € (²/₃ weniger), № 5™ ﬁnden."],
}


def seen(line: str) -> str:
    """What a reader sees: canonically equivalent characters alike, a blank for each run of blanks."""
    return " ".join(unicodedata.normalize("NFC", line).split())


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request) -> Tokenizer:
    lines = [line for both in LINES.values() for line in both] * 3
    return Tokenizer.train(lines, TokenizerConfig(type=request.param, vocab_size=800))


@pytest.mark.parametrize("language", LINES)
def test_nothing_that_a_reader_would_miss_is_lost(tokenizer, language):
    for line in LINES[language]:
        assert tokenizer.decode(tokenizer.encode([line])[0]) == seen(line)


def test_canonically_equivalent_spellings_are_one(tokenizer):
    for line in ("Tiếng Việt", "한국어", "naïve Ångström"):
        forms = {tuple(tokenizer.encode([unicodedata.normalize(form, line)])[0]) for form in ("NFC", "NFD")}
        assert len(forms) == 1
    assert tokenizer.normalize("e\u0302\u0323 ê\u0323 ẹ\u0302") == "\u1ec7 \u1ec7 \u1ec7"


def test_spaces_and_control_characters_are_normalised(tokenizer):
    assert tokenizer.normalize("\ufeffa\tb\u00a0c\u3000d\u2028e\u0085f\x07g▁h") == "a b c d e fg h"


def test_lowercasing_keeps_visible_characters():
    lower = Tokenizer.train(["Straße ÀÉ，"] * 5, TokenizerConfig(vocab_size=300, lowercase=True))
    assert lower.normalize("STRAẞE Straße A\u0300，！") == "straße straße à，！"


def test_rules_name_no_file_and_are_the_same_each_time():
    lines = ["a b，c"] * 3
    one, two = (Tokenizer.train(lines, TokenizerConfig(vocab_size=270)) for _ in range(2))
    assert one == two
    assert b".tsv" not in one._model
    assert b"nmt_nfc" in one._model


@pytest.mark.parametrize("lowercase", [False, True])
def test_rules_end_in_one_step(lowercase):
    table = rules(lowercase)
    assert not [written for written in table.values() if any(character in table for character in written)]
