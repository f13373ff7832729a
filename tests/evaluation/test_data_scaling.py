"""The small-scale study's estimates, against brute force and made-up data whose truth is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.data_scaling import data_efficiency, data_scaling, series_comparisons
from components.evaluation.scored_samples import ReductionConfig
from components.evaluation.verifier_accuracy import VerifierName, VerifiersConfig, verifier_accuracy
from components.statistics.bootstrap import (
    BootstrapConfig,
    resampled_means,
    stretch,
    two_way_interval,
)
from schemas.small_scale import VERIFIER_ACCURACY
from tests.evaluation.test_curves import compute

CONFIG = BootstrapConfig(resamples=500)
FEW_SLOTS = 5


def graded() -> pa.Table:
    """Four test problems of five samples, one of a training split, and one whose every row failed."""
    rng = np.random.default_rng(0)
    rows = []
    for problem, split in (("a", "test"), ("b", "test"), ("c", "test"), ("d", "test"), ("bad", "test"), ("t", "train")):
        for slot in reversed(range(FEW_SLOTS)):
            row = {"problem_id": problem, "sample_index": slot, "split": split, "error": None}
            row |= {"answer": "1" if rng.random() < 0.8 else None, "is_correct": bool(rng.random() < 0.5)}
            row |= {"error": "failed"} if problem == "bad" or (problem, slot) == ("a", 2) else {}
            rows.append(row)
    return pa.Table.from_pylist(rows)


def scored(grades: pa.Table, seed: int, ties: bool = False) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for key in grades.select(["problem_id", "sample_index"]).to_pylist():
        good = float(rng.integers(1, 3)) / 4 if ties else float(rng.random())
        steps = [[1 - good, 0.0, good], [0.5, 0.0, 0.5]]
        rows.append(key | {"orm_score": good, "prm_score": good / 2, "step_probabilities": steps})
    return pa.Table.from_pylist(rows)


def by_hand(grades: pa.Table, scores: pa.Table, column: str, n: int) -> dict[str, float]:
    """Best of n by going through every subset; among equal scores each is as likely."""
    rows = grades.to_pandas().merge(scores.to_pandas(), on=["problem_id", "sample_index"])
    rows = rows[rows["split"].eq("test") & rows["problem_id"].ne("bad")]
    found = {}
    for problem, part in rows.groupby("problem_id"):
        usable = part["answer"].notna() & part["error"].isna()
        score, right = part[column].where(usable, -1.0).tolist(), (part["is_correct"] & usable).tolist()
        chances = []
        for subset in itertools.combinations(range(FEW_SLOTS), n):
            best = [at for at in subset if score[at] == max(score[a] for a in subset)]
            chances.append(np.mean([right[at] for at in best]))
        found[str(problem)] = float(np.mean(chances))
    return found


@pytest.mark.parametrize("ties", [False, True])
def test_accuracy_is_that_of_every_subset(ties: bool) -> None:
    grades = graded()
    names = (VerifierName("process", 1, 0, "one", "prm"), VerifierName("outcome_prm", 2, 1, "two", "orm"))
    tables = {"one": scored(grades, 1, ties), "two": scored(grades, 2, ties)}
    stage = verifier_accuracy(VerifiersConfig(ReductionConfig(), names))
    found = compute(stage, grades=grades, **tables).to_pandas()
    assert set(found["n"]) == {1, 2, 4, 5}
    for name in names:
        rows = found[(found["series"] == name.series) & (found["training_seed"] == name.seed + 1)]
        for n, part in rows.groupby("n"):
            truth = by_hand(grades, tables[name.scores], f"{name.kind}_score", int(n))
            assert part.set_index("problem_id")["accuracy"].to_dict() == pytest.approx(truth)
    assert stage.reads["one"] == ["problem_id", "sample_index", "prm_score"]


def test_another_reduction_is_read_from_the_steps() -> None:
    grades = graded()
    names = (VerifierName("process", 1, 0, "one", "prm"),)
    config = VerifiersConfig(ReductionConfig("last"), names)
    found = compute(verifier_accuracy(config), grades=grades, one=scored(grades, 1)).to_pandas()
    assert "step_probabilities" in verifier_accuracy(config).reads["one"]
    same = scored(grades, 1).to_pandas().assign(prm_score=0.5)
    truth = by_hand(grades, pa.Table.from_pandas(same), "prm_score", 4)
    assert found[found["n"] == 4].set_index("problem_id")["accuracy"].to_dict() == pytest.approx(truth)


def test_what_cannot_be_arranged_is_an_error() -> None:
    grades = graded()
    stage = verifier_accuracy(VerifiersConfig(ReductionConfig(), (VerifierName("process", 1, 0, "one", "prm"),)))
    with pytest.raises(ValueError, match="one: some graded samples"):
        compute(stage, grades=grades, one=scored(grades, 1).slice(1))
    with pytest.raises(ValueError, match="unequal numbers"):
        compute(stage, grades=grades.slice(1), one=scored(grades, 1))
    nothing = scored(grades, 1).to_pandas().assign(prm_score=float("nan"))
    with pytest.raises(ValueError, match="one: no sample has"):
        compute(stage, grades=grades, one=pa.Table.from_pandas(nothing))


def made(
    truth: Callable[[str, int], float],
    series: list[str],
    sizes: list[int],
    noise: float = 0.0,
    seeds: int = 3,
    problems: int = 60,
) -> pa.Table:
    """verifier_accuracy in which a series has the true mean accuracy at N = 4, and noise of seeds and of problems."""
    rng = np.random.default_rng(0)
    rows = []
    hard = rng.normal(0, 0.1, problems)
    for name, size, seed in itertools.product(series, sizes, range(1, seeds + 1)):
        values = truth(name, size) + hard - hard.mean() + rng.normal(0, noise) + rng.normal(0, noise, problems)
        for problem, value in enumerate(values):
            about = {"problem_id": f"p{problem:03}", "series": name, "size": size, "training_seed": seed, "error": None}
            rows += [about | {"n": 1, "accuracy": 0.4}, about | {"n": 4, "accuracy": float(value)}]
    return pa.Table.from_pylist(rows, schema=VERIFIER_ACCURACY)


def line(name: str, size: int) -> float:
    return {"process": 0.5, "outcome_prm": 0.48, "active": 0.52}[name] + math.log2(size) * (
        0.05 if name == "active" else 0.02
    )


def test_scaling_is_the_mean_with_its_spreads() -> None:
    table = made(line, ["process"], [1, 2], noise=0.01)
    found = compute(data_scaling(CONFIG), verifier_accuracy=table).to_pandas().set_index(["size", "n"])
    rows = table.to_pandas().query("size == 2 and n == 4")
    one = found.loc[(2, 4)]
    assert one["accuracy"] == pytest.approx(rows["accuracy"].mean())
    by_seed = rows.groupby("training_seed")["accuracy"].mean()
    assert one["std_over_seeds"] == pytest.approx(by_seed.std())
    assert one["median_training"] == pytest.approx(by_seed.median())
    assert one["ci_low"] < one["accuracy"] < one["ci_high"]
    assert (one["num_seeds"], one["num_problems"]) == (3, 60)


def test_comparisons_are_paired_and_need_the_same_seeds() -> None:
    table = made(line, ["process", "outcome_prm", "active"], [1, 2])
    frame = table.to_pandas()
    frame = frame[(frame["series"] != "active") | (frame["size"] == 1) | (frame["training_seed"] < 3)]
    found = compute(series_comparisons(CONFIG), verifier_accuracy=pa.Table.from_pandas(frame)).to_pandas()
    assert [(*key,) for key in found[["series", "baseline", "size", "n"]].to_numpy().tolist()] == [
        ("process", "outcome_prm", 1, 4),
        ("process", "outcome_prm", 2, 4),
        ("active", "process", 1, 4),
    ]
    assert found["difference"].tolist() == pytest.approx([0.02, 0.02, 0.02])
    [low], _ = two_way_interval(np.full((3, 60, 1), 0.02), CONFIG)
    assert found["ci_low"].tolist() == pytest.approx([low] * 3)  # the problems' noise is common to both
    assert (found["ci_low"] < 0).all()  # so low that 0 is inside, since no more than 60 problems are alike,
    assert (found["p_value"] > 0.05).all()
    clear = made(line, ["process", "outcome_prm"], [1], problems=400)
    [row] = compute(series_comparisons(CONFIG), verifier_accuracy=clear).to_pylist()
    assert row["ci_low"] > 0
    assert row["p_value"] <= 0.05  # but 400 are enough


def test_efficiency_is_the_ratio_of_polyfits_slopes() -> None:
    table = made(line, ["process", "active"], [1, 2, 4, 8], noise=0.002, problems=800)
    found = compute(data_efficiency(CONFIG), verifier_accuracy=table).to_pandas().set_index("series")
    means = table.to_pandas().query("n == 4").groupby(["series", "size"])["accuracy"].mean()
    fits = {name: np.polyfit(np.log2([1, 2, 4, 8]), means[name].to_numpy(), 1) for name in ("process", "active")}
    active = found.loc["active"]
    assert active["slope"] == pytest.approx(fits["active"][0])
    assert active["baseline_slope"] == pytest.approx(fits["process"][0])
    assert active["efficiency"] == pytest.approx(fits["active"][0] / fits["process"][0])
    assert active["slope_low"] < 0.05 < active["slope_high"]
    assert active["efficiency_low"] < active["efficiency"] < active["efficiency_high"]
    assert active["efficiency_high"] - active["efficiency_low"] < 1
    end = np.polyval(fits["active"], 3)
    equivalent = 2 ** ((end - fits["process"][1]) / fits["process"][0]) / 8
    assert active["equivalent_data"] == pytest.approx(equivalent)
    assert active["equivalent_low"] < equivalent < active["equivalent_high"]
    own = found.loc["process"]
    for name in ("efficiency", "efficiency_low", "efficiency_high", "equivalent_data"):
        assert own[name] == pytest.approx(1.0)


def test_a_line_that_does_not_fit_is_told() -> None:
    """An S: residuals of +4, −5, −2 and +3 points; a line with the same noise fits."""
    bent = {1: 0.54, 2: 0.50, 4: 0.58, 8: 0.68}
    straight = {size: 0.5 + 0.05 * math.log2(size) for size in bent}
    for truth, lacks in ((bent, True), (straight, False)):
        table = made(lambda name, size: truth[size], ["process"], [1, 2, 4, 8], noise=0.004)  # noqa: B023
        [row] = compute(data_efficiency(CONFIG), verifier_accuracy=table).to_pylist()
        means = table.to_pandas().query("n == 4").groupby("size")["accuracy"].mean()
        residuals = means - np.polyval(np.polyfit(np.log2(means.index), means, 1), np.log2(means.index))
        assert row["largest_residual_size"] == residuals.abs().idxmax()
        assert row["largest_residual"] == pytest.approx(residuals[row["largest_residual_size"]])
        assert row["lacks_fit"] is lacks


def test_no_ratio_where_the_baseline_does_not_rise_and_no_line_through_one_size() -> None:
    falling = made(lambda name, size: 0.5 - 0.01 * math.log2(size), ["process", "active"], [1, 2, 4], noise=0.01)
    found = compute(data_efficiency(CONFIG), verifier_accuracy=falling).to_pandas().set_index("series")
    assert found.loc["active", ["efficiency", "efficiency_low", "equivalent_data"]].isna().all()
    assert found.loc["active", "share_no_rise"] > 0.5
    unsure = made(lambda name, size: 0.5 + 0.004 * math.log2(size), ["process", "active"], [1, 2, 4], noise=0.01)
    found = compute(data_efficiency(CONFIG), verifier_accuracy=unsure).to_pandas().set_index("series")
    assert 0.025 < found.loc["active", "share_no_rise"] < 0.9
    assert np.isnan(found.loc["active", "efficiency_low"])
    one_size = made(line, ["process", "active"], [4])
    assert compute(data_efficiency(CONFIG), verifier_accuracy=one_size).num_rows == 0


def test_resampled_means_have_the_variance_of_both_draws() -> None:
    rng = np.random.default_rng(0)
    of_seeds, of_problems = rng.normal(0, 0.1, (3, 1, 1)), rng.normal(0, 0.2, (1, 50, 1))
    config = BootstrapConfig(resamples=20_000)
    found = resampled_means(np.concatenate([of_seeds + of_problems, of_problems + 0 * of_seeds], -1), config)
    of_problems_alone = of_problems.var(ddof=1) / 50
    assert found.var(0) == pytest.approx([of_problems_alone + of_seeds.var(ddof=1) / 3, of_problems_alone], rel=0.05)
    both, alone = found.T
    assert np.corrcoef(both, alone)[0, 1] > 0.3  # the same problems in both


@pytest.mark.parametrize(("seeds", "student"), [(2, 12.7062), (3, 4.30265), (9, 2.30600)])
def test_few_seeds_that_differ_stretch_as_student_t_says(seeds: int, student: float) -> None:
    """Quantiles of 97.5 % from any printed table; the normal's is 1.95996."""
    values = np.broadcast_to(np.arange(seeds, dtype=float)[:, None, None], (seeds, 40, 1))
    assert stretch(values, 0.95) == pytest.approx(student / 1.95996, rel=1e-5)
