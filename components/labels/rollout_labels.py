"""Process labels by rollouts: a step is as good as the generator's chance to get from there to the right answer
(Math-Shepherd, Wang et al. 2023, §3.3; OmegaPRM, Luo et al. 2024, §3.2).

Soft label: the share of continuations that is right; hard label: whether any is. The label of the last step is the
solution's own grade. Labels count through the first wrong step, as the paper's do; Math-Shepherd trains on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa

from components.dataflow.stage import TableStage
from schemas.settings import settings
from schemas.tables import STEP_LABELS

Row = dict[str, Any]


@settings
class RolloutLabelsConfig:
    """Settings of the labels that are made of continuations."""

    # hard: a step is right if any continuation is. soft: its probability is their share (every_step only).
    target: Literal["hard", "soft"] = "hard"
    # Suppose that an error stays, as the search does: before a step that reaches the right answer every step is right.
    errors_stay: bool = False


def rollout_labels(config: RolloutLabelsConfig, name: str = "rollout_labels") -> TableStage:
    """The stage (solutions, rollouts) → step labels; all blocks of a solution count together."""
    reads = {"solutions": ["problem_id", "sample_index", "split"]}
    return TableStage(name, 1, config, STEP_LABELS, _rollout_labels, shards_like="solutions", reads=reads)


def _rollout_labels(config: RolloutLabelsConfig, solutions: pa.Table, rollouts: pa.Table) -> pa.Table:
    blocks: dict[tuple[str, int], list[Row]] = {}
    for row in rollouts.to_pylist():
        blocks.setdefault((row["problem_id"], row["sample_index"]), []).append(row)
    rows = []
    for row in solutions.to_pylist():
        of_solution = blocks[row["problem_id"], row["sample_index"]]
        error = next((block["error"] for block in of_solution if block["error"] is not None), None)
        if error is None and of_solution[0]["own_is_correct"] is None:
            error = "the solution's own answer could not be graded"
        labels: Row = {"ratings": [], "probabilities": None, "provenance": []}
        if error is None:
            labels, error = _labels(config, of_solution)
        rows.append(row | labels | {"alternatives": [], "label_source": "rollouts", "error": error})
    return pa.Table.from_pylist(rows, schema=STEP_LABELS)


def _labels(config: RolloutLabelsConfig, blocks: Sequence[Row]) -> tuple[Row, str | None]:
    """Return ratings, probabilities and provenance of one solution, and why there are none.

    Ratings go through the first wrong step. A step without continuations of its own is right when a later one is. A
    continuation that could not be graded does not count. The last step of a solution that the token cap cut is no whole
    step, and gets no label.
    """
    shares: dict[int, tuple[int, int]] = {}  # step → (right, graded)
    for block in blocks:
        for step, is_correct in zip(block["asked_steps"], block["is_correct"], strict=True):
            right, count = shares.get(step, (0, 0))
            shares[step] = right + is_correct.count(True), count + len(is_correct) - is_correct.count(None)
    labels: Row = {"ratings": [], "probabilities": None, "provenance": []}
    if any(count == 0 for _, count in shares.values()):
        return labels, "no continuation of a step could be graded"
    last, own = blocks[0]["num_steps"] - 1, bool(blocks[0]["own_is_correct"])
    known = {step: right > 0 for step, (right, _) in shares.items()}
    steps = range(last if blocks[0]["is_cut"] else last + 1)
    if not blocks[0]["is_cut"]:
        known[last] = own
    probabilities: list[list[float]] = []
    for step in steps:
        later = [other for other in sorted(known) if other > step and known[other]]
        is_right = known.get(step, False)
        if later and (step not in known or config.errors_stay):
            is_right = True
        if step in shares and (is_right == known[step]):
            right, count = shares[step]
            share, reason = right / count, f"{right} of {count} continuations are right"
        elif step == last:
            share, reason = float(own), "the solution's own answer"
        else:
            share, reason = float(is_right), f"as step {later[0]} is right" if later else "as no later step is right"
        labels["ratings"].append(1 if is_right else -1)
        probabilities.append([1 - share, 0.0, share])
        labels["provenance"].append(reason)
        if not is_right:
            break
    return labels | {"probabilities": probabilities if config.target == "soft" else None}, None
