"""JSON lines as input and output: usual keys are known, keys of the user are kept, output is valid JSON."""

import io
import json

import pytest

from nmtcli import strict_json
from nmtcli.errors import DataError
from nmtcli.translate.formats import render
from nmtcli.translate.lines import LineReader, Report, parse_json
from nmtcli.translate.translation import Candidate, Translation
from tests.conftest import nmt
from tests.prepare.test_readers import open_corpus, pairs_of, write


@pytest.mark.parametrize("name", ["source", "src", "text", "sentence", "input"])
def test_usual_source_keys_of_json_lines_are_known(name):
    request = parse_json(json.dumps({"id": 1, name: "one"}))
    assert request is not None and request.source == "one"
    windows = LineReader(io.BytesIO(json.dumps({name: "one"}).encode())).windows()
    assert next(windows).jsonl


@pytest.mark.parametrize("name", ["Source", "SRC", "Text"])
def test_usual_keys_are_known_in_upper_case(name):
    request = parse_json(json.dumps({name: "one", "id": 3}))
    assert request is not None and request.source == "one" and request.extra["id"] == 3


def test_the_key_source_has_precedence():
    request = parse_json('{"text": "other", "source": "one"}')
    assert request is not None and request.source == "one" and request.extra == {"text": "other"}


@pytest.mark.parametrize("start", [b"\n", b"\n\n", b"\xef\xbb\xbf\n", b"  \n", b"\r\n", b"\xef\xbb\xbf"])
def test_blank_lines_before_the_first_object(start, tmp_path):
    (window,) = LineReader(io.BytesIO(start + b'{"text": "one"}\n')).windows()
    report = Report()
    assert window.jsonl
    assert [request and request.source for request in window.requests(report)][-1] == "one"
    assert not report.tallies
    content = start + b'{"source": "one", "target": "eins"}\n'
    assert pairs_of(open_corpus(tmp_path, path=write(tmp_path / "x.jsonl", content)).reader)[-1] == ("one", "eins")


@pytest.mark.parametrize("nested", [5, 1.5, True, "Hallo", ["a"], {}])
def test_a_field_named_translation_of_another_kind_costs_its_row_only(nested, tmp_path):
    rows = [{"source": "one", "target": "eins"}, {"id": 3, "translation": nested}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (block,) = open_corpus(tmp_path, path=write(tmp_path / "x.jsonl", content)).reader.blocks()
    problem = block.rows().problems[1]
    assert problem.reason == "no source and target among id, translation"


def test_the_fields_of_a_record_without_pair_are_named(tmp_path):
    content = b'{"original": "Hello", "translation": "Hallo"}\n'
    with pytest.raises(DataError, match=r"no source and target among original, translation$"):
        open_corpus(tmp_path, path=write(tmp_path / "x.jsonl", content))


def test_json_without_text_is_refused(trained, tmp_path, capsys):
    (tmp_path / "in").write_text('{"id": 1, "body": "one two"}\n', "utf-8")
    assert nmt("translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out") == 0
    assert "JSON without text under source, src, text" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"id": 1, "body": "one"}\n', 1),
        ('\n\ufeff\n{"id": 1}\n', 3),
        ('{"source": "one", "weight": NaN}\n', 1),
        ('{"source": "one", "weight": ' + "9" * 5000 + "}\n", 1),
        ('{"source": "one", "x": ' + "[" * 100_000 + "]" * 100_000 + "}\n", 1),
        ('{"source": "one"\n', 1),
        ('{"source": 5}\n', 1),
        ('[\n{"source": "one"},\n]\n', 1),
        ('[{"source": "one"}]\n', 1),
        ("{one} two\n", None),
        ("[one] two\n", None),
        ('"one" two\n', None),
        ('{one} says: {"two": 3}\n', None),
    ],
)
def test_json_lines_read_as_text_give_a_warning(text, line):
    (window,) = LineReader(io.BytesIO(text.encode())).windows()
    report = Report()
    window.requests(report)
    assert not window.jsonl
    assert (report.tallies["json"].first if "json" in report.tallies else None) == line


@pytest.mark.parametrize("key", ["requierd", "Required", "ban", "bannd", "prefx"])
def test_a_misspelt_key_is_reported(key):
    (window,) = LineReader(io.BytesIO(json.dumps({"source": "one", key: ["x"]}).encode())).windows()
    report = Report()
    window.requests(report)
    assert ("misspelt" in report.tallies) == (key != "ban")


@pytest.mark.parametrize("key", ["id", "prompt", "requirements", "lang", "page"])
def test_additional_keys_are_accepted(key):
    (window,) = LineReader(io.BytesIO(json.dumps({"source": "one", key: "x"}).encode())).windows()
    report = Report()
    window.requests(report)
    assert not report.tallies


@pytest.mark.parametrize("key", ["prefix", "required", "banned"])
def test_null_values_of_a_request_mean_unset(key):
    request = parse_json(json.dumps({"source": "one", key: None}))
    assert request is not None and not getattr(request, key)
    assert request.extra == {key: None}


def test_additional_json_keys_are_copied_to_the_output():
    given = {
        "source": "one",
        "line": 7,
        "translation": "mine",
        "candidates": 0,
        "problems": [],
        "id": 3,
        "banned": ["x"],
    }
    request = parse_json(json.dumps(given))
    assert request is not None
    translation = Translation("one", (Candidate("eins", -1.0, -2.0),), problems=("unmet",))
    record = json.loads(render(translation, 1, "jsonl", extra=request.extra))
    assert (record["line"], record["translation"], record["problems"]) == (1, "eins", ["unmet"])
    assert record["input"] == {"line": 7, "translation": "mine", "candidates": 0, "problems": []}
    assert record["id"] == 3 and record["banned"] == ["x"]
    own = json.loads(render(translation, 1, "jsonl", extra={"input": "text"}))
    assert own["input"] == "text"
    both = json.loads(render(translation, 1, "jsonl", extra={"input": "text", "line": 7}))
    assert both["input"] == {"input": "text", "line": 7}


def refuse(constant: str):
    raise AssertionError(constant)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_output_is_valid_json(number):
    candidate = Candidate("a", number, number)
    line = render(Translation("s", (candidate,)), 1, "jsonl", extra={"x": [number, {"y": number}], "half": "\ud800"})
    record = json.loads(line, parse_constant=refuse)
    assert record["x"] == [None, {"y": None}]
    assert record["candidates"][0]["score"] is None
    assert json.loads(strict_json.dumps({"a": candidate}), parse_constant=refuse)["a"]["score"] is None


@pytest.mark.parametrize(
    "names", [("src", "tgt"), ("src", "trg"), ("Source", "Target"), ("text", "translation"), ("EN", "DE")]
)
def test_usual_keys_of_pairs_are_known(names, tmp_path):
    content = json.dumps({"id": 1, **dict(zip(names, ("one", "eins"), strict=True))}).encode() + b"\n"
    assert pairs_of(open_corpus(tmp_path, path=write(tmp_path / "x.jsonl", content)).reader) == [("one", "eins")]


def test_a_first_line_of_more_than_a_megabyte_is_read(tmp_path):
    long = "a" * 2**21
    content = json.dumps({"source": long, "target": "b"}) + '\n{"source": "c", "target": "d"}\n'
    corpus = open_corpus(tmp_path, path=write(tmp_path / "x.jsonl", content.encode()))
    corpus.reader.check()
    assert pairs_of(corpus) == [(long, "b"), ("c", "d")]
