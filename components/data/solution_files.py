"""Files of solutions that are trained on: their digests, and the check that no evaluation problem is among them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.readers import check_unchanged
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest
from components.dataflow.stage import digest
from components.text.problem_matching import same_text

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
) -> SolutionFiles:
    """Read the files once to check them, and return their digests.

    read(path, its number): yields the rows of a table with problem, dropped, source_row and error. held_out: normalised
    text → the evaluation problem that it is; a solution of one is refused, or with drop_contaminated left out. Raises
    InputError.
    """
    good, first = False, "it holds no rows"
    for number, path in enumerate(paths):
        for row in read(path, number):
            is_used = row["error"] is None and row["dropped"] is None
            evaluation_row = held_out.get(same_text(row["problem"])) if held_out and is_used else None
            if evaluation_row is not None and not drop_contaminated:
                raise InputError(
                    f"{path}: row {row['source_row']} is a solution of a held-out problem ({evaluation_row}, "
                    "spacing and LaTeX aside); remove such rows, or the curves would measure memory; or leave them out "
                    "with --contaminated drop"
                )
            good = good or (is_used and evaluation_row is None)
            first = row["error"] or first
    if not good:
        raise InputError(f"{', '.join(map(str, paths))}: no row can be used; the first: {first}")
    excluded = digest(sorted(held_out)) if drop_contaminated else ""
    return SolutionFiles(tuple(file_digest(path) for path in paths), excluded)


def read_shards(
    config: SolutionFiles,
    paths: Sequence[Path],
    excluded: frozenset[str],
    read: Callable[[Path, int], Iterable[dict[str, Any]]],
    schema: pa.Schema,
) -> Iterator[pa.Table]:
    """Yield the files' rows as tables of SHARD_ROWS, in bounded memory; solutions of `excluded` problems are dropped as
    contaminated.

    Raises InputError when a file has changed since it was described.
    """
    for path, value in zip(paths, config.digests, strict=True):
        check_unchanged(path, value)
    rows = itertools.chain.from_iterable(read(path, number) for number, path in enumerate(paths))
    while batch := list(itertools.islice(rows, SHARD_ROWS)):
        for row in batch:
            if excluded and row["dropped"] is None and same_text(row["problem"]) in excluded:
                row["dropped"] = "contaminated"
        yield pa.Table.from_pylist(batch, schema=schema)
