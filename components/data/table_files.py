"""Rows of Parquet and Arrow files, and the bound on what any file may unfold to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.data.cells import UnreadableCell, short
from components.dataflow.errors import InputError

_UNFOLDED, _UNFOLDED_TIMES = 1 << 30, 200  # a file may unfold to so many bytes, and beyond to so many times its size
_BATCH_ROWS = 64  # few, since a column's dictionary may stand for gigabytes


class Unfolded:
    """The bytes that a file has unfolded to, which are bounded."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes, self.size = path, 0, max(1, path.stat().st_size)

    def add(self, count: int) -> None:
        """Count bytes. Raises InputError for far more than the file itself has."""
        self.bytes += count
        if self.bytes > _UNFOLDED and self.bytes > _UNFOLDED_TIMES * self.size:
            raise InputError(
                f"{self.path}: unfolds from {self.size:,} bytes to over {self.bytes >> 20:,} MiB; unpack it if that "
                "is meant"
            )


def parquet_batches(path: Path, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a Parquet file. columns: those that are read, of the file's; None: all."""
    file = pq.ParquetFile(path)
    yield from file.iter_batches(_BATCH_ROWS, columns=_present(file.schema_arrow.names, columns))


def _present(names: Sequence[str], columns: Collection[str] | None) -> list[str] | None:
    """Return the columns that a file has and that are read; None, for all, where it has none of them."""
    return [name for name in dict.fromkeys(names) if name in columns] or None if columns is not None else None


def arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow file or stream."""
    with pa.memory_map(str(path)) as file:
        if file.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(file)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            file.seek(0)
            yield from pa.ipc.open_stream(file)


def _few_rows(path: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches in pieces of few rows. Raises InputError for text that unfolds to far too much."""
    unfolded = Unfolded(path)
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            piece = batch.slice(start, _BATCH_ROWS)
            unfolded.add(sum(map(_bytes_of, piece.columns)))
            yield piece


def _bytes_of(column: pa.Array) -> int:
    """Return the bytes of a column's values; of a dictionary's each is counted as often as it is there."""
    if isinstance(column, pa.DictionaryArray):
        try:
            return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0
        except pa.ArrowException:  # numbers, which are short
            return column.indices.nbytes
    return column.nbytes


def table_rows(path: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Yield the rows of batches. Raises InputError for a column that is there twice, and for far too much text."""
    for batch in _few_rows(path, batches):
        if len(set(batch.schema.names)) < len(batch.schema.names):
            twice = next(name for name in batch.schema.names if batch.schema.names.count(name) > 1)
            raise InputError(f"{path}: it has the column {short(twice)} twice")
        try:
            rows = batch.to_pylist()
        except (ValueError, OverflowError, pa.ArrowException):
            columns = [[_cell(value) for value in column] for column in batch.columns]
            rows = [dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        yield from rows


def _cell(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return UnreadableCell("text that is not UTF-8")
    except (ValueError, OverflowError, pa.ArrowException):
        return UnreadableCell(f"a value of type {value.type} beyond what can be read")
