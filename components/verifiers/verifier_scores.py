"""The scores of one verifier on any solutions, computed once and kept by the content of its model, style and solutions.

The stage has one name whatever the user calls the verifier, so that a verifier with another name is found again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, Model
from components.verifiers.style import Style
from schemas.settings import Dtype, settings
from schemas.verifiers import VERIFIER_SCORES


@settings
class VerifierConfig:
    """Settings of the scores of a verifier."""

    style: Style | None = None  # how the model is read, whole: its file may change; None: a model trained here
    dtype: Dtype = "float32"  # arithmetic


def verifier_scores(config: VerifierConfig, models: Mapping[str, Model]) -> MapStage:
    """The stage solutions → verifier_scores. models: "verifier", and "base" of an adapter or "reference", if any."""
    return MapStage(
        "verifier_scores",
        version=1,
        config=config,
        schema=VERIFIER_SCORES,
        make_worker=ScoreByVerifier,
        models=dict(models),
        engines=("torch", "transformers"),
        place="scorers",
    )


class ScoreByVerifier:
    """The actor of the stage: one verifier, fed a shard of solutions at a time."""

    def __init__(self, config: VerifierConfig, models: dict[str, Path]) -> None:
        from components.verifiers.style import OURS
        from components.verifiers.verifier import Verifier

        others = {name: models[name] for name in ("base", "reference") if name in models}
        self.verifier = Verifier(models["verifier"], config.style or OURS, config.dtype, **others)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution. A row with an error, or without steps, has no score."""
        rows = table.to_pylist()
        output: list[dict[str, Any]] = [
            {name: row[name] for name in ("problem_id", "sample_index", "split", "error")}
            | {"score": None, "step_probabilities": None, "num_tokens": None}
            for row in rows
        ]
        readable = [index for index, row in enumerate(rows) if row["error"] is None and row["steps"]]
        readings = self.verifier.read([rows[index] for index in readable])
        for index, reading in zip(readable, readings, strict=True):
            if isinstance(reading, str):
                output[index]["error"] = reading
                continue
            steps = reading.step_probabilities
            output[index] |= {"score": reading.score, "num_tokens": reading.num_tokens}
            output[index]["step_probabilities"] = None if steps is None else steps.tolist()
        return pa.Table.from_pylist(output, schema=VERIFIER_SCORES)
