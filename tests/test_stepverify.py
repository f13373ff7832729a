"""What people call from Python: the right values, and a clear error for what is easily given wrong."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import stepverify
from components.evaluation.curves import curve_rows
from components.evaluation.method_accuracies import MethodAccuracies
from components.statistics.bootstrap import BootstrapConfig
from flows.command_line import main

NAN = float("nan")
SAMPLES = st.lists(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9, NAN]), st.booleans()), min_size=1, max_size=5),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(SAMPLES)
def test_best_of_n_is_the_mean_over_all_subsets(rows: list[list[tuple[float, bool]]]) -> None:
    slots = max(map(len, rows))
    ns = list(range(1, slots + 1))
    found = stepverify.best_of_n([[s for s, _ in row] for row in rows], [[c for _, c in row] for row in rows], ns)
    for problem, row in enumerate(rows):
        filled = [*row, *[(NAN, False)] * (slots - len(row))]
        for k, n in enumerate(ns):
            accuracies = []
            for subset in itertools.combinations(filled, n):
                best = max((s for s, _ in subset if s == s), default=None)
                picked = [c for s, c in subset if s == best]
                accuracies.append(np.mean(picked) if picked else 0.0)
            # Equal scores share their ranks over all slots, whose mean over subsets is that of their picks.
            assert found[problem, k] == pytest.approx(np.mean(accuracies), abs=1e-9)


def samples(problems: int, most: int, seed: int) -> tuple[list[list[float]], list[list[float]], list[list[bool]]]:
    """Scores of a good and a poor verifier, and outcomes. The last problem has fewer samples."""
    rng = np.random.default_rng(seed)
    right = [(rng.random(most - (p == problems - 1)) < 0.4).tolist() for p in range(problems)]
    good, poor = ([(rng.normal(size=len(r)) + sharp * np.array(r)).tolist() for r in right] for sharp in (2.0, 0.2))
    return good, poor, right


def test_without_sizes_best_of_n_is_the_studys_table_for_every_n() -> None:
    good, _, right = samples(30, 6, 0)
    table = stepverify.best_of_n(good, right)
    assert list(table.columns) == ["n", "accuracy", "low", "high"]
    assert table["n"].tolist() == [1, 2, 3, 4, 5, 6]
    values = stepverify.best_of_n(good, right, [1, 2, 3, 4, 5, 6])
    np.testing.assert_allclose(table["accuracy"], values.mean(0), atol=1e-12)
    method = MethodAccuracies([1, 2, 3, 4, 5, 6], [str(p) for p in range(30)], {"prm": values[None]})
    rows = list(curve_rows(BootstrapConfig(), method))
    np.testing.assert_array_equal(table["low"], [row["ci_low"] for row in rows])
    np.testing.assert_array_equal(table["high"], [row["ci_high"] for row in rows])


def test_picks_that_are_right_or_wrong_have_clopper_and_pearsons_interval() -> None:
    """One sample per problem, 12 of 20 right: the mid-P form, computed by its definition."""
    right = [[p < 12] for p in range(20)]
    [[n, accuracy, low, high]] = stepverify.best_of_n([[0.5]] * 20, right).to_numpy().tolist()
    assert (n, accuracy) == (1, pytest.approx(0.6))

    def tail(share: float) -> float:
        """P(more than 12) + P(12) / 2 of 20."""
        return float(binom.sf(12, 20, share) + binom.pmf(12, 20, share) / 2)

    # The draws are 8,000: the ends are known to about 0.005.
    assert tail(low) == pytest.approx(0.025, abs=0.006)
    assert tail(high) == pytest.approx(0.975, abs=0.006)


def test_two_verifiers_are_compared_in_pairs() -> None:
    good, poor, right = samples(60, 5, 1)
    table = stepverify.compare_best_of_n(good, poor, right)
    assert list(table.columns) == ["n", "difference", "low", "high", "p_value"]
    one, other = (stepverify.best_of_n(scores, right) for scores in (good, poor))
    np.testing.assert_allclose(table["difference"], one["accuracy"] - other["accuracy"], atol=1e-12)
    assert ((table["low"] <= table["difference"]) & (table["difference"] <= table["high"])).all()
    assert table["low"].iloc[-1] > 0  # the good verifier picks better
    assert table["p_value"].iloc[-1] < 0.05
    # Paired: narrower than the two curves' own intervals would say.
    unpaired = np.hypot(one["high"] - one["low"], other["high"] - other["low"])
    assert (table["high"] - table["low"])[1:].lt(unpaired[1:]).all()
    back = stepverify.compare_best_of_n(poor, good, right)
    np.testing.assert_allclose(back["difference"], -table["difference"], atol=1e-12)
    same = stepverify.compare_best_of_n(good, good, right)
    assert same["difference"].abs().max() == 0
    assert same["p_value"].min() > 0.9


def test_pass_at_n_is_the_closed_form() -> None:
    assert stepverify.pass_at_n([[True, False, False, False]], [1, 2, 4]).tolist() == [[0.25, 0.5, 1.0]]
    assert stepverify.pass_at_n(np.array([[1, 0]]), [1]).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stepverify.best_of_n([[0.1, 0.2]], [[True, False]], [32]), "N is 32.*from 1 to 2"),
        (lambda: stepverify.best_of_n([[0.1, 0.2]], [[True, False]], [0]), "N is 0"),
        (lambda: stepverify.best_of_n([[0.1, 0.2]], [[True, False]], [1.5]), "N is 1.5"),  # type: ignore[list-item]
        (lambda: stepverify.pass_at_n([[True]], [2]), "N is 2"),
        (lambda: stepverify.best_of_n([[True, False]], [[0.1, 0.2]], [1]), "swapped"),
        (lambda: stepverify.best_of_n([[1, 0]], [[0.1, 0.2]], [1]), "swapped"),
        (lambda: stepverify.best_of_n(np.array([[True]]), np.array([[0.5]]), [1]), "swapped"),
        (lambda: stepverify.best_of_n([[0.1, 0.2]], [[True]], [1]), "one of each per sample"),
        (lambda: stepverify.best_of_n([[0.1], [0.2, 0.3]], [[True, True], [False]], [1]), "one of each per sample"),
        (lambda: stepverify.best_of_n([[0.1]], [[True], [False]], [1]), "one of each per sample"),
        (lambda: stepverify.best_of_n([0.1, 0.2], [True, False], [1]), "list of lists"),
        (lambda: stepverify.best_of_n([["high"]], [[True]], [1]), "row 0"),
        (lambda: stepverify.best_of_n([], [], [1]), "list of lists"),
        (lambda: stepverify.best_of_n(None, [[True]], [1]), "list of lists"),  # type: ignore[arg-type]
        (lambda: stepverify.best_of_n(["12", "34"], [[True, True]] * 2, [1]), "not a number"),
        (lambda: stepverify.best_of_n([[10**400]], [[True]], [1]), "no float can hold"),
        (lambda: stepverify.best_of_n([[0.1]], [[None]], [1]), "swapped"),  # type: ignore[list-item]
        (lambda: stepverify.best_of_n([[0.1]], [[True]], []), "whole numbers"),
        (lambda: stepverify.best_of_n([[0.1]], [[True]], 1), "whole numbers"),  # type: ignore[arg-type]
        (lambda: stepverify.best_of_n([[]], [[]]), "no problem has a sample"),
        (lambda: stepverify.best_of_n([[0.1]], [[True], [False]]), "one of each per sample"),
        (lambda: stepverify.best_of_n([[True, False]], [[0.1, 0.2]]), "swapped"),
        (lambda: stepverify.compare_best_of_n([[0.1]], [[0.2, 0.3]], [[True]]), "scores_b .* one of each per sample"),
        (lambda: stepverify.compare_best_of_n([["high"]], [[0.2]], [[True]]), "scores_a: row 0"),
        (lambda: stepverify.is_equal("1/2", "0.5"), "sequence of texts"),
        (lambda: stepverify.is_equal([0.5], ["0.5"]), "sequence of texts"),  # type: ignore[list-item]
        (lambda: stepverify.open_verifier("no/such"), "no folder is there"),
        (lambda: stepverify.open_verifier("no/such", dtype="int99"), "float32"),
    ],
)
def test_what_is_given_wrong_is_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, stepverify; print({'torch', 'ray', 'transformers', 'vllm'} & {*sys.modules})"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"


def test_the_command_names_every_flow(capsys: pytest.CaptureFixture[str]) -> None:
    flows = {path.stem for path in (Path(__file__).parents[1] / "flows").glob("*.py")} - {"__init__", "study"}
    assert {file for file, _ in main.FLOWS.values()} == flows
    assert main.main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in main.FLOWS)
    assert main.main(["evalute"]) == 2
    assert "did you mean evaluate?" in capsys.readouterr().err
