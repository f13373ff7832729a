"""Groups of problems, by hand and in worlds whose pass rates are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from components.evaluation.curves import comparisons, problem_accuracy
from components.evaluation.groups import compared_pairs, group_accuracy, group_comparisons, half_accuracy
from components.evaluation.method_accuracies import VoteConfig
from components.statistics.bootstrap import BootstrapConfig
from schemas.results import PROBLEM_ATTRIBUTES, scored_samples
from tests.evaluation.test_curves import compute

CONFIG = BootstrapConfig(resamples=200)
VOTES = VoteConfig(vote_subsets=5)


def world(pass_rates: np.ndarray, slots: int, seed: int, trainings: int = 1) -> dict[str, pa.Table]:
    """Inputs of the groups: samples that are right at these rates, a PRM that sees it dimly, an ORM that guesses."""
    rng = np.random.default_rng(seed)
    right = rng.random((len(pass_rates), slots)) < pass_rates[:, None]
    parts = []
    for training in range(trainings):
        frame = pd.DataFrame({"problem_id": np.repeat([f"p{at:03}" for at in range(len(right))], slots)})
        frame["sample_index"], frame["split"] = np.tile(np.arange(slots), len(right)), "test"
        frame["training_seed"], frame["num_steps"], frame["error"] = training + 1, 3, None
        frame["candidate"], frame["is_correct"] = 1 - 1 * right.ravel(), right.ravel()
        frame["candidate_is_correct"] = right.ravel()
        frame["prm_score"] = 1 / (1 + np.exp(-(1.0 * right.ravel()) - rng.normal(size=right.size)))
        frame["orm_score"] = rng.random(right.size)
        parts.append(frame)
    schema = scored_samples(("prm", "orm"))
    samples = pa.Table.from_pandas(pd.concat(parts), schema=schema, preserve_index=False)
    attributes = [
        {"problem_id": f"p{at:03}", "split": "test", "error": None}
        | {"source": "AP Calculus" if at % 3 else "AMC 10", "level": "1", "subject": None}
        for at in range(len(right))
    ]
    return {
        "problem_accuracy": compute(problem_accuracy(VOTES), scored_samples=samples),
        "half_accuracy": compute(half_accuracy(VOTES), scored_samples=samples),
        "problem_attributes": pa.Table.from_pylist(attributes, schema=PROBLEM_ATTRIBUTES),
    }


def test_where_every_problem_is_as_hard_all_quintiles_are_alike() -> None:
    """A pass rate of 50 % each, 50 problems, 16 samples, 30 studies. By the same samples the quintiles would have 33 to
    66 %; and their intervals hold the 50 %."""
    found, held = [], []
    for seed in range(30):
        frame = compute(group_accuracy(CONFIG), **world(np.full(50, 0.5), 16, seed)).to_pandas()
        rows = frame[(frame["grouping"] == "pass_rate") & (frame["method"] == "pass") & (frame["n"] == 1)]
        found.append(rows.set_index("group")["accuracy"])
        held += ((rows["ci_low"] <= 0.5) & (rows["ci_high"] >= 0.5)).tolist()
    means = pd.concat(found, axis=1).mean(axis=1)
    assert len(means) == 6
    assert means.to_numpy() == pytest.approx(0.5, abs=0.025)
    assert np.mean(held) >= 0.93


def test_quintiles_by_hand() -> None:
    """Twelve problems that are always or never right: both halves agree, and each quintile evaluates its problems."""
    rates = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    frame = compute(group_accuracy(CONFIG), **world(rates, 6, 0)).to_pandas()
    rows = frame[(frame["grouping"] == "pass_rate") & (frame["method"] == "prm") & (frame["n"] == 3)]
    assert frame.loc[frame["grouping"] == "pass_rate", "n"].max() == 3  # half of the samples
    assert frame.loc[frame["grouping"] == "source", "n"].max() == 6
    assert rows["group"].tolist() == [
        "quintile 1 (hardest)",
        "quintile 2",
        "quintile 3",
        "quintile 4",
        "quintile 5 (easiest)",
        "all",
    ]
    assert rows["num_problems"].tolist() == [3, 3, 2, 2, 2, 12]
    assert rows["accuracy"].tolist() == [0, 0, 1, 1, 1, 0.5]
    assert rows["num_tied"].fillna(-1).tolist() == [3, 3, 2, 2, 2, -1]  # which of six equal problems is up to the ids
    assert (rows["ci_low"] < rows["ci_high"]).all()


def test_groups_by_source_sum_and_what_has_one_value_is_no_table() -> None:
    frame = compute(group_accuracy(CONFIG), **world(np.linspace(0, 1, 12), 6, 0)).to_pandas()
    assert set(frame["grouping"]) == {"pass_rate", "source"}
    sources = frame[(frame["grouping"] == "source") & (frame["method"] == "prm") & (frame["n"] == 6)].set_index("group")
    assert sources.drop("all")["num_problems"].sum() == sources.loc["all", "num_problems"] == 12
    weighted = (sources["accuracy"] * sources["num_problems"]).drop("all").sum() / 12
    assert sources.loc["all", "accuracy"] == pytest.approx(weighted)
    assert sources["num_tied"].isna().all()


def test_differences_by_group_are_those_of_the_accuracies_and_paired() -> None:
    inputs = world(np.linspace(0.1, 0.9, 40), 8, 1, trainings=2)
    accuracy = compute(group_accuracy(CONFIG), **inputs).to_pandas().set_index(["grouping", "group", "n", "method"])
    accuracy = accuracy.sort_index()
    found = compute(group_comparisons(CONFIG), **inputs).to_pandas()
    assert [*dict.fromkeys(zip(found["method"], found["baseline"], strict=True))] == compared_pairs(
        ["prm", "orm", "majority", "prm_weighted", "pass"]
    )
    for row in found[found["baseline"] != "pass_at_1"].to_dict("records"):
        of_group = accuracy.loc[(row["grouping"], row["group"], row["n"])]["accuracy"]
        assert row["difference"] == pytest.approx(of_group[row["method"]] - of_group[row["baseline"]])
        assert row["ci_low"] < row["ci_high"]
    whole = compute(comparisons(CONFIG), problem_accuracy=inputs["problem_accuracy"]).to_pandas()
    pair = "method == 'prm' and baseline == 'orm' and n == 8"
    [same] = found.query(f"{pair} and grouping == 'source' and group == 'all'").to_dict("records")
    [other] = whole.query(pair).to_dict("records")
    assert (same["difference"], same["ci_low"]) == pytest.approx((other["difference"], other["ci_low"]))
    assert same["num_seeds"] == 2


def test_a_single_sample_has_no_halves() -> None:
    inputs = world(np.linspace(0.1, 0.9, 10), 1, 0)
    assert inputs["half_accuracy"].num_rows == 0
    assert set(compute(group_accuracy(CONFIG), **inputs)["grouping"].to_pylist()) == {"source"}
