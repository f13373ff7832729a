from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.labelled_solutions import labelled_solutions
from components.data.problem_columns import ProblemFile
from components.data.problem_files import describe_file, problem_id, read_problems
from components.data.problems import ProblemFiles, file_problems
from components.data.readers import fetch
from components.data.solution_files import SolutionFiles
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest


def test_rows_that_cannot_be_used_are_kept_with_their_error(tmp_path: Path) -> None:
    rows = [{"problem": "a?", "answer": "1"}, {"problem": "b?", "answer": " "}, {"problem": "a?", "answer": "2"}]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    read = read_problems(path, ProblemFile(""), "train")
    assert [row["error"] for row in read] == [
        None,
        "row 1: 'answer' is empty",
        "row 2: the same problem as row 0, with another answer",
    ]
    assert read[0]["problem_id"] == problem_id("a?")
    assert len({row["problem_id"] for row in read}) == 3
    assert len(read_problems(path, ProblemFile("", max_problems=2), "train")) == 2


def test_numbers_become_the_text_that_people_write(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"question": ["a", "b", "c"], "answer": [6.0, 0.5, -3.0]}), path)
    file = describe_file(path)
    assert file.problem_column == "question"
    assert [row["ground_truth_answer"] for row in read_problems(path, file, "test")] == ["6", "0.5", "-3"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"problem": "a", "answer": True}, "'answer' is True, not text or a number"),
        ({"problem": "a", "answer": float("nan")}, "'answer' is nan, not text or a number"),
        ({"problem": "a", "answer": {"b": 1}}, "'answer' is {'b': 1}, not text or a number"),
        ({"problem": "a", "answer": None}, "'answer' is null"),
        ({"problem": "a"}, "'answer' is missing"),
        ({"problem": None, "answer": "1"}, "'problem' is null"),
        ({"problem": ["x", "y"], "answer": "1"}, "'problem' is ['x', 'y'], not text or a number"),
        ({"problem": 1, "answer": "1"}, "'problem' is '1', a number and no problem"),
        ({"problem": "\ud83d", "answer": "1"}, "'problem' holds half a character (a lone surrogate), which is no text"),
        ({"problem": "a", "answer": "None"}, "'answer' is 'None', which stands for no answer"),
        ({"problem": "a", "answer": float("inf")}, "'answer' is inf, not text or a number"),
    ],
)
def test_a_bad_row_is_kept_and_a_file_of_nothing_else_is_refused(tmp_path: Path, bad: object, said: str) -> None:
    path = tmp_path / "p.jsonl"
    rows = [{"problem": "good", "answer": "1"}, bad, {"problem": "b", "answer": "2"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    read = read_problems(path, describe_file(path), "test")
    assert [row["error"] for row in read] == [None, f"row 1: {said}", None]
    only = tmp_path / "only.jsonl"
    only.write_text(json.dumps({"problem": "", "answer": ""} | bad) if isinstance(bad, dict) else "")
    with pytest.raises(InputError, match="no row can be used"):
        describe_file(only)


def test_known_formats_are_found_out(tmp_path: Path) -> None:
    gsm8k = tmp_path / "gsm8k.jsonl"
    rows = [
        {"question": "Tom has 2 cats and gets 3. How many?", "answer": "He has 2 + 3 = <<2+3=5>>5.\n#### 5"},
        {"question": "And then?", "answer": "Nobody knows."},
    ]
    gsm8k.write_text("\n".join(map(json.dumps, rows)))
    read = read_problems(gsm8k, describe_file(gsm8k), "train")
    assert [row["ground_truth_answer"] for row in read] == ["5", None]
    assert read[0]["solution"] == "He has 2 + 3 = <<2+3=5>>5."
    assert str(read[1]["error"]).startswith("row 1: 'answer' has no answer")
    boxed = tmp_path / "boxed.jsonl"
    boxed.write_text(json.dumps({"problem": "a", "solution": "So $\\boxed{3}$, no: $\\boxed{\\frac{1}{2}}$."}))
    assert read_problems(boxed, describe_file(boxed), "train")[0]["ground_truth_answer"] == "\\frac{1}{2}"
    bare = tmp_path / "bare.jsonl"
    bare.write_text(json.dumps({"problem": "a", "solution": "It follows that $x = \\boxed 9$."}))
    assert read_problems(bare, describe_file(bare), "train")[0]["ground_truth_answer"] == "9"
    plain = tmp_path / "plain.jsonl"
    plain.write_text(json.dumps({"problem": "a", "answer": "#### 5 is what I say\n#### 7"}))
    assert (
        read_problems(plain, describe_file(plain, answer_format="text"), "train")[0]["ground_truth_answer"][-1] == "7"
    )


def test_a_later_row_without_a_column_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k.jsonl"
    path.write_text('{"question": "a", "answer": "So.\\n#### 5"}\n{"question": "b"}\n')
    assert [row["error"] for row in read_problems(path, describe_file(path), "train")] == [
        None,
        "row 1: 'answer' is missing",
    ]


def test_the_folder_of_math_as_it_was_released(tmp_path: Path) -> None:
    rows = {
        "test/algebra/2.json": {"problem": "a", "level": "Level 4", "type": "Algebra", "solution": "\\boxed{2}"},
        "train/algebra/10.json": {"problem": "b", "level": "Level ?", "type": "Algebra", "solution": "\\fbox{3}"},
        "train/geometry/1.json": {"problem": "c", "level": "Level 1", "type": "Geometry", "solution": "No answer."},
    }
    for name, row in rows.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(row))
    file = describe_file(tmp_path)
    read = read_problems(tmp_path, file, "train")
    assert [row["problem"] for row in read] == ["a", "b", "c"]
    assert [row["attributes"]["level"] for row in read] == ["4", None, "1"]
    assert read[2]["attributes"]["subject"] == "Geometry"
    assert [row["error"] is None for row in read] == [True, True, False]
    assert describe_file(tmp_path) == file
    (tmp_path / "train/geometry/2.json").write_text("[1]")
    assert read_problems(tmp_path, file, "train")[3]["error"] == "row 3: 'problem' is null"
    (tmp_path / "test/algebra/2.json").write_text(json.dumps(rows["test/algebra/2.json"] | {"problem": "A"}))
    assert describe_file(tmp_path).digest != file.digest


def test_a_file_that_changed_after_the_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"problem": "a", "steps": [{"text": "x", "rating": 1}]}')
    stage = labelled_solutions(SolutionFiles((file_digest(path),)), [path])
    assert len(list(stage.compute(stage.config))) == 1
    path.write_text('{"problem": "b", "steps": [{"text": "x", "rating": 1}]}')
    with pytest.raises(InputError, match="changed while the study ran"):
        list(stage.compute(stage.config))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"problem": "a", "answer": "1"}')
    other = file_problems(
        ProblemFiles(ProblemFile("0" * 64), ProblemFile(file_digest(rows))), {"train": rows, "test": rows}
    )
    with pytest.raises(InputError, match="changed while the study ran"):
        other.compute(other.config)


def test_a_hub_dataset_is_read_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("datasets.config", "huggingface_hub.constants"):  # which read the environment when imported
        monkeypatch.setattr(f"{library}.HF_HUB_OFFLINE", True)
    folder = tmp_path / "dataset"  # a dataset's folder is named like one of the hub
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"question": "1 + 1?", "answer": "So.\\n#### 2"}\n')
    assert fetch(f"hub:{folder}").read_text() == fetch(f"hub:{folder}:train").read_text()  # it has one split
    path = fetch(f"hub:{folder}:train")
    [row] = read_problems(path, describe_file(path), "train")
    assert (row["problem"], row["ground_truth_answer"], row["error"]) == ("1 + 1?", "2", None)
    for name, said in (("hub:nobody/nothing:train", "cannot be fetched"), ("hub:a:b:c:d", "hub:DATASET:SPLIT")):
        with pytest.raises(InputError, match=said):
            fetch(name)
