"""Agreement between label sources, against numbers worked out by hand and plain counts."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.labels.agreement import AgreementConfig, agreement, compare, kappa, label_sources
from schemas.tables import ROLLOUTS, STEP_LABELS


def labels(rows: list[list[int] | str]) -> pa.Table:
    made = []
    for number, ratings in enumerate(rows):
        error = ratings if isinstance(ratings, str) else None
        found = [] if isinstance(ratings, str) else ratings
        row: dict[str, Any] = {"problem_id": f"p{number}", "sample_index": 0, "split": "train", "ratings": found}
        row |= {"probabilities": None, "alternatives": [], "provenance": [], "label_source": "any", "error": error}
        made.append(row)
    return pa.Table.from_pylist(made, schema=STEP_LABELS)


def test_a_case_by_hand() -> None:
    one = labels([[1, 1, -1], [1, -1], [1, 1, 1], [-1], [1, 0, 1], "bad", []])
    two = labels([[1, 1, -1], [1, 1, -1], [1, 1, 1], [1, -1], [1, -1], [1, 1], [1]])
    stage = agreement(AgreementConfig(("one", "two")))
    table = stage.compute(stage.config, one=one, two=two)
    assert table.schema.equals(stage.schema)
    [first, second] = table.to_pylist()
    assert (first["source"], first["reference"], first["num_solutions"]) == ("one", "two", 5)
    # Steps: 3, 2, 3, 1 and 2, through the earlier first error; wrong to one: 3, to two: 2, to both: 1.
    assert first["num_steps"] == 11
    observed, expected = 8 / 11, (3 * 2 + 8 * 9) / 121
    assert first["kappa"] == pytest.approx((observed - expected) / (1 - expected))
    assert first["first_error_precision"] == pytest.approx(1 / 3)
    assert first["first_error_recall"] == pytest.approx(1 / 4)
    assert first["same_first_error"] == pytest.approx(2 / 5)
    assert (second["first_error_precision"], second["first_error_recall"]) == (
        pytest.approx(1 / 4),
        pytest.approx(1 / 3),
    )


def test_intervals_are_by_problems() -> None:
    """Six alike solutions of a problem tell no more than one; of six problems they do."""
    rng = np.random.default_rng(0)
    one = {(f"p{n}", 0): [*[1] * int(rng.integers(1, 4)), *([-1] if rng.random() < 0.5 else [])] for n in range(60)}
    two = {key: ratings if rng.random() < 0.7 else [-1] for key, ratings in one.items()}

    def copied(labels: dict[tuple[str, int], list[int]], form: str) -> dict[tuple[str, int], list[int]]:
        return {(form.format(p=problem, n=n), n): ratings for (problem, _), ratings in labels.items() for n in range(6)}

    once = compare(one, two)
    alike, apart = (compare(copied(one, form), copied(two, form)) for form in ("{p}", "{p} {n}"))
    for name in ("kappa", "same_first_error", "first_error_precision", "first_error_recall"):
        assert once[f"{name}_low"] < once[name] < once[f"{name}_high"]
        assert alike[name] == pytest.approx(once[name])
        widths = [found[f"{name}_high"] - found[f"{name}_low"] for found in (once, alike, apart)]
        assert widths[1] == pytest.approx(widths[0], rel=0.02)
        assert widths[2] < 0.6 * widths[0]


def kappa_of_counts(both: int, one: int, other: int, neither: int) -> float:
    """Cohen 1960, formula (1), of a two by two table."""
    total = both + one + other + neither
    by_chance = ((both + one) * (both + other) + (other + neither) * (one + neither)) / total
    return (both + neither - by_chance) / (total - by_chance)


def test_kappa_is_that_of_the_table_of_counts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        one, two = rng.random((2, rng.integers(2, 40))) < rng.random((2, 1))
        if kappa(one, two) is not None:
            counts = (one & two).sum(), (one & ~two).sum(), (~one & two).sum(), (~one & ~two).sum()
            assert kappa(one, two) == pytest.approx(kappa_of_counts(*map(int, counts)))
    assert kappa(np.array([True, True]), np.array([True, True])) is None
    assert kappa(np.array([], dtype=bool), np.array([], dtype=bool)) is None


def test_precision_and_recall_against_a_plain_count() -> None:
    rng = random.Random(1)

    def some() -> dict[Any, list[int]]:
        return {(f"p{n}", 0): [*[1] * rng.randrange(3), *rng.choice([[], [-1]])] or [1] for n in range(50)}

    for _ in range(50):
        one, two = some(), some()
        found = compare(one, two)
        wrong = [key for key in one if -1 in one[key]]
        hits = [key for key in wrong if -1 in two[key] and one[key].index(-1) == two[key].index(-1)]
        assert found["first_error_precision"] == pytest.approx(len(hits) / len(wrong))
        assert found["first_error_recall"] == pytest.approx(len(hits) / sum(-1 in ratings for ratings in two.values()))


def test_what_sources_gave_and_took() -> None:
    evidence = [
        {"problem_id": f"p{n}", "sample_index": 0, "split": "train", "num_steps": 4, "own_is_correct": False}
        | {"first_rollout": 0, "num_rollouts": 8, "asked_steps": [1], "answers": [[None] * 8]}
        | {"is_correct": [[False] * 8], "num_tokens": 30, "error": None}
        for n in range(2)
    ]
    stage = label_sources(AgreementConfig(("search", "judge")))
    table = stage.compute(
        stage.config,
        search=labels([[1, -1], [1, 1, 1, 1]]),
        judge=labels([[], "refused"]),
        search_evidence=pa.Table.from_pylist(evidence, schema=ROLLOUTS),
    )
    assert table.schema.equals(stage.schema)
    search, judge = table.to_pylist()
    assert (search["num_continuations"], search["num_continuations_every_step"], search["num_tokens"]) == (16, 48, 60)
    assert (search["num_rated"], search["share_with_error"], search["num_ratings"]) == (2, 0.5, 6)
    assert (judge["num_rated"], judge["num_unrated"], judge["num_error"]) == (0, 1, 1)
    assert judge["share_with_error"] is None
