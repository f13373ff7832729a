"""Files of solutions that are trained on: their digests, and the check that no evaluation problem is among them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.file_report import FileReport
from components.data.held_out import HeldOut
from components.data.readers import check_unchanged, rows_digest
from components.data.step_labels import two_kinds
from components.dataflow.errors import InputError
from components.dataflow.stage import digest

SHARD_ROWS = 4000


@dataclass(frozen=True)
class SolutionFiles:
    """The files' identity: their content, not their place.

    excluded: the digest of the problems whose solutions are left out, "" for none.
    """

    digests: tuple[str, ...]
    excluded: str = ""


def describe_solutions(
    paths: Sequence[Path],
    read: Callable[[Path, int], Iterable[Mapping[str, Any]]],
    held_out: Mapping[str, str],
    drop_contaminated: bool,
    most_errors: float = 1.0,
) -> tuple[SolutionFiles, list[FileReport]]:
    """Read the files once to check them. Return their digests, and a report on each.

    read(path, its number): yields the rows of a table with problem, dropped, source_row and error, and `format`, the
    name of what they look like. held_out: normalised text → the evaluation problem that it is; a solution of one is
    refused, or with drop_contaminated left out. most_errors: the largest share of a file's rows that may have an error.
    Raises InputError.
    """
    reports = []
    problems = HeldOut(held_out)
    for number, path in enumerate(paths):
        report = FileReport(path)
        formats, dropped, notes, kinds = Counter[str](), Counter[str](), Counter[str](), set[str]()
        labels = 0
        for row in read(path, number):
            report.rows += 1
            labels += row.get("num_labels", 1)
            if row["error"] is not None:
                report.errors.append(row["error"])
                continue
            formats[row["format"]] += 1
            notes.update(row.get("notes", ()))
            kinds.add(row.get("label_kind") or "")
            cause = row["dropped"]
            evaluation_problem = problems.find(row["problem"]) if cause is None else None
            if evaluation_problem is not None and not drop_contaminated:
                raise InputError(
                    f"{path}: row {row['source_row']} is a solution of a held-out problem "
                    f"({held_out[evaluation_problem]}, spacing, LaTeX and texts around it aside); remove such rows, or "
                    "the curves would measure memory; or leave them out with --contaminated drop"
                )
            cause = cause or ("contaminated" if evaluation_problem is not None else None)
            dropped.update([cause] if cause is not None else [])
        report.check(most_errors)
        if conflict := two_kinds(kinds):
            raise InputError(f"{path}: {conflict}")
        if labels == 0:
            raise InputError(f"{path}: no step has a rating or probabilities, so there is nothing to learn")
        if dropped.total() + len(report.errors) == report.rows:
            raise InputError(f"{path}: no row can be used: {_counted(dropped)}")
        report.details = [f"read as {', '.join(formats)}"]
        report.notes = [
            *([f"left out: {_counted(dropped)}"] if dropped else []),
            *(f"{n:,} {t}" for t, n in notes.items()),
        ]
        reports.append(report)
    excluded = digest(sorted(held_out)) if drop_contaminated else ""
    return SolutionFiles(tuple(rows_digest(path) for path in paths), excluded), reports


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def read_shards(
    config: SolutionFiles,
    paths: Sequence[Path],
    excluded: Collection[str],
    read: Callable[[Path, int], Iterable[dict[str, Any]]],
    schema: pa.Schema,
) -> Iterator[pa.Table]:
    """Yield the files' rows as tables of SHARD_ROWS, in bounded memory; solutions of `excluded` problems are dropped as
    contaminated.

    Raises InputError when a file has changed since it was described.
    """
    for path, value in zip(paths, config.digests, strict=True):
        check_unchanged(path, value)
    held_out = HeldOut(excluded)
    rows = itertools.chain.from_iterable(read(path, number) for number, path in enumerate(paths))
    while batch := list(itertools.islice(rows, SHARD_ROWS)):
        for row in batch:
            if excluded and row["dropped"] is None and held_out.find(row["problem"]) is not None:
                row["dropped"] = "contaminated"
        yield pa.Table.from_pylist(batch, schema=schema)
