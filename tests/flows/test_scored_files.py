"""Files of scored samples as others write them: what each gives, or why it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.scored_columns import ScoredFile
from components.data.scored_description import describe_scored
from components.data.scored_samples_file import file_samples
from components.dataflow.errors import InputError
from components.sampling.grading import GRADER_VERSION
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


def described(
    tmp_path: Path, rows: list[dict[str, Any]], **columns: str
) -> tuple[ScoredFile, list[dict[str, Any]], str]:
    """How a file is read, the samples that it gives, and the line on it."""
    path = write(tmp_path / "rows.jsonl", rows)
    file, report = describe_scored(path, columns, [], None, GRADER_VERSION)
    return file, file_samples(file, path).compute(file).to_pylist(), report.line


def test_a_row_without_samples_among_rows_of_several_is_not_lost(tmp_path: Path) -> None:
    row, none, odd = nested(completions="text", agg_scores="prm_score")
    none |= {"completions": [], "agg_scores": []}
    _, rows, _ = described(tmp_path, [row, none, odd | {"agg_scores": ["0.9"] * 4}])
    assert [sample["error"] for sample in rows if sample["problem"] == none["problem"]] == [None] * 4
    errors = [sample["error"] for sample in rows if sample["problem"] == odd["problem"]]
    assert "row 2: it has no lists of samples and of their scores, as rows before it have" in errors
    assert None not in errors
    _, rows, _ = described(tmp_path, [row, odd | {"agg_scores": [0.9]}])
    assert {sample["problem"] for sample in rows} == {row["problem"], odd["problem"]}
    assert sum("it has 4 'completions', 1 'agg_scores'" in (sample["error"] or "") for sample in rows) == 1


def test_lists_of_grades_and_scores_of_an_orm(tmp_path: Path) -> None:
    """The grades of the file are taken, as true and false or 1 and 0, and each verifier has its name."""
    for grades in ([0, 1], [0.0, 1.0], [False, True]):
        lists = {"answers": ["\\boxed{3}", "\\boxed{4}"], "is_correct": grades, "orm_scores": [0.3, 0.4]}
        file, rows, line = described(tmp_path, [{"prompt": "What is 1 + 2?", "gt": ["3"], "n": 2} | lists])
        assert [row["is_correct"] for row in rows] == [False, True]
        assert {row["ground_truth_answer"] for row in rows} == {"3"}
        assert file.scores == (("orm", "orm_score"),)
        assert (
            "ground_truth_answer from 'gt', text from 'answers', orm_score from 'orm_scores'; ignored of it: n" in line
        )


def test_an_odd_first_row_is_one_error(tmp_path: Path) -> None:
    lists = {"pred": ["3", "4"], "score": [True, False]}
    odd, good = (
        {"question": "q?", "gt": "3", "pred_score": scores} | lists for scores in ([[0.4, "x"], 0.2], [0.1, 0.2])
    )
    _, rows, _ = described(tmp_path, [odd, good])
    assert [row["error"] for row in rows] == ["row 0: 'prm_score' is [0.4, 'x'], not a number", None, None, None]
    path = tmp_path / "bytes.jsonl"
    path.write_bytes(b'{"problem": "\xff"}\n' + (tmp_path / "rows.jsonl").read_bytes())
    assert "scores: prm" in describe_scored(path, {}, [], None, GRADER_VERSION)[1].line


def test_probabilities_that_are_none_are_an_error_and_maps_of_parquet_are_read(tmp_path: Path) -> None:
    made = [{"problem": "q?", "answer": str(n), "is_correct": n == 0} for n in range(2)]
    _, rows, _ = described(
        tmp_path, [row | {"rating_probs": [[0.1, 0.9], [0.1, 0.2, 0.7]][n:][:1]} for n, row in enumerate(made)]
    )
    assert rows[0]["error"] == "row 0: 'rating_probs' is [[0.1, 0.9]], not three chances of each step"
    assert rows[1]["prm_score"] == pytest.approx(0.9)
    maps = pa.array([[[("-1", 0.1), ("0", 0.2), ("1", 0.7)]]] * 2, pa.list_(pa.map_(pa.string(), pa.float64())))
    path = tmp_path / "maps.parquet"
    pq.write_table(pa.Table.from_pylist(made).append_column("rating_probs", maps), path)
    file, _ = describe_scored(path, {}, [], None, GRADER_VERSION)
    assert file_samples(file, path).compute(file)["prm_score"].to_pylist() == pytest.approx([0.9, 0.9])


def test_columns_in_objects_and_problems_that_are_numbers(tmp_path: Path) -> None:
    made = [{"doc": {"id": 7 if n else 7.0}, "resps": [str(n)], "exact": n, "prm_score": 0.5} for n in range(2)]
    _, rows, _ = described(tmp_path, made, problem="doc.id", answer="resps", correct="exact")
    assert [(row["problem"], row["answer"], row["is_correct"]) for row in rows] == [("7", "0", False), ("7", "1", True)]


def test_refusals_of_scores_are_short(tmp_path: Path) -> None:
    row = {"problem": "q?", "answer": "1", "is_correct": True}
    reserved = {f"a_verifier_{n}_weighted_score": 0.5 for n in range(40)}
    for more, said in (
        (reserved, "and 37 more: verifiers need names of their own"),
        ({"prm_score": [0.5]}, "row 0 has a list in 'prm_score'"),
        ({"prm_score": 10**400}, "'prm_score' is too large a number"),
        ({"completions": ["a"], "scores": [[0.5, 10**400]]}, "'prm_score' is .0.5, 10+…, not a number"),
    ):
        with pytest.raises(InputError, match=said) as refused:
            described(tmp_path, [row | more])
        assert len(str(refused.value)) - len(str(tmp_path)) <= 300


def test_texts_that_the_file_grades_are_samples_without_an_answer_too(tmp_path: Path) -> None:
    """Programs and proofs: a wrong one that a verifier ranks first is its pick, and no empty slot."""
    rows = [
        {"problem": f"Write f{p}.", "completion": f"def f(x):\n    return x + {slot}", "is_correct": slot == 0}
        | {"rm_score": 0.1 * slot}
        for p in range(3)
        for slot in range(4)
    ]
    rows[3]["completion"] = "  "  # no text: an empty slot, and the next in order is picked
    found = run(tmp_path, write(tmp_path / "a.jsonl", rows))["best_of_n"]
    # By N, each pick is the subset's last slot; the right one is first, so it is picked where it is alone.
    assert found["rm"] == {"1": pytest.approx(1 / 4), "2": pytest.approx(1 / 3 * 1 / 6), "4": 0.0}
    assert found["pass"]["4"] == 1.0


@pytest.mark.parametrize("reference", ["He has 2 + 3 = 5.\n#### {}", "It is $\\boxed{{{}}}$.", "{}"])
def test_references_are_read_as_those_of_problems_are(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [
        {"question": row["problem"], "answer": reference.format(int(row["problem"][8]) + 5)}
        | {"response": f"The answer is {row['answer']}", "prm_score": row["prm_score"]}
        for row in four()
    ]
    best(tmp_path, write(tmp_path / "a.jsonl", made))
    assert "; the first references: '5', '6', '7'" in capsys.readouterr().out


def test_references_of_prose_are_refused(tmp_path: Path, capsys: Printed) -> None:
    prose = "We add the five apples to the others that she has, which gives five."
    made = [{"question": "1 + 4?", "answer": prose, "response": "The answer is 5", "prm_score": 0.5}] * 4
    told = refusal(capsys, tmp_path, write(tmp_path / "a.jsonl", made))
    assert "'answer' holds prose in most rows, and no answer would equal it" in told
