"""Rows of rated and of graded solutions as others publish them: the ratings that each gives, at every inlet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.data.graded_solutions import describe_graded, read_graded
from components.data.held_out import HeldOut
from components.data.import_formats import as_labelled
from components.data.labelled_solutions import describe_labelled, read_labelled
from components.data.rated_solutions import describe_rated, read_rated
from components.dataflow.errors import InputError
from components.text.problem_matching import same_text

Row = dict[str, Any]
PROBLEM = "What is 4 × 5 − 6?"
TEXTS = ["4 × 5 = 20", "20 − 6 = 15"]
TAGGED = f"{PROBLEM} Step 1: {TEXTS[0]} ки\nStep 2: {TEXTS[1]} ки"
TURNS = [f"{PROBLEM} Step 1: {TEXTS[0]}", "+", f"Step 2: {TEXTS[1]}", "-"]


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def turns(*names: str) -> list[Row]:
    role, text, user, assistant = names
    return [{role: (user, assistant)[at % 2], text: words} for at, words in enumerate(TURNS)]


WRONG_AT_1: dict[str, Row] = {
    "TRL, true and false": {"prompt": PROBLEM, "completions": TEXTS, "labels": [True, False]},
    "OpenR, a list `label`": {"question": PROBLEM, "process": TAGGED[len(PROBLEM) + 1 :], "label": ["+", "-"]},
    "Math-Shepherd, a list of labels": {"input": TAGGED, "label": ["+", "-"], "task": "MATH"},
    "TRL, 1 and 0": {"prompt": PROBLEM, "completions": TEXTS, "labels": [1, 0]},
    "TRL, 1.0 and 0.0": {"prompt": PROBLEM, "completions": TEXTS, "labels": [1.0, 0.0]},
    "TRL, beside a problem": {"problem": PROBLEM, "prompt": PROBLEM, "completions": TEXTS, "labels": [True, False]},
    "Math-Shepherd": {"input": TAGGED, "label": TAGGED.replace("ки", "+", 1).replace("ки", "-"), "task": "MATH"},
    "OpenRLHF": {"input": TAGGED, "value": ["+", "-"]},
    "OpenRLHF, numbers": {"input": TAGGED, "values": [1.0, 0.0], "id": 3},
    "OpenR": {"question": PROBLEM, "process": TAGGED[len(PROBLEM) + 1 :], "labels": [1, 0]},
    "OpenR, signs": {"question": PROBLEM, "process": TAGGED[len(PROBLEM) + 1 :], "labels": ["+", "-"]},
    "RLHFlow": {"conversations": turns("role", "content", "user", "assistant")},
    "ShareGPT": {"conversations": turns("from", "value", "human", "gpt"), "id": "x"},
    "steps and labels": {"question": PROBLEM, "steps": TEXTS, "labels": [1, -1]},
    "steps and truths": {"problem": PROBLEM, "steps": TEXTS, "labels": [True, False], "label": "mine"},
    "ProcessBench": {"id": "a", "problem": PROBLEM, "steps": TEXTS, "label": 1, "final_answer_correct": False},
    "ProcessBench by pandas": {"problem": PROBLEM, "steps": TEXTS, "label": 1.0},
    "PRMBench": {
        "original_question": "…",
        "modified_question": PROBLEM,
        "original_process": ["4 × 5 = 20", "20 − 6 = 14"],
        "modified_process": TEXTS,
        "error_steps": [2],
        "classification": "x",
    },
    "ours": {"problem": PROBLEM, "steps": [{"text": TEXTS[0], "rating": 1}, {"text": TEXTS[1], "rating": -1}]},
    "ours, other columns": {
        "question": PROBLEM,
        "steps": [{"text": TEXTS[0], "rating": 1}, {"text": TEXTS[1], "rating": -1}],
        "label": "human",
        "input": "x",
        "process": "y",
    },
    "PRM800K": {
        "labeler": "a",
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": PROBLEM, "ground_truth_answer": "14"},
        "label": {
            "steps": [
                {"completions": [{"text": TEXTS[0], "rating": 1}], "human_completion": None, "chosen_completion": 0},
                {
                    "completions": [{"text": TEXTS[1], "rating": -1}],
                    "human_completion": None,
                    "chosen_completion": None,
                },
            ],
            "finish_reason": "found_error",
        },
    },
}


@pytest.mark.parametrize("name", WRONG_AT_1)
def test_both_readers_read_every_format_alike(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "rows.jsonl", [WRONG_AT_1[name]])
    [labelled], [rated] = read_labelled(path), read_rated(path, "rows")
    for row in (labelled, rated):
        assert row["error"] is None
        assert (row["problem"], row["steps"], row["ratings"]) == (PROBLEM, TEXTS, [1, -1])
    [report] = describe_labelled([path])[1]
    assert report.line("labelled solutions").startswith(f"labelled solutions: {path}: JSON Lines, 1 rows; read as ")


def test_chances_are_soft_labels() -> None:
    for row in (
        {"prompt": PROBLEM, "completions": TEXTS, "labels": [0.75, 0.25]},
        {"input": TAGGED, "value": [0.75, 0.25]},
    ):
        steps = as_labelled(row)["steps"]
        assert [step["probabilities"] for step in steps] == [[0.25, 0.0, 0.75], [0.75, 0.0, 0.25]]
        assert [step["rating"] for step in steps] == [None, None]


def test_steps_of_prmbench_are_counted_from_1_and_behind_an_error_are_unrated(tmp_path: Path) -> None:
    three = [*TEXTS, "So 15."]
    row = {"question": PROBLEM, "modified_process": three, "error_steps": [3, 2]}
    whole = row | {"error_steps": []}
    off = row | {"error_steps": [0]}
    rows = list(read_labelled(write(tmp_path / "rows.jsonl", [row, whole, off])))
    assert [one["ratings"] for one in rows] == [[1, -1, None], [1, 1, 1], []]
    assert rows[2]["error"] == "row 2: 'error_steps' is [0], not numbers of 3 steps, from 1"


def test_a_file_in_which_0_means_two_things_is_refused(tmp_path: Path) -> None:
    rows = [{"problem": PROBLEM, "steps": TEXTS, "labels": labels} for labels in ([1, 0], [0, -1])]
    path = write(tmp_path / "rows.jsonl", rows)
    for describe in (describe_labelled, describe_rated):
        with pytest.raises(
            InputError, match=r"some rows have labels 0 \(wrong\) and 1, others ratings -1, 0 \(neutral\)"
        ):
            describe([path])


def test_what_true_behind_false_may_mean_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": PROBLEM, "completions": TEXTS, "labels": [False, True]}] * 2)
    [row, _] = read_labelled(path)
    assert row["ratings"] == [-1, 1]  # of which nothing behind the first is trained on
    [report] = describe_labelled([path])[1]
    assert "2 rows have a right step behind a wrong one" in report.line("")
    assert "in TRL's PRM800K a neutral step counts as wrong" in report.line("")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"conversations": turns("role", "content", "user", "assistant")[:3]},
            "is not steps of the user, each answered",
        ),
        ({"conversations": turns("role", "content", "user", "assistant")[2:]}, "has no 'Step 1:' in its first step"),
        ({"conversations": [{"role": "user", "content": 3}, {}]}, r"conversations\[0\] is .*, not a turn"),
        ({"conversations": [{"from": "human", "value": "p Step 1: a"}, {"from": "gpt", "value": "yes"}]}, "with 'yes'"),
        ({"input": TAGGED, "value": ["+"]}, "'value' has 1 for 2 step tags"),
        ({"input": TAGGED, "value": [2, 0]}, "neither −1, 0 and 1 nor chances"),
        ({"problem": PROBLEM, "steps": TEXTS, "labels": ["good", "bad"]}, "not a list of true and false, \\+"),
        ({"prompt": PROBLEM, "completions": ["a \ud800", "b"], "labels": [True] * 2}, r"completions\[0\] holds half a"),
    ],
)
def test_a_row_that_is_none_says_why(tmp_path: Path, row: Row, said: str) -> None:
    with pytest.raises(InputError, match=said):
        as_labelled(row)
    [read] = read_labelled(write(tmp_path / "rows.jsonl", [row]))
    assert read["error"].startswith("row 0: ")


def test_labels_of_1_alone_go_with_every_kind(tmp_path: Path) -> None:
    def row(*labels: float) -> Row:
        return {"problem": PROBLEM, "steps": TEXTS, "labels": [*labels]}

    path = write(tmp_path / "rows.jsonl", [row(1, 1), row(1, -1)])
    describe_labelled([path])
    assert [read["ratings"] for read in read_labelled(path)] == [[1, 1], [1, -1]]
    describe_labelled([write(tmp_path / "soft.jsonl", [row(1, 0.5), row(0, 1)])])
    for other in (row(1, 0), row(0, 0.5)):
        with pytest.raises(InputError, match="0 would mean two things"):
            describe_labelled([write(tmp_path / "mixed.jsonl", [row(1, -1), other])])


def test_an_outcome_of_several_steps_labels_no_step(tmp_path: Path) -> None:
    """RLHFlow's data for outcome rewards has the form of that for process rewards."""
    user = {"role": "user", "content": f"{PROBLEM} Step 1: {TEXTS[0]}\nStep 2: {TEXTS[1]}\nThe answer is: 14"}
    with pytest.raises(InputError, match="has one label for a text of several steps"):
        as_labelled({"conversations": [user, {"role": "assistant", "content": "+"}]})


def test_a_file_without_any_rating_is_refused(tmp_path: Path) -> None:
    unrated, rated = ({"problem": "p", "steps": [{"text": "a", name: 1}]} for name in ("label", "rating"))
    with pytest.raises(InputError, match="no step has a rating or probabilities"):
        describe_labelled([write(tmp_path / "none.jsonl", [unrated])])
    _, [report] = describe_labelled([write(tmp_path / "one.jsonl", [unrated, rated])])
    assert report.notes == ["1 rows have no step with a rating"]


def test_of_several_files_each_must_have_rows_that_can_be_used(tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", [{"problem": str(n), "steps": ["a"], "label": -1} for n in range(1000)])
    bad = write(tmp_path / "bad.jsonl", [{"x": 1}] * 5)
    half = write(tmp_path / "half.jsonl", [{"x": 1}, {"problem": "p", "steps": ["a"], "label": -1}])
    for describe in (describe_labelled, describe_rated):
        with pytest.raises(InputError, match=r"bad.jsonl: no row can be used; the first: row 0: its fields x are"):
            describe([good, bad])
    with pytest.raises(InputError, match=r"half.jsonl: 1 of 2 rows cannot be used, more than --max-error-rate 0.01"):
        describe_labelled([good, half], most_errors=0.01)


GRADED: dict[str, Row] = {
    "TRL": {"prompt": PROBLEM, "completion": "It is \\boxed{14}.", "label": True},
    "ours, 1": {"problem": PROBLEM, "text": "It is \\boxed{14}.", "is_correct": 1},
    "ours, 1.0": {"problem": PROBLEM, "text": "It is \\boxed{14}.", "is_correct": 1.0, "extra": []},
    "OpenMathInstruct": {"question": PROBLEM, "generated_solution": "It is \\boxed{14}.", "is_correct": True},
    "TRL, conversational": {
        "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": PROBLEM}],
        "completion": [{"role": "assistant", "content": "It is \\boxed{14}."}],
        "label": True,
    },
    "NeMo": {"problem": PROBLEM, "generation": "It is \\boxed{14}.", "expected_answer": "14", "symbolic_correct": True},
}
SEVERAL: dict[str, Row] = {
    "RLHFlow": {"prompt": PROBLEM, "answers": ["\\boxed{14}", "\\boxed{15}"], "label": [1, 0]},
    "OpenR1": {
        "problem": PROBLEM,
        "solution": "…",
        "generations": ["\\boxed{14}", "\\boxed{15}"],
        "correctness_math_verify": [True, False],
    },
}


@pytest.mark.parametrize("name", [*GRADED, *SEVERAL])
def test_graded_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "rows.jsonl", [GRADED.get(name) or SEVERAL[name]])
    rows = list(read_graded(path))
    assert [row["is_correct"] for row in rows] == ([True] if name in GRADED else [True, False])
    assert {(row["problem"], row["error"], row["finished"], row["source_row"]) for row in rows} == {
        (PROBLEM, None, True, 0)
    }
    _, [report] = describe_graded([path], {}, False)
    assert report.rows == len(rows)


def test_a_graded_row_that_is_none_says_which_are(tmp_path: Path) -> None:
    [row] = read_graded(write(tmp_path / "rows.jsonl", [{"conversations": [], "id": 3}]))
    assert row["error"].startswith("row 0: its fields conversations, id are those of no known format: give 'problem', ")


def test_graded_rows_without_a_solution_are_errors(tmp_path: Path) -> None:
    user = {"role": "user", "content": PROBLEM}
    rows = [
        {"problem": PROBLEM, "generations": [], "correctness_math_verify": []},
        {"prompt": [user, user], "completion": "It is 14.", "label": True},
        {"prompt": PROBLEM, "completion": [user], "label": True},
    ]
    read = list(read_graded(write(tmp_path / "rows.jsonl", rows)))
    said = ["'generations' is empty", "is not a conversation of one turn of the user", "one turn of the assistant"]
    assert [said in row["error"] for said, row in zip(said, read, strict=True)] == [True] * 3


def test_graded_rows_of_csv(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("problem,text,is_correct\np,It is 1.,True\np,It is 2.,0\np,It is 3.,no\n")
    read = list(read_graded(tmp_path / "rows.csv"))
    assert [row["is_correct"] for row in read] == [True, False, None]
    assert read[2]["error"] == "row 2: 'is_correct' is 'no', not true or false"


LONG = "A shop has 31 lamps in the window and 58 in the cellar, and sells 24 before noon. How many lamps has it then?"


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "{}\nPlease reason step by step, and put your final answer within \\boxed{{}}.",
        "<|user|>\n{}<|end|>\n",
        "Solve: {}",
    ],
)
def test_a_held_out_problem_within_a_longer_text_is_refused(tmp_path: Path, around: str) -> None:
    held_out = {same_text(LONG): "test row 7", same_text("What is 2 + 3?"): "test row 8"}
    rows = [{"prompt": around.format(LONG), "completions": ["a"], "labels": [True]}]
    path = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputError, match=r"row 0 is a solution of a held-out problem \(test row 7"):
        describe_labelled([path], held_out)
    assert HeldOut(held_out).find(around.format(LONG)) == same_text(LONG)


def test_a_short_problem_may_be_a_part_of_another() -> None:
    held_out = HeldOut([same_text("What is 2 + 3?")])
    assert held_out.find("What is 2+3 ?") is not None
    assert held_out.find("Ann asks: What is 2 + 3? What is 5 + 6?") is None
