"""What labels were worth, and how the iterated loop went, by hand."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from components.evaluation.label_budget import (
    BudgetConfig,
    BudgetLine,
    Round,
    RoundsConfig,
    label_budget,
    rank_correlation,
    rounds,
)
from schemas.small_scale import SELECTION, SUPERVISED_SOLUTIONS, VERIFIER_ACCURACY
from tests.evaluation.test_curves import compute


def accuracies(numbers: dict[tuple[str, int, int], tuple[float, float]]) -> pa.Table:
    """(series, size, training seed) → accuracy at N = 1 and N = 4, of two problems."""
    rows: list[dict[str, Any]] = []
    for (series, size, seed), values in numbers.items():
        about = {"series": series, "size": size, "training_seed": seed, "error": None}
        for n, value in zip((1, 4), values, strict=True):
            rows += [about | {"n": n, "problem_id": "p", "accuracy": value - 0.1}]
            rows += [about | {"n": n, "problem_id": "q", "accuracy": value + 0.1}]
    return pa.Table.from_pylist(rows, schema=VERIFIER_ACCURACY)


def supervised(*rows: tuple[str, int, int, list[int], int, str]) -> pa.Table:
    """Of (problem, sample, size, ratings, tokens, reason)."""
    made = [
        {"problem_id": problem, "sample_index": slot, "split": "train", "size": size, "problem": "?", "steps": ["a"]}
        | {"finish_reason": "stop", "num_tokens": tokens, "reason": reason, "ratings": ratings, "is_correct": True}
        | {"is_correct_by_steps": ratings[-1] > 0, "error": None}
        for problem, slot, size, ratings, tokens, reason in rows
    ]
    return pa.Table.from_pylist(made, schema=SUPERVISED_SOLUTIONS)


def test_the_budget_counts_each_solution_once_and_names_the_work() -> None:
    plain = "in_order"
    table = supervised(("p", 0, 1, [1], 10, plain), ("p", 0, 2, [1], 10, plain), ("p", 1, 2, [1, -1], 20, plain))
    chosen = supervised(("p", 0, 2, [1], 10, plain), ("p", 5, 2, [1, 1, 1], 30, plain))
    lines = (
        BudgetLine("process", 2, 0, "first", None, 100, 0, 50),
        BudgetLine("process", 2, 1, "first", None, 100, 0, 70),
        BudgetLine("outcome_final_answer", 2, 0, "first", None, 100, 0, 50),
        BudgetLine("active", 2, 0, "chosen", "first", 1000, 800, 60, labellings=2),
    )
    accuracy = accuracies(
        {
            ("process", 2, 1): (0.4, 0.6),
            ("process", 2, 2): (0.4, 0.7),
            ("outcome_final_answer", 2, 1): (0.4, 0.5),
            ("active", 2, 1): (0.4, 0.8),
        }
    )
    efficiency = pa.table({"series": ["process", "active"], "slope": [0.02, 0.05]})
    stage = label_budget(BudgetConfig(lines, 1000, verifier_parameters=10, generator_parameters=7, prompt_tokens=50))
    inputs = {"verifier_accuracy": accuracy, "data_efficiency": efficiency, "first": table, "chosen": chosen}
    found = compute(stage, **inputs).to_pandas().set_index("series")
    process = found.loc["process"]
    assert (process["num_solutions"], process["num_step_labels"], process["tokens_labelled"]) == (2, 3, 30 + 50)
    assert process["accuracy"] == pytest.approx(0.65)
    assert process["gain"] == pytest.approx(0.25)
    assert process["gain_per_1000_labels"] == pytest.approx(0.25 / 3 * 1000)
    assert process["next_1000_labels"] == pytest.approx(0.02 * math.log2(1003 / 3))
    assert process["flops"] == pytest.approx(2 * 7 * 100 + 2 * 1000 * 80 + 6 * 10 * 60)
    final = found.loc["outcome_final_answer"]
    assert (final["num_solutions"], final["num_step_labels"], final["tokens_labelled"]) == (2, 0, 0)
    assert final[["gain_per_1000_labels", "next_1000_labels"]].isna().all()
    active = found.loc["active"]
    assert (active["num_solutions"], active["num_step_labels"], active["tokens_labelled"]) == (2, 4, 40 + 2 * 50)
    assert active["flops"] == pytest.approx(2 * 7 * 1000 + 2 * 10 * 800 + 2 * 1000 * 140 + 6 * 10 * 60)
    with pytest.raises(ValueError, match="outcome_final_answer of size 2, training seed 1: no accuracies"):
        compute(stage, **inputs | {"verifier_accuracy": accuracies({("process", 2, s): (0, 1) for s in (1, 2)})})
    with pytest.raises(ValueError, match="chosen: no solution of size 2"):
        compute(stage, **inputs | {"chosen": chosen.slice(2)})


def test_what_more_labels_add_is_of_the_own_ones_and_the_selector_s_are_a_cost() -> None:
    selector = supervised(("p", 0, 1, [1, 1], 10, "in_order"))
    chosen = supervised(("p", 5, 2, [1, 1, 1], 30, "in_order"))
    line = BudgetLine("active", 2, 0, "chosen", "selector", 0, 0, 0)
    config = BudgetConfig((line,), 0, verifier_parameters=1, generator_parameters=1, prompt_tokens=0)
    accuracy = accuracies({("active", 2, 1): (0.4, 0.8)})
    efficiency = pa.table({"series": ["active"], "slope": [0.05]})
    inputs = {"verifier_accuracy": accuracy, "data_efficiency": efficiency, "selector": selector, "chosen": chosen}
    [found] = compute(label_budget(config), **inputs).to_pylist()
    assert found["num_step_labels"] == 5
    assert found["gain_per_1000_labels"] == pytest.approx(0.4 / 5 * 1000)
    assert found["next_1000_labels"] == pytest.approx(0.05 * math.log2(1003 / 3))


def scores(*values: float | None, problem: str = "p") -> list[dict[str, Any]]:
    return [{"problem_id": problem, "sample_index": at, "prm_score": value} for at, value in enumerate(values)]


def test_ranks_agree_within_problems() -> None:
    constant = scores(0.5, 0.5, 0.5, problem="q")
    one = pa.Table.from_pylist([*scores(0.1, 0.2, 0.3, 0.9), *constant])
    same = pa.Table.from_pylist([*scores(0.4, 0.5, 0.6, 0.61), *scores(0.3, 0.2, 0.1, problem="q")])
    swapped = pa.Table.from_pylist(scores(0.2, 0.1, 0.9, 0.3))
    assert rank_correlation(one, same) == pytest.approx(1.0)
    assert rank_correlation(one, swapped) == pytest.approx(1 - 6 * 4 / (4 * 15))  # Spearman's, by differences of ranks
    assert rank_correlation(one, pa.Table.from_pylist(scores(0.9, 0.3, None, None))) == pytest.approx(-1.0)
    assert rank_correlation(one, pa.Table.from_pylist(constant)) is None


def test_rounds_by_hand() -> None:
    old, wrong, best = "chosen_before", "convincing_wrong_answer", "highest_of_the_rest"
    tables = {}
    for name, size, rows in (
        ("1", 1, [(0, [-1], wrong, False), (1, [1], best, True)]),
        ("2", 2, [(0, [-1], old, False), (1, [1], old, True), (2, [1, -1], wrong, False), (3, [1], wrong, False)]),
    ):
        key = [{"problem_id": "p", "sample_index": at, "split": "train", "size": size} for at, *_ in rows]
        about = {"place": 0, "selector_score": 0.5, "error": None}
        tables[f"selection_{name}"] = pa.Table.from_pylist(
            [k | about | {"reason": r, "is_correct": c} for k, (*_, r, c) in zip(key, rows, strict=True)],
            schema=SELECTION,
        )
        tables[f"supervised_{name}"] = supervised(*(("p", at, size, labels, 5, r) for at, labels, r, _ in rows))
    tables["scores_1"] = pa.Table.from_pylist(scores(0.1, 0.2, 0.3))
    tables["scores_2"] = pa.Table.from_pylist(scores(0.3, 0.2, 0.1))
    numbers = {("iterated", 1, 1): (0.4, 0.6), ("iterated", 2, 1): (0.4, 0.5), ("active", 2, 1): (0.4, 0.7)}
    made = tuple(Round(0, k, k, f"selection_{k}", f"supervised_{k}", f"scores_{k}") for k in (2, 1))
    stage = rounds(RoundsConfig(made))
    found = compute(stage, verifier_accuracy=accuracies(numbers), **tables).to_pylist()
    first, second = found
    assert (first["round"], first["change"], first["one_shot"], first["selector_agreement"]) == (1, None, None, None)
    assert (first["share_wrong_answer"], first["share_negative"]) == (0.5, 0.5)
    assert second["accuracy"] == pytest.approx(0.5)
    assert second["change"] == pytest.approx(-0.1)
    assert second["one_shot"] == pytest.approx(0.7)
    assert second["selector_agreement"] == pytest.approx(-1.0)
    assert (second["share_wrong_answer"], second["share_negative"]) == (1.0, 0.5)
    with pytest.raises(ValueError, match="round 2, training seed 1: no accuracies"):
        compute(stage, verifier_accuracy=accuracies({("iterated", 1, 1): (0.4, 0.6)}), **tables)
