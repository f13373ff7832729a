"""First errors of several verifiers: each is as step_errors gives it alone, and a judge's majority is called."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.first_error import StepErrorsConfig, step_errors
from components.evaluation.verifier_step_errors import (
    VerifierStepErrorsConfig,
    likeliest_first_error,
    verifier_step_errors,
)
from tests.flows.test_step_errors import tables

CONFIG = StepErrorsConfig(thresholds=(0.2, 0.5))


def test_each_verifier_has_the_figures_of_step_errors() -> None:
    labels, scores = tables()
    steps = [
        None if row is None else [[0.0, 0.0, 1.0] for _ in row] for row in scores["step_probabilities"].to_pylist()
    ]
    others = pa.Table.from_pydict({**scores.to_pydict(), "step_probabilities": steps}, schema=scores.schema)
    stage = verifier_step_errors(VerifierStepErrorsConfig((("a", ("scores_0",)), ("b", ("scores_1",))), CONFIG))
    found = stage.compute(stage.config, held_out_step_labels=labels, scores_0=scores, scores_1=others).to_pandas()
    assert found["verifier"].tolist() == ["a"] * 3 + ["b"] * 3
    for name, table in (("a", scores), ("b", others)):
        alone = step_errors(CONFIG)
        wanted = alone.compute(alone.config, held_out_step_labels=labels, scores=table).to_pandas()
        own = found[(found["verifier"] == name) & found["threshold"].notna()].reset_index(drop=True)
        assert own[wanted.columns].equals(wanted)
    likeliest = found[found["threshold"].isna()].set_index("verifier")
    # Of the six: found, found, late (0.1, 0.54, none 0.36), missed, right (none 0.63) and right.
    assert (likeliest.loc["a", "accuracy_wrong"], likeliest.loc["a", "accuracy_right"]) == (0.5, 1.0)
    assert (likeliest.loc["b", "accuracy_wrong"], likeliest.loc["b", "accuracy_right"]) == (0.0, 1.0)


def test_all_trainings_of_a_verifier_count() -> None:
    labels, scores = tables()
    stage = verifier_step_errors(VerifierStepErrorsConfig((("a", ("scores_0", "scores_1")),), CONFIG))
    found = stage.compute(stage.config, held_out_step_labels=labels, scores_0=scores, scores_1=scores).to_pandas()
    assert set(found["num_wrong"]) == {8}


@pytest.mark.parametrize("seed", range(20))
def test_of_votes_the_majoritys_first_error_is_called(seed: int) -> None:
    """Verdicts → shares as judge_votes.py makes them → the first error that most verdicts name."""
    rng = np.random.default_rng(seed)
    verdicts = rng.integers(-1, 4, size=8)
    left, hazards = len(verdicts), []
    for step in range(4):
        wrong = int((verdicts == step).sum())
        hazards.append(wrong / left if left else 0.0)
        left -= wrong
    counts = [int((verdicts == error).sum()) for error in range(-1, 4)]
    assert likeliest_first_error(np.array(hazards, dtype=np.float32)) == int(np.argmax(counts)) - 1
