"""The ratings of files of samples: ProcessBench's rows, and steps that are rated one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.data.sample_ratings import file_ratings, format_of_ratings
from components.data.sample_texts import describe_texts
from components.data.scored_description import describe_scored

# Two samples of one problem, as ProcessBench writes them: no answer, and no text but the steps.
PROCESSBENCH: list[dict[str, Any]] = [
    {"problem": "2 + 2?", "steps": ["2 and 2.", "So 5."], "label": 1, "final_answer_correct": False},
    {"problem": "3 + 3?", "steps": ["So 6."], "label": -1, "final_answer_correct": True},
    {"problem": "2 + 2?", "steps": ["So 4."], "label": -1, "final_answer_correct": True},
]
STEPWISE: list[dict[str, Any]] = [
    {
        "problem": "2 + 2?",
        "steps": [{"text": "2 and 2.", "rating": 0}, {"text": "So 5.", "rating": -1}, {"text": "5.", "rating": 1}],
        "is_correct": False,
    },
    {"problem": "2 + 2?", "steps": [{"text": "2.", "rating": None}, {"text": "4.", "rating": 1}], "is_correct": True},
]


def read(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the ratings of a file; None where its steps are not rated."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file, _ = describe_scored(path, {}, [], None, 1, needs_scores=False)
    config = describe_texts(path, file, "auto")
    if format_of_ratings(config, path) is None:
        return None
    parts = file_ratings(config, path).compute(config)
    assert not isinstance(parts, pa.Table)
    return pa.concat_tables(list(parts)).to_pylist()


def test_ratings_have_the_keys_of_the_samples(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", PROCESSBENCH)
    assert rows is not None
    assert [row["ratings"] for row in rows] == [[1, -1], [1], [1]]
    assert [row["sample_index"] for row in rows] == [0, 0, 1]
    assert rows[0]["problem_id"] == rows[2]["problem_id"] != rows[1]["problem_id"]
    assert {row["split"] for row in rows} == {"test"}
    assert {row["error"] for row in rows} == {None}


def test_ratings_end_with_the_first_wrong_step_and_an_unrated_one_is_an_error(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", STEPWISE)
    assert rows is not None
    assert [row["ratings"] for row in rows] == [[0, -1], []]
    assert rows[0]["error"] is None
    assert rows[1]["error"] == "row 1: steps[0] is unrated, so the first wrong step is not known"


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "2 + 2?", "steps": ["So 4."], "is_correct": True},
        {"problem": "2 + 2?", "text": "So 4.", "label": 1, "is_correct": True},
        {"problem": "2 + 2?", "completions": ["So 4.", "So 5."], "is_correct": [True, False]},
    ],
)
def test_samples_whose_steps_are_not_rated_have_none(tmp_path: Path, row: dict[str, Any]) -> None:
    assert read(tmp_path / "a.jsonl", [row]) is None


def test_processbench_is_graded_by_its_own_column(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(PROCESSBENCH[0]) + "\n")
    file, _ = describe_scored(path, {}, [], None, 1, needs_scores=False)
    assert file.correct_column == "final_answer_correct"
    path.write_text(json.dumps(PROCESSBENCH[0] | {"is_correct": True}) + "\n")
    file, _ = describe_scored(path, {}, [], None, 1, needs_scores=False)
    assert file.correct_column == "is_correct"
