"""Cells of users' rows: read as text or as a list, or said to be neither, in an error of bounded length.

A cell is never turned into text by force: what is no text and no number is an error of its row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Record = Mapping[str, Any]

_SHOWN = 60  # characters of a cell in a message
_COLUMNS_SHOWN = 90  # characters of columns' names in a message
_SMALLEST_IN_DIGITS = 1e-20
_SURROGATE = re.compile("[\ud800-\udfff]")


class UnreadableRow(dict[str, Any]):
    """A row that cannot be used. why: what is wrong with it. known: what is known of it, mostly nothing."""

    def __init__(self, why: str, known: Record | None = None) -> None:
        super().__init__(known or {})
        self.why = why


class UnreadableCell:
    """A cell whose value cannot be held here. why: what it is, for a message."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return self.why


class CsvText(str):
    """The text of a cell of CSV or TSV, which may stand for a number, or for true and false."""

    __slots__ = ()


def short(value: object) -> str:
    """Return a value as messages show it: on one line, cut to 60 characters."""
    text = repr(str(value) if isinstance(value, CsvText) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def columns_of(record: Record) -> str:
    """Name a row's columns, for a message: the first, in some 90 characters, and how many more there are."""
    names = sorted(str(name)[: _COLUMNS_SHOWN // 2] or "''" for name in record)
    shown: list[str] = []
    while len(shown) < len(names) and sum(map(len, shown)) + len(names[len(shown)]) <= _COLUMNS_SHOWN:
        shown.append(names[len(shown)])
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more or "none"


def has_column(record: Record, column: str) -> bool:
    """Return whether a row has a column, which may be named by a dotted path into objects (`reward_model.style`)."""
    return _find(record, column)[0]


def cell(record: Record, column: str) -> Any:
    """Return the value of a column, None where the row has none; a list of one is its item.

    column: a name, or a dotted path into objects.
    """
    value = _find(record, column)[1]
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _find(record: Record, column: str) -> tuple[bool, Any]:
    if column in record:
        return True, record[column]
    name, dot, rest = column.partition(".")
    inner = record.get(name)
    return _find(inner, rest) if dot and isinstance(inner, Mapping) else (False, None)


def cell_text(record: Record, column: str) -> tuple[str, str | None]:
    """Return a cell as text, and the error where it cannot be used, which names the column.

    A whole number in a column of floats or decimals (7.0) is "7".
    """
    if isinstance(record, UnreadableRow):
        return "", record.why
    value = cell(record, column)
    if value is None:
        return "", f"'{column}' is {'null' if has_column(record, column) else 'missing'}"
    text = number_text(value) if isinstance(value, int | float | Decimal) else value
    if not isinstance(text, str):
        return "", f"'{column}' is {short(value)}, not text or a number"
    if _SURROGATE.search(text):
        if isinstance(text, CsvText):
            return "", f"'{column}' is not UTF-8: save the file as UTF-8"
        return "", f"'{column}' holds half a character (a lone surrogate), which is no text"
    return str(text), None if text.strip() else f"'{column}' is empty"


def number_text(value: float | Decimal) -> str | None:
    """Return a number as text, a small one without an exponent; None for true, false and what is not finite."""
    if isinstance(value, bool) or (not isinstance(value, int) and not math.isfinite(value)):
        return None
    if value == int(value):
        return str(int(value))
    text = str(value)
    return format(Decimal(text), "f") if "e" in text.lower() and abs(float(value)) > _SMALLEST_IN_DIGITS else text


def first_readable(records: Iterable[Record]) -> Record | None:
    """Return the first row of which something can be read, else the first; None without rows."""
    first = None
    for record in records:
        if not isinstance(record, UnreadableRow):
            return record
        first = record if first is None else first
    return first


def csv_value(value: Any) -> Any:
    """Return a cell of CSV as the number, or the truth value, that it stands for; other cells as they are."""
    if not isinstance(value, CsvText):
        return value
    if value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    try:
        return float(value)
    except ValueError:
        return value


def is_blank(value: object) -> bool:
    """Tell whether a cell holds nothing: null, NaN, or a text of white space."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def sound(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and no file of text can, by question marks."""
    return text.encode("utf-8", "replace").decode()


def reject_surrogates(value: Any, where: str) -> str | None:
    """Return an error where a text anywhere in a value holds a lone surrogate; None where all are sound."""
    if _is_sound(value):
        return None
    if isinstance(value, str):
        return f"{where} holds half a character (a lone surrogate), which is no text"
    if isinstance(value, dict):
        parts = {f"{where}.{name!s:.40}" if where else f"{name!s:.40}": item for name, item in value.items()}
    else:
        parts = {f"{where}[{at}]": item for at, item in enumerate(value)}
    return next((error for part, item in parts.items() if (error := reject_surrogates(item, part))), None)


def _is_sound(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() or _SURROGATE.search(value) is None
    if isinstance(value, dict):
        return all(map(_is_sound, value.values()))
    return all(map(_is_sound, value)) if isinstance(value, list) else True
