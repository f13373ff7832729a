"""The solutions of a selection, joined with their text for the labellers: rows of `flows/export.py --format
labelling_queue`."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StoreError
from components.dataflow.store import Store
from schemas.small_scale import CHOSEN_BEFORE
from schemas.tables import SAMPLE_KEY

Row = dict[str, Any]
_CHOSEN = ["size", "place", "reason", "selector_score"]
_TEXT = ["problem", "ground_truth_answer", "steps", "error"]


def queue_rows(store: Store, selection: Dataset, solutions: Dataset, grades: Dataset) -> list[Row]:
    """Return a row per solution that the selection chose at its largest size and no earlier round had, in its order.

    `answer` is of grades, `policy` as the selection's manifest has it (None: it does not). A shard at a time is read,
    and of it what was chosen is kept. Raises StoreError where a solution has no text or no grade.
    """
    sizes = {int(shard.attributes["size"]) for shard in selection.shards}
    if not sizes:
        return []
    largest = selection.select(size=str(max(sizes)))
    chosen = store.read(largest, [*SAMPLE_KEY, *_CHOSEN]).to_pylist()
    wanted = {_key(row): row for row in chosen if row["reason"] != CHOSEN_BEFORE}
    if not wanted:
        return []
    texts = _columns_of(store, solutions, wanted, _TEXT)
    answers = _columns_of(store, grades, wanted, ["answer"])
    policy = _policy(store, selection)
    return [row | texts[key] | answers[key] | {"policy": policy} for key, row in wanted.items()]


def _key(row: Row) -> tuple[str, int]:
    return row["problem_id"], row["sample_index"]


def _policy(store: Store, selection: Dataset) -> str | None:
    manifest = store.manifest(selection.folder) or {}
    policy = manifest.get("recipe", {}).get("config", {}).get("policy")
    return None if policy is None else str(policy)


def _columns_of(store: Store, table: Dataset, wanted: dict[tuple[str, int], Row], columns: list[str]) -> dict[Any, Row]:
    keys = pd.MultiIndex.from_tuples(list(wanted), names=SAMPLE_KEY)
    by_key: dict[tuple[str, int], Row] = {}
    for shard in table.shards:
        rows = store.read_shard(shard, [*SAMPLE_KEY, *columns])
        is_wanted = pd.MultiIndex.from_frame(rows.select(SAMPLE_KEY).to_pandas()).isin(keys)
        kept = rows.filter(pa.array(is_wanted)).to_pylist()
        by_key |= {_key(row): {name: row[name] for name in columns} for row in kept}
    for problem_id, sample_index in sorted(wanted.keys() - by_key.keys()):
        raise StoreError(f"{table.name} have no row of sample {sample_index} of problem {problem_id}, which was chosen")
    return by_key
