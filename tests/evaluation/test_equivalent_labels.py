"""How many labels of solutions as they come a policy's are worth, in made-up studies whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.data_scaling import data_efficiency
from components.evaluation.equivalent_labels import EquivalentLabelsConfig, equivalent_labels
from components.evaluation.labels_spent import LabelledLine
from components.statistics.bootstrap import BootstrapConfig
from schemas.small_scale import SUPERVISED_SOLUTIONS, VERIFIER_ACCURACY
from tests.evaluation.test_curves import compute

CONFIG = BootstrapConfig(resamples=300)
SIZES = (1, 2, 4, 8)
MANY = 400  # problems, of which one more weighs little
Curve = Callable[[float], float]
Rows = dict[tuple[str, int], dict[str, Any]]


def uniform(labels: float) -> float:
    """The accuracy of the uniform policy with so many solutions per problem."""
    return 0.4 + 0.06 * math.log2(labels)


def accuracies(policy: Curve, noise: float = 0.0, seeds: int = 3, seed: int = 0, problems: int = 50) -> pa.Table:
    rng = np.random.default_rng(seed)
    hard, rows = rng.normal(0, noise * 5, problems), []
    for series, curve in (("process", uniform), ("active", policy)):
        for size in SIZES:
            for training in range(1, seeds + 1):
                values = curve(size) + hard + rng.normal(0, noise) + rng.normal(0, noise, problems)
                about = {"series": series, "size": size, "training_seed": training, "n": 4, "error": None}
                rows += [about | {"problem_id": f"p{at:03}", "accuracy": value} for at, value in enumerate(values)]
    return pa.Table.from_pylist(rows, schema=VERIFIER_ACCURACY)


def supervised(first: int, steps: int, problems: int = 10) -> pa.Table:
    """Solutions first, first + 1 … of each problem, at every size, each with so many step labels."""
    rows: list[dict[str, Any]] = [
        {"problem_id": f"p{problem}", "sample_index": at, "split": "train", "size": size, "problem": "?", "steps": []}
        | {"finish_reason": "stop", "num_tokens": 5, "reason": "?", "ratings": [1] * steps, "error": None}
        | {"is_correct_by_steps": True, "is_correct": True}
        for size in SIZES
        for problem in range(problems)
        for at in range(first, first + size)
    ]
    return pa.Table.from_pylist(rows, schema=SUPERVISED_SOLUTIONS)


def computed(
    policy: Curve, steps: int = 3, selector: bool = True, **made: Any
) -> dict[tuple[str, int], dict[str, Any]]:
    """(unit, size) → row of `active`. The selector learned from the first sample of each problem, of three steps."""
    lines = [LabelledLine("process", size, 0, "uniform", None) for size in SIZES]
    lines += [LabelledLine("active", size, 0, "chosen", "uniform" if selector else None) for size in SIZES]
    tables = {"uniform": supervised(0, 3), "chosen": supervised(1, steps)}
    stage = equivalent_labels(EquivalentLabelsConfig(CONFIG, tuple(lines)))
    found = compute(stage, verifier_accuracy=accuracies(policy, **made), **tables).to_pylist()
    return {(row["unit"], row["size"]): row for row in found}


def test_a_policy_that_is_twice_as_efficient_at_every_size_gets_two() -> None:
    """The ratio of slopes gives 1."""
    found = computed(lambda size: uniform(2 * size), selector=False, problems=MANY)
    for unit, per_solution in (("solutions", 1), ("step_labels", 3)):
        for size in (1, 2, 4):
            row = found[unit, size]
            assert (row["labels"], row["selector_labels"]) == (10 * size * per_solution, 0)
            assert row["equivalent_labels"] == pytest.approx(20 * size * per_solution)
            assert row["efficiency"] == row["efficiency_without_selector"] == pytest.approx(2.0)
            assert row["outside"] is None
        above = found[unit, 8]
        assert (above["efficiency"], above["outside"]) == (None, "above")
        # That it is better than the most that was measured is sure: no less than 1 time as many.
        assert (above["efficiency_low"], above["efficiency_high"]) == (pytest.approx(1.0), None)
    slopes = compute(data_efficiency(CONFIG), verifier_accuracy=accuracies(lambda size: uniform(2 * size))).to_pylist()
    assert {row["series"]: row["efficiency"] for row in slopes}["active"] == pytest.approx(1.0)


def test_twice_as_efficient_with_noise() -> None:
    found = computed(lambda size: uniform(2 * size), selector=False, noise=0.004, problems=MANY)
    for size in (1, 2):
        row = found["step_labels", size]
        assert row["efficiency"] == pytest.approx(2.0, rel=0.35)
        assert row["efficiency_low"] is None or row["efficiency_low"] < 2.0
        assert row["efficiency_high"] is None or row["efficiency_high"] > 2.0
    assert found["step_labels", 2]["efficiency_low"] > 1  # clearly more efficient
    assert found["step_labels", 2]["p_value"] < 0.05
    same = computed(uniform, selector=False, noise=0.004, problems=MANY)
    assert same["step_labels", 2]["p_value"] > 0.05


def test_a_head_start_of_the_selectors_solutions_is_not_called_less_efficient() -> None:
    """As good as the uniform policy with one solution more of each problem: those that the selector took. By the ratio
    of slopes it is clearly less efficient."""
    found = computed(lambda size: uniform(size + 1), noise=0.002, problems=MANY)
    for unit, per_solution in (("solutions", 1), ("step_labels", 3)):
        for size in (1, 2, 4):
            row = found[unit, size]
            assert (row["labels"], row["selector_labels"]) == (10 * (size + 1) * per_solution, 10 * per_solution)
            assert row["efficiency"] == pytest.approx(1.0, rel=0.1)
            assert row["efficiency_high"] > 1.0
            assert row["efficiency_without_selector"] == pytest.approx((size + 1) / size, rel=0.1)
    table = accuracies(lambda size: uniform(size + 1), noise=0.002, problems=MANY)
    slopes = {row["series"]: row for row in compute(data_efficiency(CONFIG), verifier_accuracy=table).to_pylist()}
    assert slopes["active"]["efficiency_high"] < 1


def test_a_policy_that_is_as_good_is_seldom_said_to_be_outside_of_what_was_measured() -> None:
    """The medians alone call it above in half of the studies at the largest size; a sentence has a p-value."""
    above = told = 0
    for seed in range(60):
        row = computed(uniform, selector=False, noise=0.03, seed=seed, problems=40)["step_labels", 8]
        above += row["outside"] == "above"
        told += row["outside"] in ("above", "below") and row["p_value"] <= 0.05
    assert above > 15
    assert told <= 6  # of 60; 3 are expected at most


def test_labels_that_are_shorter_count_as_what_they_are() -> None:
    """Wrong solutions end at their first wrong step: one label of them for three."""
    row = computed(uniform, steps=1, selector=False)["step_labels", 4]
    assert (row["labels"], row["equivalent_labels"]) == (40, pytest.approx(120))


def test_outside_of_what_was_measured_there_is_no_number() -> None:
    found = computed(lambda size: 0.3 + size / 100, selector=False)
    row = found["solutions", 1]
    assert (row["equivalent_labels"], row["efficiency"], row["outside"]) == (None, None, "below")
    assert (row["equivalent_low"], row["equivalent_high"]) == (None, pytest.approx(10))
    lines = tuple(LabelledLine(series, 4, 0, "uniform", None) for series in ("process", "active"))
    one_size = accuracies(uniform).to_pandas().query("size == 4")
    stage = equivalent_labels(EquivalentLabelsConfig(CONFIG, lines))
    found_rows = compute(stage, verifier_accuracy=pa.Table.from_pandas(one_size), uniform=supervised(0, 3))
    assert found_rows.num_rows == 0


@pytest.mark.parametrize(
    ("bent", "policy", "outside"),
    [
        ({1: 0.5, 2: 0.45, 4: 0.48, 8: 0.5}, 0.47, "no_rise"),
        ({1: 0.5, 2: 0.6, 4: 0.7, 8: 0.65}, 0.68, None),  # a dip at the end: it has been as accurate with fewer labels
        ({1: 0.5, 2: 0.45, 4: 0.6, 8: 0.7}, 0.48, None),
        ({1: 0.5, 2: 0.45, 4: 0.6, 8: 0.7}, 0.40, "below"),
    ],
)
def test_a_curve_that_falls_on_its_way(bent: dict[int, float], policy: float, outside: str | None) -> None:
    rows = accuracies(uniform).to_pandas()
    rows["accuracy"] = rows["size"].map(bent).where(rows["series"] == "process", policy)
    lines = [LabelledLine(series, size, 0, "uniform", None) for series in ("process", "active") for size in SIZES]
    stage = equivalent_labels(EquivalentLabelsConfig(CONFIG, tuple(lines)))
    for row in compute(stage, verifier_accuracy=pa.Table.from_pandas(rows), uniform=supervised(0, 3)).to_pylist():
        assert row["outside"] == outside
        assert (row["equivalent_labels"] is None) == (outside is not None)


def test_the_curve_is_interpolated_and_not_fitted() -> None:
    """A policy on an S-shaped curve at its second size is worth its own labels, where a line would miss by a factor."""
    bent = {1: 0.50, 2: 0.51, 4: 0.60, 8: 0.64}
    rows = accuracies(uniform).to_pandas()
    rows["accuracy"] = rows["size"].map(bent)
    lines = [LabelledLine(series, size, 0, "uniform", None) for series in ("process", "active") for size in SIZES]
    stage = equivalent_labels(EquivalentLabelsConfig(CONFIG, tuple(lines)))
    found = compute(stage, verifier_accuracy=pa.Table.from_pandas(rows), uniform=supervised(0, 3)).to_pylist()
    assert [row["efficiency"] for row in found] == pytest.approx([1.0] * 8)


def test_the_interval_covers() -> None:
    """Of 150 simulated studies with noise of problems and of three trainings; nominal 95 %."""
    covered = 0
    for seed in range(150):
        made = {"noise": 0.01, "seed": seed, "problems": 20}
        row = computed(lambda size: uniform(1.5 * size), selector=False, **made)["solutions", 2]
        low, high = row["efficiency_low"], row["efficiency_high"]
        covered += (low is None or low <= 1.5) and (high is None or high >= 1.5)
    assert covered / 150 >= 0.93 - 0.02
