"""Default normalization keeps the visible characters of any language."""

import re
import unicodedata

import pytest

from nmtcli.config import TokenizerConfig
from nmtcli.data.normalization import rules
from nmtcli.data.tokenizer import Tokenizer
from tests.conftest import ROOT

DATA_PAGE = ROOT / "docs" / "data.md"
# Lines with what NFKC would change: full-width punctuation, joiners, word breaks, letters of two parts, superscripts.
LINES = {
    "zh": [
        "你好，世界！这是（测试）：“真的吗？”；百分之５０～６０。",
        "他说：「走吧……」价格为￥３００，约１００㎡。",
        "研究人员表示，“这是第一次”——结果发表在《自然》杂志上。",
        "会议将于２０２６年１１月（星期一）举行；地点：北京／上海。",
        "他问：“你吃了吗？”我说：“还没有呢～”",
    ],
    "ja": [
        "「え！？　ほんとう？」と彼女は言った（笑）。",
        "東京〜大阪間は約５００㎞、第②章：ﾃｽﾄ％。",
        "研究チームは「初の成果だ」と述べ、論文は『ネイチャー』に掲載された。",
        "会議は２０２６年１１月（月）に開催；場所：東京／大阪。",
        "ｶﾀｶﾅと全角ＡＢＣ、㈱テスト、①〜③、々〆ヵヶ",
    ],
    "ko": [
        "“정말요?” 그는 ‘네…’라고 말했다. 약 30㎡(9평)·１층",
        "㈜한국은 ｢시험｣을 보았다.",
        "연구진은 “처음 있는 일”이라며 결과를 ｢네이처｣에 발표했다.",
        "회의는 ２０２６년 １１월(월)에 열린다；장소：서울／부산。",
        "ㅋㅋㅋ 정말? ㅠㅠ … 값은 ₩3,000~₩5,000",
    ],
    "th": [
        "น้ำแข็งทำให้เย็นฉ่ำ และสำคัญมากๆ",
        "ราคา ๒๕๐ บาท ฯลฯ ตำรวจ\u200bกำลัง\u200bทำงาน",
        "นักวิจัยกล่าวว่า “นี่เป็นครั้งแรก” ผลงานตีพิมพ์แล้ว",
        "การประชุมจะจัดขึ้นในวันที่ ๓๐ พฤศจิกายน ๒๕๖๙",
        "ทำไมน้ำจึงทำให้คำว่า ‘จำ’ สำคัญ",
    ],
    "fa": [
        "می‌خواهم کتاب‌ها را بخوانم؛ آیا می‌شود؟",
        "خانه‌ی ما ۱۲٫۵ کیلومتر دورتر است، نه؟ «بله»",
        "پژوهشگران می‌گویند این نخستین‌بار است که چنین نتیجه‌ای به‌دست می‌آید.",
        "نشست در ۳۰ نوامبر ۲۰۲۶ برگزار می‌شود؛ مکان: تهران/شیراز.",
        "آن‌ها کتاب‌هایشان را نمی‌خواهند!",
    ],
    "km": [
        "ខ្ញុំ\u200bស្រឡាញ់\u200bប្រទេស\u200bកម្ពុជា។",
        "តើ\u200bអ្នក\u200bសុខសប្បាយ\u200bទេ? ១០០៛",
        "អ្នក\u200bស្រាវជ្រាវ\u200bបាន\u200bនិយាយ\u200bថា នេះ\u200bជា\u200bលើក\u200bទី\u200bមួយ។",
        "ការ\u200bប្រជុំ\u200bនឹង\u200bធ្វើ\u200bនៅ\u200bថ្ងៃ\u200bទី ៣០ ខែ\u200bវិច្ឆិកា ឆ្នាំ ២០២៦។",
        "តម្លៃ ៥០០០៛ ឬ ១,២៥ ដុល្លារ៖ «ថ្លៃ\u200bណាស់»",
    ],
    "hi": [
        "क्‍या आप ज़रूर आएँगे? यह १००% सच है।",
        "श्री शर्मा ने कहा — “नमस्ते”; क्\u200cष और क्\u200dष।",
        "शोधकर्ताओं ने कहा, “यह पहली बार है”; परिणाम प्रकाशित हुए।",
        "बैठक ३० नवंबर २०२६ को होगी—स्थान: दिल्ली/मुंबई।",
        "ज़िंदगी, फ़ोन, पढ़ाई, क़लम और ख़बर।",
    ],
    "ar": [
        "هل هذا صحيح؟ نعم، ١٢٫٥٪ من السكّان؛ ﷺ",
        "قال: «لا إله إلا الله»… كتـــاب\u200f!",
        "قال الباحثون: «هذه هي المرّة الأولى»، ونُشرت النتائج أمس.",
        "يُعقد الاجتماع في ٣٠ نوفمبر ٢٠٢٦؛ المكان: القاهرة/دبي.",
        "بِسْمِ ٱللَّهِ ٱلرَّحْمَٰنِ ٱلرَّحِيمِ",
    ],
    "vi": [
        "Tôi không hiểu tiếng Việt… “Thật không?” 25 m²",
        "Giá là 1.000₫, giảm ½ – nhanh lên!",
        "Các nhà nghiên cứu nói: “Đây là lần đầu tiên”, kết quả đã được công bố.",
        "Cuộc họp diễn ra ngày 30/11/2026; địa điểm: Hà Nội – Đà Nẵng.",
        "Nguyễn Thị Ánh Tuyết đã đến trường từ rất sớm.",
    ],
    "de": [
        "Straße, Größe: 5 m², ½ Liter, 20 °C … „Nein!“ – ‚doch‘",
        "Das kostet 3 € (²/₃ weniger), № 5™ ﬁnden.",
        "Die Forschenden sagten: „Das ist das erste Mal“ – die Ergebnisse sind erschienen.",
        "Die Sitzung ist am 30.\u00a011.\u00a02026; Ort: Köln/Bonn.",
        "§ 5 Abs. 2 BGB, ¾ der Fläche, 10³ kg, à la carte, naïve Café‑Gäste",
    ],
}


def seen(line: str) -> str:
    """What a reader sees: canonically equivalent characters alike, a blank for each run of blanks."""
    return " ".join(unicodedata.normalize("NFC", line).split())


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request) -> Tokenizer:
    lines = [line for both in LINES.values() for line in both] * 3
    return Tokenizer.train(lines, TokenizerConfig(type=request.param, vocab_size=1200))


@pytest.mark.parametrize("language", LINES)
def test_visible_characters_survive_normalization(tokenizer, language):
    for line in LINES[language]:
        assert tokenizer.decode(tokenizer.encode([line])[0]) == seen(line)


@pytest.mark.parametrize("language", LINES)
def test_documented_normalization_table_is_correct(language):
    (row,) = re.findall(rf"^\| {language} \| (\d+) \| (\d+) \| [^|]+ \| (\d+)", DATA_PAGE.read_text("utf-8"), re.M)
    lines = [line for both in LINES.values() for line in both] * 3
    counts = [len(LINES[language])]
    for normalization in ("auto", "nmt_nfkc"):
        tokenizer = Tokenizer.train(lines, TokenizerConfig(vocab_size=1200, normalization=normalization))
        counts.append(sum(tokenizer.decode(tokenizer.encode([line])[0]) == line for line in LINES[language]))
    assert [int(number) for number in row] == counts


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


def test_normalization_rules_are_reproducible():
    lines = ["a b，c"] * 3
    one, two = (Tokenizer.train(lines, TokenizerConfig(vocab_size=270)) for _ in range(2))
    assert one == two
    assert b".tsv" not in one._model
    assert b"nmt_nfc" in one._model


@pytest.mark.parametrize("lowercase", [False, True])
def test_normalization_is_idempotent(lowercase):
    table = rules(lowercase)
    assert not [written for written in table.values() if any(character in table for character in written)]
