"""Accuracies, curves and comparisons of several training seeds, by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.dataflow.stage import TableStage
from components.evaluation.answer_clusters import CandidatesConfig, candidates, group_by_equality
from components.evaluation.curves import (
    BandConfig,
    best_of_n_curves,
    comparisons,
    problem_accuracy,
    subsampling_band,
)
from components.evaluation.method_accuracies import VoteConfig
from components.evaluation.score_quality import (
    calibration,
    reductions,
    score_by_length,
    score_quality,
    step_calibration,
)
from components.evaluation.scored_samples import ReductionConfig, samples_by_split, scored_samples
from components.statistics.bootstrap import BootstrapConfig
from schemas.tables import GRADES, SCORES, SOLUTIONS, STEP_LABELS

PROBLEMS, SLOTS = 6, 4


def tables() -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """(grades, candidates, solutions), and scores by seed. Half of the samples right; the first seed's PRM knows which,
    the second's believes the opposite."""
    rng = np.random.default_rng(0)
    grades, solutions, scores = [], [], {"scores": [], "scores_seed_2": []}
    for problem in range(PROBLEMS):
        for slot in range(SLOTS):
            key = {"problem_id": f"p{problem}", "sample_index": slot, "split": "test", "error": None}
            right = slot % 2 == 0
            answer = ("1/2", "3", "0.5", "3.0")[slot]
            graded = {"answer": answer, "answer_group": answer, "extract_rule": "boxed", "method": "text"}
            graded |= {"is_correct": right, "is_correct_prm800k": right, "status": "ok", "grader_version": 2}
            grades.append(key | graded)
            text = {
                "problem": "?",
                "ground_truth_answer": "1/2",
                "text": "a\nb",
                "steps": ["a", "b", "c"][: 2 + slot // 2],
            }
            solutions.append(key | text | {"finish_reason": "stop", "num_tokens": 2, "seed": 0})
            for name, good in (("scores", right), ("scores_seed_2", not right)):
                steps = [[0.1, 0.5, 0.4], [0.2, 0.0, 0.8]] if good else [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]
                product = (0.9 * 0.8) if good else 0.5
                scores[name].append(
                    key | {"orm_score": rng.random(), "prm_score": product, "step_probabilities": steps}
                )
    inputs = {"grades": pa.Table.from_pylist(grades, schema=GRADES)}
    inputs["candidates"] = compute(candidates(CandidatesConfig(2)), grades=inputs["grades"])
    inputs["solutions"] = pa.Table.from_pylist(solutions, schema=SOLUTIONS)
    return inputs, {name: pa.Table.from_pylist(rows, schema=SCORES) for name, rows in scores.items()}


def compute(stage: TableStage, **inputs: pa.Table) -> pa.Table:
    """A stage's table, which keeps its contract."""
    table = stage.compute(stage.config, **inputs)
    table.select(stage.schema.names).cast(stage.schema).validate(full=True)
    assert all(column.nullable or not table[column.name].null_count for column in stage.schema)
    return table


def samples(config: ReductionConfig | None = None) -> pa.Table:
    inputs, scores = tables()
    return compute(scored_samples(config or ReductionConfig()), **inputs, **scores)


def test_answers_that_the_grader_calls_equal_are_one_candidate() -> None:
    inputs, _ = tables()
    found = inputs["candidates"].to_pandas().set_index(["problem_id", "answer"])
    assert len(found) == PROBLEMS * 4
    assert found.loc[("p0", "0.5"), "candidate"] == found.loc[("p0", "1/2"), "candidate"]
    assert found.loc[("p0", "3"), "candidate"] == found.loc[("p0", "3.0"), "candidate"]
    assert found.loc[("p0", "3"), "candidate"] != found.loc[("p0", "1/2"), "candidate"]
    assert found.loc[("p0", "1/2"), "candidate_is_correct"]
    assert not found.loc[("p0", "3"), "candidate_is_correct"]


def test_candidates_are_headed_by_the_most_frequent_answer() -> None:
    counts = {
        "a": Counter({"x+1": 3, "1+x": 2, "2x": 4, "7": 1, "7.0": 2}),
        "b": Counter({"\\frac{1}{2}": 1, "0.5": 1, "50\\%": 1, "(1,2)": 5, "(2,1)": 5}),
    }
    groups = group_by_equality(counts)
    assert groups["a"] == {"2x": "2x", "x+1": "x+1", "1+x": "x+1", "7.0": "7.0", "7": "7.0"}
    assert groups["b"]["\\frac{1}{2}"] == "0.5"  # equally frequent: the first in text order heads
    assert groups["b"]["(1,2)"] != groups["b"]["(2,1)"]


def test_candidates_are_numbered_by_all_their_votes() -> None:
    rows = [("7", False)] * 3 + [("1/2", True)] * 2 + [("0.5", True)] * 2
    grades = [
        {"problem_id": "p", "sample_index": at, "answer": answer, "is_correct": right, "error": None}
        for at, (answer, right) in enumerate(rows)
    ]
    found = compute(candidates(CandidatesConfig(2)), grades=pa.Table.from_pylist(grades)).to_pandas()
    assert dict(zip(found["answer"], found["candidate"], strict=True)) == {"7": 1, "0.5": 0, "1/2": 0}


def test_results_are_means_over_seeds_with_their_spread_apart() -> None:
    accuracy = compute(problem_accuracy(VoteConfig()), scored_samples=samples())
    config = BootstrapConfig(resamples=50)
    frame = compute(best_of_n_curves(config), problem_accuracy=accuracy).to_pandas().set_index(["method", "n"])
    prm = frame.loc[("prm", 4)]
    assert prm["accuracy"] == pytest.approx(0.5)  # 1 and 0
    assert prm["std_over_seeds"] == pytest.approx(np.std([1, 0], ddof=1))
    assert (prm["ci_low"], prm["ci_high"]) == (0, 1)  # of two trainings, one right and one wrong, nothing is known
    assert prm["num_seeds"] == 2
    assert frame.loc[("majority", 4), "std_over_seeds"] == 0
    assert frame.loc[("majority", 4), "ci_high"] < 1  # the same in both: of problems alone
    rows = compute(comparisons(config), problem_accuracy=accuracy).to_pandas().set_index(["method", "baseline", "n"])
    assert rows.loc[("prm", "pass_at_1", 4), "difference"] == pytest.approx(0.0)
    assert rows.loc[("prm", "pass_at_1", 4), "std_over_seeds"] == pytest.approx(np.std([0.5, -0.5], ddof=1))
    auc = compute(score_quality(), scored_samples=samples()).to_pandas()
    prm_auc = auc[auc["model"] == "prm"].set_index("training_seed")
    assert prm_auc["within_problem_auc"].to_dict() == {1: 1.0, 2: 0.0}
    assert prm_auc["num_auc_problems"].tolist() == [PROBLEMS, PROBLEMS]
    assert prm_auc["auc_low"][1] == pytest.approx(0.05 ** (1 / PROBLEMS), abs=0.02)  # six of six, by problems
    assert prm_auc["auc_high"].to_list() == pytest.approx([1, 1 - 0.05 ** (1 / PROBLEMS)], abs=0.02)
    ends = auc.set_index("model")[["calibration_error_low", "calibration_error_high"]]
    assert (ends.loc["orm"].iloc[:, 0] < ends.loc["orm"].iloc[:, 1]).all()
    assert ends.loc["prm"].isna().all(axis=None)  # its scores are the same of every problem: nothing varies


def test_one_seed_has_no_spread_and_another_reduction_is_computed_from_the_steps() -> None:
    inputs, scores = tables()
    solved_by = {("product", "positive"): 1.0, ("product", "negative"): 0.0, ("min", "positive"): 1.0}
    solved_by |= {("last", "positive"): 0.0}
    table = None
    for (reduction, neutral), solved in solved_by.items():
        one_seed = {"scores": scores["scores"]}
        table = compute(scored_samples(ReductionConfig(reduction, neutral)), **inputs, **one_seed)
        accuracy = compute(problem_accuracy(VoteConfig()), scored_samples=table)
        curves = compute(best_of_n_curves(BootstrapConfig(resamples=50)), problem_accuracy=accuracy)
        frame = curves.to_pandas().set_index(["method", "n"])
        assert frame.loc[("prm", 4), "accuracy"] == solved
        assert np.isnan(frame.loc[("prm", 4), "std_over_seeds"])
    stage = reductions(BootstrapConfig(resamples=50))
    found = compute(stage, scored_samples=table, scores=scores["scores"]).to_pandas()
    found = found[found["n"] == 4].set_index(["reduction", "neutral"])["accuracy"]
    assert {key: found.loc[key] for key in solved_by} == solved_by
    assert len(found) == 8


@pytest.mark.parametrize("without", [{"scores"}, {"scores", "scores_seed_2"}])
def test_a_split_without_scores_of_a_training_has_no_curve_of_that_verifier(without: set[str]) -> None:
    """As solutions of a split that are all too long for a PRM."""
    inputs, scores = tables()
    inputs = {name: with_a_second_split(table, {}) for name, table in inputs.items()}
    nothing: dict[str, Any] = {"prm_score": None, "step_probabilities": None}
    scores = {name: with_a_second_split(table, nothing if name in without else {}) for name, table in scores.items()}
    table = compute(scored_samples(ReductionConfig("product", "positive")), **inputs, **scores)
    accuracy = compute(problem_accuracy(VoteConfig()), scored_samples=table)
    curves = compute(best_of_n_curves(BootstrapConfig(resamples=50)), problem_accuracy=accuracy).to_pandas()
    methods = curves.groupby("split")["method"].agg(set)
    assert {"prm", "orm", "majority", "pass"} <= methods["test"]
    assert {"orm", "majority", "pass"} <= methods["long"]
    assert "prm" not in methods["long"]
    found = compute(reductions(BootstrapConfig(resamples=50)), scored_samples=table, **scores).to_pandas()
    assert set(found["split"]) == ({"test"} if len(without) == 2 else {"test", "long"})


def with_a_second_split(table: pa.Table, changed: dict[str, Any]) -> pa.Table:
    """The rows, and the same of other problems in the split "long", with these columns changed."""
    rows = table.to_pylist()
    more = [row | changed | {"problem_id": f"long {row['problem_id']}"} for row in rows]
    more = [row | ({"split": "long"} if "split" in row else {}) for row in more]
    return pa.Table.from_pylist(rows + more, schema=table.schema)


def test_calibration_and_length_by_hand() -> None:
    table = samples()
    found = compute(calibration(), scored_samples=table).to_pandas()
    prm = found[found["model"] == "prm"].set_index("bin_low")
    # 0.72 where one seed's PRM believes: right in the first, wrong in the second; 0.5 the other way round.
    assert prm["count"].to_dict() == {0.5: PROBLEMS * SLOTS, 0.7: PROBLEMS * SLOTS}
    assert prm["share_right"].to_dict() == {0.5: 0.5, 0.7: 0.5}
    assert ((prm["ci_low"] < 0.5) & (prm["ci_high"] > 0.5)).all()
    assert prm["mean_score"].to_dict() == pytest.approx({0.5: 0.5, 0.7: 0.72})
    lengths = compute(score_by_length(), scored_samples=table).to_pandas()
    prm = lengths[lengths["model"] == "prm"].set_index("num_steps")
    assert prm["count"].to_dict() == {2: PROBLEMS * SLOTS, 3: PROBLEMS * SLOTS}
    assert prm["share_picked"].to_dict() == {2: 0.5, 3: 0.5}  # ties share the pick
    assert prm["share_right"].to_dict() == {2: 0.5, 3: 0.5}


def test_calibration_of_steps_goes_through_the_first_wrong_one() -> None:
    _, scores = tables()
    keys = scores["scores"].select(["problem_id", "sample_index", "split"]).to_pylist()
    about = {"probabilities": None, "alternatives": [], "label_source": "test", "error": None}
    labels = [key | about | {"ratings": [-1] if key["sample_index"] % 2 else [1, 0]} for key in keys]
    found = compute(
        step_calibration(),
        held_out_step_labels=pa.Table.from_pylist(labels, schema=STEP_LABELS),
        scores=scores["scores"],
    ).to_pandas()
    half = PROBLEMS * SLOTS // 2
    assert found["count"].tolist() == [half, half, half]
    assert found["mean_score"].tolist() == pytest.approx([0.5, 0.8, 0.9])
    assert found["share_right"].tolist() == [0.0, 1.0, 1.0]


def test_the_papers_band_is_that_of_subsampling_alone() -> None:
    table = samples()
    band = compute(subsampling_band(BandConfig(trials=200)), scored_samples=table).to_pandas()
    orm = band[band["method"] == "orm"].set_index("n")
    assert orm.loc[4, "std"] == 0  # all slots: nothing is left to chance
    assert orm.loc[1, "std"] > 0
    assert orm.loc[1, "accuracy"] == pytest.approx(0.5, abs=0.06)


def test_a_missing_grade_or_slot_is_an_error() -> None:
    inputs, scores = tables()
    with pytest.raises(ValueError, match="no grade"):
        compute(scored_samples(ReductionConfig()), **inputs | {"grades": inputs["grades"].slice(1)}, **scores)
    with pytest.raises(ValueError, match="unequal numbers"):
        list(samples_by_split(samples().slice(1)))
