"""Rows of several tables as one: a stage's table has the rows of its input, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa


def joined_rows(tables: Mapping[str, pa.Table], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows with the columns of all tables; `error` is the first that one of them has.

    tables: name, for messages → table. keys: the columns that must be equal, row by row. Raises ValueError where they
    are not.
    """
    (first, table), *others = tables.items()
    rows: list[dict[str, Any]] = table.to_pylist()
    for name, other in others:
        if not other.select(keys).equals(table.select(keys)):
            raise ValueError(f"{name} does not have the rows of {first}")
        for row, more in zip(rows, other.to_pylist(), strict=True):
            error = row.get("error")
            row.update(more)
            row["error"] = more.get("error") if error is None else error
    return rows
