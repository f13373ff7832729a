"""Process labels by a rule: a rating per step, through the first wrong one (paper §2.4).

The embedded world's exact rule rates the steps. A problem that is not of that world gets no rating, and its row says so
in `error`. As PRM800K's labellers saw several candidates for a step, a solution may have alternatives to its steps,
rated like them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import NonNegativeInt

from components.dataflow.stage import MapStage, field_added_later, seed_for
from components.worlds.worked_steps import change_digit, misread_step, rate_steps
from schemas.settings import settings
from schemas.tables import STEP_LABELS

RULE = "worked_arithmetic_rule"


@settings
class LabellingConfig:
    """Settings of labels by a rule."""

    source: str = RULE  # which rule
    # Alternatives per solution to its right steps, each the step with one digit changed, rated as well. A tiny
    # generator's mistakes are of few kinds; a PRM that saw those alone would not look at the rest of a step.
    alternatives: NonNegativeInt = 0
    # Further alternatives per solution: a right step with another operand or operation than the problem's, and the
    # result that follows from it. A changed digit is seen in the step alone; a misreading only in the problem.
    misreadings: NonNegativeInt = field_added_later(0, value_before=0)
    seed: NonNegativeInt = 0  # draws the alternatives


def label_steps(config: LabellingConfig, name: str = "step_labels") -> MapStage:
    """The stage solutions → step_labels."""
    return MapStage(name, version=5, config=config, schema=STEP_LABELS, make_worker=LabelByRule)


class LabelByRule:
    """The actor of the labelling stage."""

    def __init__(self, config: LabellingConfig, models: dict[str, Path]) -> None:
        self.config = config

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row of step labels per solution."""
        rows = []
        for row in table.to_pylist():
            ratings = None if row["error"] else rate_steps(row["problem"], row["steps"])
            unknown = None if ratings is not None else f"{self.config.source} does not know this problem"
            labels: dict[str, Any] = {"ratings": ratings or [], "probabilities": None}
            labels["alternatives"] = self._alternatives(row, ratings)
            labels["provenance"] = [self.config.source] * len(ratings or [])
            identity = {name: row[name] for name in ("problem_id", "sample_index", "split")}
            rows.append(identity | labels | {"label_source": self.config.source, "error": row["error"] or unknown})
        return pa.Table.from_pylist(rows, schema=STEP_LABELS)

    def _alternatives(self, row: Mapping[str, Any], ratings: Sequence[int] | None) -> list[dict[str, Any]]:
        """Draw alternatives by the config's seed, the problem and the sample's index."""
        rng = random.Random(seed_for("alternatives", self.config.seed, row["problem_id"], row["sample_index"]))
        right = [at for at, rating in enumerate(ratings or []) if rating >= 0]
        alternatives = []
        changes = [change_digit] * self.config.alternatives + [misread_step] * self.config.misreadings
        places = rng.choices(right, k=len(changes)) if right else []
        for at, change in zip(places, changes, strict=False):
            text = change(rng, row["steps"][at])
            rated = rate_steps(row["problem"], [*row["steps"][:at], text]) if text is not None else None
            if rated is not None:
                alternatives.append({"step": at, "text": text, "rating": rated[-1], "probabilities": None})
        return alternatives
