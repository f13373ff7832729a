from __future__ import annotations

import pyarrow as pa
import pytest

from components.sampling.grading import Grade, is_equal
from components.text.answer_extraction import extract_answer
from schemas.settings import NoSettings
from schemas.tables import SOLUTIONS


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        ("steps\n# Answer\n\n42", "42", "answer_section"),
        ("# Answer\n\n1\n# Answer\n\n2\nmore", "2", "answer_section"),
        (r"so \boxed{\frac{1}{2}} or \boxed{x^{2}}.", r"\frac{1}{2}, x^{2}", "boxed"),
        (r"\boxed{3} then \boxed{} and \boxed{4", None, "none"),
        ("# Answer\n\n" + r"", None, "none"),
        (r"\boxed{5}" + "\n# Answer\n", "5", "boxed"),
        ("it comes to 17", None, "none"),
        ("", None, "none"),
    ],
)
def test_extract_answer(text: str, answer: str | None, rule: str) -> None:
    assert extract_answer(text) == (answer, rule)


@pytest.mark.parametrize(
    ("answer", "truth", "equal"),
    [
        ("42", "42", True),
        (r"\dfrac{1}{2}", r"\frac{1}{2}", True),
        (r"$\left( 1,\, 2 \right)$.", "(1,2)", True),
        (r"90^\circ", "90", True),
        (r"\text{Evelyn}", "Evelyn", True),
        ("42", "43", False),
        ("12", "1", False),
        ("-3", "3", False),
        ("(2,1)", "(1,2)", False),
        ("__import__('os').getcwd()", "1", False),
    ],
)
def test_is_equal(answer: str, truth: str, equal: bool) -> None:
    assert is_equal([answer], [truth]) == [equal]


def test_is_equal_refuses_sequences_of_unequal_length() -> None:
    with pytest.raises(ValueError, match="shorter"):
        is_equal(["1", "2"], ["1"])


def solution(text: str, finish_reason: str | None = "stop", error: str | None = None) -> dict[str, object]:
    return {
        "problem_id": "p", "sample_index": 0, "split": "test", "problem": "?", "ground_truth_answer": "12",
        "text": text, "steps": [], "finish_reason": finish_reason, "num_tokens": 1,
        "seed": 0, "error": error,
    }  # fmt: skip


def test_a_text_that_takes_too_long_has_no_answer_and_says_so() -> None:
    grade = Grade(NoSettings(), {})
    grade.sandbox.seconds = 0.02
    table = pa.Table.from_pylist([solution("选" * 2_000_000), solution("It is 12.")], schema=SOLUTIONS)
    rows = grade(table, {}).to_pylist()
    assert [(row["answer"], row["extract_rule"], row["is_correct"], row["status"]) for row in rows] == [
        (None, "timeout", False, "no_answer"),
        ("12", "last_sentence", True, "ok"),
    ]


def test_a_cut_answer_is_no_answer_and_a_failed_row_keeps_its_error() -> None:
    rows = [
        solution("# Answer\n\n12"),
        solution("# Answer\n\n12", "length"),  # might have become 123
        solution("# Answer\n\n12\nand", "length"),
        solution("# Answer\n\n1"),
        solution("", None, "too long"),
    ]
    graded = Grade(NoSettings(), {})(pa.Table.from_pylist(rows, schema=SOLUTIONS), {})
    assert graded["is_correct"].to_pylist() == [True, False, True, False, None]
    assert graded["status"].to_pylist() == ["ok", "no_answer", "ok", "ok", "error"]
    assert graded["error"].to_pylist() == [None, None, None, None, "too long"]
