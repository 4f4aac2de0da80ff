"""Malformed input files: a clear error or counted pairs; never a traceback, never a silent loss.

Every case writes into a folder that already holds a good corpus: ten training pairs, three validation pairs.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from nmtcli.errors import ExitCode
from nmtcli.prepare.report.report import Report
from tests.conftest import nmt, overrides

NAMES = ["ada", "bea", "cem", "dan", "eva", "fay", "gus", "hal", "ida", "jon"]
PAIRS = [(f"{name} sees the old house", f"{name} sieht das alte Haus") for name in NAMES]
VALID = [(f"the {name} has a cat", f"der {name} hat eine Katze") for name in ("fox", "owl", "elk")]


def lines(texts, end="\n") -> bytes:
    return "".join(text + end for text in texts).encode("utf-8")


SOURCE, TARGET = (lines(side) for side in zip(*PAIRS, strict=True))


def jsonl(*records) -> bytes:
    return lines(json.dumps(record) for record in records)


GOOD_JSON = [{"source": source, "target": target} for source, target in PAIRS]
TMX = (
    "<tmx version='1.4'><header/><body>"
    + "".join(
        f"<tu><tuv xml:lang='en'><seg>{s}</seg></tuv><tuv xml:lang='de'><seg>{t}</seg></tuv></tu>" for s, t in PAIRS
    )
    + "</body></tmx>"
)


def packed() -> bytes:
    """A zip archive, as spreadsheets are."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/sharedStrings.xml", "<sst><si><t>ada sees the old house</t></si></sst>")
    return content.getvalue()


ZIP = packed()


@dataclass
class Case:
    """Files to write over the good ones, and what must come of it."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    words: str | None = None  # an error that stops the run must say this
    code: ExitCode = ExitCode.DATA
    dropped: dict[str, int] = field(default_factory=dict)  # else: pairs dropped of ten, by rule; the others are kept
    read: int = 10
    train: tuple[str, ...] = ("--train-source", "a.en", "--train-target", "a.de")
    change: Callable[[Path], object] | None = None
    settings: tuple[str, ...] = ()
    shown: str = ""  # the report's tables must say this


def one(name: str, content: bytes, **more) -> Case:
    """A corpus in one file."""
    return Case(name, {name: content}, train=("--train", name), **more)


def replaced(line: int, content: bytes, text: bytes = SOURCE) -> bytes:
    every = text.split(b"\n")
    return b"\n".join([*every[: line - 1], content, *every[line:]])


def hundred_columns() -> bytes:
    return lines("\t".join([s, t, "0.9"]) for s, t in PAIRS)


CASES = [
    # ---- two files of lines: what stops the run ----
    Case("a line too few", {"a.de": SOURCE.split(b"\n", 1)[1]}, r"a\.en has 10 lines, .*a\.de 9"),
    Case("a line too many", {"a.de": TARGET + b"mehr\n"}, r"a\.en has 10 lines, .*a\.de 11"),
    Case("UTF-16 with mark", {"a.en": SOURCE.decode().encode("utf-16")}, "is UTF-16 text"),
    Case("UTF-16 without mark", {"a.en": SOURCE.decode().encode("utf-16-be")}, "is UTF-16BE text"),
    Case("binary", {"a.de": bytes(range(256)) * 8 + bytes(2000)}, "is binary"),
    Case("empty file", {"a.en": b""}, r"a\.en: is empty"),
    Case("empty when unpacked", {"a.en": gzip.compress(b"")}, r"a\.en: is empty"),
    Case("truncated gzip", {"a.en": gzip.compress(os.urandom(9000))[:4000]}, r"a\.en: damaged or cut short"),
    Case("damaged gzip", {"a.en": gzip.compress(SOURCE)[:-8] + b"\0" * 8}, r"a\.en: damaged or cut short"),
    Case("truncated bzip2", {"a.en": bz2.compress(os.urandom(9000))[:4000]}, r"a\.en: damaged or cut short"),
    Case("truncated xz", {"a.en": lzma.compress(os.urandom(9000))[:4000]}, r"a\.en: damaged or cut short"),
    Case(
        "truncated zstd",
        {"a.en": pa.compress(os.urandom(9000), "zstd", asbytes=True)[:4000]},
        r"a\.en: damaged or cut short",
    ),
    Case("zip archive", {"a.en": b"PK\x03\x04" + bytes(100)}, "is a zip archive"),
    Case("missing file", change=lambda folder: (folder / "a.en").unlink(), words=r"a\.en: no such file"),
    Case(
        "directory",
        change=lambda folder: ((folder / "a.en").unlink(), (folder / "a.en").mkdir()),
        words=r"a\.en: is a directory",
    ),
    Case(
        "pipe",
        change=lambda folder: ((folder / "a.en").unlink(), os.mkfifo(folder / "a.en")),
        words=r"a\.en: is not a regular file",
    ),
    Case(
        "URL that is not there",
        train=("--train", "memory://nothing/x.tsv"),
        words="memory://nothing/x.tsv: no such file",
    ),
    Case("all pairs unusable", {"a.en": b"\n" * 10}, r"all 10 train pairs were dropped \(empty: 10\)"),
    # ---- two files of lines: what costs a pair, or nothing ----
    Case("invalid UTF-8", {"a.de": replaced(3, b"f\xfcr \xe4lle", TARGET)}, dropped={"invalid-utf8": 1}),
    Case("UTF-8 cut in a character", {"a.en": SOURCE[:-2] + "ü".encode()[:1] + b"\n"}, dropped={"invalid-utf8": 1}),
    Case("empty sides", {"a.en": replaced(2, b""), "a.de": replaced(5, b" \t", TARGET)}, dropped={"empty": 2}),
    Case("blank but for U+200B", {"a.en": replaced(2, "\u200b".encode())}, dropped={"empty": 1}),
    Case("U+0085 and U+2028 and lone CR", {"a.en": SOURCE.replace(b" sees ", "\u0085s\u2028ees\r".encode())}),
    Case("CRLF on one side", {"a.en": lines((s for s, _ in PAIRS), "\r\n")}, shown=r"CRLF line ends removed +10"),
    Case("byte order marks", {"a.en": b"\xef\xbb\xbf" + SOURCE, "a.de": b"\xef\xbb\xbf" + TARGET}),
    Case("no end on the last line", {"a.en": SOURCE[:-1], "a.de": TARGET[:-1]}),
    Case("65,000 characters", {"a.en": replaced(4, b"word " * 13_000)}, dropped={"too-many-characters": 1}),
    Case("a million characters", {"a.en": replaced(4, b"x" * 10**6)}, dropped={"too-many-characters": 1}),
    Case("NUL in a line", {"a.en": replaced(4, b"old\0house")}, dropped={"control-characters": 1}),
    Case("wrong decoding before", {"a.en": replaced(4, "ma\ufffdana".encode())}, dropped={"control-characters": 1}),
    Case("mark-up", {"a.en": replaced(4, b"<b>old</b> house &amp; more")}, dropped={"markup": 1}),
    Case("copied", {"a.en": replaced(4, PAIRS[3][1].encode())}, dropped={"copied": 1}),
    Case("misaligned length", {"a.en": replaced(4, b"very long " * 40)}, dropped={"length-ratio": 1}),
    Case("a table of numbers", {"a.en": replaced(4, b"10.5|20.25|17:30|18")}, dropped={"too-many-symbols": 1}),
    Case("a ruler", {"a.en": replaced(4, b"old " + b"-" * 30 + b" house " * 9)}, dropped={"repeated-characters": 1}),
    Case("doubled file", {"a.en": SOURCE * 2, "a.de": TARGET * 2}, read=20, dropped={"duplicate": 10}),
    Case(
        "validation in training",
        {"a.en": SOURCE + VALID[0][0].encode() + b"\n", "a.de": TARGET + VALID[0][1].encode() + b"\n"},
        read=11,
        dropped={"held-out": 1},
    ),
    # ---- one file with both sides ----
    one("tsv.tsv", b"only one column\n", words=r"tsv\.tsv:1: no column 2 among 1 column: only one column"),
    one("columns.tsv", hundred_columns() + b"two\tcolumns\n", read=11, dropped={"malformed": 1}),
    one("c.jsonl", jsonl({"a": "a", "b": "b"}), words=r"c\.jsonl:1: no source and target among a, b"),
    one("array.jsonl", json.dumps(GOOD_JSON).encode(), words=r"array\.jsonl:1: not a JSON object"),
    one("pretty.jsonl", json.dumps(GOOD_JSON[0], indent=1).encode(), words=r"pretty\.jsonl:1: not JSON"),
    one("later.jsonl", jsonl(*GOOD_JSON) + b"{oops\n" + jsonl({"source": "a"}, 7), read=13, dropped={"malformed": 3}),
    one("null.jsonl", jsonl(*GOOD_JSON, {"source": None, "target": "x"}), read=11, dropped={"malformed": 1}),
    one("half.jsonl", jsonl(*GOOD_JSON) + b'{"source":"\\ud800","target":"x"}\n', read=11, dropped={"invalid-utf8": 1}),
    one(
        "breaks.jsonl",
        jsonl(*GOOD_JSON[1:], {"source": "ada sees\nthe old house", "target": "ada sieht das alte Haus"}),
        shown=r"line breaks inside a text +1",
    ),
    one("deep.jsonl", jsonl(*GOOD_JSON) + b"[" * 10_000 + b"\n", read=11, dropped={"malformed": 1}),
    one(
        "m.tmx",
        TMX.encode(),
        settings=("data.source_language=en", "data.target_language=fr"),
        words="no unit has text",
    ),
    one(
        "cut.tmx",
        TMX[:-30].encode(),
        settings=("data.source_language=en", "data.target_language=de"),
        words="cut short",
    ),
    one("none.tmx", b"<tmx><body></body></tmx>", words=r"none\.tmx: has no translation unit"),
    one("text.tmx", SOURCE, words=r"text\.tmx:1: not XML"),
    one("p.parquet", b"PAR1 is not enough", words=r"p\.parquet: cannot read it"),
    one("c.csv", b"sauce;target\na;b\n", words=r"c\.csv: no source and target among 1 column: sauce;target"),
    one(
        "quote.csv",
        b"source,target\n" + lines(f'"{s}",{t}' for s, t in PAIRS) + b'"open,x\n',
        read=11,
        dropped={"malformed": 1},
    ),
    one("empty.csv", b"source,target\n", words=r"empty\.csv: (has no rows|cannot read it)"),
    one("unknown.doc", SOURCE, code=ExitCode.USAGE, words="file name does not show the format"),
    one("book.xlsx", ZIP, code=ExitCode.USAGE, words=r"book\.xlsx: is a spreadsheet\n.*save it as CSV in UTF-8"),
    one("book.ods", ZIP, code=ExitCode.USAGE, words=r"book\.ods: is a spreadsheet\n.*save it as CSV in UTF-8"),
    *(
        one(f"packed.{ending}", ZIP, words=rf"packed\.{ending}: is a zip archive\n.*unpack it first")
        for ending in ("tsv", "csv", "jsonl")
    ),
    Case(
        "directory of files",
        change=lambda folder: (folder / "texts").mkdir(),
        train=("--train", "texts"),
        code=ExitCode.USAGE,
        words=r"texts: is a directory, not a file\n.*name each file in it",
    ),
    Case(
        "data directory",
        change=lambda folder: ((folder / "texts").mkdir(), (folder / "texts" / "manifest.json").write_text("{}")),
        train=("--train", "texts"),
        code=ExitCode.USAGE,
        words=r"texts: is a directory, not a file\n.*it is prepared already: nmt train .*texts -o RUN",
    ),
]


def prepare(case: Case, folder: Path, output: Path) -> int:
    (folder / "a.en").write_bytes(SOURCE)
    (folder / "a.de").write_bytes(TARGET)
    (folder / "v.en").write_bytes(lines(source for source, _ in VALID))
    (folder / "v.de").write_bytes(lines(target for _, target in VALID))
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    if case.change is not None:
        case.change(folder)
    train = [part if part.startswith("--") or "://" in part else str(folder / part) for part in case.train]
    valid = ["--valid-source", folder / "v.en", "--valid-target", folder / "v.de"]
    return nmt("prepare", "-o", output, *train, *valid, "--vocab-size", "400", *overrides(*case.settings))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_files_are_refused_or_counted(case, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    output = tmp_path / "data"
    code = prepare(case, tmp_path, output)
    shown, words = capsys.readouterr()
    assert "Traceback" not in words
    assert "bug" not in words
    if case.words is not None:
        assert code == case.code
        assert re.search(case.words, words), words
        assert not output.exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        return
    assert code == ExitCode.DONE, words
    report = Report.load(output)
    assert {name: rule.dropped for name, rule in report.train.rules.items() if rule.dropped} == case.dropped
    assert report.train.pairs_read == case.read
    assert report.train.pairs_kept == case.read - sum(case.dropped.values())
    for rule, count in case.dropped.items():
        assert len(report.train.rules[rule].examples) == min(count, 10)
    assert re.search(case.shown, shown), shown


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_data_error(tmp_path, capsys):
    case = Case("unreadable", change=lambda folder: (folder / "a.en").chmod(0))
    assert prepare(case, tmp_path, tmp_path / "data") == ExitCode.DATA
    assert "Permission denied" in capsys.readouterr().err


def test_a_full_disk_leaves_no_data_directory(tmp_path, make_disk, capsys):
    small_disk = make_disk("100k")
    for code in (ExitCode.RESOURCES, ExitCode.RESOURCES):  # the second run clears away what the first could not
        assert prepare(Case("full"), tmp_path, small_disk / "data") == code
        assert f"{small_disk / 'data'}: the disk is full" in capsys.readouterr().err
        assert not list(small_disk.iterdir())
