"""Shards: rows are read as they were written, whatever their lengths and however they are split."""

import json
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.data.batching import Sentences
from nmtcli.data.shards import Shards, ShardWriter, record_batch
from nmtcli.errors import DataError

SENTENCE = st.lists(st.integers(0, 65_535), max_size=30)
BATCHES = st.lists(st.lists(st.tuples(SENTENCE, SENTENCE, st.text(st.characters(codec="utf-8"))), min_size=1))


def write(directory: Path, batches, *, size=8000, with_text=True, shard_bytes=2000) -> Path:
    split = directory / "valid"
    with ShardWriter(split, size, with_text=with_text, fingerprint="f" * 64, shard_bytes=shard_bytes) as writer:
        for batch in batches:
            source, target, texts = zip(*batch, strict=True)
            sides = (texts, [text[::-1] for text in texts]) if with_text else None
            writer.write(record_batch(Sentences.of(source), Sentences.of(target), sides, size))
    return split


def rows_of(shards: Shards):
    source, target = shards.gather(np.arange(len(shards)))
    return list(zip(source.rows(), target.rows(), strict=True))


BATCH = [([5, 6, 7], [8], "eins"), ([], [9, 10], "zwei\u2028"), ([65_535], [], "")]


@settings(deadline=None, max_examples=50)
@given(batches=BATCHES, shard_bytes=st.sampled_from([1, 2000, 2**28]))
def test_stored_rows_are_read_unchanged(batches, shard_bytes):
    rows = [row for batch in batches for row in batch]
    with tempfile.TemporaryDirectory() as directory:
        shards = Shards.open(write(Path(directory), batches, shard_bytes=shard_bytes))
        assert rows_of(shards) == [(source, target) for source, target, _ in rows]
        assert [tuple(pair) for pair in shards.texts()] == [(text, text[::-1]) for _, _, text in rows]
        for side, lengths in enumerate(shards.lengths(np.arange(len(rows)))):
            assert lengths.tolist() == [len(row[side]) for row in rows]
        assert shards.longest == max((len(side) for row in rows for side in row[:2]), default=0)


@settings(deadline=None, max_examples=50)
@given(batches=BATCHES.filter(len), shard_bytes=st.sampled_from([1, 2000, 2**28]), picks=st.lists(st.integers(0)))
def test_rows_are_returned_in_the_given_order(batches, shard_bytes, picks):
    rows = [row for batch in batches for row in batch]
    picks = [pick % len(rows) for pick in picks]
    with tempfile.TemporaryDirectory() as directory:
        shards = Shards.open(write(Path(directory), batches, shard_bytes=shard_bytes))
        for side, sentences in enumerate(shards.gather(np.array(picks, dtype=np.int64))):
            assert sentences.rows() == [rows[pick][side] for pick in picks]
            assert sentences.lengths.tolist() == [len(rows[pick][side]) for pick in picks]


@given(st.lists(SENTENCE))
def test_sentences_hold_the_rows_given(rows):
    assert Sentences.of(rows).rows() == rows


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_datasets_opens_the_shards(size, dtype, tmp_path):
    split = write(tmp_path, [BATCH, BATCH[:1]], size=size, shard_bytes=1)
    assert len(list(split.glob("data-*-of-00002.arrow"))) == 2
    dataset = datasets.load_from_disk(str(split))
    shards = Shards.open(split)
    assert [(row["source"], row["target"]) for row in dataset] == rows_of(shards)
    assert [(row["source_text"], row["target_text"]) for row in dataset] == shards.texts()
    assert dataset.features["source"].feature.dtype == np.dtype(dtype).name


def test_training_shards_keep_no_text(tmp_path):
    split = write(tmp_path, [BATCH], with_text=False)
    assert datasets.load_from_disk(str(split)).column_names == ["source", "target"]


def test_rows_outside_are_an_index_error(tmp_path):
    shards = Shards.open(write(tmp_path, [BATCH]))
    for index in (-1, len(shards)):
        for read in (shards.gather, shards.lengths):
            with pytest.raises(IndexError):
                read(np.array([0, index]))


def test_a_compressed_file_is_refused(tmp_path):
    """Its arrays are no part of the mapped file."""
    split = write(tmp_path, [BATCH])
    (file,) = split.glob("data-*")
    table = pa.ipc.open_stream(file.read_bytes()).read_all()
    with pa.ipc.new_stream(str(file), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    with pytest.raises(DataError, match="damaged: its arrays"):
        Shards.open(split)


def test_a_failed_write_leaves_nothing_that_opens(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "s", 9, with_text=False, fingerprint="f") as writer:
        writer.write(record_batch(Sentences.of([[1]]), Sentences.of([[2]]), None, 9))
        raise RuntimeError
    with pytest.raises(DataError, match=r"state\.json"):
        Shards.open(tmp_path / "s")


def test_damaged_shards_are_refused_with_a_message(tmp_path):
    split = write(tmp_path, [BATCH, BATCH], shard_bytes=1)
    first, second = sorted(split.glob("data-*"))
    content = second.read_bytes()

    def message() -> str:
        with pytest.raises(DataError) as caught:
            Shards.open(split)
        return caught.value.message

    for cut in (0, 1, len(content) // 4, len(content) // 2, len(content) - 60):
        second.write_bytes(content[:cut])
        assert str(split) in message()
    second.unlink()
    assert message() == f"{second}: missing"
    second.mkdir()
    assert "damaged" in message()
    state = json.loads((split / "state.json").read_text())
    (split / "state.json").write_text(json.dumps({**state, "_data_files": [{"filename": first.name}]}))
    assert message() == f"{split}: damaged: has 3 pairs, was written with 6"
    (split / "state.json").write_text("[]")
    assert "not from nmt prepare" in message()
    (split / "state.json").write_text("{")
    assert "not JSON" in message()
