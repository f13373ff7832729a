"""Readers of users' files, local, on S3 or on a hub: row by row, with errors that name the file and the row."""

from __future__ import annotations

import atexit
import functools
import gzip
import importlib.util
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest


@functools.cache
def fetch(name: str) -> Path:
    """Return a file's path on this machine: its own, or a copy that lasts as long as this process.

    Copied are s3://bucket/file and hub:DATASET[:CONFIG]:SPLIT (by the package `datasets`). Raises InputError.
    """
    kind, _, rest = name.partition(":")
    if kind not in ("s3", "hub"):
        return Path(name)
    needed, extra = ("s3fs", "s3") if kind == "s3" else ("datasets", "hub")
    if importlib.util.find_spec(needed) is None:
        raise InputError(f"{name}: needs the package {needed} (the extra `{extra}`)")
    folder = Path(tempfile.mkdtemp(prefix="stepverify-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        return _from_s3(name, folder) if kind == "s3" else _from_hub(rest, folder)
    except Exception as error:  # whatever a network library raises
        raise InputError(f"{name}: cannot be fetched: {error}") from error


def _from_s3(url: str, folder: Path) -> Path:
    import fsspec

    path = folder / url.rpartition("/")[2]
    fsspec.filesystem("s3").get_file(url, str(path))
    return path


def _from_hub(name: str, folder: Path) -> Path:
    import datasets

    parts = name.split(":")
    if len(parts) not in (2, 3):
        raise InputError("write hub:DATASET:SPLIT or hub:DATASET:CONFIG:SPLIT")
    dataset = datasets.load_dataset(*parts[:-1], split=parts[-1])
    path = folder / f"{parts[0].replace('/', '--')}.jsonl"
    dataset.to_json(path)
    return path


def read_records(path: Path, most: int | None = None) -> Iterable[dict[str, Any]]:
    """Yield the rows of a JSON Lines (also .gz) or Parquet file, the first `most`. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".parquet":
        left = most
        try:
            for batch in pq.ParquetFile(path).iter_batches(4096):
                yield from batch.slice(0, left).to_pylist()
                left = None if left is None else max(0, left - len(batch))
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: not a Parquet file: {error}") from error
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
    """Raise InputError when a file is not the one that the study was started with."""
    if file_digest(path) != digest:
        raise InputError(f"{path}: changed while the study ran; start it again")
