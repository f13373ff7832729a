"""The evaluation alone, on anyone's scored samples."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.statistics.best_of_n import best_of_n, sizes
from flows import evaluate

Printed = pytest.CaptureFixture[str]
PROBLEMS, SLOTS = 12, 8


def rows(seed: int = 0) -> list[dict[str, Any]]:
    """Samples in the released schema: some without an answer, one problem with fewer than the others."""
    rng = np.random.default_rng(seed)
    made = []
    for problem in range(PROBLEMS):
        for slot in range(SLOTS - 2 * (problem == 0)):
            right = bool(rng.random() < 0.4)
            answer = ["4", "4.0", "\\frac{8}{2}"][slot % 3] if right else str(5 + rng.integers(3))
            row = {"problem": f"What is {problem} + 4 − {problem}?", "answer": answer, "is_correct": right}
            row |= {"prm_score": right + rng.normal() / 2, "orm_score": float(rng.random())}
            row |= {"steps": ["First.", f"# Answer\n\n{answer}"], "rating_probs": [[0.1, 0.2, 0.7], [0.3, 0.0, 0.7]]}
            if slot == 5:
                row |= {"answer": None, "is_correct": False}
            made.append(row)
    rng.shuffle(made)
    return made


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def run(tmp_path: Path, file: Path, *argv: str) -> dict[str, Any]:
    assert evaluate.main([str(file), "--root", str(tmp_path / "out"), "--study", "mine", *argv]) == 0
    return json.loads((tmp_path / "out/studies/mine/summary.json").read_text())


def refusal(capsys: Printed, tmp_path: Path, file: Path, *argv: str) -> str:
    assert evaluate.main([str(file), "--root", str(tmp_path / "out"), *argv]) == 2
    assert not (tmp_path / "out/studies").exists()
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def by_hand(records: list[dict[str, Any]], column: str) -> dict[str, float]:
    """Best-of-N of each problem's filled slots, padded with empty ones to the fullest problem's."""
    frame = pd.DataFrame(records)
    scores, right = np.full((PROBLEMS, SLOTS), np.nan), np.zeros((PROBLEMS, SLOTS), dtype=bool)
    for place, (_, part) in enumerate(frame.groupby("problem")):
        filled = part[part["answer"].notna()]
        scores[place, : len(filled)], right[place, : len(filled)] = filled[column], filled["is_correct"]
    ns = sizes(SLOTS)
    return {str(n): value for n, value in zip(ns, best_of_n(scores, right, ns).mean(0), strict=True)}


@pytest.mark.parametrize("name", ["samples.jsonl.gz", "samples.parquet"])
def test_the_released_schema_gives_the_exact_curves(tmp_path: Path, name: str, capsys: Printed) -> None:
    records = rows()
    file = tmp_path / name
    if name.endswith(".parquet"):
        pd.DataFrame(records).to_parquet(file)
    else:
        write(file, records)
    found = run(tmp_path, file, "--paper-band")
    assert found["best_of_n"]["prm"] == pytest.approx(by_hand(records, "prm_score"))
    assert found["best_of_n"]["orm"] == pytest.approx(by_hand(records, "orm_score"))
    assert "2 slots of 1 problems are not in the file: they count as empty" in str(found["notes"])
    assert found["verdicts"][0].startswith("prm".upper())
    assert "PRM" in capsys.readouterr().out
    index = json.loads((tmp_path / "out/studies/mine/index.json").read_text())
    band = pd.read_parquet(index["subsampling_band"])
    assert band["trials"].eq(400).all()
    candidates = pd.read_parquet(index["candidates"])
    assert (
        candidates[candidates["answer"].isin(["4", "4.0", "\\frac{8}{2}"])]
        .groupby("problem_id")["candidate"]
        .nunique()
        .eq(1)
        .all()
    )
    page = (tmp_path / "out/studies/mine/report.html").read_text()
    assert "What is 3 + 4 − 3?" in page


def test_other_columns_other_scores_and_answers_that_are_graded_here(tmp_path: Path) -> None:
    names = {"problem": "question", "answer": "given_answer", "prm_score": "critic", "orm_score": "my_score"}
    records = [{names.get(name, name): value for name, value in row.items()} for row in rows(1)]
    for row in records:
        del row["is_correct"], row["rating_probs"]
        row["ground_truth_answer"] = "4"
    file = write(tmp_path / "mine.jsonl", records)
    found = run(tmp_path, file, "--problem-column", "question", "--scores", "critic", "my_score")
    assert set(found["best_of_n"]) == {"critic", "my", "majority", "my_weighted", "pass"}  # critic: below 0, no weight
    assert found["best_of_n"]["critic"] == pytest.approx(by_hand(rows(1), "prm_score"))
    assert any("majority voting" in line for line in found["verdicts"])


def test_step_probabilities_alone_are_a_prm(tmp_path: Path) -> None:
    records = [{name: row[name] for name in ("problem", "answer", "is_correct", "rating_probs")} for row in rows(2)]
    records[0]["rating_probs"] = [{"-1": 0.5, "0": 0.25, "1": 0.25}]
    found = run(tmp_path, write(tmp_path / "mine.jsonl", records))
    assert "prm" in found["best_of_n"]
    samples = pd.read_parquet(json.loads((tmp_path / "out/studies/mine/index.json").read_text())["file_samples"])
    assert sorted(samples["prm_score"].dropna().round(6).unique()) == [0.5, 0.63]


def test_a_bad_row_is_kept_with_its_error_and_is_an_empty_slot(tmp_path: Path, capsys: Printed) -> None:
    records = rows(3)
    records[3] |= {"is_correct": "maybe"}
    records[5] |= {"prm_score": "high"}
    records[7] |= {"problem": ""}
    records[9] |= {"orm_score": None}
    file = write(tmp_path / "mine.jsonl", records)
    said = refusal(capsys, tmp_path, file)
    assert "3 of 94 rows cannot be used, more than --max-error-rate 0.01: 1 as row 3: 'is_correct' is 'maybe'" in said
    found = run(tmp_path, file, "--max-error-rate", "0.5")
    assert found["num_test_problems"] == PROBLEMS
    assert any("row 3: 'is_correct' is 'maybe', not true or false" in note for note in found["notes"])
    assert any("no orm_score" in note for note in found["notes"])
    causes = found["errors"]["file_samples"]
    assert "row #: 'prm_score' is 'high', not a number" in causes
    assert "row #: 'problem' is ''" in causes


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, capsys: Printed) -> None:
    good = rows(4)
    file = write(
        tmp_path / "a.jsonl",
        [{k: v for k, v in row.items() if not k.endswith("_score") and k != "rating_probs"} for row in good],
    )
    assert "no column ends in '_score'" in refusal(capsys, tmp_path, file)
    file = write(tmp_path / "b.jsonl", [{k: v for k, v in row.items() if k != "is_correct"} for row in good])
    assert "name it with --correct-column" in refusal(capsys, tmp_path, file)
    file = write(tmp_path / "c.jsonl", good)
    assert "has no column 'q'" in refusal(capsys, tmp_path, file, "--problem-column", "q")
    assert "has up to 8 samples" in refusal(capsys, tmp_path, file, "--samples-per-problem", "4")
    assert "has no column 'none_score'" in refusal(capsys, tmp_path, file, "--scores", "none_score")
    assert "holds no rows" in refusal(capsys, tmp_path, write(tmp_path / "d.jsonl", []))
    assert "there is no such file" in refusal(capsys, tmp_path, tmp_path / "e.jsonl")


def test_an_empty_slot_is_wrong_and_a_right_sample_without_an_answer_has_no_vote(tmp_path: Path) -> None:
    """A right sample whose score is bad, and one that is marked right and has no answer."""
    made = []
    for problem in range(6):
        made += [{"problem": f"{problem}?", "answer": "1", "is_correct": True, "prm_score": 0.9 - problem}]
        made += [{"problem": f"{problem}?", "answer": "2", "is_correct": False, "prm_score": 0.1 - problem}]
    made[0]["prm_score"] = "bad"
    made[2]["answer"] = None
    summary = run(tmp_path, write(tmp_path / "mine.jsonl", made), "--max-error-rate", "1")
    found = summary["best_of_n"]
    assert found["pass"] == {"1": pytest.approx(5 / 12), "2": pytest.approx(5 / 6)}
    assert found["prm"]["2"] == found["pass"]["2"]
    assert found["majority"]["1"] == pytest.approx(4 / 12)
    assert "1 samples are marked right and have no answer: they count as right, and have no vote" in summary["notes"]


def test_rows_that_fail_neither_stop_the_others_nor_add_slots(tmp_path: Path) -> None:
    """One bad score in a thousand, in its problem's first row; rows without a problem; a problem of bad rows alone."""
    made = [
        {"problem": f"{problem}?", "answer": "1", "is_correct": True, "a_score": float(slot)}
        for problem in range(50)
        for slot in range(20)
    ]
    made[0]["a_score"] = "bad"
    assert run(tmp_path, write(tmp_path / "one.jsonl", made))["best_of_n"]["a"]["20"] == 1.0
    made += [{"problem": None, "answer": "1", "is_correct": True, "a_score": 1.0}] * 30
    made += [{"problem": "bad?", "answer": "1", "is_correct": "?", "a_score": 1.0}] * 3
    found = run(tmp_path, write(tmp_path / "two.jsonl", made), "--max-error-rate", "1")
    assert found["num_test_problems"] == 50
    assert found["best_of_n"]["a"]["20"] == 1.0


def test_infinite_scores_rank_and_do_not_break_the_report(tmp_path: Path) -> None:
    made = rows(5)
    right = next(row for row in made if row["is_correct"])
    right["prm_score"] = float("-inf")
    made[0]["rating_probs"] = [[float("nan"), 0.5, 0.5]]
    made[1]["steps"] = ["lone \ud800 surrogate"]
    run(tmp_path, write(tmp_path / "mine.jsonl", made))
    assert best_of_n(np.array([[-np.inf, np.nan]]), np.array([[True, False]]), [2])[0, 0] == 1.0


def test_names_of_scores_that_cannot_be_told_apart_are_refused(tmp_path: Path, capsys: Printed) -> None:
    for names in (["a_weighted_score"], ["majority_score"], ["_score"]):
        made = [{"problem": "p", "answer": "1", "is_correct": True} | dict.fromkeys(names, 0.5)]
        assert "need names of their own" in refusal(capsys, tmp_path, write(tmp_path / "a.jsonl", made))


def test_nothing_usable_is_an_error_and_few_problems_are_no_proof(tmp_path: Path, capsys: Printed) -> None:
    made = [{"problem": "p", "answer": "1", "is_correct": "?", "a_score": 0.5}]
    file = write(tmp_path / "a.jsonl", made)
    assert "no row can be used; the first: row 0: 'is_correct'" in refusal(
        capsys, tmp_path, file, "--max-error-rate", "1"
    )
    made = [{"problem": "p", "answer": str(n), "is_correct": n == 0, "a_score": float(-n)} for n in range(4)]
    found = run(tmp_path, write(tmp_path / "b.jsonl", made))
    *sentences, correction = found["verdicts"]
    assert all("no clear difference from" in line for line in sentences)
    assert correction.startswith(f"{len(sentences)} comparisons are made here")
