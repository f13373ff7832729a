"""The texts of files of samples: the same problems and samples as evaluate.py reads, whatever their form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.data.sample_texts import SampleTexts, describe_texts, file_solutions
from components.data.scored_columns import ScoredFile
from components.data.scored_description import describe_scored
from components.data.scored_samples_file import file_samples
from components.dataflow.errors import InputError

SAMPLES = [
    {"problem": "2 + 2?", "completion": "2 and 2.\n\nSo \\boxed{4}.", "answer": "4", "is_correct": True},
    {"problem": "2 + 2?", "completion": "It is \\boxed{5}.", "answer": "5", "is_correct": False},
    {"problem": "3 + 3?", "completion": "6", "answer": "6", "is_correct": True, "finish_reason": "length"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def described(path: Path, rule: str = "auto") -> tuple[ScoredFile, SampleTexts]:
    file, _ = describe_scored(path, {}, [], None, 1, needs_scores=False)
    return file, describe_texts(path, file, rule)


def read(path: Path, rule: str = "auto") -> list[dict[str, Any]]:
    _, config = described(path, rule)
    parts = file_solutions(config, path).compute(config)
    assert not isinstance(parts, pa.Table)
    return pa.concat_tables(list(parts)).to_pylist()


def test_texts_are_cut_into_steps_and_keyed_like_the_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", SAMPLES)
    rows = read(path)
    assert [row["steps"] for row in rows] == [["2 and 2.", "So \\boxed{4}."], ["It is \\boxed{5}."], ["6"]]
    assert [row["finish_reason"] for row in rows] == ["stop", "stop", "length"]
    file, _ = described(path)
    samples = file_samples(file, path).compute(file)
    assert isinstance(samples, pa.Table)
    keys = ["problem_id", "sample_index", "split"]
    assert [[row[key] for key in keys] for row in rows] == [
        [row[key] for key in keys] for row in samples.to_pylist() if row["source_row"] is not None
    ]
    assert read(path, "newline")[0]["steps"] == ["2 and 2.\n", "So \\boxed{4}."]


def test_the_files_own_steps_are_taken(tmp_path: Path) -> None:
    rows = [SAMPLES[0] | {"steps": ["a", {"text": "b", "rating": 1}]}, SAMPLES[1] | {"steps": None}]
    found = read(write(tmp_path / "samples.jsonl", rows))
    assert [row["steps"] for row in found] == [["a", "b"], []]
    assert found[0]["text"] == SAMPLES[0]["completion"]


def test_rows_of_several_samples_without_scores_are_unfolded(tmp_path: Path) -> None:
    rows = [{"problem": "2 + 2?", "answer": "4", "completions": ["It is \\boxed{4}.", "It is \\boxed{5}."]}]
    found = read(write(tmp_path / "samples.jsonl", rows))
    assert [(row["sample_index"], row["text"]) for row in found] == [(0, "It is \\boxed{4}."), (1, "It is \\boxed{5}.")]


def test_a_bad_row_is_kept_with_its_error(tmp_path: Path) -> None:
    rows = [*SAMPLES, {"problem": None, "completion": "x"}, SAMPLES[0] | {"completion": {"a": 1}}]
    found = read(write(tmp_path / "samples.jsonl", rows))
    assert len(found) == 5
    without_problem, without_text = sorted((row for row in found if row["error"]), key=lambda row: row["error"])
    assert without_problem["error"] == "row 3: 'problem' is None"
    assert without_problem["split"] == "unusable"
    assert without_text["error"].startswith("row 4: 'completion' is")
    assert without_text["steps"] == []


def test_solutions_of_a_problem_come_together_wherever_they_stand(tmp_path: Path) -> None:
    rows = [
        {"problem": f"{problem}?", "text": f"{sample}", "is_correct": True} for sample in range(3) for problem in "bca"
    ]
    found = [(row["problem"], row["sample_index"], row["text"]) for row in read(write(tmp_path / "s.jsonl", rows))]
    assert found == [(f"{problem}?", sample, f"{sample}") for problem in "bca" for sample in range(3)]


def test_a_file_without_solutions_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", [{"problem": "2 + 2?", "answer": "4", "is_correct": True}])
    with pytest.raises(InputError, match="row 0 has no solution for a verifier to read"):
        described(path)


@pytest.mark.parametrize("blank", ["", " \n", None])
def test_a_sample_without_a_text_is_no_error(tmp_path: Path, blank: str | None) -> None:
    rows = [SAMPLES[0], SAMPLES[1] | {"completion": blank, "answer": None}]
    found = read(write(tmp_path / "a.jsonl", rows))
    assert [(row["text"], row["steps"], row["error"]) for row in found[1:]] == [("", [], None)]
    with_steps = read(write(tmp_path / "b.jsonl", [SAMPLES[0] | {"completion": blank, "steps": ["a", "b"]}]))
    assert (with_steps[0]["steps"], with_steps[0]["error"]) == (["a", "b"], None)


def test_rows_of_several_samples_are_read_as_evaluate_reads_them(tmp_path: Path) -> None:
    """A list of scores says what the lists are, whatever stands beside them; a row may lack the scores of others."""
    row = {"problem": "2 + 2?", "answer": "4", "completions": ["It is 4", "It is 5"], "scores": [0.3, 0.4]}
    path = write(tmp_path / "a.jsonl", [row | {"response": "It is 4"}, row | {"problem": "3 + 1?", "scores": None}])
    file, config = described(path)
    assert dict(file.scores).keys() == {"prm"}
    assert [(r["problem"], r["text"]) for r in read(path)] == [
        (problem, text) for problem in ("2 + 2?", "3 + 1?") for text in ("It is 4", "It is 5")
    ]
    samples = file_samples(file, path).compute(file)
    assert isinstance(samples, pa.Table)
    assert samples["prm_score"].to_pylist() == [0.3, 0.4, None, None]
    assert samples["error"].null_count == 4
    assert config.nested


def test_rated_steps_of_trl_are_no_samples(tmp_path: Path) -> None:
    row = {"prompt": "2 + 2?", "completions": ["2 and 2", "so 4"], "labels": [True, False]}
    with pytest.raises(InputError, match="row 0 has no column 'problem'"):
        described(write(tmp_path / "a.jsonl", [row]))
    samples = row | {"answer": "4", "completions": ["It is 4", "It is 5"]}
    assert len(read(write(tmp_path / "b.jsonl", [samples]))) == 2
