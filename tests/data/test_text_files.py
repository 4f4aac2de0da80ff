"""Text files of every command: decompressed by content, without a byte order mark, UTF-8 only."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from nmtcli.data.files import File, read_text
from nmtcli.errors import DataError
from nmtcli.settings import load_config
from nmtcli.translate.terminology import read_dictionary, read_phrases, read_terms
from tests.conftest import ROOT, nmt

PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: pa.compress(content, "zstd", asbytes=True),
}


class Pipe(io.RawIOBase):
    """Bytes that come in small parts and cannot be sought in."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self.content.read(min(11, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stdin(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pipe(content))))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
@pytest.mark.parametrize("packer", PACKERS)
def test_every_reader_decompresses_and_drops_the_byte_order_mark(place, monkeypatch, packer, mark):
    def write(name: str, text: str) -> Path:
        (place / name).write_bytes(PACKERS[packer](mark + text.encode()))
        return place / name

    assert read_terms(write("terms", "Haus\thouse\n")) == {"Haus": ["house"]}
    assert read_phrases(write("ban", "Haus\n")) == ["Haus"]
    assert read_dictionary(write("words", "Haus\thouse\n")) == {"Haus": "house"}
    assert read_text(write("text", "어제\n")) == "어제\n"
    stdin(monkeypatch, PACKERS[packer](mark + "어제 x\n".encode() * 99))
    assert read_text(Path("-")) == "어제 x\n" * 99


@pytest.mark.parametrize("packer", PACKERS)
def test_scores_do_not_depend_on_compression_or_byte_order_marks(place, capsys, packer):
    lines = "".join(f"the house number {n} is old\n" for n in range(5))
    Path("plain").write_text(lines, "utf-8")
    Path("packed").write_bytes(PACKERS[packer](b"\xef\xbb\xbf" + lines.encode()))
    for files in (("plain", "-r", "packed"), ("packed", "-r", "plain")):
        assert nmt("score", *files, "--metric", "bleu", "--json") == 0
        assert json.loads(capsys.readouterr().out)["systems"][0]["scores"][0]["value"] == pytest.approx(100)


@pytest.mark.parametrize("way", ["-i", "stdin"])
@pytest.mark.parametrize("packer", PACKERS)
def test_translate_decompresses_its_input(place, monkeypatch, trained, packer, way):
    Path("plain").write_bytes(b"one two\nthree\n")
    assert nmt("translate", "-m", trained, "-i", "plain", "-o", "expected") == 0
    packed = PACKERS[packer](b"one two\nthree\n")
    Path("packed").write_bytes(packed)
    stdin(monkeypatch, packed)
    assert nmt("translate", "-m", trained, "-i", "packed" if way == "-i" else "-", "-o", "out") == 0
    assert Path("out").read_bytes() == Path("expected").read_bytes()


def test_a_damaged_input_is_refused(place, trained, capsys):
    Path("cut.gz").write_bytes(gzip.compress(b"one two\n" * 9999)[:100])
    assert nmt("translate", "-m", trained, "-i", "cut.gz", "-o", "out") == 3
    assert "cut.gz: damaged or cut short" in capsys.readouterr().err
    assert nmt("score", "cut.gz", "-r", "cut.gz") == 3
    assert "cut.gz: damaged or cut short" in capsys.readouterr().err


ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("verb", ["prepare", "translate", "score", "score -m", "terms", "stdin", "config"])
def test_utf_16_is_refused_with_a_conversion_command(place, monkeypatch, corpus, trained, capsys, verb, encoding):
    if verb == "config" and encoding != "utf-16":
        return
    text = "data: {source_language: en}\n" if verb == "config" else "one two three four\n" * 40
    file = Path("it's text")
    file.write_bytes(text.encode(encoding))
    stdin(monkeypatch, text.encode(encoding))
    command = {
        "prepare": ["prepare", "--dry-run", "--train-source", file, "--train-target", file],
        "translate": ["translate", "-m", trained, "-i", file, "-o", "out"],
        "score": ["score", file, "-r", file],
        "score -m": ["score", "-m", trained, "--source", file, "--target", file],
        "terms": ["translate", "-m", trained, "-i", corpus / "valid.words", "-o", "out", "--terminology", file],
        "stdin": ["translate", "-m", trained, "-o", "out"],
        "config": ["prepare", "--dry-run", "-c", file],
    }[verb]
    if verb == "prepare":
        command += ["--valid-source", corpus / "valid.words", "--valid-target", corpus / "valid.digits"]
    assert nmt(*command) in {2, 3}
    words = capsys.readouterr().err
    assert "UTF-16" in words or "UTF-32" in words
    assert not Path("out").exists()
    if verb not in {"stdin", "config"}:
        convert = words.partition("convert it: ")[2].strip()
        subprocess.run(convert.replace("NEW", "new"), shell=True, check=True)
        assert Path("new").read_text("utf-8-sig") == text


def test_a_latin_1_file_is_refused_with_its_line(place):
    Path("text").write_bytes("a\nnaïve\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"text:2: not UTF-8") as raised:
        read_text(Path("text"))
    assert "iconv -f LATIN1 -t UTF-8 text > NEW" in str(raised.value.hint)


def test_a_byte_order_mark_in_a_settings_file_is_dropped(place):
    Path("c.yaml").write_bytes(b"\xef\xbb\xbftrain:\n  seed: 7\n")
    assert load_config(files=[Path("c.yaml")]).train.seed == 7


def test_results_are_utf_8_whatever_the_locale(place, trained):
    Path("source").write_text("één two\n", "utf-8")
    program = "import sys; from nmtcli.cli import main; sys.argv[0] = 'nmt'; main()"
    arguments = ["score", "-m", trained, "--source", "source", "--target", "source", "--format", "jsonl"]
    environment = {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, check=True, env=environment
    )
    record = json.loads(done.stdout.decode("utf-8"))
    assert record["source"] == "één two"
    assert "▁" in "".join(record["tokens"])


def test_missing_files_and_directories_are_refused(place):
    with pytest.raises(DataError, match="no such file"):
        read_text(Path("nothing"))
    with pytest.raises(DataError, match="Is a directory"):
        read_text(place)
    with pytest.raises(DataError, match="is a directory"):
        File("x", place).check()


def test_text_that_begins_like_a_compressed_file_is_text(place):
    (place / "text").write_text("BZhang walks.\n")
    assert read_text(place / "text") == "BZhang walks.\n"
    (place / "empty").write_bytes(bz2.compress(b""))
    assert read_text(place / "empty") == ""


@pytest.mark.parametrize("packer", ["bzip2", "xz"])
def test_damage_in_a_later_stream_is_told(place, packer):
    """The standard library takes it for the end of the file."""
    streams = [PACKERS[packer](f"line {number}\n".encode() * 1000) for number in range(3)]
    (place / "text").write_bytes(b"".join(streams) + b"\0" * 8 * (packer == "xz"))
    assert read_text(place / "text").count("\n") == 3000
    damaged = b"\x55\xaa\x55" + streams[1][3:]
    (place / "text").write_bytes(streams[0] + damaged + streams[2])
    with pytest.raises(DataError, match="damaged"):
        read_text(place / "text")
    (place / "text").write_bytes(streams[0] + streams[1][:-9])
    with pytest.raises(DataError, match="damaged"):
        read_text(place / "text")
