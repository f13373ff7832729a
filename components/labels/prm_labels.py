"""Process labels by a PRM (paper §4.1): a step is wrong if its P(negative) is more than 0.20, and labels go through the
first wrong one. Binary: what is not wrong is right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, Model
from components.verifiers.published import OURS
from schemas.settings import Dtype, Share, settings
from schemas.tables import STEP_LABELS


@settings
class VerifierLabelsConfig:
    threshold: Share = 0.2  # §4.1
    dtype: Dtype = "float32"
    prm_style: str = OURS


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
    """The actor of the stage."""

    def __init__(self, config: VerifierLabelsConfig, models: dict[str, Path]) -> None:
        from components.verifiers.verifier import Verifier

        self.config = config
        self.verifier = Verifier(models["prm"], config.prm_style, config.dtype)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows = table.drop_columns(["text"]).to_pylist()
        asked = [index for index, row in enumerate(rows) if row["error"] is None and row["steps"]]
        found = dict(zip(asked, self.verifier.step_probabilities([rows[index] for index in asked]), strict=True))
        labelled = []
        for index, row in enumerate(rows):
            labels: dict[str, Any] = {"ratings": [], "provenance": []}
            error = row["error"]
            probabilities = found.get(index, "the solution has no steps")
            if isinstance(probabilities, str):
                error = error or probabilities
            else:
                for negative, *_ in probabilities.tolist():
                    labels["ratings"].append(-1 if negative > self.config.threshold else 1)
                    labels["provenance"].append(f"P(negative) {negative:.4f}")
                    if negative > self.config.threshold:
                        break
            about = {name: row[name] for name in ("problem_id", "sample_index", "split")}
            more = {"probabilities": None, "alternatives": [], "label_source": "prm", "error": error}
            labelled.append(about | labels | more)
        return pa.Table.from_pylist(labelled, schema=STEP_LABELS)
