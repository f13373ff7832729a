"""Accuracies, curves and comparisons of several training seeds, by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.estimation import (
    BootstrapConfig,
    SelectionConfig,
    best_of_n_curves,
    comparisons,
    problem_accuracy,
    score_quality,
)  # fmt: skip
from schemas.tables import GRADES, SCORES

PROBLEMS, SLOTS = 6, 4


def tables() -> tuple[pa.Table, dict[str, pa.Table]]:
    """Half of the samples right; the first seed's PRM knows which, the second's believes the opposite."""
    rng = np.random.default_rng(0)
    grades, scores = [], {"scores": [], "scores_seed_2": []}
    for problem in range(PROBLEMS):
        for slot in range(SLOTS):
            key = {"problem_id": f"p{problem}", "sample_index": slot, "split": "test", "error": None}
            right = slot % 2 == 0
            graded = {"answer": str(right), "answer_group": str(right), "extract_rule": "boxed", "method": "text"}
            graded |= {"is_correct": right, "is_correct_prm800k": right, "status": "ok", "grader_version": 2}
            grades.append(key | graded)
            for name, good in (("scores", right), ("scores_seed_2", not right)):
                steps = [[0.1, 0.5, 0.4], [0.2, 0.0, 0.8]] if good else [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]
                product = (0.9 * 0.8) if good else 0.5
                scores[name].append(
                    key | {"orm_score": rng.random(), "prm_score": product, "step_probabilities": steps}
                )
    return (
        pa.Table.from_pylist(grades, schema=GRADES),
        {name: pa.Table.from_pylist(rows, schema=SCORES) for name, rows in scores.items()},
    )


def test_results_are_means_over_seeds_with_their_spread_apart() -> None:
    grades, scores = tables()
    stage = problem_accuracy(SelectionConfig())
    accuracy = stage.compute(stage.config, grades=grades, **scores)
    curves = best_of_n_curves(BootstrapConfig(resamples=50))
    frame = curves.compute(curves.config, problem_accuracy=accuracy).to_pandas().set_index(["method", "n"])
    prm = frame.loc[("prm", 4)]
    assert prm["accuracy"] == pytest.approx(0.5)  # 1 and 0
    assert prm["std_over_seeds"] == pytest.approx(np.std([1, 0], ddof=1))
    assert (prm["ci_low"], prm["ci_high"]) == (0.5, 0.5)  # all problems are alike: no noise of theirs
    assert prm["num_seeds"] == 2
    assert frame.loc[("majority", 4), "std_over_seeds"] == 0
    paired = comparisons(BootstrapConfig(resamples=50))
    rows = paired.compute(paired.config, problem_accuracy=accuracy).to_pandas().set_index(["method", "baseline", "n"])
    assert rows.loc[("prm", "pass_at_1", 4), "difference"] == pytest.approx(0.0)
    assert rows.loc[("prm", "pass_at_1", 4), "std_over_seeds"] == pytest.approx(np.std([0.5, -0.5], ddof=1))
    quality = score_quality(SelectionConfig())
    auc = quality.compute(quality.config, grades=grades, **scores).to_pandas()
    assert auc[auc["model"] == "prm"].set_index("training_seed")["within_problem_auc"].to_dict() == {1: 1.0, 2: 0.0}


def test_one_seed_has_no_spread_and_another_reduction_is_computed_from_the_steps() -> None:
    grades, scores = tables()
    solved_by = {("product", "positive"): 1.0, ("product", "negative"): 0.0, ("min", "positive"): 1.0}
    for (reduction, neutral), solved in (solved_by | {("last", "positive"): 0.0}).items():
        stage = problem_accuracy(SelectionConfig(reduction=reduction, neutral=neutral))
        accuracy = stage.compute(stage.config, grades=grades, scores=scores["scores"])
        curves = best_of_n_curves(BootstrapConfig(resamples=50))
        frame = curves.compute(curves.config, problem_accuracy=accuracy).to_pandas().set_index(["method", "n"])
        assert frame.loc[("prm", 4), "accuracy"] == solved
        assert np.isnan(frame.loc[("prm", 4), "std_over_seeds"])
