"""The scoring of solutions: both reward models read each solution once, and the probabilities of all classes are kept.

Paper §2.6: a step's score is P(neutral) + P(positive), and the solution's is the product over its steps. The other
reductions (appendix, table 4) are computed later, from the same columns (`evaluation/score_quality.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, Model, field_added_later
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_score
from components.verifiers.style import OURS, Style
from schemas.settings import Dtype, settings
from schemas.tables import SCORES


@settings
class ScoringConfig:
    """Settings of scoring."""

    dtype: Dtype = "float32"  # arithmetic of both models
    prm_style: str = OURS  # whose conventions the PRM follows: ours, or a style of verifiers/styles
    style: Style | None = field_added_later(None, value_before=None)  # a user's own, in place of prm_style


def score(config: ScoringConfig, orm: Model | None, prm: Model | None, name: str = "scores") -> MapStage:
    """The stage solutions → scores. The columns of a model that is not there are null."""
    models = {kind: model for kind, model in (("orm", orm), ("prm", prm)) if model is not None}
    return MapStage(
        name,
        version=2,
        config=config,
        schema=SCORES,
        make_worker=Score,
        models=models,
        engines=("torch", "transformers"),
        place="scorers",
    )


class Score:
    """The actor of the scoring stage: both models, one forward pass each per solution."""

    def __init__(self, config: ScoringConfig, models: dict[str, Path]) -> None:
        from components.verifiers.verifier import Verifier

        self.config = config
        styles: dict[str, str | Style] = {"orm": OURS, "prm": config.style or config.prm_style}
        self.verifiers = {name: Verifier(folder, styles[name], config.dtype) for name, folder in models.items()}

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution: the ORM's score, the PRM's, and its class probabilities per step."""
        rows = table.drop_columns(["text"]).to_pylist()
        output: list[dict[str, Any]] = [
            {name: row[name] for name in ("problem_id", "sample_index", "split", "error")}
            | {"orm_score": None, "prm_score": None, "step_probabilities": None}
            for row in rows
        ]
        scored = [index for index, row in enumerate(rows) if row["error"] is None and row["steps"]]
        for name, verifier in self.verifiers.items():
            results = verifier.step_probabilities([rows[index] for index in scored])
            for index, probabilities in zip(scored, results, strict=True):
                if isinstance(probabilities, str):
                    output[index]["error"] = probabilities
                elif name == "orm":
                    output[index]["orm_score"] = float(probabilities[-1, 1])
                else:
                    output[index]["step_probabilities"] = probabilities.tolist()
                    output[index]["prm_score"] = solution_score(probabilities, PAPER_REDUCTION, PAPER_NEUTRAL)
        return pa.Table.from_pylist(output, schema=SCORES)
