"""Sentence pairs as token ids on disk: Arrow stream files, written in batches and read through a memory map.

The layout is that of `datasets.Dataset.save_to_disk`, so that `datasets.load_from_disk` opens it; only pyarrow is
needed here. An id has 2 bytes if the vocabulary allows it, else 4.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nmtcli.data.batching import Sentences
from nmtcli.errors import DataError

SHARD_BYTES = 256 * 2**20
_SHORT_VOCABULARY = 2**16  # ids below it fit in uint16

_ALIGNMENT = "alignment"  # the third column, if there is one
_TEXT_COLUMNS = ("source_text", "target_text")

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]  # numbers of rows
Lengths = npt.NDArray[np.int32]


def _id_columns(kind: Any) -> list[Any]:
    return [pa.field(name, pa.list_(kind)) for name in ("source", "target", _ALIGNMENT)]


_ID_COLUMNS = (_id_columns(pa.uint16()), _id_columns(pa.uint32()))  # for a short and a long vocabulary


class TextPair(NamedTuple):
    """The original text of a pair."""

    source: str
    target: str


def record_batch(
    source: Sentences,
    target: Sentences,
    texts: tuple[Sequence[str], Sequence[str]] | None,
    vocabulary_size: int,
    links: Sentences | None = None,
) -> Any:
    """Rows as an Arrow record batch, with the text of both sides and packed links if the split has them."""
    schema = _schema(vocabulary_size, with_text=texts is not None, with_links=links is not None)
    columns = (source, target) if links is None else (source, target, links)
    arrays = [_list_array(column, field.type) for column, field in zip(columns, schema, strict=False)]
    arrays += [pa.array(side, pa.string()) for side in texts or ()]
    return pa.record_batch(arrays, schema=schema)


def _list_array(sentences: Sentences, kind: Any) -> Any:
    offsets = np.zeros(len(sentences.lengths) + 1, np.int32)
    np.cumsum(sentences.lengths, out=offsets[1:])
    values = sentences.ids.astype(kind.value_type.to_pandas_dtype())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=kind)


def _schema(vocabulary_size: int, *, with_text: bool, with_links: bool) -> Any:
    fields = _ID_COLUMNS[vocabulary_size > _SHORT_VOCABULARY][: 2 + with_links]
    return pa.schema(fields + [pa.field(name, pa.string()) for name in _TEXT_COLUMNS if with_text])


class ShardWriter:
    """Writes one split into a new directory. A context manager; without a clean end the split cannot be opened."""

    def __init__(
        self,
        directory: Path,
        vocabulary_size: int,
        *,
        with_text: bool,
        with_links: bool = False,
        fingerprint: str,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """`vocabulary_size` is the larger of both sides; a new file starts after about `shard_bytes` bytes."""
        self._schema = _schema(vocabulary_size, with_text=with_text, with_links=with_links)
        self._directory = directory
        self._fingerprint = fingerprint
        self._shard_bytes = shard_bytes
        self._rows = 0
        self._files: list[Path] = []
        self._sink: Any = None
        self._stream: Any = None
        directory.mkdir()

    def write(self, batch: Any) -> None:
        """Append some thousand rows: a batch made by `record_batch`, or its bytes."""
        if self._stream is None:
            self._begin_file()
        if isinstance(batch, bytes):
            batch = pa.ipc.read_record_batch(pa.py_buffer(batch), self._schema)
        self._stream.write_batch(batch)
        self._rows += batch.num_rows
        if self._sink.tell() >= self._shard_bytes:
            self._end_file()

    def close(self) -> None:
        """Finish the files and write the metadata of `datasets`."""
        if self._stream is None and not self._files:
            self._begin_file()  # a split without rows still has a schema
        if self._stream is not None:
            self._end_file()
        names = _names(len(self._files))
        for file, name in zip(self._files, names, strict=True):
            file.rename(file.with_name(name))
        _describe(self._directory, names, self._schema, self._rows, self._fingerprint)

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
        # the final name has the number of files, so the file is renamed at the end
        self._files.append(self._directory / f"part-{len(self._files):05d}.arrow")
        self._sink = pa.OSFile(str(self._files[-1]), "wb")
        self._stream = pa.ipc.new_stream(self._sink, self._schema)

    def _end_file(self) -> None:
        self._stream.close()
        self._sink.close()
        self._stream = self._sink = None


class _File(NamedTuple):
    """A memory-mapped file, viewed as ids and as offsets, so that one index reads rows of many record batches."""

    ids: Ids
    offsets: npt.NDArray[np.int32]
    batches: list[Any]  # Arrow record batches
    places: list[list[tuple[int, int]]]  # of each record batch and column: its start in `offsets` and in `ids`


class Shards:
    """A memory-mapped split: opening reads no ids, and the system may drop read pages at any time."""

    def __init__(self, files: Sequence[_File]) -> None:
        """`files` are mapped files; use `Shards.open`."""
        self._files = files
        batches = [batch.num_rows for file in files for batch in file.batches]
        self._starts = np.cumsum([0, *batches], dtype=np.int64)  # first row of each record batch, then the total
        self._file = np.repeat(np.arange(len(files)), [len(file.batches) for file in files])  # of each record batch
        places = [place for file in files for place in file.places]
        self.aligned = any(len(columns) > 2 for columns in places)  # whether rows have links
        # [record batch, column, offsets or ids]
        self._places = np.array(places, dtype=np.int64).reshape(-1, 2 + self.aligned, 2)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the split in `directory`. Raises DataError if a file is missing, damaged or cut short."""
        state, info = _read_json(directory / "state.json"), _read_json(directory / "dataset_info.json")
        try:
            files = [directory / item["filename"] for item in state["_data_files"]]
            rows = sum(split["num_examples"] for split in info["splits"].values())
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"{directory}: state.json or dataset_info.json is not from nmt prepare", _AGAIN) from None
        mapped = [_map(file) for file in files]
        if len({len(columns) for file in mapped for columns in file.places}) > 1:
            raise DataError(f"{directory}: damaged: some files have word alignment, others do not", _AGAIN)
        shards = cls(mapped)
        if len(shards) != rows:
            raise DataError(f"{directory}: damaged: has {len(shards)} pairs, was written with {rows}", _AGAIN)
        return shards

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def longest(self) -> int:
        """The number of ids of the longest side of any row; 0 without rows."""
        longest = 0
        for file, batch, sides in self._record_batches():
            for offsets_at, _ in sides[:2]:
                offsets = file.offsets[offsets_at : offsets_at + batch.num_rows + 1]
                longest = max(longest, int(np.diff(offsets).max(initial=0)))
        return longest

    def lengths(self, rows: Rows) -> tuple[Lengths, Lengths]:
        """The numbers of source and target ids of each row. Raises IndexError for a row that does not exist."""
        located = self._locate(rows)
        return self._spans(0, *located)[1], self._spans(1, *located)[1]

    def gather(self, rows: Rows) -> tuple[Sentences, Sentences]:
        """Source and target ids of the rows, in order. Raises IndexError for a row that does not exist."""
        located = self._locate(rows)
        return self._read(0, *located), self._read(1, *located)

    def links(self, rows: Rows) -> Sentences:
        """The packed links of the rows of an `aligned` split. Raises IndexError for a row that does not exist."""
        return self._read(2, *self._locate(rows))

    def _locate(self, rows: Rows) -> tuple[Rows, Rows]:
        """The record batch of each row, and the number of the row in it."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        batch = np.searchsorted(self._starts, rows, side="right") - 1
        return batch, rows - self._starts[batch]

    def _spans(self, column: int, batch: Rows, row: Rows) -> tuple[Rows, Lengths]:
        """The start of the ids of each row in its file, and their number."""
        offsets_at, ids_at = self._places[batch, column].T
        at = offsets_at + row
        begin, end = np.empty((2, len(row)), np.int32)
        file_of = self._file[batch]
        for number in np.unique(file_of):
            here = file_of == number
            begin[here] = self._files[number].offsets[at[here]]
            end[here] = self._files[number].offsets[at[here] + 1]
        return ids_at + begin, end - begin

    def _read(self, column: int, batch: Rows, row: Rows) -> Sentences:
        begin, lengths = self._spans(column, batch, row)
        ends = lengths.cumsum(dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        at = np.repeat(begin - (ends - lengths), lengths) + np.arange(total)  # of each id in its file
        file_of = np.repeat(self._file[batch], lengths)
        ids = np.empty(total, np.int64)
        for number in np.unique(file_of):
            here = file_of == number
            ids[here] = self._files[number].ids[at[here]]
        return Sentences(ids, lengths)

    def texts(self) -> list[TextPair]:
        """The text of every row, the source with the tag of its corpus. Only validation splits keep it."""
        pairs: list[TextPair] = []
        for _, batch, _ in self._record_batches():
            sides = (batch.column(name).to_pylist() for name in _TEXT_COLUMNS)
            pairs += map(TextPair, *sides)
        return pairs

    def _record_batches(self) -> Iterator[tuple[_File, Any, list[tuple[int, int]]]]:
        """Each record batch with its file and places."""
        for file in self._files:
            for batch, sides in zip(file.batches, file.places, strict=True):
                yield file, batch, sides


_AGAIN = "delete the data directory and prepare it again"


def _map(file: Path) -> _File:
    """Memory-map a file."""
    try:
        content = pa.memory_map(str(file)).read_buffer()
        stream = pa.ipc.open_stream(content)
        columns = 2 + (_ALIGNMENT in stream.schema.names)
        if list(stream.schema)[:columns] not in [fields[:columns] for fields in _ID_COLUMNS]:
            raise DataError(f"{file}: damaged: not the columns of nmt prepare", _AGAIN)
        batches = stream.read_all().to_batches()
        for batch in batches:
            batch.validate()
        kind = stream.schema.field(0).type.value_type.to_pandas_dtype()
        places = [[_place(batch.column(number), content) for number in range(columns)] for batch in batches]
    except FileNotFoundError:
        raise DataError(f"{file}: missing", _AGAIN) from None
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name is not UTF-8, or from `_place`
        raise DataError(f"{file}: damaged: {str(error).splitlines()[0]}", _AGAIN) from None
    return _File(_view(content, kind), _view(content, np.int32), batches, places)


def _place(column: Any, content: Any) -> tuple[int, int]:
    """The start of the offsets and of the ids of a column in the file, in items of their size."""
    places = []
    for array in (column.offsets.to_numpy(), column.values.to_numpy()):
        distance = array.ctypes.data - content.address if array.size else 0
        if not 0 <= distance <= content.size - array.nbytes or distance % array.itemsize:
            raise ValueError("its arrays are compressed")  # Arrow copied them
        places.append(distance // array.itemsize)
    return places[0], places[1]


def _view(content: Any, kind: Any) -> npt.NDArray[Any]:
    return np.frombuffer(content, kind, count=content.size // np.dtype(kind).itemsize)


def join(directory: Path, parts: Sequence[Path], fingerprint: str) -> None:
    """A new split with the rows of several, in order: hard links to their files, or copies if links are not possible.

    If some parts have word alignment, the rows of the others get an empty list. Raises DataError if a part is missing
    or damaged.
    """
    opened = [Shards.open(part) for part in parts]
    files = [part / item["filename"] for part in parts for item in _read_json(part / "state.json")["_data_files"]]
    names = _names(len(files))
    directory.mkdir()
    schema = max(map(_schema_of, files), key=len)
    for file, name in zip(files, names, strict=True):
        if _schema_of(file) != schema:
            _copy_with_links(file, directory / name, schema)
            continue
        try:
            os.link(file, directory / name)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(file, directory / name)
    _describe(directory, names, schema, sum(map(len, opened)), fingerprint)


def _schema_of(file: Path) -> Any:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).schema


def _copy_with_links(file: Path, copy: Path, schema: Any) -> None:
    """Copy rows without word alignment, with an empty column for it."""
    with pa.memory_map(str(file)) as source, pa.ipc.new_stream(str(copy), schema) as stream:
        for batch in pa.ipc.open_stream(source):
            links = pa.array([[]] * batch.num_rows, schema.field(2).type)
            stream.write_batch(pa.record_batch([*batch.columns[:2], links, *batch.columns[2:]], schema=schema))


def _names(files: int) -> list[str]:
    return [f"data-{number:05d}-of-{files:05d}.arrow" for number in range(files)]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror}", _AGAIN) from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: damaged: not JSON", _AGAIN) from None


def _describe(directory: Path, names: Sequence[str], schema: Any, rows: int, fingerprint: str) -> None:
    """Write the metadata that `datasets` reads for the files `names` in a directory, with `rows` rows in all."""
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    info = {
        "citation": "",
        "description": "",
        "features": {field.name: _feature(field.type) for field in schema},
        "homepage": "",
        "license": "",
        "splits": {directory.name: {"name": directory.name, "num_examples": rows}},
    }
    for name, value in (("state.json", state), ("dataset_info.json", info)):
        (directory / name).write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _feature(kind: Any) -> dict[str, Any]:
    if pa.types.is_list(kind):
        # every release of datasets reads "Sequence"; newer ones write "List"
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": str(kind), "_type": "Value"}
