"""Parts of a corpus as files: rows that are equal to each other are in the same slice, in the order of the corpus.

A slice is an Arrow stream of rows as the reader gave them, each with its number in the corpus and its line. So the
reports of slices have the places of the text that the user gave.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nmtcli.data.batching import Sentences
from nmtcli.data.files import File
from nmtcli.data.links import Links
from nmtcli.prepare.rows import Block, Problem, Rows

_FLUSH = 32 * 2**20  # characters that are collected before they are written
_SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "line": pa.int64(),
        "file": pa.string(),
        "source": pa.string(),
        "target": pa.string(),
        "problem": pa.string(),  # as JSON
        "links": pa.list_(pa.int64()),
    }
)

Numbers = npt.NDArray[np.int64]


class SliceWriter:
    """Writes the slices of a corpus into a directory: a context manager."""

    def __init__(self, directory: Path, slices: int) -> None:
        self._paths = [slice_path(directory, number) for number in range(slices)]
        self._rows = self._characters = 0
        self._collected: list[list[Any]] = [[] for _ in self._paths]
        self._closing = ExitStack()
        self._streams = [self._closing.enter_context(pa.ipc.new_stream(str(path), _SCHEMA)) for path in self._paths]

    def __enter__(self) -> "SliceWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._closing.close()

    def add(self, block: Block, rows: Rows, numbers: Numbers) -> None:
        """Add the rows of a block; `numbers` [B] has the slice of each."""
        size = len(rows.sources)
        problems = [json.dumps(asdict(rows.problems[n])) if n in rows.problems else None for n in range(size)]
        links = None if rows.links is None else _lists(rows.links.pack())
        order = np.argsort(numbers, kind="stable")
        columns = {
            "row": pa.array(self._rows + np.arange(size)),
            "line": pa.array(block.line + np.arange(size)),
            "file": pa.array([block.file] * size, pa.string()),
            "source": pa.array(rows.sources, pa.string()),
            "target": pa.array(rows.targets, pa.string()),
            "problem": pa.array(problems, pa.string()),
            "links": pa.nulls(size, pa.list_(pa.int64())) if links is None else links,
        }
        table = pa.table(columns, _SCHEMA).take(pa.array(order))
        ends = np.searchsorted(numbers[order], np.arange(len(self._paths) + 1))
        for number, collected in enumerate(self._collected):
            if length := int(ends[number + 1] - ends[number]):
                collected.append(table.slice(int(ends[number]), length))
        self._rows += size
        self._characters += sum(map(len, rows.sources)) + sum(map(len, rows.targets))
        if self._characters >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        for stream, collected in zip(self._streams, self._collected, strict=True):
            if collected:
                stream.write_table(pa.concat_tables(collected).combine_chunks())
                collected.clear()
        self._characters = 0


def slice_path(directory: Path, number: int) -> Path:
    """The file of a slice."""
    return directory / f"{number:04d}.arrow"


def _lists(sentences: Sentences) -> Any:
    offsets = np.zeros(len(sentences.lengths) + 1, np.int32)
    np.cumsum(sentences.lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(sentences.ids.astype(np.int64)))


@dataclass(frozen=True)
class SliceBlock:
    """Some rows of a slice."""

    line: int  # of the first one
    size: int
    file: str
    batch: Any  # an Arrow record batch
    aligned: bool

    def rows(self) -> Rows:
        """As the reader of the corpus gave them."""
        columns = {name: self.batch.column(name) for name in _SCHEMA.names}
        problems = {
            index: Problem(**json.loads(text))
            for index, text in enumerate(columns["problem"].to_pylist())
            if text is not None
        }
        links = None
        if self.aligned:
            lists = columns["links"]
            lengths = np.diff(lists.offsets.to_numpy()).astype(np.int32)
            links = Links.unpack(Sentences(lists.flatten().to_numpy(), lengths))
        sources, targets = (columns[side].to_pylist() for side in ("source", "target"))
        return Rows(sources, targets, problems, links=links, lines=columns["line"].to_numpy())


@dataclass(frozen=True)
class SliceFile:
    """A slice of a corpus, as a reader. `name` and `files` are those of the corpus."""

    path: Path
    name: str
    aligned: bool  # whether the corpus has word alignment
    files: tuple[File, ...] = ()

    def check(self) -> None:
        """The file was just written."""

    def digest(self) -> str:
        """That of the corpus counts."""
        return ""

    def blocks(self) -> Iterator[SliceBlock]:
        """All rows, in the order of the corpus."""
        for batch in self._batches():
            first = batch.slice(0, 1).to_pylist()[0]
            yield SliceBlock(first["line"], batch.num_rows, first["file"], batch, self.aligned)

    def rows(self) -> Numbers:
        """The number of each row in the corpus, from 0, ascending."""
        numbers: Sequence[Numbers] = [batch.column("row").to_numpy() for batch in self._batches()]
        return np.concatenate([np.empty(0, np.int64), *numbers])

    def _batches(self) -> Iterator[Any]:
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                if batch.num_rows:
                    yield batch
