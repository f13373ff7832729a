"""What was read of a user's file, in one line; and the refusal of a file with too many rows that cannot be used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.data.containers import kind_of
from components.data.readers import data_files
from components.dataflow.errors import InputError

_ROW = re.compile(r"^row \d+: ")
_VALUE = re.compile(r" is (?!null|missing|empty|nested|not ).*?, (not|which|a number)")
_PLACE = re.compile(r"\[\d+\]|\brow \d+|\b\d+(?= for | of | cells)")


@dataclass
class FileReport:
    """Counts of one file. rows: all of it; errors: of those that cannot be used; notes: what a user should know."""

    path: Path
    rows: int = 0
    errors: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)  # columns, formats, examples
    notes: list[str] = field(default_factory=list)

    def line(self, what: str) -> str:
        """Return one line on the file. what: what it was read for, as "test problems"."""
        parts = [f"{container(self.path)}, {self.rows:,} rows", *self.details]
        if self.errors:
            parts.append(f"{len(self.errors):,} cannot be used: {causes(self.errors)}")
        return f"{what}: {self.path}: {'; '.join([*parts, *self.notes])}"

    def check(self, most_errors: float) -> None:
        """Raise InputError for a file of which no row, or too small a share of rows, can be used.

        most_errors: the largest share of rows with an error, in [0, 1].
        """
        if not self.rows:
            raise InputError(f"{self.path}: holds no rows")
        if len(self.errors) == self.rows:
            raise InputError(f"{self.path}: no row can be used; the first: {self.errors[0]}")
        if len(self.errors) > most_errors * self.rows:
            raise InputError(
                f"{self.path}: {len(self.errors):,} of {self.rows:,} rows cannot be used, more than --max-error-rate "
                f"{most_errors:g}: {causes(self.errors, most=2, longest=60)}"
            )


def container(path: Path) -> str:
    """Name what a path's rows are in, for people."""
    try:
        files = data_files(path)
    except InputError:  # MATH's folder has a file for each problem, of both splits
        return "a folder"
    if path.is_dir():
        return f"a folder of {len(files)} {'file' if len(files) == 1 else 'files'}"
    return kind_of(files[0]) if len(files) == 1 else f"{len(files)} files"


def causes(errors: Iterable[str], most: int = 3, longest: int = 75) -> str:
    """Count errors of rows by their cause, the most frequent first, each with its first: "30 as row 4: … is null"."""
    counts: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    for error in errors:
        cause = _PLACE.sub("…", _VALUE.sub(r" is … \1", _ROW.sub("", error)))
        counts[cause] += 1
        firsts.setdefault(cause, error if len(error) <= longest else f"{error[:longest]}…")
    told = [f"{count:,} as {firsts[cause]}" for cause, count in counts.most_common(most)]
    rest = len(counts) - len(told)
    return ", ".join(told) + (f" and {rest} other causes" if rest else "")


def quoted(values: Sequence[str], most: int = 3) -> str:
    """Show the first few values in a line."""
    return ", ".join(value if len(value) <= 40 else f"{value[:40]}…" for value in map(repr, values[:most]))
