"""Readers: every format gives the same pairs, only LF ends a line, and every row keeps its place."""

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config import CleaningConfig, CorpusConfig, DataConfig
from nmtcli.data.files import File
from nmtcli.errors import DataError, UserError
from nmtcli.prepare.corpus import Corpora
from nmtcli.prepare.corpus import open_corpus as open_one
from nmtcli.prepare.readers.lines import LinePairs
from nmtcli.prepare.rows import decode_lines

PAIRS = [("one house", "ein Haus"), ('a "quoted", cell', "eine „Zelle“"), ("tea & <cake>", "Tee & <Kuchen>")]


def open_corpus(folder: Path, markup: str = "drop", languages: tuple[str, str] = ("en", "de"), **corpus):
    """The one training corpus of settings that are otherwise complete, looked at."""
    (folder / "v").write_text("x\n", "utf-8")
    valid = CorpusConfig(source=str(folder / "v"), target=str(folder / "v"))
    config = DataConfig(
        source_language=languages[0],
        target_language=languages[1],
        train=(CorpusConfig(**corpus),),
        valid=(valid,),
        cleaning=CleaningConfig(markup=markup),
    )
    corpora = Corpora.open(config, folder, lambda *_: None)
    corpora.check()
    return corpora.train[0]


def pairs_of(reader) -> list[tuple[str, str]]:
    found = []
    for block in reader.blocks():
        rows = block.rows()
        assert len(rows.sources) == len(rows.targets) == block.size
        assert not rows.problems
        found += zip(rows.sources, rows.targets, strict=True)
    return found


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def as_csv() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([("source", "target"), *PAIRS])
    return text.getvalue().encode()


def as_parquet(table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink)
    return sink.getvalue()


def as_jsonl(make) -> bytes:
    return "".join(json.dumps(make(*pair)) + "\n" for pair in PAIRS).encode()


SOURCES, TARGETS = (list(side) for side in zip(*PAIRS, strict=True))
TMX = """<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx version="1.4"><header/><body>
<tu><tuv xml:lang="EN-us"><seg>one <bpt i="1">&lt;b&gt;</bpt>house<ept i="1">&lt;/b&gt;</ept></seg></tuv>
<tuv xml:lang="de"><seg>ein Haus</seg></tuv><tuv xml:lang="fr"><seg>une maison</seg></tuv></tu>
<tu><tuv xml:lang="de_AT"><seg>eine „Zelle“</seg></tuv>
<tuv xml:lang="en"><seg>a "quoted", <hi>cell</hi></seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>tea &amp; &lt;cake></seg></tuv>
<tuv xml:lang="de"><seg>Tee &amp; &lt;Kuchen></seg></tuv></tu>
</body></tmx>"""

FILES = {
    "x.tsv": ("".join(f"{s}\t{t}\n" for s, t in PAIRS).encode(), {}),
    "numbered.tsv": ("".join(f"0.5\t{t}\t{s}\n" for s, t in PAIRS).encode(), {"columns": ("3", "2")}),
    "named.tab": ("de\ten\n" + "".join(f"{t}\t{s}\n" for s, t in PAIRS), {"columns": ("en", "de")}),
    "x.jsonl": (as_jsonl(lambda s, t: {"source": s, "target": t, "score": 1}), {}),
    "hub.json": (as_jsonl(lambda s, t: {"translation": {"en": s, "de": t, "fr": ""}}), {}),
    "languages.ndjson": (as_jsonl(lambda s, t: {"en": s, "de": t}), {}),
    "keys.jsonl": (as_jsonl(lambda s, t: {"a": s, "b": t, "source": "", "target": ""}), {"columns": ("a", "b")}),
    "x.csv": (as_csv(), {}),
    "x.parquet": (as_parquet({"source": SOURCES, "target": TARGETS}), {}),
    "hub.parquet": (as_parquet({"translation": [{"en": s, "de": t} for s, t in PAIRS]}), {}),
    "x.tmx": (TMX, {}),
    "namespace.tmx": (TMX.replace("<tmx ", '<tmx xmlns="http://www.lisa.org/tmx14" '), {}),
    "whatever": ("".join(f"{s}\t{t}\r\n" for s, t in PAIRS), {"format": "tsv"}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_pairs(name, tmp_path):
    content, more = FILES[name]
    raw = content if isinstance(content, bytes) else content.encode()
    corpus = open_corpus(tmp_path, path=write(tmp_path / name, raw), **more)
    assert pairs_of(corpus.reader) == PAIRS
    assert corpus.name == name.split(".", maxsplit=1)[0]
    assert corpus.reader.digest() == corpus.reader.digest()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_data_set_is_streamed_by_name(tmp_path):
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(as_jsonl(lambda s, t: {"translation": {"en": s, "de": t}}))
    corpus = open_corpus(tmp_path, hub=str(folder))
    assert pairs_of(corpus.reader) == PAIRS
    assert next(iter(corpus.reader.blocks())).file == str(folder)
    digest = corpus.reader.digest()
    (folder / "train.jsonl").write_bytes(as_jsonl(lambda s, t: {"translation": {"en": s, "de": t + "!"}}))
    assert open_corpus(tmp_path, hub=str(folder)).reader.digest() != digest
    with pytest.raises(DataError, match=r"books: cannot read it: .*validation"):
        open_corpus(tmp_path, hub=str(folder), split="validation")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_relative_data_set_is_that_of_the_folder_of_the_command(tmp_path, monkeypatch):
    """A worker of a cluster has another working directory."""
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "train.jsonl").write_bytes(as_jsonl(lambda s, t: {"en": s, "de": t}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = DataConfig(source_language="en", target_language="de")
    corpus = open_one("books", CorpusConfig(hub="books"), config, tmp_path, folder=tmp_path)
    assert pairs_of(corpus.reader) == PAIRS
    with pytest.raises(UserError, match="is a directory"):
        open_one("books", CorpusConfig(path="books"), config, tmp_path, folder=tmp_path)


def test_cells_of_csv_are_text_whatever_they_look_like(tmp_path):
    rows = [("source", "target"), ("007", "True"), ("None", "NA"), ("1.50", "null"), ("", "x")]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    corpus = open_corpus(tmp_path, path=write(tmp_path / "x.csv", text.getvalue().encode()))
    assert pairs_of(corpus.reader) == rows[1:]


def two_frames(content: bytes) -> bytes:
    return b"".join(pa.compress(part, "zstd", asbytes=True) for part in (content[:5], content[5:]))


def as_pzstd(content: bytes) -> bytes:
    """With the skippable frame that pzstd writes first."""
    return b"\x50\x2a\x4d\x18\x04\x00\x00\x00size" + two_frames(content)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, two_frames, as_pzstd])
def test_compression_is_recognised_by_content(compress, tmp_path):
    files = {
        "source": write(tmp_path / "misleading.txt.bz2", compress(b"eins\nzwei\n")),
        "target": write(tmp_path / "b", b"one\ntwo"),
    }
    assert pairs_of(open_corpus(tmp_path, **files).reader) == [("eins", "one"), ("zwei", "two")]


def test_remote_files_are_downloaded_once(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/corpus/t.en.gz", gzip.compress(b"one\n"))
    memory.pipe("/corpus/t.de", b"eins\n")
    files = {"source": "memory://corpus/t.en.gz", "target": "memory://corpus/t.de"}
    corpus = open_corpus(tmp_path, **files)
    memory.rm("/corpus", recursive=True)
    assert corpus.name == "t"
    assert pairs_of(corpus.reader) == [("one", "eins")]
    assert next(iter(corpus.reader.blocks())).file == "memory://corpus/t.en.gz"
    with pytest.raises(DataError, match=r"memory://corpus/other\.en: no such file"):
        open_corpus(tmp_path, source="memory://corpus/other.en", target="memory://corpus/t.de")


@pytest.mark.parametrize("inside", ["\r", "\u0085", "\u2028", "\u2029", "\v", "\f", "\x1c", "\0"])
def test_only_line_feed_ends_a_line(inside, tmp_path):
    line = f"left{inside}right"
    files = {"source": f"{line}\nnext\n", "target": "one\ntwo\n"}
    corpus = open_corpus(tmp_path, **{side: write(tmp_path / side, text.encode()) for side, text in files.items()})
    assert pairs_of(corpus.reader) == [(line, "one"), ("next", "two")]


text_without_end = st.text(st.characters(codec="utf-8", exclude_characters="\n"))


@given(st.lists(text_without_end, min_size=1), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_decoding_gives_back_the_lines(texts, terminated, end):
    content = end.join(texts) + (end if terminated else "")
    if not terminated and not texts[-1]:
        return  # no last line then
    found, problems, crlf = decode_lines(content.encode(), len(texts), 2, "f")
    expected = [text.removesuffix("\r") if end == "\n" and (terminated or n + 1 < len(texts)) else text
                for n, text in enumerate(texts)]  # fmt: skip
    assert found == expected
    assert not problems
    assert crlf == sum((content.encode() + b"\0").split(b"\n")[n].endswith(b"\r") for n in range(content.count("\n")))


def test_a_large_file_comes_in_blocks_with_true_line_numbers(tmp_path):
    count = 40_000
    source = write(
        tmp_path / "s", b"".join(b"source line %d, long enough to need several blocks\n" % n for n in range(count))
    )
    target = write(tmp_path / "t", b"".join(b"%d\n" % n for n in range(count)))
    reader = LinePairs(File(source, Path(source)), File(target, Path(target)))
    blocks = list(reader.blocks())
    assert len(blocks) > 1
    line = 1
    for block in blocks:
        assert block.line == line
        assert block.rows().targets == [str(n) for n in range(line - 1, line - 1 + block.size)]
        line += block.size
    assert line == count + 1


def test_corpora_get_unique_names(tmp_path):
    for name in ("a.en", "a.de", "b.tsv", "europarl.de-en.de.gz", "europarl.de-en.en.gz"):
        (tmp_path / name).write_text("x\ty\n")
    place = {name: str(tmp_path / name) for name in ("a.en", "a.de", "b.tsv")}
    pair = CorpusConfig(source=place["a.en"], target=place["a.de"])
    both = CorpusConfig(path=place["b.tsv"])
    sides = [str(tmp_path / f"europarl.de-en.{side}.gz") for side in ("de", "en")]
    europarl = CorpusConfig(source=sides[0], target=sides[1])
    config = DataConfig(
        train=(pair, pair, both, europarl, CorpusConfig(name="b-2", path=place["b.tsv"])), valid=(pair,)
    )
    assert [corpus.name for corpus in Corpora.open(config, tmp_path, print).train] == [
        "a",
        "a-2",
        "b",
        "europarl.de-en",
        "b-2",
    ]
    with pytest.raises(UserError, match="two corpora have the name x"):
        named = CorpusConfig(name="x", path=place["b.tsv"])
        Corpora.open(DataConfig(train=(named, named), valid=(pair,)), tmp_path, print)


def test_missing_training_and_validation_text_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no training text(.|\n)*no validation text"):
        Corpora.open(DataConfig(), tmp_path, print)
