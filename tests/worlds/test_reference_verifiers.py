"""The ceiling and the floors: known scores on solutions made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.text.rendering import answer_step
from components.worlds.reference_verifiers import ReferenceConfig, reference_scores
from components.worlds.worked_arithmetic import MODULUS
from components.worlds.worked_steps import rate_steps
from schemas.results import REFERENCE_SCORES, REFERENCES
from schemas.tables import GRADES, SOLUTIONS, STEP_LABELS

PROBLEM = f"Start with 7 modulo {MODULUS}. Ann adds 2. Bob subtracts 1."
RIGHT = ["Ann 7 + 2 = 9", "Bob 9 - 1 = 8", answer_step("8")]
WRONG = ["Ann 7 + 2 = 8", "Bob 8 - 1 = 7", answer_step("7")]
MISREAD = ["Ann 7 + 1 = 8", "Bob 8 - 1 = 7", answer_step("7")]
CUT = ["Ann 7 + 2 = 9"]


def tables(solutions: list[list[str]], split: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Solutions, their labels by the rule, and their grades."""
    rows: list[dict[str, Any]] = []
    for number, steps in enumerate(solutions):
        identity = {"problem_id": "p", "sample_index": number, "split": split, "error": None}
        answer = steps[-1].rpartition("\n")[2] if len(steps) == 3 else None
        row = identity | {"problem": PROBLEM, "ground_truth_answer": "8", "text": "", "steps": steps}
        row |= {"finish_reason": "stop", "num_tokens": 1, "seed": 0}
        label = identity | {"ratings": rate_steps(PROBLEM, steps), "probabilities": None, "alternatives": []}
        label |= {"provenance": [], "label_source": "rule"}
        grade = identity | {"answer": answer, "is_correct": answer == "8", "status": "ok", "grader_version": 1}
        rows.append({"solution": row, "label": label, "grade": grade})
    return (
        pa.Table.from_pylist([row["solution"] for row in rows], schema=SOLUTIONS),
        pa.Table.from_pylist([row["label"] for row in rows], schema=STEP_LABELS),
        pa.Table.from_pylist([row["grade"] for row in rows], schema=GRADES),
    )


@pytest.fixture(scope="module")
def scores() -> dict[str, list[float]]:
    held_out, labels, _ = tables([RIGHT, WRONG, MISREAD, CUT, []], "test")
    train, train_labels, train_grades = tables([RIGHT] * 30 + [WRONG] * 20, "train")
    table = reference_scores(ReferenceConfig()).compute(
        ReferenceConfig(),
        solutions=held_out,
        step_labels=labels,
        train_solutions=train,
        train_step_labels=train_labels,
        train_grades=train_grades,
    )
    assert table.schema.equals(REFERENCE_SCORES)
    return {name: table[f"{name}_score"].to_pylist() for name in REFERENCES}


def test_the_rule_is_right_about_whole_solutions_alone(scores: dict[str, list[float]]) -> None:
    assert scores["exact_rule"] == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_lookup_multiplies_shares_of_labelled_steps(scores: dict[str, list[float]]) -> None:
    prior = 90.5 / 111  # right steps of the labelled ones
    assert scores["step_lookup"][0] == pytest.approx(((30 + prior) / 31) ** 3)
    assert scores["step_lookup"][1] == pytest.approx((prior / 21) * prior**2)
    assert scores["step_lookup"][2] == pytest.approx(prior**3)  # it never read the problem


def test_the_regression_learns_from_outcomes(scores: dict[str, list[float]]) -> None:
    right, wrong, *_ = scores["outcome_regression"]
    assert right > 0.9
    assert wrong < 0.1
    assert np.isfinite(scores["outcome_regression"]).all()


def test_length_is_the_share_of_right_solutions_as_long(scores: dict[str, list[float]]) -> None:
    assert scores["solution_length"] == [0.6, 0.6, 0.6, 0.0, 0.0]


def test_without_a_graded_solution_the_regression_knows_nothing() -> None:
    held_out, labels, grades = tables([RIGHT], "test")
    table = reference_scores(ReferenceConfig()).compute(
        ReferenceConfig(),
        solutions=held_out,
        step_labels=labels,
        train_solutions=held_out.slice(0, 0),
        train_step_labels=labels.slice(0, 0),
        train_grades=grades.slice(0, 0),
    )
    assert table["outcome_regression_score"].to_pylist() == [0.5]
    assert table["solution_length_score"].to_pylist() == [0.0]
