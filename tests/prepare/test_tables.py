"""CSV, TSV and Parquet as spreadsheets and data frames write them: columns by name, bad rows drop only themselves."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.errors import DataError
from nmtcli.prepare.rows import HEADER, QUOTED
from tests.conftest import ROOT
from tests.prepare.test_readers import open_corpus, pairs_of, write

GOOD = [("Hello", "안녕"), ("Bye, now", "잘 가")]


def read(folder: Path, name: str, content: str | bytes, **more) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs of the good rows, and the reason for each bad one."""
    raw = content.encode() if isinstance(content, str) else content
    pairs, reasons = [], []
    for block in open_corpus(folder, path=write(folder / name, raw), **more).reader.blocks():
        rows = block.rows()
        bad = {index: problem.reason for index, problem in rows.problems.items()}
        reasons += bad.values()
        pairs += [pair for n, pair in enumerate(zip(rows.sources, rows.targets, strict=True)) if n not in rows.problems]
    return pairs, reasons


def noted(folder: Path, name: str, content: str, **more) -> dict[str, int]:
    corpus = open_corpus(folder, path=write(folder / name, content.encode()), **more)
    return next(iter(corpus.reader.blocks())).rows().notes


CSV = {
    "plain": 'source,target\nHello,안녕\n"Bye, now",잘 가\n',
    "CRLF": 'source,target\r\nHello,안녕\r\n"Bye, now",잘 가\r\n',
    "byte order mark": '\ufeffsource,target\nHello,안녕\n"Bye, now",잘 가\n',
    "languages": 'EN,De\nHello,안녕\n"Bye, now",잘 가\n',
    "regions": 'en-US,de_AT\nHello,안녕\n"Bye, now",잘 가\n',
    "other names": 'src,tgt\nHello,안녕\n"Bye, now",잘 가\n',
    "names with blanks": 'Source , Target\nHello,안녕\n"Bye, now",잘 가\n',
    "quoted names": '"source","target"\n"Hello","안녕"\n"Bye, now","잘 가"\n',
    "index of pandas": ',source,target\n0,Hello,안녕\n1,"Bye, now",잘 가\n',
    "index without a name": 'source,target\n0,Hello,안녕\n1,"Bye, now",잘 가\n',
    "identifiers": 'id,source,target\na1,Hello,안녕\na2,"Bye, now",잘 가\n',
    "other order": 'target,id,source\n안녕,1,Hello\n잘 가,2,"Bye, now"\n',
    "trailing commas": 'source,target,\nHello,안녕,\n"Bye, now",잘 가,\n',
    "trailing commas below": 'source,target\nHello,안녕,\n"Bye, now",잘 가,,\n',
    "sep=,": 'sep=,\nsource,target\nHello,안녕\n"Bye, now",잘 가\n',
    "sep=;": "sep=;\nsource;target\nHello;안녕\nBye, now;잘 가\n",
    "semicolons": "source;target\nHello;안녕\nBye, now;잘 가\n",
    "tabs": "source\ttarget\nHello\t안녕\nBye, now\t잘 가\n",
    "blank lines": 'source,target\nHello,안녕\n\n"Bye, now",잘 가\n\n',
    "no end": 'source,target\nHello,안녕\n"Bye, now",잘 가',
}


@pytest.mark.parametrize("kind", CSV)
def test_usual_csv_dialects_are_read(kind, tmp_path):
    assert read(tmp_path, "x.csv", CSV[kind]) == (GOOD, [])


@pytest.mark.parametrize(
    "row",
    ["Hello, world,안녕", "alone", '"open,안녕', '"a"b,안녕', "a,b,c,d", '"Hello, "world"",안녕', '5" disk, 5인치,x'],
)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_ragged_row_drops_only_itself(row, where, tmp_path):
    rows = ["Hello,안녕", '"Bye, now",잘 가']
    rows.insert({"first": 0, "middle": 1, "last": 2}[where], row)
    pairs, reasons = read(tmp_path, "x.csv", "\n".join(["en,de", *rows]) + "\n")
    assert pairs == GOOD
    assert len(reasons) == 1


def test_a_quote_within_a_cell_is_text(tmp_path):
    assert read(tmp_path, "x.csv", 'en,de\n5" disk,5" Scheibe\nsay ""x"",y\n')[0][0] == ('5" disk', '5" Scheibe')


def test_a_quote_that_stays_open_does_not_take_the_rest_of_the_file(tmp_path):
    rows = [f"row {n},Zeile {n}" for n in range(500)]
    pairs, reasons = read(tmp_path, "x.csv", "\n".join(["en,de", '"open,offen', *rows, '"open,offen', *rows]))
    assert len(pairs) == 1000
    assert reasons == ["a quote is not closed"] * 2


def test_latin_1_in_a_row_is_counted(tmp_path):
    pairs, reasons = read(tmp_path, "x.csv", b"en,de\na,f\xfcr\nb,c\n")
    assert pairs == [("b", "c")]
    assert "not UTF-8" in reasons[0]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1)


@given(st.lists(st.tuples(cells, cells), min_size=1))
def test_csv_files_of_pythons_writer_are_read(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("source", "target"), *rows])
    folder = tmp_path_factory.mktemp("csv")
    assert read(folder, "x.csv", text.getvalue()) == (rows, [])


@pytest.mark.parametrize("length", [140_000, 3_000_000])
def test_a_long_header_is_shortened_in_the_message(length, tmp_path):
    for content in ("x" * length + ",y\n1,2\n", ",".join(["x"] * (length // 2)) + "\n"):
        with pytest.raises(DataError, match="no source and target among") as raised:
            read(tmp_path, "x.csv", content)
        assert len(str(raised.value)) < 500
    pairs, _ = read(tmp_path, "x.csv", "source,target," + "x" * length + "\na,b,c\n")
    assert pairs == [("a", "b")]


def test_columns_can_be_counted(tmp_path):
    assert read(tmp_path, "x.csv", "1,Hello,안녕\n", columns=("2", "3"))[0] == [("Hello", "안녕")]
    assert read(tmp_path, "x.csv", "id,source,target\n1,Hello,안녕\n", columns=("3", "2"))[0] == [("안녕", "Hello")]
    commas = "Hallo, Welt;Hello, world\nGuten Tag, mein Freund;Good day, my friend\nJa;Yes\n"
    assert [pair[1] for pair in read(tmp_path, "x.csv", commas, columns=("1", "2"))[0]] == [
        *("Hello, world", "Good day, my friend", "Yes")
    ]
    one_row = "Hallo, Welt;Hello, world\n"
    assert read(tmp_path, "x.csv", one_row, columns=("1", "2"))[0] == [("Hallo, Welt", "Hello, world")]
    unnamed = "id\tlang\t\t\n1\tde\tHello\tHallo\n2\tde\n"
    pairs, problems = read(tmp_path, "x.tsv", unnamed, columns=("3", "4"))
    assert (pairs, len(problems)) == ([("Hello", "Hallo")], 1)
    with pytest.raises(DataError, match="no column 4 among 3 columns"):
        read(tmp_path, "x.csv", "1,Hello,안녕\n", columns=("2", "4"))


@pytest.mark.parametrize("start", [b"caf\xe9\tKaffee\n", b"\n", b"\n \n"])
@pytest.mark.parametrize("header", [b"", b"source\ttarget\n"])
def test_bad_first_rows_drop_only_themselves(start, header, tmp_path):
    pairs, reasons = read(tmp_path, "x.tsv", header + start + b"Hello\tHallo\nBye\tTsch\xc3\xbcs\n")
    assert pairs == [("Hello", "Hallo"), ("Bye", "Tschüs")] and len(reasons) >= 1
    if not start.strip():  # before the header
        assert read(tmp_path, "x.tsv", start + header + b"Hello\tHallo\n")[0] == [("Hello", "Hallo")]


TSV = {
    "plain": "Hello\t안녕\nBye, now\t잘 가\n",
    "header": "source\ttarget\nHello\t안녕\nBye, now\t잘 가\n",
    "languages": "English\tGerman\nHello\t안녕\nBye, now\t잘 가\n",
    "codes": "en\tde\nHello\t안녕\nBye, now\t잘 가\n",
    "identifiers": "id\tsource\ttarget\n1\tHello\t안녕\n2\tBye, now\t잘 가\n",
    "other order": "Target\tSource\n안녕\tHello\n잘 가\tBye, now\n",
    "quotes of Excel": 'Hello\t안녕\n"Bye, now"\t잘 가\n',
    "quotes of Excel and CRLF": 'Hello\t안녕\r\n"Bye, now"\t잘 가\r\n',
    "trailing tabs": "source\ttarget\nHello\t안녕\t\nBye, now\t잘 가\t\n",
}


@pytest.mark.parametrize("kind", TSV)
def test_usual_tsv_dialects_are_read(kind, tmp_path):
    assert read(tmp_path, "x.tsv", TSV[kind]) == (GOOD, [])
    notes = noted(tmp_path, "x.tsv", TSV[kind])
    header = kind in {"header", "languages", "codes", "identifiers", "other order", "trailing tabs"}
    assert notes.get(HEADER, 0) == int(header)
    assert notes.get(QUOTED, 0) == int(kind.startswith("quotes of Excel"))


@pytest.mark.parametrize("header", ["", "source\ttarget\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_of_a_spreadsheet_may_have_several_lines(header, end, tmp_path):
    rows = ['"Hello\nthere"\t안녕', 'Good\t"좋은 ""날""\n\n오늘"', "plain\t보통"]
    text = (header + "".join(f"{row}\n" for row in rows)).replace("\n", end)
    expected = [("Hello there", "안녕"), ("Good", '좋은 "날"  오늘'), ("plain", "보통")]
    assert read(tmp_path, "x.tsv", text) == (expected, [])
    assert noted(tmp_path, "x.tsv", text)[QUOTED] == 2


def test_a_cut_row_of_a_spreadsheet_drops_only_itself(tmp_path):
    pairs, reasons = read(tmp_path, "x.tsv", 'a\t"b, c"\nonly one\n"d, e"\tf\n')
    assert pairs == [("a", "b, c"), ("d, e", "f")]
    assert reasons == ["1 columns, but the first line has 2"]


def test_quotes_within_text_are_kept(tmp_path):
    text = [('"Hello," he said.', '"Hallo", sagte er.'), ('"Yes, sir."', "„Ja.“"), ('"No."', '"Nein."')]
    assert read(tmp_path, "x.tsv", "".join(f"{s}\t{t}\n" for s, t in text))[0] == text


def test_the_line_of_a_wrong_first_row_is_told_after_blank_lines(tmp_path):
    with pytest.raises(DataError, match=r"x\.tsv:3: no column 2 among 1 column"):
        read(tmp_path, "x.tsv", "\n\nonly one column\n")


def test_rows_that_begin_like_a_header_are_no_header(tmp_path):
    for first in ("Translation\tÜbersetzung", "Hello\tSource", "No\tNein"):
        pairs, _ = read(tmp_path, "x.tsv", f"{first}\na\tb\n")
        assert len(pairs) == 2


def test_parquet_columns_of_other_types_are_reported(tmp_path):
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table({"source": pa.array(["a", None, "b"]), "target": pa.array([1, 2, 3])}), sink)
    pairs, reasons = read(tmp_path, "x.parquet", sink.getvalue())
    assert not pairs
    assert reasons == ["the target is int, not text", "the source is missing, not text", "the target is int, not text"]
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table({"source": pa.array(["a", "a"]).dictionary_encode(), "target": ["b", "c"]}), sink)
    assert read(tmp_path, "x.parquet", sink.getvalue())[0] == [("a", "b"), ("a", "c")]


def test_tables_are_read_without_a_home_directory(tmp_path):
    (tmp_path / "x.csv").write_text("source,target\na,b\n", "utf-8")
    program = """
import sys
from pathlib import Path
from nmtcli.config import CorpusConfig, DataConfig
from nmtcli.prepare.corpus import Corpora
one = CorpusConfig(path="x.csv")
corpora = Corpora.open(DataConfig(train=(one,), valid=(one,)), Path("."), print)
corpora.check()
assert next(iter(corpora.train[0].reader.blocks())).rows().sources == ["a"]
assert "datasets" not in sys.modules
"""
    environment = {"HOME": "/proc/none", "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_data_set_path_is_not_a_glob_pattern(tmp_path):
    for name in ("books[1]", "books1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(f'{{"source": "{name}", "target": "x"}}\n', "utf-8")
    corpus = open_corpus(tmp_path, hub=str(tmp_path / "books[1]"))
    assert pairs_of(corpus.reader) == [("books[1]", "x")]


def test_invalid_utf8_in_parquet_drops_only_its_row(tmp_path):
    def column(*values: bytes):
        return pa.array(values, pa.binary()).cast(pa.string(), safe=False)

    table = pa.table({"source": column(b"one", b"\xff", b"three"), "target": column(b"eins", b"zwei", b"drei")})
    pa.parquet.write_table(table, tmp_path / "x.parquet")
    pairs, reasons = read(tmp_path, "x.parquet", (tmp_path / "x.parquet").read_bytes())
    assert pairs == [("one", "eins"), ("three", "drei")]
    assert len(reasons) == 1 and reasons[0].startswith("not UTF-8")
