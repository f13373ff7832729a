"""Files of problems as others publish them: which columns are read, what each row gives, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.data.problem_columns import is_prose
from components.data.problem_files import describe_file, read_problems, report_problems
from components.dataflow.errors import InputError

Rows = list[dict[str, Any]]
PROSE = "To see how many marbles are left, take the 4 that she gave away from 11.\n\n11 - 4 = 7\n\nSo she has 7."


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, *columns: Any) -> list[tuple[str, str | None]]:
    """(problem, reference answer, or error) of each row."""
    rows = read_problems(path, describe_file(path, *columns), "train")
    return [(row["problem"], row["error"] or row["ground_truth_answer"]) for row in rows]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (  # ASDiv: two rows ask the same of different bodies
            [{"body": f"Ann has {n} pens.", "question": "How many pens has she?", "answer": str(n)} for n in (3, 4)],
            [(f"Ann has {n} pens. How many pens has she?", str(n)) for n in (3, 4)],
        ),
        ([{"problem": 7, "question": "What is 2 × 7?", "answer": 14}], [("What is 2 × 7?", "14")]),  # AIME
        ([{"problem": "3", "question": "What is 2 × 3?", "answer": "6"}], [("What is 2 × 3?", "6")]),
        ([{"question": "q?", "answer": "So it is $\\boxed{12}$, as above."}], [("q?", "12")]),
        ([{"question": "q?", "answer": "It is 3 × 4.\n####12"}], [("q?", "12")]),
        (
            [{"question": "q?", "answer": "12"}, {"question": "r?", "answer": "Long.\n#### 13"}],
            [("q?", "12"), ("r?", "13")],
        ),
        (
            [{"question": "q?", "answer": "12"}, {"question": "r?", "answer": "\\boxed{\\frac12}"}],
            [("q?", "12"), ("r?", "\\frac12")],
        ),
        ([{"question": "q?", "solution": ["We add."], "final_answer": ["12"]}], [("q?", "12")]),  # OlympiadBench
        (
            [
                {"question": "q?", "solution": "\\boxed{7}", "final_answer": "12"},
                {"question": "r?", "final_answer": "13"},
            ],
            [("q?", "12"), ("r?", "13")],
        ),
        ([{"problem": "p?", "expected_answer": "12", "reference_solution": "…"}], [("p?", "12")]),  # NeMo
        ([{"question": "q?", "answer": "3 × 4 = 12\n#### 12\nThe answer is: 12"}], [("q?", "12")]),  # MetaMath
        ([{"question": "q?", "answer": "3 × 4 = 12 #### 12"}], [("q?", "12")]),  # without its line ends
        ([{"question": "q?", "answer": '["\\\\frac12"]'}], [("q?", "\\frac12")]),  # Skywork
        ([{"question": "q?", "answer": "[12]"}], [("q?", "[12]")]),
        ([{"body": "b.", "question": "q?", "answer": "12 (red apples)"}], [("b. q?", "12")]),  # ASDiv
        ([{"question": "q?", "answer": "12 (mod 17)"}], [("q?", "12 (mod 17)")]),
        ([{"question": "q?", "answer": 2.5e-7}], [("q?", "0.00000025")]),
        ([{"question": "q?", "answer": 10**400}], [("q?", str(10**400))]),
    ],
)
def test_a_row_is_read_as_it_was_meant(tmp_path: Path, rows: Rows, wanted: list[tuple[str, str]]) -> None:
    assert read(write(tmp_path / "p.jsonl", rows)) == wanted


def test_a_conversation_and_a_dotted_column(tmp_path: Path) -> None:
    """The shape of verl's files."""
    system, user = {"role": "system", "content": "Think."}, {"role": "user", "content": "What is 6 + 1?"}
    model = {"style": "rule", "ground_truth": 7}
    rows = [{"prompt": turns, "reward_model": model} for turns in ([user], [system, user | {"content": "q?"}])]
    rows.append({"prompt": [user, {"role": "assistant", "content": "7"}], "reward_model": model})
    assert read(write(tmp_path / "p.jsonl", rows), "prompt", "reward_model.ground_truth") == [
        ("What is 6 + 1?", "7"),
        ("q?", "7"),
        ("", "row 2: 'prompt' is a conversation of 2 turns, not a problem"),
    ]


@pytest.mark.parametrize("word", ["None", "none", " proof", "notfound", "N/A", "null"])
def test_a_word_that_stands_for_no_answer_is_no_reference(tmp_path: Path, word: str) -> None:
    rows = [{"problem": "p?", "answer": "1"}, {"problem": "q?", "answer": word}]
    [_, (_, error)] = read(write(tmp_path / "p.jsonl", rows))
    assert error == f"row 1: 'answer' is {word!r}, which stands for no answer"


def test_choices_of_any_row_are_not_lost(tmp_path: Path) -> None:
    open_question = {"question": "What is 2 + 3?", "choices": None, "answer": "5"}
    later = write(
        tmp_path / "later.jsonl", [open_question, open_question | {"question": "Which?", "choices": ["4", "5"]}]
    )
    with pytest.raises(InputError, match="row 1 has a column 'choices', which is not read"):
        describe_file(later)
    assert read(write(tmp_path / "none.jsonl", [open_question])) == [("What is 2 + 3?", "5")]


def test_choices_are_not_lost(tmp_path: Path) -> None:
    rows = [{"question": "Which is prime?", "choices": ["4", "5", "6", "8"], "answer": 1}]
    path = write(tmp_path / "p.jsonl", rows)
    with pytest.raises(InputError, match="row 0 has a column 'choices', which is not read: write the choices into"):
        describe_file(path)
    assert read(path, "question") == [("Which is prime?", "1")]  # as the user says


@pytest.mark.parametrize("names", ["ABCD", ["option_a", "option_b"], ["Choice 1", "Choice 2"]])
def test_choices_in_columns_of_their_own_are_not_lost(tmp_path: Path, names: list[str]) -> None:
    row = {"question": "Which?", "answer": "B"}
    with pytest.raises(InputError, match="row 0 has a column for each choice"):
        describe_file(write(tmp_path / "p.jsonl", [row | dict.fromkeys(names, "7")]))
    assert read(write(tmp_path / "one.jsonl", [row | {names[0]: "7"}])) == [("Which?", "B")]


def test_several_answers_in_a_text_are_an_error_of_the_row(tmp_path: Path) -> None:
    rows = [{"question": "q?", "answer": '["2", "3"]'}, {"question": "r?", "answer": "4"}]
    assert read(write(tmp_path / "p.jsonl", rows))[0][1] == "row 0: 'answer' is '[\"2\", \"3\"]', a list of 2 answers"


def test_the_order_of_rows_does_not_decide_how_answers_are_read(tmp_path: Path) -> None:
    answers = {"q?": "3 × 4\n#### 12", "r?": "It is \\boxed{13}.", "s?": "14"}
    rows = [{"question": question, "answer": answer} for question, answer in answers.items()]
    for turned in (rows, rows[1:] + rows[:1], rows[::-1]):
        assert sorted(read(write(tmp_path / "p.jsonl", turned))) == [("q?", "12"), ("r?", "13"), ("s?", "14")]
    cut = [{"question": f"{n}?", "answer": f"#### {n}"} for n in (1, 2)] + [{"question": "3?", "answer": "It is"}]
    for turned in (cut, cut[::-1]):  # a row of GSM8K that was cut has no answer
        assert (
            sum(answer is not None and "has no answer" in answer for _, answer in read(write(tmp_path / "c", turned)))
            == 1
        )


@pytest.mark.parametrize("box", ["\\boxed{}", "\\boxed{12"])
def test_a_box_without_an_answer_is_none(tmp_path: Path, box: str) -> None:
    rows = [{"question": f"{answer}?", "answer": answer} for answer in ("\\boxed{7}", box, "8")]
    first, cut, last = (answer for _, answer in read(write(tmp_path / "p.jsonl", rows)))
    assert (first, last) == ("7", "8")
    assert str(cut).startswith("row 1: 'answer' has no answer")


def test_a_first_row_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"question": "\xff"}\n{"question": "q?", "answer": "12"}\n')
    assert read(path) == [("", "row 0: it is not UTF-8"), ("q?", "12")]
    path.write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(InputError, match="no row can be used; the first: row 0: it is not UTF-8"):
        describe_file(path)


def test_an_index_without_a_name_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(',question,answer\n0,q?,12\n1,"r, s?",13\n')
    assert read(tmp_path / "p.csv") == [("q?", "12"), ("r, s?", "13")]
    (tmp_path / "windows.csv").write_bytes("question;answer\nWie groß?;12\nr?;13\n".encode("cp1252"))
    assert read(tmp_path / "windows.csv")[0][1] == "row 0: 'question' is not UTF-8: save the file as UTF-8"


def test_a_turn_of_the_assistant_is_no_problem(tmp_path: Path) -> None:
    turns = [{"role": role, "content": f"by the {role}?"} for role in ("assistant", "user")]
    rows = [{"problem": [turn], "answer": "1"} for turn in turns]
    wanted = "row 0: 'problem' is a turn of the assistant, not a problem"
    assert read(write(tmp_path / "p.jsonl", rows)) == [("", wanted), ("by the user?", "1")]


def test_references_in_prose_are_refused_or_told(tmp_path: Path) -> None:
    assert is_prose(PROSE)
    prose = write(tmp_path / "prose.jsonl", [{"question": f"{n}?", "answer": PROSE} for n in range(3)])
    with pytest.raises(InputError, match=r"'answer' holds prose in 3 of 3 rows \(row 0: 'To .*--answer-format text"):
        describe_file(prose)
    assert read(prose, None, None, None, "text")[0][1] == PROSE
    some = write(tmp_path / "some.jsonl", [{"question": f"{n}?", "answer": PROSE if n == 2 else "7"} for n in range(4)])
    file = describe_file(some)
    line = report_problems(some, file, read_problems(some, file, "test")).line("test problems")
    assert "WARNING: 1 reference answers are prose, which no answer equals (row 2: 'To see how" in line
    mixed = write(
        tmp_path / "mixed.jsonl", [{"question": "a?", "answer": PROSE}, {"question": "b?", "answer": "\\boxed{7}"}]
    )
    assert read(mixed)[0][1].startswith("row 0: 'answer' has no answer (in each row what follows ####")


def test_a_problem_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    rows = [{"problem": "p?", "answer": None}, {"problem": "p?", "answer": "1"}, {"problem": "p?", "answer": "1"}]
    path = write(tmp_path / "p.jsonl", [*rows, {"problem": "p?", "answer": "2"}])
    file = describe_file(path)
    read_ = read_problems(path, file, "test")
    assert [row["split"] for row in read_] == ["test", "test", "excluded", "test"]
    assert [row["error"] for row in read_] == [
        "row 0: 'answer' is null",
        None,
        None,
        "row 3: the same problem as row 1, with another answer",
    ]
    assert len({row["problem_id"] for row in read_}) == 4
    report = report_problems(path, file, read_)
    assert "1 left out: there twice, or evaluation problems" in report.line("test problems")
    assert "2 cannot be used: 1 as row 0: 'answer' is null, 1 as row 3: the same problem" in report.line(
        "test problems"
    )
    report.check(0.5)
    with pytest.raises(InputError, match=r"2 of 4 rows cannot be used, more than --max-error-rate 0.25: 1 as row 0"):
        report.check(0.25)


def test_attributes_of_math_outside_of_its_folder(tmp_path: Path) -> None:
    rows = [{"problem": "p?", "answer": "1", "level": "Level 3", "type": "Algebra"}]
    path = write(tmp_path / "p.jsonl", [*rows, {"problem": "q?", "answer": "1", "level": 2, "type": "easy"}])
    attributes = [row["attributes"] for row in read_problems(path, describe_file(path), "test")]
    assert [(a["level"], a["subject"]) for a in attributes] == [("3", "Algebra"), ("2", None)]


def test_what_is_no_problem_in_the_folder_of_math(tmp_path: Path) -> None:
    good = {"problem": "p?", "solution": "\\boxed{1}", "level": "Level 1", "type": "Algebra"}
    (tmp_path / "1.json").write_text(json.dumps(good))
    (tmp_path / "2.json").symlink_to("/dev/zero")
    (tmp_path / "3.json").symlink_to(tmp_path / "nothing")
    (tmp_path / "4.json").mkdir()
    (tmp_path / "5.json").write_text("[" * 200_000)
    assert [error for _, error in read(tmp_path)] == ["1", *(f"row {n}: 'problem' is null" for n in range(1, 5))]
