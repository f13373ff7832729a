"""Process labels by a PRM (paper §4.1): a step is wrong if its P(negative) is more than 0.20.

Labels go through the first wrong step. They are binary: a step that is not wrong is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, Model, field_added_later
from components.verifiers.style import OURS, Style
from schemas.settings import Dtype, Share, settings
from schemas.tables import STEP_LABELS


@settings
class VerifierLabelsConfig:
    """Settings of labels by a PRM."""

    threshold: Share = 0.2  # a step is wrong if its P(negative) is more (§4.1)
    dtype: Dtype = "float32"  # arithmetic
    prm_style: str = OURS  # whose conventions the PRM follows: ours, or a style of verifiers/styles
    style: Style | None = field_added_later(None, value_before=None)  # a user's own, in place of prm_style


def label_by_prm(config: VerifierLabelsConfig, prm: Model, name: str = "prm_labels") -> MapStage:
    """The stage solutions → step labels by a PRM."""
    return MapStage(
        name,
        version=1,
        config=config,
        schema=STEP_LABELS,
        make_worker=LabelByPrm,
        models={"prm": prm},
        engines=("torch", "transformers"),
        place="scorers",
    )


class LabelByPrm:
    """The actor of the stage: one PRM, fed a shard of solutions at a time."""

    def __init__(self, config: VerifierLabelsConfig, models: dict[str, Path]) -> None:
        from components.verifiers.verifier import Verifier

        self.config = config
        self.verifier = Verifier(models["prm"], config.style or config.prm_style, config.dtype)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row of step labels per solution."""
        rows = table.drop_columns(["text"]).to_pylist()
        scored = [index for index, row in enumerate(rows) if row["error"] is None and row["steps"]]
        by_row = dict(zip(scored, self.verifier.step_probabilities([rows[index] for index in scored]), strict=True))
        labelled = []
        for index, row in enumerate(rows):
            labels: dict[str, Any] = {"ratings": [], "provenance": []}
            error = row["error"]
            probabilities = by_row.get(index, "the solution has no steps")
            if isinstance(probabilities, str):
                error = error or probabilities
            else:
                for negative, *_ in probabilities.tolist():
                    labels["ratings"].append(-1 if negative > self.config.threshold else 1)
                    labels["provenance"].append(f"P(negative) {negative:.4f}")
                    if negative > self.config.threshold:
                        break
            identity = {name: row[name] for name in ("problem_id", "sample_index", "split")}
            more = {"probabilities": None, "alternatives": [], "label_source": "prm", "error": error}
            labelled.append(identity | labels | more)
        return pa.Table.from_pylist(labelled, schema=STEP_LABELS)
