"""The data cleaning report: findings from the numbers, and the page that shows them, for any text."""

import re
from html.parser import HTMLParser

import pytest

from nmtcli.config import CleaningConfig
from nmtcli.prepare.cleaning.rules import RULES, Example, example
from nmtcli.prepare.report.explanations import EXPLANATIONS
from nmtcli.prepare.report.findings import Finding, findings, percent
from nmtcli.prepare.report.page import page, write_page
from nmtcli.prepare.report.report import (
    CorpusReport,
    Histogram,
    Report,
    RuleReport,
    SplitReport,
    TextReport,
    TokenReport,
)
from nmtcli.prepare.report.tables import render
from nmtcli.prepare.statistics import RATIO_BINS, ratio_of

ON = ("malformed", "invalid-utf8", "empty", "markup", "copied", "held-out", "duplicate", "too-many-tokens")
LATIN = {"latin": 0.8, "blanks": 0.17, "symbols": 0.03}
MIXED = (0, 100, 300, 400, 300, 200, 100, 50, 20, 10)  # texts of very different lengths


def lengths(counts: tuple[int, ...] = MIXED) -> Histogram:
    return Histogram(edges=(*(10.0 * n for n in range(len(counts))), 1000.0), counts=counts)


def ratios(**counts: int) -> Histogram:
    """Pairs with the ratios 2 ** (n / 4) for `plus_n` and `minus_n`, as long as the bin."""
    bins = [0] * RATIO_BINS
    for name, count in counts.items():
        sign, _, number = name.partition("_")
        bins[RATIO_BINS // 2 + int(number) * (1 if sign == "plus" else -1)] = count
    return Histogram(edges=tuple(ratio_of(n) for n in range(RATIO_BINS + 1)), counts=tuple(bins))


def text(**changes: object) -> TextReport:
    usual = TextReport(texts=50_000, characters=2_500_000, words=400_000, scripts=LATIN, lengths=lengths())
    return usual.model_copy(update=changes)


def tokens(**changes: object) -> TokenReport:
    usual = TokenReport(
        tokens=600_000,
        unknown_share=0,
        byte_share=0.001,
        tokens_per_word=1.5,
        mean_length=12,
        longest=80,
        lengths=lengths(),
    )
    return usual.model_copy(update=changes)


def corpus(read: int = 50_000, name: str = "train", rules: tuple[str, ...] = ON, **dropped: int) -> CorpusReport:
    counts = dict.fromkeys(rules, 0) | {rule.replace("_", "-"): count for rule, count in dropped.items()}
    return CorpusReport(
        name=name,
        tag=None,
        pairs_read=read,
        pairs_kept=read - sum(counts.values()),
        crlf_lines=0,
        line_breaks=0,
        dropped=counts,
    )


def split(*corpora: CorpusReport, examples: tuple[Example, ...] = (), **changes: object) -> SplitReport:
    usual = SplitReport(
        corpora=corpora,
        rules={
            rule: RuleReport(dropped=sum(one.dropped[rule] for one in corpora), examples=examples)
            for rule in corpora[0].dropped
        },
        source=text(),
        target=text(),
        ratios=ratios(minus_1=5_000, plus_0=40_000, plus_1=5_000),
        source_tokens=tokens(),
        target_tokens=tokens(),
    )
    return usual.model_copy(update=changes)


def valid(*corpora: CorpusReport, **changes: object) -> SplitReport:
    return split(*(corpora or (corpus(2_000, "valid", ON[:3]),)), **changes)


def report(train: SplitReport | None = None, held: SplitReport | None = None, **changes: object) -> Report:
    usual = Report(
        source_language="en",
        target_language="de",
        source_vocabulary_size=8_000,
        target_vocabulary_size=8_000,
        train=train or split(corpus()),
        valid=held or valid(),
    )
    return usual.model_copy(update=changes)


def dry(one: SplitReport) -> SplitReport:
    return one.model_copy(update={"source_tokens": None, "target_tokens": None})


def only(one: Report) -> Finding:
    (found,) = findings(one)
    return found


def test_a_clean_corpus_has_no_findings():
    assert only(report()) == Finding("ok", "No problems found.", "")
    assert only(report(dry(split(corpus())), dry(valid()))).severity == "ok"


@pytest.mark.parametrize(
    ("rule", "few", "look", "bad"),
    [
        ("markup", 50, 51, 10_100),
        ("copied", 2_500, 2_600, 10_100),
        ("duplicate", 10_000, 10_100, None),
        ("empty", 500, 510, 2_600),
        ("invalid_utf8", 0, 1, 510),
        ("malformed", 0, 1, 510),
        ("held_out", 50, 51, 10_100),
    ],
)
def test_a_rule_that_drops_much_is_found(rule, few, look, bad):
    def severity(count: int) -> str:
        return only(report(split(corpus(**{rule: count})))).severity

    assert severity(few) == "ok"
    assert severity(look) == "warning"
    assert bad is None or severity(bad) == "problem"


def test_a_finding_is_about_the_corpus_where_a_rule_drops_most():
    one = report(split(corpus(90_000, "large"), corpus(1_000, "small <b>", markup=300), corpus(1_000, "other")))
    found = only(one)
    assert found.severity == "problem"
    assert "300 of 1,000 training pairs of small <b> (30.0%)" in found.text
    assert "data.cleaning.markup" in found.hint


def test_a_corpus_of_which_little_is_left_is_found():
    lost = split(corpus(), corpus(100, "lost", copied=100))
    assert any("kept no pair of the" in found.text and "corpus lost" in found.text for found in findings(report(lost)))
    empty = split(corpus(), corpus(0, "void"))
    assert "corpus void is empty" in only(report(empty)).text


def test_findings_are_sorted_by_severity():
    found = findings(report(split(corpus(5_000, empty=1_000, markup=300)), valid(corpus(100, "valid", ON[:3]))))
    severities = [one.severity for one in found]
    assert severities == sorted(severities)
    assert {"problem", "warning"} == set(severities)


@pytest.mark.parametrize("part", ["train", "held"])
def test_swapped_sides_are_found(part):
    greek, latin = text(scripts={"greek": 0.8, "blanks": 0.2}), text()
    right = {"train": split(corpus(), source=greek, target=latin), "held": valid(source=greek, target=latin)}
    name = "training" if part == "train" else "validation"
    assert only(report(**right, source_language="el", target_language="en")).severity == "ok"
    crossed = right[part].model_copy(update={"source": latin, "target": greek})
    found = only(report(**(right | {part: crossed}), source_language="el", target_language="en"))
    assert found.severity == "problem"
    assert f"sides of the {name} text are swapped" in found.text
    unknown = findings(report(**(right | {part: crossed})).model_copy(update={"source_language": "source"}))
    assert unknown[0].severity == "problem"


def test_the_script_of_a_language_is_known():
    cyrillic = text(scripts={"cyrillic": 0.8, "blanks": 0.2})
    one = report(split(corpus(), source=cyrillic), valid(source=cyrillic))
    assert [found.severity for found in findings(one)] == ["problem", "problem"]
    assert "Only 0% of the letters of the training source (en) are latin; most are cyrillic" in findings(one)[0].text
    for language in ("ru", "uk", "source"):
        assert only(one.model_copy(update={"source_language": language})).severity == "ok"


@pytest.mark.parametrize("language", ["ja", "target"])
def test_scripts_that_are_written_together_are_one(language):
    japanese = text(scripts={"cjk": 0.4, "hiragana": 0.4, "katakana": 0.1, "latin": 0.05, "symbols": 0.05})
    one = report(split(corpus(), target=japanese), valid(target=japanese), target_language=language)
    assert only(one).severity == "ok"


@pytest.mark.parametrize(
    ("main", "other", "share", "severity"),
    [
        ("latin", "cyrillic", 0.03, "ok"),
        ("latin", "cyrillic", 0.1, "warning"),
        ("latin", "cyrillic", 0.3, "problem"),
        ("hangul", "latin", 0.1, "ok"),
        ("hangul", "latin", 0.3, "warning"),
    ],
)
def test_a_second_script_is_found(main, other, share, severity):
    mixed = text(scripts={main: 1 - share, other: share})
    one = report(split(corpus(), target=mixed), valid(target=mixed), target_language="target")
    assert only(one).severity == severity
    assert severity == "ok" or f"data.cleaning.target_scripts: [{main}]" in only(one).hint
    checked = split(corpus(rules=(*ON, "wrong-script")), target=mixed)
    assert only(one.model_copy(update={"train": checked})).severity == "ok"


def test_uncorrelated_lengths_are_found():
    # as wide as both sides together: what independent sides have
    wide = ratios(minus_5=100, minus_4=200, minus_2=300, plus_0=300, plus_2=300, plus_4=200, plus_5=100)
    found = only(report(split(corpus(), ratios=wide)))
    assert found.severity == "problem"
    assert "training text correlate too little" in found.text
    assert "validation" in only(report(held=valid(ratios=wide))).text
    few = ratios(minus_5=10, minus_4=20, plus_0=30, plus_4=20, plus_5=10)
    assert only(report(held=valid(ratios=few))).severity == "ok"
    alike = text(lengths=lengths((0, 0, 0, 0, 0, 1000)))
    assert only(report(split(corpus(), source=alike, ratios=wide))).severity == "ok"


@pytest.mark.parametrize(
    ("changes", "severity", "word"),
    [
        ({"byte_share": 0.009}, "ok", ""),
        ({"byte_share": 0.02}, "warning", "character_coverage"),
        ({"byte_share": 0.2}, "problem", "character_coverage"),
        ({"unknown_share": 0.01}, "warning", "byte_fallback"),
        ({"unknown_share": 0.1}, "problem", "byte_fallback"),
        ({"tokens_per_word": 3.0}, "warning", "vocab_size"),
    ],
)
def test_unsuitable_tokenizers_are_found(changes, severity, word):
    found = only(report(split(corpus(), target_tokens=tokens(**changes))))
    assert found.severity == severity
    assert word in found.hint


def test_rare_characters_of_validation_text_are_reported_if_new():
    rare = tokens(byte_share=0.02)
    assert "validation source (en)" in only(report(held=valid(source_tokens=rare))).text
    both = findings(report(split(corpus(), source_tokens=rare), valid(source_tokens=rare)))
    assert ["training source" in found.text for found in both] == [True]


def test_tokens_per_word_are_ignored_without_spaces():
    thai = text(scripts={"thai": 0.97, "blanks": 0.03})
    one = split(corpus(), target=thai, target_tokens=tokens(tokens_per_word=20))
    assert only(report(one, valid(target=thai), target_language="th")).severity == "ok"


def test_validation_is_compared_with_training():
    assert "lost 1 of its 2,000 pairs (empty: 1)" in only(report(held=valid(corpus(2_000, "v", ON[:3], empty=1)))).text
    assert "199 validation pairs" in only(report(held=valid(corpus(199, "v", ON[:3])))).text
    short = text(characters=1_000_000)
    assert "much shorter" in only(report(held=valid(source=short, target=short))).text
    assert "much longer" in only(report(split(corpus(), source=short, target=short))).text


def test_little_text_is_found():
    assert only(report(split(corpus(10_000)))).severity == "ok"
    assert only(report(split(corpus(9_999)))).severity == "warning"
    assert only(report(split(corpus(999)))).severity == "problem"


def test_crlf_and_line_breaks_are_reported():
    for field, word in (("crlf_lines", "7 lines end with CRLF"), ("line_breaks", "7 line breaks")):
        assert word in only(report(split(corpus().model_copy(update={field: 7})))).text


def test_missing_comparison_with_test_text_is_reported():
    rules = tuple(rule for rule in ON if rule != "held-out")
    assert "data.cleaning.held_out: true" in only(report(split(corpus(rules=rules)))).hint


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (1e-9, "<0.01%"), (0.99999, ">99.9%"), (0.0042, "0.42%"), (0.0999, "10.0%")],
)
def test_shares_never_round_to_none_or_all(share, words):
    assert percent(share) == words


def test_every_rule_is_explained():
    assert tuple(EXPLANATIONS) == RULES
    settings = [name for explanation in EXPLANATIONS.values() for name in explanation.settings]
    assert sorted(settings) == sorted(CleaningConfig.model_fields)
    for explanation in EXPLANATIONS.values():
        assert explanation.meaning.endswith(".")
        assert explanation.advice


def test_findings_are_printed_on_the_terminal(capsys):
    from rich.console import Console

    Console(width=300).print(render(report(split(corpus(markup=20_000)))))
    assert "problem: The rule markup dropped 20,000" in capsys.readouterr().out
    Console(width=300).print(render(report()))
    assert "No problems found" not in capsys.readouterr().out


HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table></body><img src=https://example.org/a.png onerror=alert(1)>",
    "<style>@import url(//example.org/a.css);</style>",
    "\"' onmouseover='x' {{ 7 * 7 }} {% raw %} &lt;b&gt; <!-- ]]>",
    "\x00\x07\x1b[31m\u2028\u2029\ufeff\u202eabc\u2066 \ud7ff\ufffd ||| \ue000",
    "\u05d0\u05d1 \u0627\u0644 \u3042\u4e00",
    "",
)


class Reader(HTMLParser):
    """Every tag with its attributes, and the text outside of <style>."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags[-1:] and self.tags[-1][0] != "style":
            self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def hostile() -> Report:
    shown = tuple(example(f"{one}.gz", n, one, one, HOSTILE[n - 1]) for n, one in enumerate(HOSTILE))
    parts = (corpus(name=one or "x", markup=20_000).model_copy(update={"tag": "<2de>"}) for one in HOSTILE)
    train = split(*parts, examples=shown)
    return report(train, source_language=HOSTILE[0], target_language=HOSTILE[1])


def test_the_page_escapes_whatever_the_text_holds():
    plain, odd = read(page(report(split(corpus(markup=20_000))))), page(hostile())
    reader = read(odd)
    assert {tag for tag, _ in reader.tags} <= {tag for tag, _ in plain.tags} | {"ol", "li", "b", "details", "summary"}
    for one in HOSTILE[:4]:
        assert one in reader.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ue000]", reader.text)
    assert "U+0000 U+0007 U+001B" in reader.text
    assert "U+202E" in reader.text


@pytest.mark.parametrize("one", [report(), hostile()], ids=["plain", "hostile"])
def test_the_page_fetches_nothing(one):
    html = page(one)
    reader = read(html)
    policy = next(attrs["content"] for tag, attrs in reader.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    names = {name for _, attrs in reader.tags for name in attrs}
    assert not names & {"src", "href", "srcset", "data", "action", "background", "xlink:href"}
    assert not any(name.startswith("on") for name in names)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in reader.tags}
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert not re.search(r"@import|url\(|https?:", style)


def test_a_page_is_small_and_the_same_each_time(tmp_path):
    one = hostile()
    write_page(one, tmp_path / "a.html")
    write_page(Report.model_validate_json(one.model_dump_json()), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    long = example("corpus/" + 40 * "x", 123_456, "the source has a tag or an entity", 200 * "ᄀ", 200 * "<")
    full = split(corpus(rules=RULES, **{rule.replace("-", "_"): 20 for rule in RULES}), examples=(long,) * 10)
    assert len(page(report(full)).encode()) < 300_000


def test_the_page_shows_the_report():
    html = read(page(report(split(corpus(markup=20_000), examples=(example("train.en", 5, "odd", "one", "two"),)))))
    for words in ("30,000", "60.0% of 50,000 read", "markup", "train.en:5", "10 to 19", "Lengths in tokens", "1/8"):
        assert words in html.text, words
    without = report(dry(split(corpus())), dry(valid()), source_vocabulary_size=None, target_vocabulary_size=None)
    assert "a dry run does not encode" in read(page(without)).text
    assert "Lengths in tokens" not in page(without)


def test_a_page_of_a_single_short_text():
    tiny = Histogram(edges=(0.0, 1.0, 2.0, 1000.0), counts=(0, 1, 0))
    none = Histogram(edges=(0.0, 1.0, 1000.0), counts=(0, 0))
    sides = {"source": text(texts=1, lengths=tiny), "target": text(texts=0, scripts={}, lengths=none)}
    one = split(corpus(1), **sides, ratios=ratios())
    assert "<rect" in page(report(one, one))
