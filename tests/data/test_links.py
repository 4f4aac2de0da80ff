"""Word alignment in preparation: word links become token links and stay with their pair."""

import json
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.config import CorpusConfig, TokenizerConfig
from nmtcli.data import files
from nmtcli.data.batching import Sentences
from nmtcli.data.directory import open_data
from nmtcli.data.files import File
from nmtcli.data.links import EncodedSide, LinkCounts, Links, token_links
from nmtcli.data.shards import Shards, ShardWriter, record_batch
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import DataError
from nmtcli.prepare.readers.alignments import AlignedLines
from nmtcli.vocabulary import UNK
from tests.conftest import WORDS, nmt, overrides, prepare_arguments

TEXTS = ["the old house by the sea", "a „green“ dog & two cats", "x²y ½ cup, naïve", "日本語 の 文", "<tag> here"]


@pytest.fixture(scope="module", params=["unigram", "bpe", "char", "word"])
def tokenizer(request) -> Tokenizer:
    config = TokenizerConfig(type=request.param, vocab_size=340, symbols=("<tag>",), normalization="nmt_nfkc")
    return Tokenizer.train(TEXTS * 5, config)


def links_of(rows) -> Links:
    return Links.unpack(Sentences.of([[number for link in row for number in link] for row in rows]))


def rows_of(links: Links) -> list[list[tuple[int, int]]]:
    return [list(zip(row[::2], row[1::2], strict=True)) for row in links.pack().rows()]


def encoded(texts, tokenizer) -> EncodedSide:
    return EncodedSide(texts, Sentences.of(tokenizer.encode(texts)), tokenizer)


# ---- from words to tokens ----

PLAIN = st.lists(st.sampled_from(" ".join(TEXTS).split()), min_size=1, max_size=8)
ANY = st.lists(
    st.text("abehot²½…“é語<>tag▁\u200b\xa0¨", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=4
)


def check_tokens_spell_words(tokenizer, source, target, link):
    """Links each word of a sentence by itself; returns whether the links were kept."""
    rows = len(source)
    sides = [encoded([" ".join(words)] * rows, tokenizer) for words in (source, target)]
    found, counts = token_links(links_of([[link(word)] for word in range(rows)]), *sides)
    if counts.lost:
        assert counts == LinkCounts(0, rows)
        assert not len(found.positions)
        return False
    covered = []
    for word, pairs in enumerate(rows_of(found)):
        spans = [sorted({pair[side] for pair in pairs}) for side in (0, 1)]
        assert sorted(pairs) == [(one, other) for one in spans[0] for other in spans[1]]
        for side, span, text in zip(sides, spans, (source[word], target[link(word)[1]]), strict=True):
            ids = [side.tokens.rows()[word][position] for position in span]
            if UNK not in ids:
                assert tokenizer.decode(ids) == tokenizer.normalize(text)
        covered += spans[0]
    assert covered == list(range(sides[0].tokens.lengths[0]))
    return True


@settings(deadline=None, max_examples=30)
@given(source=PLAIN, target=PLAIN)
def test_token_links_join_the_tokens_of_linked_words(tokenizer, source, target):
    assert check_tokens_spell_words(tokenizer, source, target, lambda word: (word, word % len(target)))


@settings(deadline=None, max_examples=60)
@given(source=ANY, target=PLAIN)
def test_token_links_of_any_text_are_correct_or_dropped(tokenizer, source, target):
    check_tokens_spell_words(tokenizer, source, target, lambda word: (word, 0))


@pytest.mark.parametrize("odd", ["the\xa0old", "the old \u200b dog", "old▁dog", "the ▁ dog", "the¨s old", "a\x1cb"])
def test_ambiguous_word_boundaries_drop_the_links_of_that_pair_only(tokenizer, odd):
    texts = ["the dog", odd, "old <tag> dog"]
    plain = encoded(["a dog"] * 3, tokenizer)
    for sides in ((encoded(texts, tokenizer), plain), (plain, encoded(texts, tokenizer))):
        found, counts = token_links(links_of([[(0, 0), (1, 1)]] * 3), *sides)
        assert counts == LinkCounts(2, 1)
        assert [count > 0 for count in found.counts] == [True, False, True]
        without, counts = token_links(links_of([[(0, 0)], [], [(0, 0)]]), *sides)
        assert counts == LinkCounts(2, 0)
        assert without.counts[1] == 0


# ---- files ----


def write(path: Path, text: str) -> File:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return File(str(path), path)


def read(folder: Path, alignment: str, source="one two\n\nthree four\xa0five\n", target="a b\nc\nd\n") -> list:
    files = [write(folder / name, content) for name, content in (("s", source), ("t", target), ("links", alignment))]
    reader = AlignedLines(*files)
    reader.check()
    return [row for block in reader.blocks() for row in rows_of(block.rows().links)]


@pytest.mark.parametrize("alignment", ["0-0 1-1\n\n2-0 1-0\n", "0-0\t1-1\r\n\r\n 2-0  1-0 \r\n", "0-0 1-1\n\n2-0 1-0"])
def test_links_are_read_line_by_line(alignment, tmp_path):
    assert read(tmp_path, alignment) == [[(0, 0), (1, 1)], [], [(2, 0), (1, 0)]]


@pytest.mark.parametrize(
    ("alignment", "words"),
    [
        ("0-0\n\n", r"s has 3 lines, .*links 2"),
        ("\n\n\n0-0\n", r"s has 3 lines, .*links 4"),
        ("0-0\n\n0-0 1:1\n", r"links:3: 1:1 is not a link"),
        ("0-0-0\n\n\n", r"links:1: 0-0-0 is not a link"),
        ("-1-0\n\n\n", r"links:1: -1-0 is not a link"),
        ("0-\n\n\n", r"links:1: 0- is not a link"),
        ("0-0\n\n٣-0\n", r"links:3: ٣-0 is not a link"),
        ("9999999999-0\n\n\n", r"links:1: 9999999999-0 is not a link"),
        ("0-0\n0-0\n\n", r"links:2: link 0-0, but the source has 0 words"),
        ("0-0 2-1\n\n\n", r"links:1: link 2-1, but the source has 2 words"),
        ("0-0\n\n0-0 2-1\n", r"links:3: link 2-1, but the target has 1 words"),
        ("0-0\n\udcff\n\n", r"links:2: byte 1 of the line is not UTF-8"),
        ("", r"links: is empty"),
    ],
)
def test_alignment_errors_have_file_and_line(alignment, words, tmp_path):
    with pytest.raises(DataError, match=words):
        read(tmp_path, alignment)


def test_line_numbers_stay_true_behind_the_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_CHUNK", 64)
    text = "one two\n" * 100
    alignment = ["0-0 1-1"] * 100
    assert read(tmp_path, "\n".join(alignment), text, text) == [[(0, 0), (1, 1)]] * 100
    alignment[77] = "0-0 5-1"
    with pytest.raises(DataError, match="links:78: link 5-1"):
        read(tmp_path, "\n".join(alignment), text, text)


def test_only_line_files_can_have_an_alignment():
    CorpusConfig(source="s", target="t", alignment="a")
    for corpus in ({"path": "x.tsv"}, {"hub": "books"}):
        with pytest.raises(ValueError, match="alignment needs source and target"):
            CorpusConfig(**corpus, alignment="a")


# ---- shards ----

NUMBERS = st.lists(st.integers(0, 65_535), max_size=9)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, st.lists(st.tuples(*[st.integers(0, 65_535)] * 2), max_size=5)), min_size=1)


@settings(deadline=None, max_examples=25)
@given(batches=st.lists(ROWS, min_size=1), shard_bytes=st.sampled_from([1, 2**28]), size=st.sampled_from([9, 10**5]))
def test_stored_links_are_returned_unchanged(batches, shard_bytes, size):
    rows = [row for batch in batches for row in batch]
    with tempfile.TemporaryDirectory() as directory:
        split = Path(directory) / "train"
        options = {"with_text": False, "with_links": True, "fingerprint": "f" * 64, "shard_bytes": shard_bytes}
        with ShardWriter(split, size, **options) as writer:
            for batch in batches:
                source, target, links = zip(*batch, strict=True)
                packed = links_of(links).pack()
                writer.write(record_batch(Sentences.of(source), Sentences.of(target), None, size, packed))
        shards = Shards.open(split)
        order = np.arange(len(rows))[::-1].copy()
        assert shards.aligned
        assert rows_of(Links.unpack(shards.links(order))) == [row[2] for row in rows[::-1]]
        for side, sentences in enumerate(shards.gather(order)):
            assert sentences.rows() == [row[side] for row in rows[::-1]]
        assert shards.longest == max(len(side) for row in rows for side in row[:2])


# ---- nmt prepare ----


def reversed_links(text: str) -> list[tuple[int, int]]:
    """The alignment of a number in words with its digits from right to left."""
    words = len(text.split())
    return [(word, words - 1 - word) for word in range(words)]


def pharaoh(links) -> str:
    return " ".join(f"{one}-{other}" for one, other in links)


def check_rows(data, rows, tag=None):
    """Linked tokens of the corpus of numbers spell a digit's word, and the digit."""
    source, target = data.train.gather(rows)
    links = rows_of(Links.unpack(data.train.links(rows)))
    for ids, digits, pairs in zip(source.rows(), target.rows(), links, strict=True):
        assert {pair[0] for pair in pairs} == set(range(len(ids))) - ({0, 1} if tag else set())
        for position in {pair[1] for pair in pairs}:
            digit = data.tokenizers.target.decode([digits[position]])
            word = data.tokenizers.source.decode([ids[one] for one, other in sorted(pairs) if other == position])
            assert not digit or word == WORDS[int(digit)]


@pytest.fixture(scope="module")
def numbers(corpus, tmp_path_factory) -> Path:
    """The corpus of numbers among dirt, in `train.words`, `train.digits` and `train.links`, and valid as it is."""
    folder = tmp_path_factory.mktemp("numbers")
    lines = [(corpus / f"train.{side}").read_text().splitlines() for side in ("words", "digits")]
    rows = [(source, target, pharaoh(reversed_links(source))) for source, target in zip(*lines, strict=True)]
    valid = [(corpus / f"valid.{side}").read_text().splitlines() for side in ("words", "digits")]
    held_out = max(zip(*valid, strict=True), key=lambda pair: len(pair[0]))
    dirt = [("", "1", ""), ("<b>one</b>", "1", "0-0"), rows[0], (*held_out, "0-0"), ("one", " ", "")]
    for number, row in enumerate(dirt):
        rows.insert(1 + number * 70, row)
    rows[200] = (rows[200][0] + "\xa0", *rows[200][1:])
    for name, side in zip(("words", "digits", "links"), zip(*rows, strict=True), strict=True):
        (folder / f"train.{name}").write_text("".join(f"{line}\n" for line in side), "utf-8")
    for name in ("words", "digits"):
        (folder / f"valid.{name}").write_bytes((corpus / f"valid.{name}").read_bytes())
    return folder


@pytest.fixture(scope="module")
def aligned(numbers, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("aligned") / "data"
    arguments = [*prepare_arguments(numbers, output), "--train-alignment", numbers / "train.links"]
    assert nmt(*arguments, "--processes", "1") == 0
    return output


def contents(directory: Path) -> dict[Path, bytes]:
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_links_stay_with_their_pair_through_cleaning(aligned):
    data = open_data(aligned)
    report = json.loads((aligned / "report.json").read_text())
    assert report["train"]["alignment"] == {"pairs": 399, "pairs_lost": 1}
    assert "alignment" not in report["valid"]
    rows = np.arange(400)
    counts = data.train.links(rows).lengths
    (odd,) = np.flatnonzero(counts == 0)
    check_rows(data, np.delete(rows, odd))
    assert not data.valid.aligned
    table = datasets.load_from_disk(str(aligned / "train"))
    assert table.column_names == ["source", "target", "alignment"]
    assert len(table[0]["alignment"]) == counts[0]


def test_links_change_nothing_else(numbers, aligned, tmp_path):
    """Data without alignment is what it would be if there were no such thing."""
    assert nmt(*prepare_arguments(numbers, tmp_path / "data")) == 0
    plain, linked = contents(tmp_path / "data"), contents(aligned)
    assert b"alignment" not in b"".join(plain.values())
    for name in ("tokenizer.model", "valid/data-00000-of-00001.arrow"):
        assert plain[Path(name)] == linked[Path(name)]
    rows = np.arange(400)
    for one, other in zip(
        open_data(tmp_path / "data").train.gather(rows), open_data(aligned).train.gather(rows), strict=True
    ):
        np.testing.assert_array_equal(one.ids, other.ids)
    reports = [json.loads(files[Path("report.json")]) for files in (plain, linked)]
    del reports[1]["train"]["alignment"]
    assert reports[0] == reports[1]


def test_any_number_of_processes_writes_the_same_bytes(numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_CHUNK", 2000)  # several blocks
    for processes in ("1", "2"):
        arguments = [*prepare_arguments(numbers, tmp_path / processes), "--train-alignment", numbers / "train.links"]
        assert nmt(*arguments, "--processes", processes) == 0
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_corpora_with_and_without_alignment_can_be_combined(numbers, corpus, aligned, tmp_path):
    lines = (corpus / "valid.words").read_text().splitlines()
    (tmp_path / "links").write_text("".join(pharaoh(reversed_links(line)) + "\n" for line in lines))
    settings = {
        "train": [
            {"name": "none", "source": str(numbers / "valid.words"), "target": str(numbers / "valid.digits")},
            {
                "name": "tagged",
                "tag": "<bt>",
                "source": str(corpus / "valid.words"),
                "target": str(corpus / "valid.digits"),
                "alignment": str(tmp_path / "links"),
            },
        ],
        "valid": [{"source": str(numbers / "train.words"), "target": str(numbers / "train.digits")}],
        "cleaning": {"duplicates": False, "held_out": False},
        "tokenizer": {"vocab_size": 300},
    }
    (tmp_path / "corpora.yaml").write_text(json.dumps({"data": settings}))
    assert nmt("prepare", "-o", tmp_path / "data", "-c", tmp_path / "corpora.yaml") == 0
    data = open_data(tmp_path / "data")
    assert not data.train.links(np.arange(40)).ids.size
    check_rows(data, np.arange(40, 80), tag="<bt>")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_merging_gives_pairs_without_alignment_no_links(numbers, aligned, tmp_path):
    for name in ("words", "digits"):
        lines = (numbers / f"train.{name}").read_text().splitlines(keepends=True)
        (tmp_path / f"train.{name}").write_text("".join(lines[:50]))
        (tmp_path / f"valid.{name}").write_bytes((numbers / f"valid.{name}").read_bytes())
    part = prepare_arguments(tmp_path, tmp_path / "part")[:-2]
    assert nmt(*part, "--tokenizer", aligned, "--set", "data.tokenizer.vocab_size=300") == 0
    for order in ((tmp_path / "part", aligned), (aligned, tmp_path / "part")):
        output = tmp_path / f"merged-{order[0].name}"
        assert nmt("prepare", "-o", output, "--merge", order[0], "--merge", order[1]) == 0
        merged, parts = open_data(output).train, [open_data(path).train for path in order]
        expected = [
            row
            for shards in parts
            for row in (
                shards.links(np.arange(len(shards))).rows() if shards.aligned else [[] for _ in range(len(shards))]
            )
        ]
        assert merged.links(np.arange(len(merged))).rows() == expected
        both = [sentences.rows() for shards in parts for sentences in shards.gather(np.arange(len(shards)))]
        assert [s.rows() for s in merged.gather(np.arange(len(merged)))] == [both[0] + both[2], both[1] + both[3]]
        assert len(datasets.load_from_disk(str(output / "train"))) == len(merged)


def test_alignment_files_are_matched_with_their_text_files(numbers, tmp_path, capsys):
    arguments = prepare_arguments(numbers, tmp_path / "data")
    links = ["--train-alignment", numbers / "train.links"]
    assert nmt(*arguments, *links, *links) == 2
    assert "2 --train-alignment and 1 --train-source files" in capsys.readouterr().err
    (tmp_path / "wrong").write_text((numbers / "train.links").read_text().replace("0-", "77-", 1))
    assert nmt(*arguments, "--train-alignment", tmp_path / "wrong", "--processes", "2") == 3
    assert f"{tmp_path / 'wrong'}:1: link 77-" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_many_dropped_alignments_are_reported(numbers, tmp_path, capsys):
    (tmp_path / "train.words").write_text((numbers / "train.words").read_text().replace(" ", "\xa0 "))
    for name in ("train.digits", "valid.words", "valid.digits"):
        (tmp_path / name).write_bytes((numbers / name).read_bytes())
    arguments = [*prepare_arguments(tmp_path, tmp_path / "data"), "--train-alignment", numbers / "train.links"]
    assert nmt(*arguments) == 0
    shown = capsys.readouterr().out
    assert "word alignment dropped" in shown
    assert "with word alignment" in " ".join(shown.split())


CONTROLS = ["one\x07two three", "\x07", "a \x0b b\x1cc", "one\u0085two", "x\u00a0y\u2028z", "\x00one\x00 \x01two"]


def test_prepare_accepts_the_alignments_that_translate_writes(tmp_path, monkeypatch, corpus, trained, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [*(corpus / "valid.words").read_text("utf-8").splitlines(), *CONTROLS]
    Path("source").write_bytes("".join(f"{line}\n" for line in lines).encode())
    assert nmt("translate", "-m", trained, "-i", "source", "-o", "target", "--alignment", "links") == 0
    again = prepare_arguments(corpus, tmp_path / "data")
    again[4], again[6] = "source", "target"
    keep = overrides("data.cleaning.control_characters=false", "data.cleaning.held_out=false")
    assert nmt(*again, "--train-alignment", "links", *keep) == 0, capsys.readouterr().err
    train = open_data(tmp_path / "data").train
    assert train.aligned
    assert (train.links(np.arange(len(train))).lengths > 0).any()
