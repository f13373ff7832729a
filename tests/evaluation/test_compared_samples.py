"""The join of several verifiers' scores with the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.compared_samples import ComparedVerifier, ComparisonConfig, compared_samples
from schemas.results import scored_samples
from schemas.tables import SOLUTIONS
from schemas.verifiers import VERIFIER_SCORES

KEYS = [("p", 0), ("p", 1), ("q", 0), ("q", 1)]


def tables() -> dict[str, pa.Table]:
    samples: list[dict[str, Any]] = [
        {"problem_id": p, "sample_index": i, "split": "test", "training_seed": seed, "candidate": i, "error": None}
        | {
            "is_correct": i == 0,
            "candidate_is_correct": i == 0,
            "num_steps": None,
            "old_score": 0.1 * i,
            "orm_score": 0.5,
        }
        for seed in (1, 2)
        for p, i in KEYS
    ]
    solutions = [
        {"problem_id": p, "sample_index": i, "split": "test", "problem": p, "text": "ab" * (i + 1), "seed": 0}
        | {"steps": ["ab"] * (i + 1), "finish_reason": "stop", "num_tokens": 0, "error": None}
        for p, i in reversed(KEYS)
    ]
    scores = [
        {"problem_id": p, "sample_index": i, "split": "test", "num_tokens": 3, "error": None}
        | {"score": None, "step_probabilities": [[0.5, 0.25, 0.25], [0.1, 0.0, 0.9 - 0.3 * i]]}
        for p, i in KEYS[1:]
    ]
    return {
        "samples": pa.Table.from_pylist(samples, schema=scored_samples(("old", "orm"))),
        "solutions": pa.Table.from_pylist(solutions, schema=SOLUTIONS),
        "scores_0": pa.Table.from_pylist(scores, schema=VERIFIER_SCORES),
    }


def joined(*verifiers: ComparedVerifier, given: tuple[str, ...] = ("orm",)) -> Any:
    config = ComparisonConfig(given, verifiers)
    stage = compared_samples(config)
    table = stage.compute(config, **tables())
    assert isinstance(table, pa.Table)
    return table.to_pandas()


def test_every_reduction_is_made_of_the_same_step_probabilities() -> None:
    frame = joined(
        ComparedVerifier("a", "scores_0", reduction="product"),
        ComparedVerifier("b", "scores_0", reduction="min", neutral="negative"),
        ComparedVerifier("c", "scores_0", reduction="last"),
    )
    assert len(frame) == 8
    np.testing.assert_allclose(frame["a_score"][:4], [np.nan, 0.5 * 0.6, 0.5 * 0.9, 0.5 * 0.6])
    np.testing.assert_allclose(frame["b_score"][:4], [np.nan, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(frame["c_score"][:4], [np.nan, 0.6, 0.9, 0.6])
    np.testing.assert_array_equal(frame["a_score"][:4], frame["a_score"][4:])  # one model: the same for each seed
    assert "old_score" not in frame
    assert frame["num_steps"].tolist() == [1, 2, 1, 2] * 2


def test_ensembles_take_scores_that_came_with_the_samples_and_those_before() -> None:
    frame = joined(
        ComparedVerifier("a", "scores_0", reduction="last"),
        ComparedVerifier("safe", expression="min(a, orm)"),
        ComparedVerifier("twice", expression="2 * safe"),
    )
    np.testing.assert_allclose(frame["safe_score"][:4], [np.nan, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(frame["twice_score"][:4], [np.nan, 1, 1, 1])


def test_length_and_random_need_no_model_and_are_no_weights() -> None:
    frame = joined(ComparedVerifier("length", rule="length"), ComparedVerifier("random", rule="random"))
    assert frame["length_score"].tolist() == [-2, -4, -2, -4] * 2
    assert frame["random_score"].between(-1, 0).all()
    assert frame["random_score"].nunique() == 4
    assert (frame["random_score"][:4].to_numpy() == frame["random_score"][4:].to_numpy()).all()
    again = joined(ComparedVerifier("other", rule="random"))
    assert (again["other_score"] == frame["random_score"]).all()


def test_a_doubled_score_is_refused() -> None:
    config = ComparisonConfig((), (ComparedVerifier("a", "scores_0", reduction="last"),))
    given = tables()
    given["scores_0"] = pa.concat_tables([given["scores_0"]] * 2)
    with pytest.raises(ValueError, match="many-to-one"):
        compared_samples(config).compute(config, **given)
