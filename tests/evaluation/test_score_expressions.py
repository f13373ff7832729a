"""Expressions over scores: their values, missing scores, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.score_expressions import evaluate, is_expression, names_in

A, B = np.array([0.2, 0.9, np.nan]), np.array([0.4, 0.1, 0.5])


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("min(a, b)", [0.2, 0.1, np.nan]),
        ("max(a, b)", [0.4, 0.9, np.nan]),
        ("mean(a, b)", [0.3, 0.5, np.nan]),
        ("sd(a, b)", [0.1, 0.4, np.nan]),
        ("mean(a, b) - 0.5 * sd(a, b)", [0.25, 0.3, np.nan]),
        ("-b", [-0.4, -0.1, -0.5]),
        ("min(b, 0.3)", [0.3, 0.1, 0.3]),
        ("b / (b - 0.1)", [4 / 3, np.nan, 1.25]),
        ("2 * b + 1", [1.8, 1.2, 2.0]),
    ],
)
def test_an_expression_has_its_value_and_none_where_a_score_is_missing(expression: str, wanted: list[float]) -> None:
    np.testing.assert_allclose(evaluate(expression, {"a": A, "b": B}), wanted)


def test_names_are_found_once_in_order() -> None:
    assert names_in("mean(b, a) - 0.5 * sd(b, a)", {"a", "b", "c"}) == ("b", "a")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("min(a, x)", "there is no verifier 'x'"),
        ("min(a)", "of two or more"),
        ("__import__('os').system('true')", "an expression has names of verifiers"),
        ("a.b", "an expression has names of verifiers"),
        ("a ** b", "an expression has names of verifiers"),
        ("min(a, b", "is no expression"),
        ("", "is no expression"),
        ("1 + 2", "names no verifier"),
        ("True + a", "an expression has names of verifiers"),
        ("a + " * 400 + "a", "is no expression"),
    ],
)
def test_what_is_no_expression_is_refused_in_one_line(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        names_in(expression, {"a", "b"})
    assert "\n" not in str(error.value)


def test_folders_are_told_from_expressions() -> None:
    assert is_expression("min(a, b)")
    assert is_expression("a - 0.5 * b")
    assert not is_expression("outputs/models/prm-1")
    assert not is_expression("random")
    assert is_expression("a-b", ("a", "b"))
    assert is_expression("0.5/a", ("a", "b"))
    assert not is_expression("a-c", ("a", "b"))
    assert not is_expression("a", ("a", "b"))
