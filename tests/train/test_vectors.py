"""Word vectors from text files: formats, errors, and a run that starts with them."""

import gzip

import numpy as np
import pytest

from nmtcli.checkpoint import WEIGHTS, RunDirectory, load_tensors
from nmtcli.config import TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import DataError
from nmtcli.train.vectors import WordVectors
from tests.conftest import TINY, nmt, overrides

TEXT = ["der Hund sieht die Katze", "die Katze sieht den Hund"] * 5
ROWS = ["Hund 1 2 3", "Katze 4 5 6e-1", "Maus 7 8 9", ". . . 0 0 0"]


@pytest.fixture(scope="module")
def words():
    return Tokenizer.train(TEXT, TokenizerConfig(type="word", vocab_size=40))


FORMATS = {  # what comes before and after the rows: fastText ends each with a blank and has a vector of </s>
    "glove": ("", "\n"),
    "word2vec and gensim": ("4 3\n", "\n"),
    "fasttext": ("5 3\n</s> 9 9 9 \n", " \n"),
}


@pytest.mark.parametrize(("start", "end"), FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("opener", [open, gzip.open], ids=["plain", "gzip"])
def test_word_vectors_initialise_the_rows_of_their_words(tmp_path, words, start, end, opener):
    path = tmp_path / "vectors.vec"
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(start + "".join(row + end for row in ROWS))
    found = WordVectors.read(str(path), words, 3)
    assert {words.pieces([number])[0].strip("▁") for number in found.ids} == {"Hund", "Katze"}
    dog = found.ids.index(words.encode(["Hund"])[0][0])
    assert found.vectors[dog].tolist() == [1, 2, 3]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "BOM"])
@pytest.mark.parametrize("between", [" ", "\t"], ids=["blanks", "tabs"])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n", "\t\r\n"])
def test_vector_files_may_have_a_byte_order_mark_tabs_and_crlf(tmp_path, words, mark, between, end):
    path = tmp_path / "vectors.txt"
    path.write_text(mark + "".join(row.replace(" ", between) + end for row in ROWS[:3]), "utf-8", newline="")
    found = WordVectors.read(str(path), words, 3)
    assert sorted(found.vectors[:, 0].tolist()) == [1, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Hund,1,2,3\nKatze,1,2,3\n", "commas between its numbers"),
        (b"Hund 1,0 2,5 3,5\nKatze 1,0 2,5 3,5\n", "commas in its numbers"),
        (b"2 3\nHund " + np.arange(3, dtype=np.float32).tobytes() + b"\n", "is binary"),
        (b"\x80\x04\x95" + bytes(range(256)), "is binary"),
        (b"\xba\x16\x4f\x2f\x0c\x00\x00\x00" + bytes(300), "is binary"),
        (b"just some words\nof a text\n", "not a word and 3 numbers"),
        (b"Hund\nKatze\n", "not a word and 3 numbers"),
    ],
)
def test_other_vector_formats_are_refused(tmp_path, words, content, message):
    path = tmp_path / "vectors.bin"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        WordVectors.read(str(path), words, 3)
    assert message in error.value.message or "vectors of" in error.value.message
    assert "size=1" not in str(error.value.hint)


def test_the_number_of_words_with_vectors_is_printed(tmp_path, words):
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(ROWS) + "\n", "utf-8")
    found = WordVectors.read(str(path), words, 3)
    assert found.summary == f"{path}: vectors for 2 of the {found.words} words in the vocabulary"
    assert not found.few
    assert WordVectors("x", [1], found.vectors[:1], 100).few


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hund 1 2\nKatze 1 2\n", ":1: vectors of 2 numbers, but model.embedding.size is 3"),
        ("2 300\nHund 1 2 3\n", ":1: vectors of 300 numbers"),
        ("Maus 1 2 3\nAffe 1 2 3\nHund 1 zwei 3\n", ":3: not a word and 3 numbers"),
        ("Maus 1 2 3\nAffe 1 2 3\nHund 1 nan 3\n", ":3: not a word and 3 numbers"),
        ("Maus 1 2 3\n", "no vector for any word of the vocabulary"),
        ("", "is empty"),
    ],
)
def test_malformed_vector_files_have_file_and_line(tmp_path, words, text, message):
    path = tmp_path / "vectors.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError) as error:
        WordVectors.read(str(path), words, 3)
    assert message in error.value.message


@pytest.mark.parametrize("scale", [True, False])
def test_word_vectors_initialise_a_run_and_a_resume_needs_no_file(data, tmp_path, capsys, scale):
    path = tmp_path / "vectors.txt"
    path.write_text("three " + " ".join(["0.5"] * 16) + "\n", "utf-8")
    vectors = [f"model.embedding.source_vectors={path}", f"model.embedding.target_vectors={path}"]
    # one update with a tiny rate: what is saved is what the run began with
    settings = [*TINY, *vectors, "train.learning_rate=1e-9", f"model.embedding.scale={scale}"]
    command = ["train", data, "-o", tmp_path / "run", "--device", "cpu"]
    assert nmt(*command, *overrides(*settings, "train.max_updates=1")) == 0
    assert "vectors for 1 of the" in capsys.readouterr().err
    run = RunDirectory(tmp_path / "run")
    table = load_tensors(run.checkpoint(1) / WEIGHTS)["source_embedding.weight"].numpy()
    embedded = table * (4 if scale else 1)  # the square root of the width
    rows = np.isclose(embedded, 0.5, atol=1e-6).all(axis=1)
    assert rows.sum() == 1
    path.unlink()
    assert nmt(*command, *overrides(*settings, "train.max_updates=2")) == 0


def test_a_file_that_cannot_be_read_leaves_no_run_behind(data, tmp_path, capsys):
    (tmp_path / "empty.txt").touch()
    vectors = [f"model.embedding.{side}_vectors={tmp_path / 'empty.txt'}" for side in ("source", "target")]
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*TINY, *vectors)) == 3
    assert "empty.txt: is empty" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("tie", "words"),
    [("all", "with tie all, source_vectors and target_vectors must be the same file"), ("auto", "one table of")],
)
def test_one_embedding_for_both_sides_has_one_file(data, tmp_path, capsys, tie, words):
    settings = [*TINY, f"model.embedding.tie={tie}", "model.embedding.source_vectors=a.txt"]
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*settings)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
