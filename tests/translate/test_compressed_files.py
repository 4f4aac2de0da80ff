"""Compressed input and output: the same text as without compression, whole after a resume, read by other verbs."""

import bz2
import gzip
import io
import json
import lzma
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.api import TranslateOptions, translate_file
from nmtcli.data.files import as_text, compressor, decompressed, estimated_size, opened, read_text
from nmtcli.paths import COMPRESSED, file_format
from nmtcli.translate import lines as line_windows
from nmtcli.translate.job import Job, translate_windows
from nmtcli.translate.lines import LineReader
from nmtcli.translate.outputs import OutputFiles, read_progress
from tests.conftest import WORDS, nmt, prepare_arguments

STANDARD = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


def test_each_ending_has_a_compression():
    for ending in COMPRESSED:
        packed = compressor(Path(f"x{ending}"))
        assert packed(b"one\n") != b"one\n"
        assert packed(b"one\n") == packed(b"one\n")
        assert file_format(Path(f"x.JSONL{ending}")) == ".jsonl"
    assert compressor(Path("x.txt"))(b"one\n") == b"one\n"
    assert file_format(Path("x.gz")) == ""


BLOCKS = st.lists(st.tuples(st.sampled_from([0, 1, 7, 1000, 2**16, 2**17 + 1]), st.integers(0, 9)), max_size=8)


@pytest.mark.parametrize("ending", COMPRESSED)
@settings(max_examples=25)
@given(blocks=BLOCKS)
def test_blocks_one_after_the_other_are_read_as_one_text(ending, blocks, tmp_path_factory):
    parts = [bytes(random.Random(seed).choices(b"abcdefgh \n", k=size)) for size, seed in [(3, 0), *blocks]]
    path = tmp_path_factory.mktemp("packed") / f"x{ending}"
    path.write_bytes(b"".join(map(compressor(path), parts)))
    assert read_text(path).encode() == b"".join(parts)
    if ending in STANDARD:
        assert STANDARD[ending](path.read_bytes()) == b"".join(parts)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(line_windows, "MAX_LINES", 7)


@pytest.fixture
def text(tmp_path):
    choose = random.Random(3)
    path = tmp_path / "in"
    path.write_text("".join(" ".join(choose.choices(WORDS, k=choose.randint(0, 6))) + "\n" for _ in range(40)))
    return path


@pytest.mark.parametrize("ending", COMPRESSED)
def test_a_compressed_translation_is_the_plain_one(trained, text, tmp_path, small_windows, ending):
    packed = tmp_path / f"in{ending}"
    packed.write_bytes(compressor(packed)(text.read_bytes()))
    command = ["translate", "-m", trained, "-b", "1", "--device", "cpu"]
    named = {"-o": tmp_path / "out", "--alignment": tmp_path / "links", "--attention": tmp_path / "w.jsonl"}
    assert nmt(*command, "-i", text, *(part for pair in named.items() for part in pair)) == 0
    others = {kind: path.with_name(path.name + ending) for kind, path in named.items()}
    assert nmt(*command, "-i", packed, *(part for pair in others.items() for part in pair)) == 0
    for kind, path in named.items():
        assert read_text(others[kind]) == path.read_text()
        assert others[kind].read_bytes() != path.read_bytes()
    before = others["-o"].read_bytes()
    assert nmt(*command, "-i", text, "-o", others["-o"], "--processes", "2") == 0
    assert others["-o"].read_bytes() == before
    assert nmt(*command, "-i", text, "-o", tmp_path / "again", "--attention", tmp_path / f"w.json{ending}") == 0
    lines = named["--attention"].read_text().splitlines()
    assert json.loads(read_text(tmp_path / f"w.json{ending}")) == [
        record for record in map(json.loads, lines) if record["target"]
    ]


@pytest.mark.parametrize("ending", COMPRESSED)
def test_an_empty_input_gives_a_valid_empty_file(trained, tmp_path, ending):
    (tmp_path / "in").touch()
    output = tmp_path / f"out{ending}"
    assert nmt("translate", "-m", trained, "-i", tmp_path / "in", "-o", output, "--device", "cpu") == 0
    assert output.stat().st_size > 0
    assert read_text(output) == ""


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_translation_stopped_at_any_byte_resumes(trained, text, tmp_path, small_windows, ending):
    job = Job((next((trained / "checkpoints").iterdir()),), "cpu", {"beam_size": 1}, alignment="apart")
    files = {"translations": tmp_path / f"out{ending}", "alignment": tmp_path / f"links{ending}"}
    choose = random.Random(ending)

    def outputs(resume):
        record = tmp_path / f"out{ending}.progress"
        begun = read_progress(files["translations"], job.settings()) if resume else None
        reader = LineReader(text.open("rb"))
        if begun:
            reader.skip(begun.input, begun.lines)
        return OutputFiles(files, job.settings(), record, begun), reader

    straight, reader = outputs(resume=False)
    results = list(translate_windows(job, reader.windows()))
    for result in results:
        straight.write(result)
    straight.close(finished=True)
    whole = {path: path.read_bytes() for path in files.values()}
    done = 0
    for resume in (False, True):
        begun, _ = outputs(resume)
        stop = choose.randrange(1, len(results) - done - 1)
        for result in results[done : done + stop]:
            begun.write(result)
            begun.record()
        done += stop
        for path in files.values():
            assert read_text(path).count("\n") == 7 * done  # valid at each record
            with path.open("ab") as file:
                rest = whole[path][path.stat().st_size :]
                file.write(rest[: choose.randrange(len(rest))])
    last, _ = outputs(resume=True)
    for result in results[done:]:
        last.write(result)
    last.close(finished=True)
    assert {path: path.read_bytes() for path in files.values()} == whole


def test_other_verbs_read_compressed_translations(trained, corpus, tmp_path, small_windows, capsys):
    for ending in (".gz", ".zst"):
        output = tmp_path / f"out{ending}"
        command = ["translate", "-m", trained, "-i", corpus / "valid.words", "-b", "1", "--device", "cpu"]
        assert nmt(*command, "-o", output) == 0
        capsys.readouterr()
        assert nmt("score", output, "-r", corpus / "valid.digits", "--metric", "chrf", "--json") == 0
        assert json.loads(capsys.readouterr().out)["systems"][0]["lines"] == 40
        arguments = prepare_arguments(corpus, tmp_path / f"data{ending}")
        source = tmp_path / f"train{ending}"
        parts = (corpus / "train.words").read_bytes().splitlines(keepends=True)
        source.write_bytes(b"".join(compressor(source)(b"".join(parts[at : at + 9])) for at in range(0, len(parts), 9)))
        plain = arguments.index(corpus / "train.words")
        assert nmt(*arguments[:plain], source, *arguments[plain + 1 :]) == 0  # refuses sides of other lengths


@pytest.mark.parametrize("ending", COMPRESSED)
def test_the_size_of_compressed_text_is_estimated(tmp_path, ending):
    choose = random.Random(1)
    content = b"".join(b" ".join(choose.choices([b"one", b"two", b"three"], k=9)) + b"\n" for _ in range(100_000))
    path = tmp_path / f"x{ending}"
    path.write_bytes(compressor(path)(content))
    with opened(path) as file:
        text = as_text(file, path)
        text.read(2 * 2**20)
        assert 0.4 * len(content) < estimated_size(text) < 2.5 * len(content)
        text.read()
        assert estimated_size(text) == len(content)
    pipe = decompressed(io.BufferedReader(io.BytesIO(path.read_bytes())), "x")
    assert pipe.read(5) == content[:5]
    assert estimated_size(pipe) is None


def test_progress_of_compressed_input_ends_at_its_end(trained, tmp_path, text, small_windows):
    packed = tmp_path / "in.gz"
    packed.write_bytes(gzip.compress(text.read_bytes()))
    shares = []
    options = TranslateOptions(models=(trained,), source=packed, output=tmp_path / "out", device="cpu", beam_size=1)
    translate_file(options, on_written=lambda progress: shares.append(progress.share))
    assert shares == sorted(shares)
    assert shares[-1] == 1
