"""Metrics of reward models against brute force, and early stopping."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from components.statistics.classification import auc, calibration_error, grouped_auc
from components.statistics.score_reduction import REDUCTIONS, solution_score, solution_scores
from components.training.validation import EarlyStopping, evaluate
from tests.training.test_loop import example, tiny_model


def pairs_won(scores: np.ndarray, right: np.ndarray) -> float:
    pairs = list(itertools.product(scores[right], scores[~right]))
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])) if pairs else math.nan


def test_auc_is_the_share_of_pairs_won() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, right = rng.integers(0, 5, 30) / 5, rng.random(30) < 0.4
        assert auc(scores, right) == pytest.approx(pairs_won(scores, right))
    assert math.isnan(auc(np.array([0.5]), np.array([True])))
    assert math.isnan(auc(np.array([]), np.array([], dtype=bool)))


def test_within_problem_auc_does_not_reward_knowing_which_problems_are_hard() -> None:
    # Each problem's solutions have one score: pooled that looks good, and within a problem it is worth nothing.
    problems = np.repeat([1, 2], 10)
    right = np.r_[[True] * 9, [False], [True], [False] * 9]
    scores = np.where(problems == 1, 0.9, 0.1)
    assert auc(scores, right) == pytest.approx(0.9)
    assert grouped_auc(scores, right, problems.tolist()) == 0.5


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([0.05, 0.05, 0.95, 1.0])
    assert calibration_error(probabilities, np.array([False, True, True, True])) == pytest.approx(
        abs(0.5 - 0.05) * 0.5 + abs(1 - 0.975) * 0.5
    )
    assert math.isnan(calibration_error(np.array([]), np.array([])))


def test_reductions_by_hand() -> None:
    steps = np.array([[0.1, 0.2, 0.7], [0.4, 0.5, 0.1]], dtype=np.float32)
    positive = {"product": 0.9 * 0.6, "min": 0.6, "last": 0.6, "mean": 0.75}
    negative = {"product": 0.7 * 0.1, "min": 0.1, "last": 0.1, "mean": 0.4}
    for reduction in REDUCTIONS:
        assert solution_score(steps, reduction, "positive") == pytest.approx(positive[reduction])
        assert solution_score(steps, reduction, "negative") == pytest.approx(negative[reduction])
    column = solution_scores([steps.tolist(), None], "min", "negative")
    assert column[0] == pytest.approx(0.1)
    assert math.isnan(column[1])
    for wrong in (("best", "positive"), ("min", "maybe")):
        with pytest.raises(ValueError, match=r"best|maybe"):
            solution_score(steps, *wrong)
    with pytest.raises(ValueError, match="without steps"):
        solution_score(np.empty((0, 3)), "product", "positive")


def test_a_model_that_diverged_has_no_metrics() -> None:
    nothing = np.full(4, np.nan)
    right = np.array([True, False, True, False])
    assert math.isnan(auc(nothing, right))
    assert math.isnan(calibration_error(nothing, right))
    model = tiny_model(3)
    with torch.no_grad():
        model.model.score.weight.fill_(math.nan)
    examples = [example([[1, 2, 3, label]], [(0, 3, label, 1.0)]) for label in (0, 2)]
    read = np.array([3], np.int32)
    examples = [dataclasses.replace(one, read_at=read, is_right=at > 0) for at, one in enumerate(examples)]
    assert evaluate(model, examples, [1, 1]) == {}


def test_evaluation_is_what_the_model_says_alone() -> None:
    model = tiny_model(3)
    solutions = [[1, 2, 3, 4], [1, 2, 5, 6, 7], [8, 9, 3]]
    labels = [[(1, 2), (3, 0)], [(2, 2), (4, 1)], [(2, 0)]]  # (place, class) of each step
    examples = []
    for ids, steps in zip(solutions, labels, strict=True):
        one = example([ids], [(0, at, label, 1.0) for at, label in steps])
        right = all(label > 0 for _, label in steps)
        fields = one.__dict__ | {"read_at": np.array([at for at, _ in steps], np.int32), "is_right": right}
        examples.append(type(one)(**fields))
    found = evaluate(model, examples, [7, 7, 8])
    plain = tiny_model(3).eval()
    plain.model.set_attn_implementation("sdpa")
    losses, scores, step_scores, step_right = [], [], [], []
    for ids, steps in zip(solutions, labels, strict=True):
        with torch.no_grad():
            probabilities = plain.model(input_ids=torch.tensor([ids])).logits[0].softmax(-1).numpy()
        losses += [-math.log(probabilities[at, label]) for at, label in steps]
        step_scores += [1 - probabilities[at, 0] for at, _ in steps]
        step_right += [label > 0 for _, label in steps]
        scores.append(math.prod(1 - probabilities[at, 0] for at, _ in steps))
    assert found["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert found["within_problem_auc"] == float(scores[1] > scores[0])  # the other problem has no right solution
    assert found["step_auc"] == pytest.approx(pairs_won(np.array(step_scores), np.array(step_right)))
    assert found["calibration_error"] == pytest.approx(
        calibration_error(np.array(step_scores), np.array(step_right)), abs=1e-5
    )


def test_training_stops_when_nothing_gets_better_and_knows_the_best() -> None:
    watch = EarlyStopping("within_problem_auc", patience=2)
    assert [watch.note({"within_problem_auc": value}) for value in (0.6, 0.7, 0.65)] == [True, True, False]
    assert not watch.ends
    assert not watch.note({"loss": 1.0})  # nothing to go by
    again = EarlyStopping("within_problem_auc", 2, watch.state())
    assert not again.note({"within_problem_auc": 0.7})
    assert again.ends
    assert again.best == 0.7
    lower = EarlyStopping("loss", patience=1)
    assert [lower.note({"loss": value}) for value in (2.0, 1.0, 1.5)] == [True, True, False]
    never = EarlyStopping("loss", patience=None)
    assert [never.note({"loss": value}) for value in (1.0, 2.0, 3.0)] == [False] * 3
    assert not never.ends
