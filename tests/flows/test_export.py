"""flows/export.py on a small store: every row is written or counted, and nothing half is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from components.data.import_formats import as_labelled
from components.data.labelled_solutions import read_labelled
from components.data.prm800k import is_prm800k, read_line
from components.dataflow import store_marker
from components.dataflow.datasets import Dataset
from components.dataflow.store import Store
from flows import export
from schemas.small_scale import SELECTION
from schemas.tables import GRADES, LABELLED_SOLUTIONS, SCORES, SOLUTIONS, STEP_LABELS

Row = dict[str, Any]
Printed = pytest.CaptureFixture[str]
STEPS = ["7 + 5 = 12", "12 - 3 = 8", "# Answer\n\n8"]
ALTERNATIVE = {"step": 0, "text": "7 + 5 = 13", "rating": -1, "probabilities": None}


def key(problem: str, sample: int, split: str) -> Row:
    return {"problem_id": problem, "sample_index": sample, "split": split, "error": None}


def solution(of: Row, **more: Any) -> Row:
    row = of | {"problem": f"Problem {of['problem_id']}?", "ground_truth_answer": "9", "text": "\n".join(STEPS)}
    return row | {"steps": STEPS, "finish_reason": "stop", "num_tokens": 9, "seed": 0} | more


def rated(of: Row, ratings: list[int], **more: Any) -> Row:
    rated_by = {"label_source": "rule", "provenance": ["rule"] * len(ratings)}
    return of | {"ratings": ratings, "probabilities": None, "alternatives": []} | rated_by | more


def grade(of: Row, is_correct: bool | None, **more: Any) -> Row:
    return of | {"answer": "8", "is_correct": is_correct, "status": "ok", "grader_version": 1} | more


def scored(of: Row, negative: list[float] | None, **more: Any) -> Row:
    probabilities = None if negative is None else [[p, 0.0, 1 - p] for p in negative]
    return of | {"step_probabilities": probabilities} | more


def publish(store: Store, stage: str, schema: pa.Schema, shards: list[list[Row]]) -> Dataset:
    committed = [
        store.commit(
            stage, f"{at:064x}", schema, pa.Table.from_pylist(rows, schema=schema), {"split": rows[0].get("split", "")}
        )
        for at, rows in enumerate(shards)
    ]
    return store.write_dataset(stage, "abcdef0123456789" * 4, committed, {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A study of three train solutions in two shards, one bad, and three test solutions; and one of rated files."""
    store = Store(tmp_path / "out")
    store_marker.begin(store.files)
    a, b, bad = key("a", 0, "train"), key("a", 1, "train"), key("b", 0, "train") | {"error": "prompt of 901 tokens"}
    c, d, e = (key("c", sample, "test") for sample in range(3))
    tables = {
        "solutions": (SOLUTIONS, [[solution(a), solution(bad, steps=[], text="")], [solution(b)], [solution(c), solution(d), solution(e)]]),  # noqa: E501
        "step_labels": (STEP_LABELS, [[rated(a, [0, -1], alternatives=[ALTERNATIVE]), rated(bad, [])], [rated(b, [1, 1, 1])]]),  # noqa: E501
        "grades": (GRADES, [[grade(a, False), grade(bad, None)], [grade(b, True)], [grade(c, False, answer="7"), grade(d, True), grade(e, None, error="grading: timeout")]]),  # noqa: E501
        "held_out_step_labels": (STEP_LABELS, [[rated(c, [1, -1]), rated(d, [1, 1, 1]), rated(e, [1, 1, 1])]]),
        "scores": (SCORES, [[scored(c, [0.1, 0.2, 0.9]), scored(d, [0.1, 0.1, 0.3]), scored(e, None)]]),
    }  # fmt: skip
    index = {name: store.files.url(publish(store, name, *made).folder) for name, made in tables.items()}
    index["generator"] = store.files.url(f"models/generator-0123/{'4' * 16}")
    store.files.put("studies/mine/index.json", json.dumps(index).encode())
    given = {"problem": "p", "alternatives": [], "num_labels": 1, "finished": False, "source_row": 0, "error": None}
    given |= {"provenance": [], "dropped": None, "num_alternative_labels": 0, "source_file": 0}
    soft = [[0.1, 0.2, 0.7], [0.6, 0.4, 0.0], None]
    rows = [
        given | {"steps": STEPS, "ratings": [None] * 3, "probabilities": soft},
        given | {"steps": STEPS, "ratings": [1, None, 1], "probabilities": None},
        given | {"steps": STEPS, "ratings": [None] * 3, "probabilities": None},
        given | {"steps": [], "ratings": [], "probabilities": None, "error": "row 3: 'steps' is empty or not a list"},
        given | {"steps": [], "ratings": [], "probabilities": None, "error": "row 47: 'steps' is empty or not a list"},
    ]
    table = publish(store, "labelled_solutions", LABELLED_SOLUTIONS, [rows])
    labelled = {"labelled_solutions": store.files.url(table.folder)}
    store.files.put("studies/files/index.json", json.dumps(labelled).encode())
    store.files.put("studies/none/index.json", json.dumps({"solutions": index["solutions"]}).encode())
    return tmp_path / "out"


def chosen(of: Row, size: int, place: int, reason: str, score: float | None) -> Row:
    return of | {"size": size, "place": place, "reason": reason, "selector_score": score, "is_correct": False}


@pytest.fixture
def small(root: Path) -> Path:
    """A small-scale study: two selections, of sizes that are shards; of three solutions two are new in the second."""
    store = Store(root)
    a, b, c = key("a", 0, "train"), key("a", 1, "train"), key("b", 0, "train")
    wrong, rest = "convincing_wrong_answer", "highest_of_the_rest"
    small = [[chosen(a, 2, 0, wrong, 0.9)], [chosen(a, 10, 0, wrong, 0.9), chosen(b, 10, 1, wrong, 0.7)]]
    later = [[chosen(b, 20, 0, "chosen_before", 0.7), chosen(c, 20, 0, rest, 0.2), chosen(a, 20, 1, wrong, None)]]
    tables = {
        "selection_uniform": (SELECTION, small),
        "selection_active": (SELECTION, small),
        "selection_active_2": (SELECTION, later),
        "small_solutions": (SOLUTIONS, [[solution(b), solution(a)], [solution(c, steps=["8"])]]),
        "small_grades": (GRADES, [[grade(b, False), grade(c, True, answer="9"), grade(a, False)]]),
    }
    index = {}
    for name, (schema, shards) in tables.items():
        parts = [
            store.commit(
                name,
                f"{at:064x}",
                schema,
                pa.Table.from_pylist(rows, schema=schema),
                {"size": str(rows[0]["size"])} if schema is SELECTION else {"split": "train"},
            )
            for at, rows in enumerate(shards)
        ]
        about = {"recipe": {"config": {"policy": "active"}}} if name == "selection_active" else {}
        index[name] = store.files.url(store.write_dataset(name, "abcdef0123456789" * 4, parts, about).folder)
    store.files.put("studies/small/index.json", json.dumps(index).encode())
    return root


def run(root: Path, form: str, *argv: str, study: str = "mine", suffix: str = "parquet") -> pd.DataFrame:
    out = root.parent / f"{form}.{suffix}"
    arguments = ["--root", str(root), "--study", study, "--format", form, "--out", str(out), *argv]
    assert export.main(arguments) == 0
    return pd.read_parquet(out) if suffix == "parquet" else pd.read_json(out, lines=True)


def refusal(capsys: Printed, root: Path, form: str, *argv: str, status: int = 2) -> str:
    out = root.parent / "refused.parquet"
    assert export.main(["--root", str(root), "--format", form, "--out", str(out), *argv]) == status
    assert not [path for path in root.parent.iterdir() if "refused" in path.name]
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_whose_ratings_is_asked_where_there_are_several(root: Path, capsys: Printed) -> None:
    assert "--step-labels grades: this study has step_labels" in refusal(
        capsys, root, "trl_stepwise", "--study", "mine", "--step-labels", "grades"
    )
    index = json.loads((root / "studies/mine/index.json").read_text())
    index["rollouts_labels"] = index.pop("step_labels")
    (root / "studies/other").mkdir()
    (root / "studies/other/index.json").write_text(json.dumps(index))
    assert "with --step-labels: rollouts_labels" in refusal(capsys, root, "trl_stepwise", "--study", "other")


def test_labelled_solutions_of_both_kinds_of_studies(root: Path, capsys: Printed) -> None:
    found = run(root, "trl_stepwise")
    assert found["completions"].map(list).tolist() == [STEPS[:2], STEPS]
    assert found["labels"].map(list).tolist() == [[True, False], [True, True, True]]
    assert found["prompt"].tolist() == ["Problem a?", "Problem a?"]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "- 1 rows left out: row with an error: prompt of # tokens",
        "- 1 steps are not in written rows: they are behind the labels",
        "- 1 alternatives to steps are not in written rows",
        "- 1 neutral steps count as right",
        "3 rows = 2 written + 1 left out",
        str(root.parent / "trl_stepwise.parquet"),
    ]
    found = run(root, "trl_stepwise", study="files", suffix="jsonl")
    assert found["labels"].tolist() == [[True, False]]
    lines = capsys.readouterr().out.splitlines()
    assert "- 2 rows left out: row with an error: row #: 'steps' is empty or not a list" in lines
    assert "- 1 rows left out: a step before the last labelled one is unrated" in lines
    assert "- 1 rows left out: no step is rated" in lines
    assert "- 2 soft labels became the likelier class" in lines
    assert "5 rows = 1 written + 4 left out" in lines


def test_the_other_formats_of_training_solutions(root: Path, capsys: Printed) -> None:
    found = run(root, "math_shepherd", "--task", "GSM8K", suffix="jsonl.gz")
    assert found["task"].tolist() == ["GSM8K"] * 2
    assert [step["rating"] for step in as_labelled(found.iloc[0].to_dict())["steps"]] == [1, -1]
    capsys.readouterr()
    found = run(root, "prm800k", suffix="jsonl")
    assert [label["finish_reason"] for label in found["label"]] == ["found_error", "solution"]
    assert [one["text"] for one in found["label"][0]["steps"][0]["completions"]] == ["7 + 5 = 12", "7 + 5 = 13"]
    assert found["question"][0]["ground_truth_answer"] == "9"
    assert found["labeler"].tolist() == ["rule"] * 2
    assert "alternatives" not in capsys.readouterr().out
    found = run(root, "trl_unpaired")
    assert found["label"].tolist() == [False, True]
    assert found["completion"].tolist() == ["\n".join(STEPS)] * 2
    assert run(root, "trl_unpaired", "--split", "test")["label"].tolist() == [False, True]
    assert "- 1 rows left out: row with an error: grading: timeout" in capsys.readouterr().out


def test_processbench_rows_and_what_the_prm_found(root: Path, capsys: Printed) -> None:
    found = run(root, "processbench")
    assert found["id"].tolist() == ["c-0", "c-1"]
    assert found["label"].tolist() == [1, -1]
    assert found["final_answer_correct"].tolist() == [False, True]
    assert found["generator"].tolist() == ["generator-0123"] * 2
    assert found["steps"].map(len).tolist() == [3, 3]
    found = run(root, "processbench_predictions", "--generator", "tiny")
    assert found["prediction"].tolist() == [1, 2]
    assert found["match"].tolist() == [True, False]
    assert found["generator"].tolist() == ["tiny"] * 2
    found = run(root, "processbench_predictions", "--threshold", "0.95")
    assert found["prediction"].tolist() == [-1, -1]
    assert "3 rows = 2 written + 1 left out" in capsys.readouterr().out


def test_a_moved_store_is_still_a_store(root: Path) -> None:
    moved = root.parent / "moved"
    root.rename(moved)
    assert len(run(moved, "trl_stepwise")) == 2


def test_what_cannot_be_exported_is_told_in_one_line(root: Path, capsys: Printed) -> None:
    line = refusal(capsys, root, "trl_stepwise", "--study", "absent")
    assert line.startswith("error: study absent: no finished study is there")
    line = refusal(capsys, root, "trl_stepwise", "--study", "none")
    assert "nobody rated its steps" in line
    line = refusal(capsys, root, "trl_unpaired", "--study", "none")
    assert "it has no table grades" in line
    line = refusal(capsys, root, "processbench", "--study", "mine", "--split", "ood")
    assert "none of 0 rows can be written" in line
    line = refusal(capsys, root, "trl_stepwise", "--study", "mine", "--split", "test")
    assert "--split" in line
    assert "--threshold 0" in refusal(capsys, root, "processbench_predictions", "--study", "mine", "--threshold", "0")
    with pytest.raises(SystemExit):
        export.main(["--help"])
    assert "load_dataset" in capsys.readouterr().out


def test_a_damaged_or_foreign_shard_is_not_exported(root: Path, capsys: Printed) -> None:
    store = Store(root)
    dataset = store.dataset("step_labels", "abcdef0123456789" * 4)
    assert dataset is not None
    path = Path(store.files.url(dataset.shards[1].path))
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "is damaged" in refusal(capsys, root, "trl_stepwise", "--study", "mine", status=1)
    index = json.loads(store.files.read("studies/mine/index.json"))
    index["grades"] = index["step_labels"]
    store.files.put("studies/mine/index.json", json.dumps(index).encode())
    assert "not cut alike" in refusal(capsys, root, "processbench", "--study", "mine", status=1)
    others = [[rated(key("a", 0, "train"), [1]), rated(key("z", 0, "train"), [1])], [rated(key("a", 1, "train"), [1])]]
    index["step_labels"] = store.files.url(publish(store, "other_labels", STEP_LABELS, others).folder)
    store.files.put("studies/mine/index.json", json.dumps(index).encode())
    assert "does not have the rows of" in refusal(capsys, root, "trl_stepwise", "--study", "mine", status=1)


def filled_in(row: Row, ratings: list[int]) -> Row:
    """As a labeller gives it back: through the first wrong step, or to the end."""
    filled = json.loads(json.dumps(row))
    steps = filled["label"]["steps"][: len(ratings)]
    for step, rating in zip(steps, ratings, strict=True):
        step["completions"][0] |= {"rating": rating, "flagged": False}
        step["chosen_completion"] = 0 if rating >= 0 else None
    filled["label"] |= {"steps": steps, "finish_reason": "found_error" if -1 in ratings else "solution"}
    return filled | {"labeler": "me", "timestamp": "2024-01-01T00:00:00"}


def test_what_was_chosen_goes_to_labellers_and_comes_back(small: Path, capsys: Printed) -> None:
    run(small, "labelling_queue", study="small", suffix="jsonl")
    assert "2 rows = 2 written + 0 left out" in capsys.readouterr().out
    out = small.parent / "labelling_queue.jsonl"
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["problem_id"], row["sample_index"]) for row in rows] == [("a", 0), ("a", 1)]
    assert rows[0] == {
        "labeler": None,
        "timestamp": None,
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {
            "problem": "Problem a?",
            "ground_truth_solution": None,
            "ground_truth_answer": "9",
            "pre_generated_steps": STEPS,
            "pre_generated_answer": "8",
            "pre_generated_verifier_score": 0.9,
        },
        "label": {
            "steps": [
                {
                    "completions": [{"text": text, "rating": None, "flagged": None}],
                    "human_completion": None,
                    "chosen_completion": None,
                }
                for text in STEPS
            ],
            "total_time": None,
            "finish_reason": None,
        },
        "problem_id": "a",
        "sample_index": 0,
        "selection": {"policy": "active", "size": 10, "place": 0, "reason": "convincing_wrong_answer"},
    }
    given = [[1, -1], [0, 1, 1]]
    filled = [filled_in(row, ratings) for row, ratings in zip(rows, given, strict=True)]
    assert all(map(is_prm800k, filled))
    found = [read_line(row) for row in filled]
    assert [[step["rating"] for step in one["steps"]] for one in found] == given
    assert [[step["text"] for step in one["steps"]] for one in found] == [STEPS[:2], STEPS]
    assert [one["problem"] for one in found] == ["Problem a?"] * 2
    out.write_text("".join(json.dumps(row) + "\n" for row in filled))
    assert [(row["ratings"], row["error"], row["dropped"]) for row in read_labelled(out)] == [
        (one, None, None) for one in given
    ]


def test_the_queue_of_a_later_round_has_what_is_new(small: Path, capsys: Printed) -> None:
    found = run(small, "labelling_queue", "--selection", "selection_active_2", study="small")
    assert found["problem_id"].tolist() == ["b", "a"]
    assert [one["reason"] for one in found["selection"]] == ["highest_of_the_rest", "convincing_wrong_answer"]
    assert [one["policy"] for one in found["selection"]] == [None, None]
    assert found["question"][0]["pre_generated_answer"] == "9"
    assert found["question"][1]["pre_generated_verifier_score"] is None
    capsys.readouterr()
    line = refusal(capsys, small, "labelling_queue", "--study", "small", "--selection", "small_grades")
    assert "this study has selection_uniform, selection_active, selection_active_2" in line
    assert "has no selection" in refusal(capsys, small, "labelling_queue", "--study", "mine")
    assert "--selection: prm800k" in refusal(capsys, small, "prm800k", "--study", "mine", "--selection", "selection")
    assert "--split" in refusal(capsys, small, "labelling_queue", "--study", "small", "--split", "test")
    index = json.loads((small / "studies/small/index.json").read_text())
    others = publish(Store(small), "other_solutions", SOLUTIONS, [[solution(key("b", 0, "train"))]])
    index["small_solutions"] = Store(small).files.url(others.folder)
    (small / "studies/small/index.json").write_text(json.dumps(index))
    line = refusal(capsys, small, "labelling_queue", "--study", "small", "--selection", "selection_active_2", status=1)
    assert "other_solutions have no row of sample 0 of problem a, which was chosen" in line
