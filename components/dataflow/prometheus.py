"""Metrics for Prometheus while a study works, through Ray's own exporter (Ray puts `ray_` before each name).

Counts are of this run's work, by stage: shards that were committed before are not counted again. Outside of Ray no
metric is set.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_CAUSE_LENGTH = 80  # collectors keep a label's values for good, so there should be few, and short
_DESCRIPTIONS = {
    "stepverify_rows": "Rows committed.",
    "stepverify_rows_error": "Rows committed with an error, by its text with digits folded.",
    "stepverify_generated_tokens": "Tokens of committed rows that an engine wrote.",
    "stepverify_shards": "Shards of the stage that are done, and left.",
    "stepverify_kv_cache_usage": "Share of an engine's key-value cache that is in use, in [0, 1].",
}


def count_rows(stage: str, table: pa.Table, *, generated: bool) -> None:
    """Count a committed shard. generated: whether its `num_tokens` were written by an engine."""
    _add("stepverify_rows", len(table), stage=stage)
    for cause, rows in causes(table).items():
        _add("stepverify_rows_error", rows, stage=stage, cause=cause)
    if generated and "num_tokens" in table.column_names:
        _add("stepverify_generated_tokens", pc.sum(table["num_tokens"]).as_py() or 0, stage=stage)


def causes(table: pa.Table) -> dict[str, int]:
    """Count a table's errors by cause: digits are folded and long texts cut, so that like errors count together."""
    errors = (error for error in table["error"].to_pylist() if error is not None)
    return dict(Counter(re.sub(r"\d+", "#", error)[:_CAUSE_LENGTH] for error in errors))


def set_shards(stage: str, done: int, left: int) -> None:
    """Set how many shards of a stage are done, and how many are left."""
    for state, value in (("done", done), ("left", left)):
        _set("stepverify_shards", value, stage=stage, state=state)


def set_kv_cache_usage(share: float) -> None:
    """Set the key-value cache usage of this process's engine, which Ray names by WorkerId."""
    _set("stepverify_kv_cache_usage", share)


def _add(name: str, value: float, **tags: str) -> None:
    if value and _is_exporting():
        _metric("Counter", name, tuple(tags)).inc(value, tags=tags)


def _set(name: str, value: float, **tags: str) -> None:
    if _is_exporting():
        _metric("Gauge", name, tuple(tags)).set(value, tags=tags)


def _is_exporting() -> bool:
    import ray

    return ray.is_initialized()


@functools.cache  # a process must not register a metric twice
def _metric(kind: str, name: str, tags: tuple[str, ...]) -> Any:
    from ray.util import metrics

    return getattr(metrics, kind)(name, description=_DESCRIPTIONS[name], tag_keys=tags)
