"""What active learning rests on, by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from components.evaluation.labels_spent import LabelledLine
from components.evaluation.selection_quality import (
    Selector,
    SelectorsConfig,
    WrongSharesConfig,
    selector_quality,
    wrong_shares,
)
from schemas.small_scale import SUPERVISED_SOLUTIONS
from schemas.tables import GRADES
from tests.evaluation.test_curves import compute
from tests.evaluation.test_label_budget import accuracies


def graded(problem: str, sample: int, is_correct: bool | None, answer: str | None = "8") -> dict[str, Any]:
    row = {"problem_id": problem, "sample_index": sample, "split": "train", "answer": answer, "is_correct": is_correct}
    return row | {"status": "ok", "grader_version": 1, "error": None}


def supervised(*rows: tuple[str, int, int, str, bool, bool | None]) -> pa.Table:
    """Of (problem, sample, size, reason, right answer, right by the labeller)."""
    made = [
        {"problem_id": problem, "sample_index": at, "split": "train", "size": size, "problem": "?", "steps": ["a"]}
        | {"finish_reason": "stop", "num_tokens": 5, "reason": reason, "ratings": [1], "is_correct": right}
        | {"is_correct_by_steps": by_steps, "error": None}
        for problem, at, size, reason, right, by_steps in rows
    ]
    return pa.Table.from_pylist(made, schema=SUPERVISED_SOLUTIONS)


def test_a_selectors_auc_is_within_problems_and_on_what_it_did_not_learn_from() -> None:
    grades = [graded("p", at, right) for at, right in enumerate((True, False, False, True))]
    grades += [graded("p", 4, True, answer=None), graded("q", 0, True), graded("q", 1, False), graded("r", 0, True)]
    values = {("p", 0): 0.9, ("p", 1): 0.1, ("p", 2): 0.95, ("p", 3): 0.95, ("p", 4): 0.0, ("q", 0): 0.2}
    values |= {("q", 1): 0.6, ("r", 0): 0.5}
    scores = [{"problem_id": p, "sample_index": at, "prm_score": score} for (p, at), score in values.items()]
    uniform = supervised(
        *(("p", 0, 1, "in_order", True, True), ("q", 0, 1, "in_order", True, True)),
        *(("p", at, 3, "in_order", True, right) for at, right in enumerate((True, False, True))),
        *(("q", at, 3, "in_order", True, right) for at, right in enumerate((True, False))),
    )
    selectors = (Selector("process", 1, 0, "one"), Selector("iterated", 2, 0, "two"))
    accuracy = accuracies({("process", 1, 1): (0.5, 0.6), ("iterated", 2, 1): (0.5, 0.7)})
    inputs = {"verifier_accuracy": accuracy, "grades": pa.Table.from_pylist(grades, schema=GRADES)}
    inputs |= {"supervised_uniform": uniform, "one": pa.Table.from_pylist(scores), "two": pa.Table.from_pylist(scores)}
    one, two = compute(selector_quality(SelectorsConfig(selectors)), **inputs).to_pylist()
    # p: right 0.9 and 0.95 against wrong 0.1 and 0.95 (a tie): (1 + 0 + 1 + ½) / 4. q: 0.2 against 0.6. r has one kind.
    assert one["pool_auc"] == pytest.approx((2.5 / 4 + 0) / 2)
    assert one["num_pool_problems"] == 2
    # The first of each problem trained it, so that p's second against its third is left.
    assert (one["labelled_auc"], one["num_labelled_problems"]) == (1.0, 1)
    assert (one["accuracy"], one["single_sample"], one["n"]) == (pytest.approx(0.6), pytest.approx(0.5), 4)
    assert (two["series"], two["size"], two["labelled_auc"]) == ("iterated", 2, None)
    unknown = selector_quality(SelectorsConfig((Selector("process", 3, 0, "one"), selectors[1])))
    with pytest.raises(ValueError, match="selector process of size 3: no accuracies"):
        compute(unknown, **inputs)


def test_the_share_that_was_taken_stands_beside_the_one_asked_for() -> None:
    wrong, rest, instead = "convincing_wrong_answer", "highest_of_the_rest", "instead_of_a_wrong_answer"
    first = supervised(*(("p", at, 4, wrong, False, False) for at in range(3)), ("p", 3, 4, rest, False, True))
    second = supervised(("p", 0, 4, wrong, False, False), *(("p", at, 4, instead, True, True) for at in range(1, 4)))
    rounds = supervised(("p", 0, 2, "chosen_before", False, False), ("p", 1, 2, rest, True, True))
    lines = (
        LabelledLine("active", 4, 0, "first", "uniform"),
        LabelledLine("active", 4, 1, "second", "uniform"),
        LabelledLine("iterated", 2, 0, "rounds", "uniform"),
    )
    stage = wrong_shares(WrongSharesConfig(0.8, lines))
    active, iterated = compute(stage, first=first, second=second, rounds=rounds).to_pylist()
    assert (active["asked"], active["num_solutions"]) == (0.8, 4)
    assert active["convincing"] == pytest.approx((0.75 + 0.25) / 2)
    assert active["instead"] == pytest.approx(0.75 / 2)
    assert active["wrong_answer"] == pytest.approx((1 + 0.25) / 2)
    assert active["distinct"] == 0.25  # four samples of one problem, all of one text
    assert (iterated["convincing"], iterated["wrong_answer"]) == (0.0, 0.5)
