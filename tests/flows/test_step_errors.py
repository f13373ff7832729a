"""First wrong steps: found, early, late, missed, by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from components.evaluation.first_error import StepErrorsConfig, f1, first_errors, first_wrong, step_errors
from schemas.tables import SCORES, STEP_LABELS

# (ratings through the first −1, P(negative) of every step)
SOLUTIONS = [
    ([1, -1], [0.1, 0.9, 0.9]),  # found at 0.5 and at 0.2
    ([1, 1, -1], [0.3, 0.1, 0.9]),  # found at 0.5, early at 0.2
    ([-1], [0.1, 0.6]),  # late
    ([0, -1], [0.0, 0.1]),  # missed
    ([1, 1], [0.1, 0.3]),  # right at 0.5, not at 0.2
    ([1, 0, 1], [0.0, 0.0, 0.1]),  # right
]


def tables(copies: int = 1, one_problem: bool = True) -> tuple[pa.Table, pa.Table]:
    """copies: of each solution, all of one problem or each of its own."""
    labels, scores = [], []
    for index, (ratings, negative) in ((at, one) for at, one in enumerate(SOLUTIONS) for _ in range(copies)):
        number = len(labels)
        problem = f"p{index}" if one_problem else f"p{index} {number}"
        key = {"problem_id": problem, "sample_index": number, "split": "test", "error": None}
        rated = {"ratings": ratings, "probabilities": None, "alternatives": [], "label_source": "test"}
        labels.append(key | rated)
        scores.append(
            key | {"orm_score": None, "prm_score": 0.5, "step_probabilities": [[p, 0, 1 - p] for p in negative]}
        )
    bad = {"problem_id": "bad", "sample_index": 0, "split": "test"}
    labels.append(bad | {"ratings": [], "alternatives": [], "label_source": "test", "error": "unknown problem"})
    scores.append(bad | {"error": "too long"})
    return pa.Table.from_pylist(labels, schema=STEP_LABELS), pa.Table.from_pylist(scores, schema=SCORES)


def test_f1_by_hand() -> None:
    labels, scores = tables()
    stage = step_errors(StepErrorsConfig(thresholds=(0.2, 0.5)))
    found = stage.compute(stage.config, held_out_step_labels=labels, scores=scores).to_pandas().set_index("threshold")
    assert found["num_wrong"].tolist() == [4, 4]
    assert found["num_right"].tolist() == [2, 2]
    assert found["accuracy_wrong"].to_dict() == {0.2: 1 / 4, 0.5: 2 / 4}
    assert found["accuracy_right"].to_dict() == {0.2: 1 / 2, 0.5: 1.0}
    assert found["f1"].to_dict() == pytest.approx({0.2: 1 / 3, 0.5: 2 / 3})


def test_copies_of_a_solution_tell_no_more_than_one() -> None:
    """Intervals are by problems: eight alike solutions of a problem are one, eight of eight problems are more."""
    named = [f"{name}_{end}" for name in ("accuracy_wrong", "accuracy_right", "f1") for end in ("low", "high")]
    for stage in (step_errors(StepErrorsConfig(thresholds=(0.5,))), first_errors(StepErrorsConfig(reported=0.5))):
        once, copied, apart = (
            stage.compute(stage.config, held_out_step_labels=made[0], scores=made[1]).to_pandas()
            for made in (tables(), tables(8), tables(8, one_problem=False))
        )
        columns = named if "f1" in once else ["ci_low", "ci_high"]
        assert copied[columns].to_numpy() == pytest.approx(once[columns].to_numpy())
        for low, high in zip(columns[::2], columns[1::2], strict=True):
            assert (apart[high] - apart[low] < once[high] - once[low]).all()
            assert (once[low] < once[high]).all()


def test_where_first_errors_are_and_whether_they_are_found() -> None:
    labels, scores = tables()
    stage = first_errors(StepErrorsConfig(reported=0.2))
    found = stage.compute(stage.config, held_out_step_labels=labels, scores=scores).to_pandas().set_index("first_error")
    assert found[["count", "found", "early", "late", "missed"]].to_dict("index") == {
        0: {"count": 1, "found": 0, "early": 0, "late": 1, "missed": 0},
        1: {"count": 2, "found": 1, "early": 0, "late": 0, "missed": 1},
        2: {"count": 1, "found": 0, "early": 1, "late": 0, "missed": 0},
    }


def test_without_one_kind_there_is_no_f1_and_finding_nothing_is_0() -> None:
    assert f1([0, 1], [0, 0])["f1"] is None
    assert f1([-1], [-1])["accuracy_wrong"] is None
    assert f1([0, -1], [1, 0])["f1"] == 0.0
    assert first_wrong([], 0.5) == first_wrong([0.1], 0.5) == -1
    assert first_wrong([0.1, 0.5, 0.9], 0.5) == 1
