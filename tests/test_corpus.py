"""Readers: only LF ends a line, compression is seen by content, and every bad file is told in one line."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest

from nmtcli.errors import DataError, UserError
from nmtcli.prepare.corpus import (
    AlignedFiles,
    InvalidPair,
    PrepareFiles,
    SentencePair,
    check_file,
    count_lines,
    digest,
    read_pairs,
)


def make(directory: Path, name: str, content: bytes) -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def read(directory: Path, source: bytes, target: bytes):
    return list(read_pairs(AlignedFiles(make(directory, "a", source), make(directory, "b", target))))


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compression_is_recognised_by_content(compress, tmp_path):
    content = compress(b"eins\nzwei\n")
    path = make(tmp_path, "misleading.txt.bz2", content)
    check_file(path)
    assert count_lines(path).lines == 2
    assert read(tmp_path, content, b"one\ntwo") == [SentencePair("eins", "one", 1), SentencePair("zwei", "two", 2)]


@pytest.mark.parametrize("inside", ["\r", "\u0085", "\u2028", "\u2029", "\v", "\f", "\x1c", "\0"])
def test_only_line_feed_ends_a_line(inside, tmp_path):
    line = f"left{inside}right"
    assert read(tmp_path, f"{line}\nnext\n".encode(), b"one\ntwo\n")[0] == SentencePair(line, "one", 1)
    assert count_lines(tmp_path / "a").lines == 2


def test_crlf_and_byte_order_marks_go_a_lone_carriage_return_stays(tmp_path):
    pairs = read(tmp_path, b"\xef\xbb\xbfa\r\nb\r\r\n\r\nd\r", b"1\n\xef\xbb\xbf2\n\n4")
    assert [(pair.source, pair.target) for pair in pairs] == [("a", "1"), ("b\r", "\ufeff2"), ("", ""), ("d\r", "4")]
    facts = count_lines(tmp_path / "a")
    assert (facts.lines, facts.crlf_lines) == (4, 3)


def test_crlf_across_two_reads_is_counted_once(tmp_path):
    path = make(tmp_path, "a", b"x" * (2**20 - 1) + b"\r\n" + b"y\n")
    assert (count_lines(path).lines, count_lines(path).crlf_lines) == (2, 1)


def test_invalid_utf8_costs_only_its_pair(tmp_path):
    pairs = read(tmp_path, b"a\nf\xfcr\nc\n", b"1\n2\n\xe4\xb8\n")
    assert pairs[0] == SentencePair("a", "1", 1)
    assert pairs[1] == InvalidPair(tmp_path / "a", 2, 2, "f\ufffdr")
    assert pairs[2] == InvalidPair(tmp_path / "b", 3, 1, "\ufffd")


def test_a_file_that_became_shorter_is_told(tmp_path):
    with pytest.raises(DataError, match="ended early, at line 2"):
        read(tmp_path, b"a\nb\n", b"1\n")


BAD_FILES = [
    (b"", "is empty"),
    (gzip.compress(b""), "is empty"),
    (b"\xfe\xff" + "abc\n".encode("utf-16-be"), "is UTF-16 text"),
    ("abc\n".encode("utf-16"), "is UTF-16 or UTF-32 text"),
    (gzip.compress("abc\n".encode("utf-16")), "is UTF-16 or UTF-32 text"),
    ("abc\n".encode("utf-16-le"), "is binary, or UTF-16 text"),
    (b"\x28\xb5\x2f\xfd123", "is a zstd file"),
    (b"PK\x03\x04123", "is a zip archive"),
    (gzip.compress(b"a\n" * 9)[:12], "damaged or cut short"),
    (b"\x1f\x8baaaaaaaaaaaa", "damaged or cut short"),
    (b"\xfd7zXZ\x00aaaaaaaaaaaaaa", "damaged or cut short"),
    (b"BZh9aaaaaaaaaaaaaaaaaaa", "cannot read it: Invalid data stream"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_a_bad_file_is_told_in_one_line(content, message, tmp_path):
    path = make(tmp_path, "train.de", content)
    with pytest.raises(DataError) as caught:
        check_file(path)
    assert caught.value.message.startswith(f"{path}: {message}")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_file_cut_short_is_found_by_counting(compress, tmp_path):
    content = compress(os.urandom(200_000))
    path = make(tmp_path, "a", content[: len(content) // 2])
    with pytest.raises(DataError, match="cut short"):
        count_lines(path)


def test_what_is_no_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in {"missing": "no such file", "": "is a directory", "pipe": "is not a regular file"}.items():
        with pytest.raises(DataError, match=message):
            check_file(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        digest(tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_told(tmp_path):
    path = make(tmp_path, "a", b"a\n")
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        check_file(path)


def test_files_pair_up_in_order_and_all_mistakes_are_told():
    a, b, c = map(Path, "abc")
    files = PrepareFiles.pair([a, b], [b, c], a, c)
    assert list(files) == [AlignedFiles(a, b), AlignedFiles(b, c), AlignedFiles(a, c)]
    with pytest.raises(UserError, match=r"2 --train-source and 1 --train-target(.|\n)*--valid-source and") as caught:
        PrepareFiles.pair([a, b], [c], a, None)
    assert len(caught.value.message.splitlines()) == 2
    with pytest.raises(UserError, match="--train-source and --train-target are needed"):
        PrepareFiles.pair([], [], a, b)
