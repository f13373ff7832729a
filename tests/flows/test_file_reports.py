"""What `plan` says of each file: one line on how it was read, or at most 300 characters on why it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import evaluate, full_study, step_errors
from tests.data.test_containers import REFUSED

Printed = pytest.CaptureFixture[str]
Rows = list[dict[str, Any]]
TRAIN = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(5)]
TEST = [{"problem": f"What is {n} − 1?", "answer": str(n - 1)} for n in range(5)]
RATED = [{"problem": "q?", "steps": ["a", "b"], "label": 1}]
GRADED = [{"problem": "q?", "text": "It is \\boxed{1}.", "is_correct": True}]


def write(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def plan(tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str], str]]:
    """Plan a study of two good files, or of those that options name. Returns the status, the notes and the error."""
    monkeypatch.chdir(tmp_path)
    problems = {"--train-problems": write(tmp_path / "train.jsonl", TRAIN)}
    problems |= {"--test-problems": write(tmp_path / "test.jsonl", TEST)}

    def run(*argv: str) -> tuple[int, list[str], str]:
        good = [word for option, path in problems.items() if option not in argv for word in (option, path)]
        status = full_study.main(["plan", *good, *argv, "--root", "out"])
        printed = capsys.readouterr()
        return status, [line[6:] for line in printed.out.splitlines() if line.startswith("note: ")], printed.err

    return run


INLETS = ["--train-problems", "--test-problems", "--ood-problems", "--labelled-solutions", "--graded-solutions"]


@pytest.mark.parametrize("inlet", INLETS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_none_is_refused_in_a_line(tmp_path: Path, plan: Any, inlet: str, name: str) -> None:
    (tmp_path / name).write_bytes(REFUSED[name][0])
    status, _, error = plan(inlet, name)
    assert status == 2
    assert REFUSED[name][1] in error
    assert error.count("\n") == 1
    assert len(error) <= 300


def test_a_refusal_of_many_causes_is_short(tmp_path: Path, plan: Any) -> None:
    rows = [{"problem": {"a": "x" * 200}, "answer": "4"}, {"problem": "p", "answer": {"k": "y" * 300}}]
    rows += [{"problem": "q", "answer": "4"}, {"problem": "q", "answer": "5"}, {"problem": "r", "answer": "None"}]
    write(tmp_path / "a-file-of-odd-rows-with-a-long-name.jsonl", rows * 1000)
    status, _, error = plan("--test-problems", "a-file-of-odd-rows-with-a-long-name.jsonl")
    assert status == 2
    assert "of 5,000 rows cannot be used, more than --max-error-rate 0.01: 1,000 as row 0: 'problem' is" in error
    assert len(error) <= 300


@pytest.mark.parametrize("inlet", INLETS)
def test_rows_of_something_else_are_refused_in_a_line(tmp_path: Path, plan: Any, inlet: str) -> None:
    rows = [{f"column {n} with quite a long name": "x" * 5000 for n in range(40)}, {"problem": {"0": "x" * 100_000}}]
    for content in (rows, rows[1:], [{"problem": "p", "answer": None, "steps": 3, "text": [1]}] * 3):
        write(tmp_path / "odd.jsonl", content)
        status, _, error = plan(inlet, "odd.jsonl")
        assert status == 2
        assert error.startswith("error: odd.jsonl: ")
        assert error.count("\n") == 1
        assert len(error) <= 300, error


def test_each_file_is_told_in_a_line(tmp_path: Path, plan: Any) -> None:
    write(tmp_path / "rated.jsonl", RATED)
    write(tmp_path / "graded.jsonl", GRADED)
    status, notes, _ = plan("--labelled-solutions", "rated.jsonl", "--graded-solutions", "graded.jsonl")
    assert status == 0
    read = "JSON Lines, 5 rows; problem from 'problem'; answer from 'answer' (text):"
    assert notes[:4] == [
        f"train problems: {tmp_path}/train.jsonl: {read} '1', '2', '3'",
        f"test problems: {tmp_path}/test.jsonl: {read} '-1', '0', '1'",
        "labelled solutions: rated.jsonl: JSON Lines, 1 rows; read as ProcessBench's",
        "graded solutions: graded.jsonl: JSON Lines, 1 rows; read as problem, text and is_correct",
    ]


def test_the_error_rate_is_that_of_each_file(tmp_path: Path, plan: Any) -> None:
    many = [{"problem": f"What is {n} × 7?", "answer": str(7 * n)} for n in range(2000)]
    bad = [row | {"answer": None} if n > 1 else row for n, row in enumerate(TEST)]
    many, bad = write(tmp_path / "many.jsonl", many), write(tmp_path / "bad.jsonl", bad)
    status, _, error = plan("--train-problems", many, "--test-problems", bad)
    assert status == 2
    assert (
        "bad.jsonl: 3 of 5 rows cannot be used, more than --max-error-rate 0.01: 3 as row 2: 'answer' is null" in error
    )
    status, notes, _ = plan("--train-problems", many, "--test-problems", bad, "--max-error-rate", "0.6")
    assert status == 0
    assert notes[1].endswith("; 3 cannot be used: 3 as row 2: 'answer' is null")


def test_columns_are_named_per_file(tmp_path: Path, plan: Any) -> None:
    test = write(tmp_path / "other.jsonl", [{"q": "What is 3 − 1?", "result": "So.\n#### 2", "extra": {"n": 1}}] * 2)
    argv = ["--test-problems", test, "--problem-column", "test=q", "--answer-column", "answer", "test=result"]
    status, notes, _ = plan(*argv)
    assert status == 0
    assert "answer from 'result' (gsm8k): '2', '2'; 1 left out: there twice" in notes[1]
    status, notes, _ = plan(*argv, "--answer-format", "test=text", "--max-problems", "train=2")
    assert "train.jsonl: JSON Lines, 2 rows" in notes[0]
    assert "answer from 'result' (text): 'So.\\n#### 2'" in notes[1]
    for option, said in (
        (["--answer-format", "test=x"], "--answer-format x: is not one of text, gsm8k, boxed, auto"),
        (["--max-problems", "test=0"], "--max-problems 0: must be a whole number of 1 or more"),
        (["--problem-column", "q", "p"], "--problem-column q p: all splits is given twice"),
    ):
        status, _, error = plan(*(argv[:2] if option[0] in argv else argv), *option)
        assert status == 2
        assert said in error


def test_a_train_problem_that_holds_a_test_problem_is_refused(tmp_path: Path, plan: Any) -> None:
    long = "A train leaves at 9:40 with 214 people, 37 get off at the first stop and 58 get on. How many are there?"
    test = write(tmp_path / "long.jsonl", [{"problem": long, "answer": "235"}])
    train = write(tmp_path / "prompts.jsonl", [*TRAIN, {"problem": f"{long} Think step by step.", "answer": "235"}])
    status, _, error = plan("--train-problems", train, "--test-problems", test)
    assert status == 2
    assert "test row 0 stands whole in the problem of train row 5" in error
    status, notes, _ = plan("--train-problems", train, "--test-problems", test, "--contaminated", "drop")
    assert status == 0
    assert "1 left out: there twice, or evaluation problems" in notes[0]


@pytest.mark.parametrize("rate", ["-0.1", "nan", "inf"])
def test_a_share_of_errors_is_0_or_more_for_every_flow(tmp_path: Path, capsys: Printed, plan: Any, rate: str) -> None:
    for flow, argv in ((evaluate, []), (step_errors, ["--prm", str(tmp_path)])):
        assert flow.main(["x.jsonl", *argv, "--max-error-rate", rate]) == 2
        assert f"--max-error-rate {rate}: must be 0 or more" in capsys.readouterr().err
    assert plan("--max-error-rate", rate)[0] == 2


@pytest.mark.parametrize("name", REFUSED)
def test_evaluate_and_step_errors_refuse_the_same_files(tmp_path: Path, capsys: Printed, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(REFUSED[name][0])
    for flow, argv in ((evaluate, []), (step_errors, ["--prm", str(tmp_path)])):
        assert flow.main([str(path), *argv, "--root", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert REFUSED[name][1] in error or "row 0 has no column 'is_correct'" in error
        assert len(error) - len(str(tmp_path)) <= 300
