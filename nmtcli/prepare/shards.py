"""Sentence pairs as token ids on disk: Arrow stream files, written in batches and read through a memory map.

The layout is the one of `datasets.Dataset.save_to_disk`, so that `datasets.load_from_disk` opens it; only pyarrow is
needed here. An id takes 2 bytes where the vocabulary allows it, else 4.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nmtcli.errors import DataError

SHARD_BYTES = 256 * 2**20
_SHORT_VOCABULARY = 2**16  # ids below it fit in uint16

_TEXT_COLUMNS = ("source_text", "target_text")

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


def _id_columns(kind: Any) -> list[Any]:
    return [pa.field(name, pa.list_(kind)) for name in ("source", "target")]


_ID_COLUMNS = (_id_columns(pa.uint16()), _id_columns(pa.uint32()))  # for a short and a long vocabulary


class TextPair(NamedTuple):
    """The original text of a pair."""

    source: str
    target: str


@dataclass(frozen=True)
class Sentences:
    """Ids of some sentences without BOS and EOS, one sentence after the other."""

    ids: npt.NDArray[np.int64]  # [sum of lengths]
    lengths: npt.NDArray[np.int32]  # [B]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Self:
        """The sentences whose ids are the given lists."""
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        return cls(np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum())), lengths)

    def select(self, rows: npt.NDArray[np.bool_]) -> "Sentences":
        """Those sentences that are true in `rows` [B]."""
        if rows.all():
            return self
        return Sentences(self.ids[np.repeat(rows, self.lengths)], self.lengths[rows])


def record_batch(
    source: Sentences, target: Sentences, texts: tuple[Sequence[str], Sequence[str]] | None, vocabulary_size: int
) -> Any:
    """Rows as an Arrow record batch, with the text of both sides for a split that keeps it."""
    schema = _schema(vocabulary_size, with_text=texts is not None)
    arrays = [_list_array(side, field.type) for side, field in zip((source, target), schema, strict=False)]
    arrays += [pa.array(side, pa.string()) for side in texts or ()]
    return pa.record_batch(arrays, schema=schema)


def _list_array(sentences: Sentences, kind: Any) -> Any:
    offsets = np.zeros(len(sentences.lengths) + 1, np.int32)
    np.cumsum(sentences.lengths, out=offsets[1:])
    values = sentences.ids.astype(kind.value_type.to_pandas_dtype())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=kind)


def _schema(vocabulary_size: int, *, with_text: bool) -> Any:
    fields = list(_ID_COLUMNS[vocabulary_size > _SHORT_VOCABULARY])
    return pa.schema(fields + [pa.field(name, pa.string()) for name in _TEXT_COLUMNS if with_text])


class ShardWriter:
    """Writes one split into a new directory. A context manager; without a clean end the split cannot be opened."""

    def __init__(
        self,
        directory: Path,
        vocabulary_size: int,
        *,
        with_text: bool,
        fingerprint: str,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """`vocabulary_size` is the larger of both sides'; a new file begins after about `shard_bytes` bytes."""
        self._schema = _schema(vocabulary_size, with_text=with_text)
        self._directory = directory
        self._fingerprint = fingerprint
        self._shard_bytes = shard_bytes
        self._rows = 0
        self._files: list[Path] = []
        self._sink: Any = None
        self._stream: Any = None
        directory.mkdir()

    def write(self, batch: Any) -> None:
        """Append some thousand rows: a batch that `record_batch` made, or its bytes."""
        if self._stream is None:
            self._begin_file()
        if isinstance(batch, bytes):
            batch = pa.ipc.read_record_batch(pa.py_buffer(batch), self._schema)
        self._stream.write_batch(batch)
        self._rows += batch.num_rows
        if self._sink.tell() >= self._shard_bytes:
            self._end_file()

    def close(self) -> None:
        """Finish the files and describe them as `datasets` does."""
        if self._stream is None and not self._files:
            self._begin_file()  # a split without rows still has a schema
        if self._stream is not None:
            self._end_file()
        names = [f"data-{n:05d}-of-{len(self._files):05d}.arrow" for n in range(len(self._files))]
        for file, name in zip(self._files, names, strict=True):
            file.rename(file.with_name(name))
        _write_json(self._directory / "state.json", _state(names, self._fingerprint))
        _write_json(
            self._directory / "dataset_info.json", _dataset_info(self._schema, self._directory.name, self._rows)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._sink is not None:
            self._sink.close()

    def _begin_file(self) -> None:
        # the final name counts all files, so it comes at the end
        self._files.append(self._directory / f"part-{len(self._files):05d}.arrow")
        self._sink = pa.OSFile(str(self._files[-1]), "wb")
        self._stream = pa.ipc.new_stream(self._sink, self._schema)

    def _end_file(self) -> None:
        self._stream.close()
        self._sink.close()
        self._stream = self._sink = None


class _Batch(NamedTuple):
    """The flat arrays of one record batch; row i is `ids[offsets[i]:offsets[i + 1]]`."""

    source_offsets: npt.NDArray[np.int32]
    source_ids: Ids
    target_offsets: npt.NDArray[np.int32]
    target_ids: Ids


class Shards:
    """One split, memory-mapped: opening reads no ids, and what was read can be dropped by the system at any time."""

    def __init__(self, batches: Sequence[Any]) -> None:
        """`batches` are Arrow record batches; use `Shards.open`."""
        self._record_batches = batches
        self._batches = [_Batch(*_flat(batch.column(0)), *_flat(batch.column(1))) for batch in batches]
        self._starts = [0]  # index of the first row of each batch, then the number of rows
        for batch in batches:
            self._starts.append(self._starts[-1] + batch.num_rows)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the split in `directory`. Raises DataError if a file is missing, damaged or cut short."""
        state, info = _read_json(directory / "state.json"), _read_json(directory / "dataset_info.json")
        try:
            files = [directory / item["filename"] for item in state["_data_files"]]
            rows = sum(split["num_examples"] for split in info["splits"].values())
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"{directory}: state.json or dataset_info.json is not one of nmt prepare", _AGAIN) from None
        shards = cls([batch for file in files for batch in _map(file)])
        if len(shards) != rows:
            raise DataError(f"{directory}: {len(shards)} pairs where {rows} were written", _AGAIN)
        return shards

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def source_lengths(self) -> npt.NDArray[np.int32]:
        """Number of source ids of each row."""
        return _lengths(batch.source_offsets for batch in self._batches)

    @cached_property
    def target_lengths(self) -> npt.NDArray[np.int32]:
        """Number of target ids of each row."""
        return _lengths(batch.target_offsets for batch in self._batches)

    def source(self, index: int) -> Ids:
        """Source ids of one row, a read-only view of the file; no BOS, no EOS."""
        batch, row = self._find(index)
        return batch.source_ids[batch.source_offsets[row] : batch.source_offsets[row + 1]]

    def target(self, index: int) -> Ids:
        """Target ids of one row, a read-only view of the file; no BOS, no EOS."""
        batch, row = self._find(index)
        return batch.target_ids[batch.target_offsets[row] : batch.target_offsets[row + 1]]

    def texts(self) -> list[TextPair]:
        """The original text of every row. Only validation splits keep it."""
        pairs: list[TextPair] = []
        for batch in self._record_batches:
            sides = (batch.column(name).to_pylist() for name in _TEXT_COLUMNS)
            pairs += map(TextPair, *sides)
        return pairs

    def _find(self, index: int) -> tuple[_Batch, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._starts, index) - 1
        return self._batches[number], index - self._starts[number]


_AGAIN = "delete the data directory and prepare it again"


def _map(file: Path) -> list[Any]:
    """The record batches of a file, still on disk."""
    try:
        stream = pa.ipc.open_stream(pa.memory_map(str(file)))
        if list(stream.schema)[:2] not in _ID_COLUMNS:
            raise DataError(f"{file}: damaged: not the columns of nmt prepare", _AGAIN)
        batches = stream.read_all().to_batches()
        for batch in batches:
            batch.validate()
    except FileNotFoundError:
        raise DataError(f"{file}: missing", _AGAIN) from None
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name is not UTF-8
        raise DataError(f"{file}: damaged: {str(error).splitlines()[0]}", _AGAIN) from None
    return batches  # type: ignore[no-any-return]


def _flat(column: Any) -> tuple[npt.NDArray[np.int32], Ids]:
    return column.offsets.to_numpy(), column.values.to_numpy()


def _lengths(offsets: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int32), *(np.diff(part) for part in offsets)])


def _state(names: Sequence[str], fingerprint: str) -> dict[str, Any]:
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def _dataset_info(schema: Any, split: str, rows: int) -> dict[str, Any]:
    features = {field.name: _feature(field.type) for field in schema}
    return {
        "citation": "",
        "description": "",
        "features": features,
        "homepage": "",
        "license": "",
        "splits": {split: {"name": split, "num_examples": rows}},
    }


def _feature(kind: Any) -> dict[str, Any]:
    if pa.types.is_list(kind):
        # "Sequence" is what every release of datasets reads; newer ones write "List"
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": str(kind), "_type": "Value"}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror}", _AGAIN) from None
    except ValueError:
        raise DataError(f"{path}: damaged: not JSON", _AGAIN) from None
