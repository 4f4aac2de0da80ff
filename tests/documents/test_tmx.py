"""TMX written, and read again by the reader of nmt prepare."""

from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nmtcli.data.files import File
from nmtcli.documents.tmx import tmx
from nmtcli.prepare.readers.records import Sides
from nmtcli.prepare.readers.tmx import Tmx
from nmtcli.text.inline import Tag, content_of
from nmtcli.text.spans import Scanner

TEXT = st.text(alphabet="ab é&<>\"'語]", min_size=1, max_size=9).map(lambda text: f"w{text}w")


def read(path):
    blocks = list(Tmx(File(str(path), path), Sides(("en", "de"), None)).blocks())
    rows = [block.rows() for block in blocks]
    return [pair for one in rows for pair in zip(one.sources, one.targets, strict=True)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_pairs_are_read_again(tmp_path, pairs):
    path = tmp_path / "a.tmx"
    path.write_text("".join(tmx((((source,), (target,)) for source, target in pairs), "en", "de")), "utf-8")
    assert read(path) == pairs


def test_tags_become_codes():
    text = "A <b>bold</b> word<br/>"
    content = content_of(text, Scanner({"tag"}).scan(text))
    root = ElementTree.fromstring(
        "".join(tmx([(content, ("Ein <Wort>\x02",)), (content, (Tag("<b>", "open"),))], "en", "de"))
    )
    assert [element.tag for element in root.iter("seg")] == ["seg", "seg"]
    source, target = root.iter("seg")
    assert [(code.tag, code.get("i"), code.text) for code in source] == [
        ("bpt", "1", "<b>"),
        ("ept", "1", "</b>"),
        ("ph", None, "<br/>"),
    ]
    assert target.text == "Ein <Wort>"


def test_a_tab_stays_a_tab():
    written = "".join(tmx([(("a\tb",), ("c\td",))], "en", "de"))
    assert "<seg>a\tb</seg>" in written and "<seg>c\td</seg>" in written
