"""The two tables made from a selection: the solutions to be labelled, and, once they are, what verifiers train on.

All supervisions train on the same solutions (paper §4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.dataflow.datasets import Dataset
from components.dataflow.stage import TableStage
from schemas.ratings import NEGATIVE
from schemas.settings import NoSettings
from schemas.small_scale import CHOSEN_BEFORE, SUPERVISED_SOLUTIONS
from schemas.tables import SAMPLE_KEY, SOLUTIONS

_TEXT = [*SAMPLE_KEY, "problem", "steps", "finish_reason", "num_tokens", "error"]
_LABELS = [*SAMPLE_KEY, "ratings", "error"]
_CHOSEN = [*SAMPLE_KEY, "split", "size", "reason", "is_correct"]
_MOST_INPUTS = 20  # tables of solutions, and of labels, that a selection of several rounds may be joined with


def chosen_solutions(name: str) -> TableStage:
    """The stage selection, solutions → the solutions to be labelled now.

    These are the solutions that the selection chose at its largest size and no earlier round had, each once, in the
    order of `solutions`. Raises ValueError where `solutions` have no row of one, or two.
    """
    reads = {"selection": [*SAMPLE_KEY, "size", "reason"]}
    return TableStage(
        name,
        1,
        NoSettings(),
        SOLUTIONS,
        _chosen_solutions,
        shard_rows=2000,
        reads=reads,
        expected_rows=_expected_chosen,
    )


def supervised_solutions(name: str) -> TableStage:
    """The stage selection, solutions, labels → a row per row of the selection, in its order, with the solution's text
    and its labels (schema STEP_LABELS). Several tables of solutions or of labels, one per round, are solutions_1,
    solutions_2 …, labels_1, labels_2 … up to 20.

    `error` is the solution's, else that of its labels; `ratings` are empty then, and `is_correct_by_steps` null, as it
    is where nobody rated a step. A size is a shard, or several of at most 5,000 rows.
    Raises ValueError where a chosen solution has no text, or no row of labels, or two.
    """
    numbered = range(1, _MOST_INPUTS + 1)
    reads = {"selection": _CHOSEN, "solutions": _TEXT, "labels": _LABELS}
    reads |= {f"solutions_{n}": _TEXT for n in numbered} | {f"labels_{n}": _LABELS for n in numbered}
    return TableStage(
        name,
        1,
        NoSettings(),
        SUPERVISED_SOLUTIONS,
        _supervised_solutions,
        shard_rows=5000,
        shard_by="size",
        reads=reads,
        expected_rows=_expected_supervised,
    )


def _rows_by_size(selection: Dataset) -> dict[str, int]:
    rows: dict[str, int] = {}
    for shard in selection.shards:
        size = shard.attributes["size"]
        rows[size] = rows.get(size, 0) + shard.rows
    return rows


def _expected_chosen(config: NoSettings, inputs: Mapping[str, Dataset]) -> tuple[int, str]:
    rows = _rows_by_size(inputs["selection"])
    return rows[max(rows, key=int)], "≤"


def _expected_supervised(config: NoSettings, inputs: Mapping[str, Dataset]) -> tuple[Any, str]:
    return _rows_by_size(inputs["selection"]), inputs["selection"].rows_are


def _index(table: pa.Table) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table.select(SAMPLE_KEY).to_pandas())


def _chosen_solutions(config: NoSettings, selection: pa.Table, solutions: pa.Table) -> pa.Table:
    largest = pc.equal(selection["size"], pc.max(selection["size"]))
    new = selection.filter(pc.and_(largest, pc.not_equal(selection["reason"], CHOSEN_BEFORE)))
    return solutions.take(pa.array(np.sort(_places(new, solutions, "solutions"))))


def _places(chosen: pa.Table, table: pa.Table, name: str) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return per chosen row the index of that solution's row in the table. Raises ValueError where it has none or
    two."""
    wanted, there = _index(chosen), _index(table)
    used = there.isin(wanted)
    if (doubled := there.duplicated() & used).any():
        raise ValueError(f"{name} have two rows of {_named(there[doubled])}")
    places = np.flatnonzero(used)
    indices = there[used].get_indexer(wanted)
    if (indices < 0).any():
        raise ValueError(f"{name} have no row of {_named(wanted[indices < 0])}, which was chosen")
    return places[indices]


def _named(keys: pd.MultiIndex) -> str:
    return f"sample {keys[0][1]} of problem {keys[0][0]}"


def _supervised_solutions(config: NoSettings, selection: pa.Table, **inputs: pa.Table) -> pa.Table:
    text, labels = (
        pa.concat_tables(table.select(columns) for name, table in inputs.items() if name.split("_")[0] == kind)
        for kind, columns in (("solutions", _TEXT), ("labels", _LABELS))
    )
    text = text.take(pa.array(_places(selection, text, "solutions")))
    labels = labels.take(pa.array(_places(selection, labels, "labels")))
    error = pc.coalesce(text["error"], labels["error"])
    ratings = [
        rated if failed is None else []
        for rated, failed in zip(labels["ratings"].to_pylist(), error.to_pylist(), strict=True)
    ]
    columns = {name: selection[name] for name in _CHOSEN}
    columns |= {name: text[name] for name in _TEXT if name not in (*SAMPLE_KEY, "error")}
    columns |= {
        "ratings": pa.array(ratings, pa.list_(pa.int8())),
        "is_correct_by_steps": pa.array([NEGATIVE not in rated if rated else None for rated in ratings], pa.bool_()),
        "error": error,
    }
    return pa.table({name: columns[name] for name in SUPERVISED_SOLUTIONS.names}).cast(SUPERVISED_SOLUTIONS)
