"""Solutions that callers give to `Verifier.score`: pairs and mappings become rows, and anything else is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.verifiers.solutions_to_score import solution_rows

ROW = {"problem": "1 + 1?", "steps": ["It is 2."], "finish_reason": "stop", "text": None}


@pytest.mark.parametrize(
    "solution",
    [
        ("1 + 1?", ["It is 2."]),
        ["1 + 1?", ("It is 2.",)],
        {"problem": "1 + 1?", "steps": ["It is 2."]},
        {"problem": "1 + 1?", "steps": ["It is 2."], "finish_reason": None, "text": None, "level": 5},
        pd.DataFrame({"problem": ["1 + 1?"], "steps": [np.array(["It is 2."], dtype=object)]}).to_dict("records")[0],
    ],
)
def test_pairs_and_mappings_become_the_same_row(solution: Any) -> None:
    assert solution_rows([solution]) == [ROW]
    assert solution_rows(one for one in [solution, solution]) == [ROW, ROW]


def test_a_mapping_keeps_how_the_solution_ended_and_its_text() -> None:
    given = {"problem": "p", "steps": ["s"], "finish_reason": "length", "text": "s\n"}
    assert solution_rows([given]) == [given]
    assert solution_rows([]) == []


@pytest.mark.parametrize(
    ("solution", "words"),
    [
        ("1 + 1?", r"solution 1: a \(problem, steps\) pair or a mapping is wanted, not a text"),
        (("1 + 1?", ["2"], "stop"), "solution 1: .* not a tuple of 3"),
        (("1 + 1?",), "solution 1: .* not a tuple of 1"),
        (None, "solution 1: .* not a NoneType"),
        ((7, ["2"]), "solution 1: problem: a text is wanted, not a int"),
        (("1 + 1?", "It is 2."), "solution 1: steps: a list of texts is wanted, not a text"),
        (("1 + 1?", None), "solution 1: steps: a list of texts is wanted, not a NoneType"),
        (("1 + 1?", float("nan")), "solution 1: steps: a list of texts is wanted, not a float"),
        (("1 + 1?", []), "solution 1: steps: the list is empty"),
        (("1 + 1?", ["It is", 2]), "solution 1: steps: number 1 is a int, not a text"),
        ({"problem": "1 + 1?"}, "solution 1: steps: the field is missing"),
        ({"steps": ["2"]}, "solution 1: problem: the field is missing"),
        ({"problem": "p", "steps": ["s"], "finish_reason": True}, "solution 1: finish_reason: a text is wanted"),
        ({"problem": "p", "steps": ["s"], "text": ["s"]}, "solution 1: text: a text is wanted, not a list of 1"),
    ],
)
def test_what_is_no_solution_is_refused_by_index_and_field(solution: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        solution_rows([("1 + 1?", ["It is 2."]), solution])


@pytest.mark.parametrize("solutions", ["1 + 1?", {"problem": "1 + 1?", "steps": ["2"]}, 7, None])
def test_what_is_no_list_of_solutions_is_refused(solutions: Any) -> None:
    with pytest.raises(ValueError, match=r"^solutions: a list of"):
        solution_rows(solutions)
