"""Containers of rows, told apart by their bytes: JSON Lines, JSON arrays, CSV, TSV, Parquet and Arrow, also compressed.

A file that is none of them is refused in a line that says what it is. One odd row of a sound file is an error of that
row (`UnreadableRow`), and one odd cell an error of whoever reads the cell (`UnreadableCell`).
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from components.data.cells import CsvText, UnreadableCell, UnreadableRow, columns_of
from components.data.table_files import Unfolded, arrow_batches, parquet_batches, table_rows
from components.dataflow.errors import InputError

_LONGEST_ROW = 64 << 20  # bytes of a row's text
_LARGEST_ARRAY = 1 << 30  # bytes of a JSON array, which is read as a whole
_DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
_COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_REFUSED = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file: run `git lfs pull`",
    b"PK\x03\x04": "is a ZIP archive: unpack it",
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"<!DOCTYPE": "is a web page, not the file",
    b"<html": "is a web page, not the file",
}
_BOM = b"\xef\xbb\xbf"
_ERRORS_OF_FILES = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException, csv.Error, UnicodeError)


def _zstd(path: Path) -> io.BufferedReader:
    return io.BufferedReader(cast(Any, pa.CompressedInputStream(str(path), "zstd")))


_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def kind_of(path: Path) -> str:
    """Name the container of a file, for people: "JSON Lines", "CSV", "Parquet", … Raises InputError for none."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head[:4] == b"PAR1":
            return "Parquet"
        if head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
            return "Arrow"
        with _opened(path, head) as stream:
            start = stream.read(4096)
    except _ERRORS_OF_FILES as error:
        raise InputError(f"{path}: cannot be read: {_brief(error)}") from error
    for magic, why in _REFUSED.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {why}")
    if b"\0" in start:
        raise InputError(f"{path}: is binary and of no kind that is read (JSON, CSV, Parquet, Arrow, also compressed)")
    if start.removeprefix(_BOM).lstrip().startswith(b"["):
        return "a JSON array"
    return _suffix(path)[1:].upper() if _suffix(path) in _DELIMITERS else "JSON Lines"


def rows_of_file(path: Path, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, in bounded memory but for a JSON array. Raises InputError with the file and the row.

    columns: those that are needed; Parquet reads no others. None: all.
    """
    kind = kind_of(path)
    if kind == "Parquet":
        batches: Iterable[pa.RecordBatch] = parquet_batches(path, columns)
    elif kind == "Arrow":
        batches = arrow_batches(path)
    else:
        rows = {"CSV": _csv_rows, "TSV": _csv_rows, "a JSON array": _array_rows}.get(kind, _json_lines)
        try:
            yield from rows(path)
        except _ERRORS_OF_FILES as error:
            raise InputError(f"{path}: cannot be read: {_brief(error)}") from error
        return
    try:
        yield from table_rows(path, batches)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is no sound {kind} file: {_brief(error)}") from error


def _opened(path: Path, head: bytes | None = None) -> BinaryIO:
    """Open a file for its text, decompressed where its first bytes say that it is compressed."""
    if head is None:
        with path.open("rb") as file:
            head = file.read(8)
    for magic, opener in _COMPRESSED.items():
        if head.startswith(magic):
            return cast(BinaryIO, opener(path))
    return path.open("rb")


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for compressed in _COMPRESSED_SUFFIXES:
        name = name.removesuffix(compressed)
    return Path(name).suffix


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    unfolded, number = Unfolded(path), 0
    with _opened(path) as stream:
        while line := stream.readline(_LONGEST_ROW + 1):
            unfolded.add(len(line))
            if len(line) > _LONGEST_ROW:
                raise InputError(f"{path}: row {number} has over {_LONGEST_ROW >> 20} MiB: it is no row of JSON Lines")
            line = line.removeprefix(_BOM) if number == 0 else line
            if line.strip():
                yield _json_row(path, line, number)
                number += 1


def _json_row(path: Path, line: bytes, number: int) -> dict[str, Any]:
    try:
        row = _parsed(line.decode("utf-8"))
    except UnicodeDecodeError:
        return UnreadableRow("it is not UTF-8")
    except RecursionError:
        return UnreadableRow("it is nested too deep")
    except ValueError as error:
        whole = _whole_object(path) if number == 0 else ""
        reason = whole or f"row {number} is not JSON (one object per line): {_brief(error)}"
        raise InputError(f"{path}: {reason}") from error
    if not isinstance(row, dict):
        raise InputError(f"{path}: row {number} is not a JSON object")
    return row


def _whole_object(path: Path) -> str:
    """Say so where a file is one JSON object over many lines, which is no row."""
    try:
        with _opened(path) as stream:
            whole = json.loads(stream.read(_LONGEST_ROW))
    except (*_ERRORS_OF_FILES, ValueError, RecursionError):
        return ""
    if not isinstance(whole, dict):
        return ""
    return f"is one JSON object, with the keys {columns_of(whole)}: rows are one per line, or an array"


def _parsed(text: str) -> Any:
    """Parse JSON; an integer of more digits than Python reads is an UnreadableCell.

    Raises ValueError and RecursionError.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> Any:
    try:
        return int(digits)
    except ValueError:
        return UnreadableCell(f"a number of {len(digits):,} digits")


def _array_rows(path: Path) -> Iterator[dict[str, Any]]:
    unfolded = Unfolded(path)
    with _opened(path) as stream:
        content = stream.read(_LARGEST_ARRAY + 1)
    unfolded.add(len(content))
    if len(content) > _LARGEST_ARRAY:
        raise InputError(f"{path}: is a JSON array of over {_LARGEST_ARRAY >> 20} MiB: write it as JSON Lines")
    try:
        # What is not UTF-8 becomes lone surrogates, which are an error of the cell that holds them.
        rows = _parsed(content.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no sound JSON array: {_brief(error)}") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}: item {number} of the array is not a JSON object")
        yield row


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of CSV or TSV, with a header. Every cell is text; an empty one is null."""
    csv.field_size_limit(_LONGEST_ROW)
    unfolded = Unfolded(path)
    with (
        _opened(path) as stream,
        io.TextIOWrapper(cast(Any, stream), encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        first = text.readline(_LONGEST_ROW)
        delimiter = max(_DELIMITERS[_suffix(path)], key=first.count)
        [header] = csv.reader([first], delimiter=delimiter, strict=True) if first.strip() else [[]]
        if len(set(header)) < len(header):
            raise InputError(f"{path}: its header names a column twice: {', '.join(header)[:120]}")
        # strict: an open quote would swallow the rows that follow.
        for cells in _sound_csv(path, csv.reader(text, delimiter=delimiter, strict=True)):
            unfolded.add(sum(map(len, cells)))
            if not cells:
                continue
            if len(cells) != len(header):
                yield UnreadableRow(f"it has {len(cells)} cells for {len(header)} columns")
            else:
                yield {name: CsvText(value) if value else None for name, value in zip(header, cells, strict=True)}


def _sound_csv(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        why = f"line {reader.line_num + 1} has quotes that are not doubled, or not closed ({_brief(error)})"
        raise InputError(f"{path}: {why}") from error
