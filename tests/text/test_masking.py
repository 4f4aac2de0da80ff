"""Protected spans behind placeholder symbols, and violations."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from nmtcli.text.edits import edited
from nmtcli.text.inline import Violation
from nmtcli.text.masking import MOST, mask, pair_edits, plant, shared_spans, span_violations, symbols, unmask
from nmtcli.text.spans import KINDS, Scanner, Span
from nmtcli.vocabulary import check_symbols
from tests.text.test_spans import PIECES, SCANNER, TEXTS

# single brackets around a placeholder symbol would make another span
SPACED = st.lists(st.sampled_from([piece for piece in PIECES if piece not in "{}<>'"]), max_size=12).map(" ".join)


@given(TEXTS)
def test_unmasking_the_masked_text_gives_it_again(text):
    masked = mask(text, SCANNER.scan(text))
    assert masked.versions.first == text
    again, violations = unmask(masked.text, masked)
    assert again.second == text and not violations
    assert again.first == masked.text
    for span in masked.spans.values():
        assert text[span.start : span.end] == span.text


@given(SPACED)
def test_a_masked_text_has_nothing_left_to_protect_but_symbols(text):
    masked = mask(text, SCANNER.scan(text))
    again = SCANNER.scan(masked.text)
    names = [span.text for span in again if span.text in masked.spans]
    assert sorted(names) == sorted(masked.spans)
    left = {span.kind for span in SCANNER.scan(text)} if len(SCANNER.scan(text)) > MOST else set()
    assert {span.kind for span in again if span.text not in masked.spans} <= left
    assert mask(masked.text, SCANNER.scan(masked.text), known=()).text == masked.text


@given(TEXTS, st.sets(st.sampled_from(symbols(["url", "number", "variable"]))))
def test_only_known_symbols_are_used(text, known):
    masked = mask(text, SCANNER.scan(text), known=known)
    assert masked.spans.keys() <= known
    assert unmask(masked.text, masked)[0].second == text


def test_symbols_can_be_in_a_vocabulary():
    check_symbols(symbols(KINDS))
    assert len(symbols(KINDS)) == MOST * len(KINDS)


def test_spans_are_numbered_within_their_kind():
    masked = mask("See www.a.org, www.b.org: 5 km", SCANNER.scan("See www.a.org, www.b.org: 5 km"))
    assert masked.text == "See __URL__, __URL_2__: __NUMBER__"
    restored, violations = unmask("__NUMBER__ : __URL_2__ __URL_2__ __EMAIL__", masked)
    assert restored.second == "5 km : www.b.org www.b.org __EMAIL__"
    assert violations == [
        Violation("missing", "www.a.org"),
        Violation("repeated", "www.b.org"),
        Violation("added", "__EMAIL__"),
    ]


def test_symbols_of_the_text_itself_are_no_other_spans():
    masked = mask("__URL__ www.a.org", SCANNER.scan("__URL__ www.a.org"))
    assert masked.text == "__SYMBOL__ __URL_2__"
    bare = mask("__URL__ www.a.org", Scanner(["url"]).scan("__URL__ www.a.org"))
    assert bare.text == "__URL__ __URL_2__"
    assert unmask("__URL_2__ __URL__", bare)[1] == []  # the text has one itself
    many = mask(
        " ".join(f"{number}.5" for number in range(12)), SCANNER.scan(" ".join(f"{number}.5" for number in range(12)))
    )
    assert len(many.spans) == MOST
    assert many.text.endswith("9.5 10.5 11.5")


def mask_pair(source, target):
    of_source, of_target = pair_edits(shared_spans(source, target, SCANNER, KINDS))
    return edited(source, of_source), edited(target, of_target)


@given(TEXTS)
def test_a_pair_of_the_same_texts_is_masked_as_one_text(text):
    masked = mask(text, SCANNER.scan(text)).text
    assert mask_pair(text, text) == (masked, masked)


@given(TEXTS, TEXTS)
def test_both_sides_of_a_pair_have_the_same_symbols(source, target):
    new = [name for name in symbols(KINDS) if name not in source and name not in target]
    names = [[name for name in new if name in text] for text in mask_pair(source, target)]
    assert names[0] == names[1]


def test_what_only_one_side_has_stays():
    pair = mask_pair("See www.a.org: 5 km of 12,500 and 7", "7 von 12.500, 5 km: www.a.org")
    assert pair == (
        "See __URL__: __NUMBER__ of 12,500 and __NUMBER_2__",
        "__NUMBER_2__ von 12.500, __NUMBER__: __URL__",
    )


def test_known_spans_are_masked_too():
    masked = mask("Run a b in 5 s", SCANNER.scan("Run a b in 5 s", [Span(4, 7, "code", "a b")]))
    assert masked.text == "Run __CODE__ in __NUMBER__"
    assert unmask(masked.text, masked)[0].second == "Run a b in 5 s"


@given(TEXTS)
def test_the_text_itself_violates_nothing(text):
    spans = SCANNER.scan(text)
    assert span_violations(spans, text, SCANNER) == []
    assert {one.text for one in span_violations(spans, "", SCANNER)} == {span.text for span in spans}


def test_violations_without_masks():
    spans = SCANNER.scan("5 km and 5 with {n}, {{n}} and 12")
    assert span_violations(spans, "{{n}} {n} 5, 12 5 km", SCANNER) == []
    assert span_violations(spans, "5 km {{n}} {n} {n} 112", SCANNER) == [
        Violation("missing", "5"),
        Violation("missing", "12"),
        Violation("repeated", "{n}"),
    ]


@given(TEXTS, TEXTS, st.integers(0, 99))
def test_a_planted_symbol_replaces_one_name_of_both_sides(source, target, seed):
    planted = plant(f"{source} Tom", f"Tom {target}", ["url", "email"], Random(seed))
    if planted is None:
        return
    (new,) = [name for name in ("__URL__", "__EMAIL__") if all(name in side for side in planted)]
    assert [side.count(new) for side in planted] == [1, 1]
    before, after = planted[0].split(new)
    assert f"{source} Tom".startswith(before) and f"{source} Tom".endswith(after)


def test_only_names_that_both_sides_have_once_are_replaced():
    assert plant("Tom met Mary.", "Tom traf Maria.", ["url"], Random(1)) == ("__URL__ met Mary.", "__URL__ traf Maria.")
    assert plant("Tom met Tom.", "Tom traf Tom.", ["url"], Random(1)) is None
    assert plant("Thomas", "Tom", ["url"], Random(1)) is None


def test_a_name_before_a_combining_mark_is_not_cut():
    pairs = {plant("My Jose\u0301 and Tom", "Mi Jose\u0301 y Tom", ["url"], Random(seed)) for seed in range(20)}
    assert pairs == {("My Jose\u0301 and __URL__", "Mi Jose\u0301 y __URL__")}
    assert plant("the E\u0301COLE", "die E\u0301COLE", ["url"], Random(0)) is None


def test_many_spans_on_both_sides_take_no_long_time():
    text = " ".join(map(str, range(20_000)))
    assert len(shared_spans(text, text, Scanner())) == MOST
