"""A file of rows for other programs, Parquet or JSON Lines by its suffix: there whole at the end, or not at all."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.dataflow.errors import InputError

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")


class ExportFile:
    """A file of rows of one schema, written batch by batch under a temporary name beside `path`.

    The good end of the `with` block moves the file in place, over one of that name; an exception leaves what was there
    before. Raises InputError for another suffix and where no file can be made, and OSError where the disk refuses
    later.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        if not path.name.endswith(SUFFIXES):
            raise InputError(f"{path}: ends in none of {', '.join(SUFFIXES)}")
        self.path, self.schema = path, schema
        self.part = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
        self._file: Any = None
        self._to: Any = None

    def __enter__(self) -> ExportFile:
        try:
            self._file = self.part.open("xb")
            if self.path.name.endswith(".parquet"):
                self._to = pq.ParquetWriter(self._file, self.schema, compression="zstd")
            elif self.path.name.endswith(".gz"):
                # Without a name and a time inside, equal rows are equal bytes.
                self._to = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        return self

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows. Raises OSError where the disk refuses, and pyarrow's errors for rows that break the schema."""
        batch = pa.Table.from_pylist(list(rows), schema=self.schema)  # JSON has to keep to the same types
        try:
            if isinstance(self._to, pq.ParquetWriter):
                self._to.write_table(batch)
            else:
                lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
                (self._to or self._file).write("".join(lines).encode())
        except OSError as error:
            raise self._refusal(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._to is not None:
                self._to.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                os.replace(self.part, self.path)
        except OSError as refused:
            if kind is None:
                raise self._refusal(refused) from refused
        finally:
            with contextlib.suppress(OSError):  # closing writes the rest, which a full disk refuses once more
                self._file.close()
            self.part.unlink(missing_ok=True)

    def _refusal(self, error: OSError) -> OSError:
        return OSError(error.errno, f"{error.strerror or error}; nothing is left of it", str(self.path))
