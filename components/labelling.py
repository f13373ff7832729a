"""Process labels: a rating per step, through the first wrong one (paper §2.4).

The label source of this version is the embedded world's exact rule. A problem that is not of that world gets no
rating, and its row says so in `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.stage import MapStage
from components.worked_arithmetic import rate_steps
from schemas.tables import STEP_LABELS

RULE = "worked_arithmetic_rule"


@dataclass(frozen=True)
class LabellingConfig:
    source: str = RULE


def label_steps() -> MapStage:
    """The stage solutions → step_labels."""
    return MapStage("step_labels", version=2, config=LabellingConfig(), schema=STEP_LABELS, make_worker=LabelByRule)


class LabelByRule:
    """The actor of the labelling stage."""

    def __init__(self, config: LabellingConfig, models: dict[str, Path]) -> None:
        self.source = config.source

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows = []
        for row in table.to_pylist():
            ratings = None if row["error"] else rate_steps(row["problem"], row["steps"])
            error = row["error"] or (None if ratings is not None else f"{self.source} does not know this problem")
            rows.append(
                {name: row[name] for name in ("problem_id", "sample_index", "split")}
                | {"ratings": ratings or [], "label_source": self.source, "error": error}
            )
        return pa.Table.from_pylist(rows, schema=STEP_LABELS)
