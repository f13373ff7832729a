from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.input_files import InputError
from components.labelled_solutions import LabelledFile, labelled_solutions
from components.problems import ProblemFile, ProblemFiles, file_problems, problem_id, read_problems
from components.store import file_digest


def test_rows_that_cannot_be_used_are_kept_with_their_error(tmp_path: Path) -> None:
    rows = [{"problem": "a?", "answer": "1"}, {"problem": "b?", "answer": " "}, {"problem": "a?", "answer": "2"}]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    read = read_problems(path, ProblemFile(""), "train")
    assert [row["error"] for row in read] == [None, "row 1: 'answer' is empty", "row 2: the same problem as row 0"]
    assert read[0]["problem_id"] == problem_id("a?")
    assert len({row["problem_id"] for row in read}) == 3
    assert len(read_problems(path, ProblemFile("", max_problems=2), "train")) == 2


def test_numbers_become_the_text_that_people_write(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"question": ["a", "b", "c"], "answer": [6.0, 0.5, -3.0]}), path)
    file = ProblemFile("", problem_column="question")
    assert [row["ground_truth_answer"] for row in read_problems(path, file, "test")] == ["6", "0.5", "-3"]
    for bad in (True, float("nan"), {"a": 1}):
        (tmp_path / "bad.jsonl").write_text(json.dumps({"problem": "a", "answer": bad}))
        with pytest.raises(InputError, match="row 0: 'answer' is"):
            read_problems(tmp_path / "bad.jsonl", ProblemFile(""), "test")


def test_a_file_that_changed_after_the_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"problem": "a", "steps": [{"text": "x", "rating": 1}]}')
    stage = labelled_solutions(LabelledFile(file_digest(path)), path)
    assert len(stage.compute(stage.config)) == 1
    path.write_text('{"problem": "b", "steps": [{"text": "x", "rating": 1}]}')
    with pytest.raises(InputError, match="changed while the study ran"):
        stage.compute(stage.config)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"problem": "a", "answer": "1"}')
    other = file_problems(
        ProblemFiles(ProblemFile("0" * 64), ProblemFile(file_digest(rows))), {"train": rows, "test": rows}
    )
    with pytest.raises(InputError, match="changed while the study ran"):
        other.compute(other.config)
