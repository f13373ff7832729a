"""Answers read from texts: rows by kind (answers_by_kind.jsonl, with traps), cut solutions, the time of long texts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from components.text.answer_boxes import last_box
from components.text.answer_extraction import extract_answer, solution_answer, without_thoughts
from components.text.solution_cleanup import before_answer
from tests.grader.hostile import EXTRACTION_UNITS

ROWS = [json.loads(line) for line in (Path(__file__).parent / "answers_by_kind.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["kind"])
def test_answers_by_kind(row: dict[str, Any]) -> None:
    assert extract_answer(row["text"], finished=row["finished"]) == (row["answer"], row["rule"])


@pytest.mark.parametrize(
    ("text", "finish_reason", "answer", "rule"),
    [
        ("Add.\nSo there are 12.", "stop", "12", "last_sentence"),
        ("Add.\nSo there are 12.", "length", None, "none"),
        ("So there are 12.\nNext we", "length", None, "none"),
        ("So there are 12.", None, None, "none"),
        ("It is \\boxed{5}.\nAgain, it is \\boxed{1", "length", None, "none"),
        ("It is \\boxed{5}.\nWe see", "length", "5", "boxed"),
        ("<think>\nIs it \\boxed{5}?\nNo", "length", None, "none"),
        ("<think>Is it \\boxed{4</think>It is \\boxed{5}.\nWe see", "length", "5", "boxed"),
        ("The answer is 5.\n# Answer\n\n1", "length", "5", "answer_is"),
    ],
)
def test_only_a_finished_solution_ends_with_its_answer(
    text: str, finish_reason: str | None, answer: str | None, rule: str
) -> None:
    assert solution_answer(text, finish_reason) == (answer, rule)


def test_thoughts_are_blanked_in_place() -> None:
    text = "a<think>b\nc</think>d"
    assert without_thoughts(text) == f"a\n{' ' * (len(text) - 4)}\nd"
    assert without_thoughts("no thoughts: 1 < 2") == "no thoughts: 1 < 2"


def test_the_box_of_a_reference_is_its_last_one() -> None:
    assert last_box("$\\boxed{-2}$ and $\\boxed{1}$") == "1"
    assert last_box("\\boxed{2}, so \\boxed{} and \\boxed{3") == "2"
    assert last_box("none") is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Add.\n\n**Final Answer**\n\n12", "Add.\n\n**Final Answer**"),
        ("Add.\n<answer>12</answer>", "Add."),
        ("Add.\nThe answer is 12.", "Add.\nThe answer is 12."),
        ("Add.\nIt is \\boxed{12}, as asked.\nPut it in \\boxed{}.", "Add.\nIt is \\boxed{12}, as asked."),
        ("<think># Answer\n\n1</think>\nAdd.\n# Answer\n\n12", "<think># Answer\n\n1</think>\nAdd.\n"),
    ],
)
def test_what_stands_before_the_answer(text: str, kept: str) -> None:
    answer, rule = extract_answer(text)
    assert answer == "12"
    assert before_answer(text, answer, rule) == kept


@pytest.mark.parametrize("unit", EXTRACTION_UNITS, ids=repr)
def test_long_texts_take_no_time(unit: str) -> None:
    """A third of a megabyte in a fraction of a second; quadratic steps took minutes."""
    for before, after in (("", ""), ("The answer is ", "."), ("\\boxed{", "}"), ("# Answer\n", "")):
        began = time.process_time()
        extract_answer(before + unit * (300_000 // len(unit)) + after, finished=True)
        assert time.process_time() - began < 1
