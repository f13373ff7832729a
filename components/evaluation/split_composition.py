"""The composition of the splits: shares of each level, subject and source.

The paper's figure 5 has the 500 test problems beside all 5,000 of MATH's test set.
"""

from __future__ import annotations

import pyarrow as pa

from components.dataflow.stage import TableStage
from schemas.results import ATTRIBUTE_SHARES
from schemas.settings import NoSettings

_ATTRIBUTES = ("level", "subject", "source")


def attribute_shares() -> TableStage:
    """The stage problem_attributes → attribute_shares."""
    return TableStage("attribute_shares", 1, NoSettings(), ATTRIBUTE_SHARES, _attribute_shares)


def _attribute_shares(config: NoSettings, problem_attributes: pa.Table) -> pa.Table:
    frame = problem_attributes.to_pandas()
    rows = []
    for attribute in _ATTRIBUTES:
        counts = frame.dropna(subset=[attribute]).groupby(["split", attribute], sort=True).size()
        totals = counts.groupby("split").sum()
        rows += [
            {"attribute": attribute, "value": value, "split": split, "count": count, "error": None}
            | {"share": count / totals[split]}
            for (split, value), count in counts.items()
        ]
    return pa.Table.from_pylist(rows, schema=ATTRIBUTE_SHARES)
