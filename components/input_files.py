"""Files that users give: read row by row, with errors that name the file and the row."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.store import file_digest


class InputError(ValueError):
    """A user's input that cannot be used; the message names the file, the row and the field, and how to mend it."""


def read_records(path: Path, most: int | None = None) -> Iterable[dict[str, Any]]:
    """The rows of a JSON Lines (also .gz) or Parquet file, the first `most`. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".parquet":
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: not a Parquet file: {error}") from error
        yield from table.slice(0, most).to_pylist()
        return
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if number == most:
                    return
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise InputError(f"{path}: row {number} is not a JSON object")
                yield record
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: row {number} is not JSON (one object per line, UTF-8): {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def check_unchanged(path: Path, digest: str) -> None:
    """Raises InputError when a file is not the one that the study was started with."""
    if file_digest(path) != digest:
        raise InputError(f"{path}: changed while the study ran; start it again")
