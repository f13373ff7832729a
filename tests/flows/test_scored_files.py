"""Files of scored samples as others write them: what each gives, or why it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows import evaluate
from tests.flows.test_evaluate import Printed, refusal, run, write


def four(**more: Any) -> list[dict[str, Any]]:
    """Three problems of four samples, of which the first and the third are right; best-of-N is known by hand."""
    return [
        {"problem": f"What is {p} + 5?", "answer": str(p + 5 + slot % 2), "is_correct": slot % 2 == 0}
        | {"prm_score": [0.9, 0.8, 0.7, 0.6][slot]}
        | more
        for p in range(3)
        for slot in range(4)
    ]


BEST = {
    "1": pytest.approx(1 / 2),
    "2": pytest.approx(4 / 6),
    "4": pytest.approx(1.0),
}  # pairs whose best is right: 4 of 6


def best(tmp_path: Path, file: Path, *argv: str, name: str = "prm") -> dict[str, Any]:
    found = run(tmp_path, file, *argv)
    assert found["best_of_n"][name] == BEST
    assert found["best_of_n"].get("majority", {}).get("4", 0.5) == pytest.approx(0.5)
    return found


def renamed(rows: list[dict[str, Any]], **names: str | None) -> list[dict[str, Any]]:
    return [{names.get(key, key): value for key, value in row.items() if names.get(key, key)} for row in rows]


def test_answers_that_are_lists_of_one_or_numbers_are_their_items(tmp_path: Path) -> None:
    made = [row | {"answer": [row["answer"]], "ground_truth_answer": [int(row["problem"][8]) + 5]} for row in four()]
    best(tmp_path, write(tmp_path / "a.jsonl", renamed(made, is_correct=None)))


@pytest.mark.parametrize("odd", [["5", "6"], {"value": "5"}, True])
def test_a_cell_that_is_no_text_is_an_error_of_its_row(tmp_path: Path, odd: object) -> None:
    made = four()
    made[5]["answer"] = odd
    found = run(tmp_path, write(tmp_path / "a.jsonl", made), "--max-error-rate", "0.1")
    assert any(f"row 5: 'answer' is {odd!r}, not text or a number" in note for note in found["notes"])


def test_the_order_of_rows_decides_nothing_where_an_answer_is_right_and_wrong(tmp_path: Path, capsys: Printed) -> None:
    made = [row | {"answer": "the reference", "prediction": row["answer"]} for row in four()]
    for rows_ in (made, made[::-1]):
        said = refusal(capsys, tmp_path, write(tmp_path / "a.jsonl", rows_))
        assert "6 samples have an answer that another row of the problem grades otherwise" in said
        assert "--answer-column (prediction)" in said
        assert len(said) <= 300 + len(str(tmp_path))
    best(tmp_path, tmp_path / "a.jsonl", "--answer-column", "prediction")
    found = best(tmp_path, tmp_path / "a.jsonl", "--answer-column", "none")
    assert "majority" not in found["best_of_n"]
    assert "the file has no answers, so there is no voting" in found["notes"]


def test_programs_and_proofs_have_no_answers(tmp_path: Path) -> None:
    found = best(tmp_path, write(tmp_path / "a.jsonl", renamed(four(), answer=None)))
    assert set(found["best_of_n"]) == {"prm", "pass"}
    assert not any("majority" in line for line in found["verdicts"])


def test_answers_are_extracted_from_texts(tmp_path: Path) -> None:
    made = [row | {"completion": f"I add. So it is $\\boxed{{{row['answer']}}}$."} for row in four()]
    best(tmp_path, write(tmp_path / "a.jsonl", renamed(made, answer=None)))
    made = [row | {"answer": str(int(row["problem"][8]) + 5)} for row in made]  # the reference, beside a text
    best(tmp_path, write(tmp_path / "b.jsonl", renamed(made, is_correct=None)))


def nested(**columns: str) -> list[dict[str, Any]]:
    """The same samples in a row per problem. columns: a list's name → the sample's column, or "text"."""
    rows_ = [row | {"text": f"It is \\boxed{{{row['answer']}}}."} for row in four()]
    rows_ = [
        row | {"steps": [row["prm_score"], 1.0], "one": [row["prm_score"]], "bit": int(row["is_correct"])}
        for row in rows_
    ]
    made = []
    for start in range(0, 12, 4):
        samples = rows_[start : start + 4]
        lists = {name: [sample[column] for sample in samples] for name, column in columns.items()}
        made.append({"answer": samples[0]["answer"]} | lists)
        made[-1]["question" if "pred" in lists else "prompt" if "answers" in lists else "problem"] = samples[0][
            "problem"
        ]
    return made


@pytest.mark.parametrize(
    "columns",
    [
        {"completions": "text", "scores": "steps", "agg_scores": "prm_score"},
        {"completions": "text", "scores": "steps"},
        {"code": "text", "pred": "answer", "score": "is_correct", "pred_score": "one"},
        {"answers": "text", "label": "bit", "step_scores": "steps"},
    ],
    ids=["search-and-learn", "scores of steps", "Qwen", "RLHFlow"],
)
def test_rows_of_all_samples_of_a_problem_are_unfolded(
    tmp_path: Path, columns: dict[str, str], capsys: Printed
) -> None:
    best(tmp_path, write(tmp_path / "a.jsonl", nested(**columns)))
    assert "12 samples of 3 problems, up to 4 each" in capsys.readouterr().out


def test_what_a_file_cannot_say_is_told(tmp_path: Path, capsys: Printed) -> None:
    made = [
        row | {"critic_score": row["prm_score"] - 1, "comment": "x", "steps": [str(n)]} for n, row in enumerate(four())
    ]
    found = run(tmp_path, write(tmp_path / "a.jsonl", made))
    assert "scores below 0 are no weights: no weighted voting by critic" in found["notes"]
    said = capsys.readouterr().out
    assert "problem 'problem', answer 'answer', grade 'is_correct', scores: prm, critic; ignored: comment" in said
    found = run(tmp_path, write(tmp_path / "b.jsonl", [*made, *made]))
    assert any("every row is there 2 times" in note for note in found["notes"])
    found = run(tmp_path, write(tmp_path / "c.jsonl", made[::4]))
    assert found["verdicts"] == []
    assert any("one sample per problem" in note for note in found["notes"])
    found = run(tmp_path, write(tmp_path / "d.jsonl", renamed(made, prm_score="score")))
    assert found["best_of_n"]["score"] == BEST


def test_two_files_of_one_name_have_a_study_each(tmp_path: Path) -> None:
    places = [tmp_path / folder / "my samples, run 2 (β).v1.csv" for folder in ("one", "two")]
    for place in places:
        place.parent.mkdir()
        pd.DataFrame(four()).to_csv(place, index=False)
        for _ in range(2):  # the second run of a file is its study again
            assert evaluate.main([str(place), "--root", str(tmp_path / "out")]) == 0
    studies = sorted((tmp_path / "out/studies").iterdir())
    assert [study.name[:22] for study in studies] == ["my_samples_run_2_β", studies[1].name[:22]]
    assert [json.loads((study / "summary.json").read_text())["file"] for study in studies] == list(map(str, places))


def test_csv_and_globs_and_other_containers(tmp_path: Path) -> None:
    frame = pd.DataFrame(four())
    frame.to_csv(tmp_path / "a.tsv.gz", sep="\t", index=False)
    best(tmp_path, tmp_path / "a.tsv.gz")
    for part in range(2):
        frame[6 * part : 6 * part + 6].to_parquet(tmp_path / f"part-{part}.PQ")
    best(tmp_path, tmp_path / "part-*.PQ")
