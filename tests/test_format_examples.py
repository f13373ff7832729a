from __future__ import annotations

import pyarrow as pa
import pytest

from components.format_examples import KeepRightConfig, keep_right
from components.input_files import InputError
from components.text_format import answer_step


def run(right: list[bool], most: int = 2) -> list[dict[str, object]]:
    solutions = pa.Table.from_pylist(
        [{"problem_id": "p", "problem": "?", "steps": ["so\n", answer_step("1\n\nand on")]} for _ in right]
    )
    grades = pa.Table.from_pylist([{"problem_id": "p", "is_correct": one, "answer": "1"} for one in right])
    stage = keep_right(KeepRightConfig(max_per_problem=most))
    return stage.compute(stage.config, solutions=solutions, grades=grades).to_pylist()


def test_right_solutions_are_kept_without_what_follows_their_answer() -> None:
    kept = run([False, True, True, True])
    assert [row["steps"] for row in kept] == [["so", "# Answer\n\n1"]] * 2


def test_nothing_right_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match="stronger base model"):
        run([False, False])
