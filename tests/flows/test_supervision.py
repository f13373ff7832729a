"""What each reward model was given, and when rivals are called unmatched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from components.dataflow.stage import Model
from flows.studies.summary import in_words
from flows.studies.supervision import given, given_section, unmatched


def run_of(**models: tuple[str, dict[str, Any]]) -> Any:
    """A run with these models: name → (kind, metrics, and `of`: what its solutions are called)."""
    recipes = {
        name: {
            "recipe": {"config": {"kind": kind, "training": {"learning_rate": metrics.get("rate", 3e-4), "epochs": 2}}}
        }
        | {"inputs": {metrics.get("of", "solutions"): {"stage": "solutions", "digest": "s"}}}
        for name, (kind, metrics) in models.items()
    }
    results = {name: Model(name, "d", metrics=metrics) for name, (_, metrics) in models.items()}
    store = SimpleNamespace(folder_of=lambda model: model.path, manifest=recipes.get)
    return SimpleNamespace(results=results | {"generator": Model("g", "d")}, store=store)


ALONE = "their difference is not of supervision alone"
ORM = {"rows_used": 100, "steps": 50, "labels_correct": 50, "labels_incorrect": 50, "tokens_trained": 1000}
PRM = {"rows_used": 100, "steps": 50, "labels_positive": 300, "labels_neutral": 0, "labels_negative": 100}


def test_labels_are_counted_by_sign_and_in_bits() -> None:
    table = given(run_of(orm=("orm", ORM), prm=("prm", PRM), orm_seed_2=("orm", ORM))).set_index("stage")
    assert list(table.index) == ["orm", "prm", "orm_seed_2"]
    assert table.loc["orm", ["labels", "labels_right", "labels_wrong"]].tolist() == [100, 50, 50]
    assert table.loc["orm", "bits"] == 100.0  # a fair coin each
    assert table.loc["prm", "bits"] == pytest.approx(400 * 0.811278, rel=1e-5)
    assert table.loc["orm", "updates"] == 50
    [section] = given_section(table.reset_index())["tables"]
    assert section["rows"][0][:3] == ["ORM", "0.0003", "100"]


def test_rivals_with_other_solutions_or_updates_are_told() -> None:
    assert unmatched(given(run_of(orm=("orm", ORM), prm=("prm", PRM)))) == []
    assert unmatched(given(run_of(orm=("orm", ORM), prm=("prm", PRM | {"rows_used": 99, "steps": 50})))) == []
    [note] = unmatched(given(run_of(orm=("orm", ORM), prm=("prm", PRM | {"rows_used": 200, "steps": 150}))))
    assert "rows (200 against 100) and updates (150 against 50)" in note


def test_rivals_with_other_rates_to_choose_from_are_told() -> None:
    swept = {"prm_at_0.0005": ("prm", PRM | {"rate": 5e-4}), "orm": ("orm", ORM | {"rate": 5e-4})}
    both = run_of(orm_at_0=("orm", ORM), prm=("prm", PRM), **swept)
    assert unmatched(given(both)) == []
    [note] = unmatched(given(run_of(prm=("prm", PRM), **swept)))
    assert (
        note == f"PRM and ORM had not the same learning rates to choose from (0.0003, 0.0005 against 0.0005): {ALONE}"
    )


def test_rivals_with_different_solutions_or_alternatives_are_told() -> None:
    for of_orm in ("solutions", "graded_solutions"):
        models = {"orm": ("orm", ORM | {"of": of_orm}), "prm": ("prm", PRM | {"of": "labelled_solutions"})}
        table = given(run_of(**models))
        assert unmatched(table) == [f"PRM and ORM were trained on different solutions: {ALONE}"]
    assert "same solutions" not in str(given_section(table))
    table = given(run_of(orm=("orm", ORM), prm=("prm", PRM)))
    [note] = unmatched(table, ("alternatives", "rule"))
    assert note == f"the PRM learned from alternatives to steps too, which the ORM has not: {ALONE}"
    assert unmatched(table, ("rule", "alternatives")) == []
    assert "All learn from the same solutions" in str(given_section(table))


def test_a_study_without_a_prm_has_no_rivals() -> None:
    assert unmatched(given(run_of(orm=("orm", ORM)))) == []
    assert unmatched(pd.DataFrame()) == []


def test_a_prm_that_was_given_is_no_training_of_the_study() -> None:
    """The study scores it beside each training of the ORM; that says nothing of other trainings of the PRM."""
    about = {"split": "test", "n": 4, "num_seeds": 3, "std_over_seeds": 0.0, "p_value": 0.001, "difference": 0.1}
    row = about | {"ci_low": 0.05, "ci_high": 0.15, "method": "prm", "baseline": "majority"}
    [said] = in_words(pd.DataFrame([row]), 100, (), {"prm": True})
    assert said.endswith("; of this trained model alone: other trainings may differ")
    [said] = in_words(pd.DataFrame([row]), 100, ())
    assert "mean of 3 training seeds" in said
