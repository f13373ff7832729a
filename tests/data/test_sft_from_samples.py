"""What a base model learns the format from: its own right solutions, and those that come with the problems."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from components.data.problem_files import describe_file, read_problems
from components.data.sft_from_references import has_solutions, reference_solutions
from components.data.sft_from_samples import KeepRightConfig, keep_right
from components.dataflow.errors import InputError
from components.text.answer_extraction import extract_answer
from components.text.rendering import split_steps
from components.text.solution_cleanup import solution_steps, unboxed


def kept(*texts: str, right: list[bool] | None = None, most: int = 2) -> list[list[str]]:
    """Steps of what is kept of samples of one problem, graded by the grader's own extraction."""
    found = [extract_answer(text) for text in texts]
    solutions = pa.Table.from_pylist(
        [{"problem_id": "p", "problem": "?", "steps": split_steps(text)} for text in texts]
    )
    grades = pa.Table.from_pylist(
        [
            {"problem_id": "p", "is_correct": one, "answer": answer, "extract_rule": rule}
            for (answer, rule), one in zip(found, right or [True] * len(texts), strict=True)
        ]
    )
    stage = keep_right(KeepRightConfig(max_per_problem=most))
    return [row["steps"] for row in stage.compute(stage.config, solutions=solutions, grades=grades).to_pylist()]


def test_right_solutions_are_kept_without_what_follows_their_answer() -> None:
    text = "so\n\n# Answer\n\n1\n\nand on"
    assert kept(text, text, text, text, right=[False, True, True, True]) == [["so", "# Answer\n\n1"]] * 2


def test_nothing_right_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"stronger base model.*--format-from solutions"):
        kept("so\n# Answer\n\n1", "so\n# Answer\n\n2", right=[False, False])


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        # The box in the last step's sentence: its words are a step, what follows is not.
        ("Add: $2+2=4$.\n\nSo it is $\\boxed{4}$.\n\nI hope that helps!", ["Add: $2+2=4$.", "So it is $4$."]),
        # A box alone only repeats the answer, on one line or displayed.
        ("Add: $2+2=4$.\n\n$\\boxed{4}$", ["Add: $2+2=4$."]),
        ("Add: $2+2=4$.\n\\[\n\\boxed{4}\n\\]\nDone.", ["Add: $2+2=4$."]),
        # Headings and rules of markdown are no steps; a bold beginning is part of one.
        ("### Step 1\n\n**Adding**\n\n**First:** add.\n---\n\\boxed{4}", ["**First:** add."]),
        # A displayed formula is one step, its lines joined.
        ("We have\n\\[\nx = 2\n\\]\nso\n\n\\begin{align*}\na &= 1\\\\[5pt]\nb &= 2\n\\end{align*}\nand \\boxed{4}.",
         ["We have", "\\[ x = 2 \\]", "so", "\\begin{align*} a &= 1\\\\[5pt] b &= 2 \\end{align*}", "and 4."]),
        # An answer that is only said.
        ("Add.\n\n**Final Answer:** 4", ["Add."]),
        ("Add.\nThe answer is 4.", ["Add.", "The answer is 4."]),
        # The header as a chat model may write it, and twice the same.
        ("Add.\n\n# Answer:\n\n\n4\n", ["Add."]),
        ("Add.\n# Answer\n\n4\n\n# Answer\n\n4", ["Add."]),
    ],
)  # fmt: skip
def test_whatever_way_the_answer_is_given_it_ends_in_its_section(text: str, steps: list[str]) -> None:
    assert kept(text) == [[*steps, "# Answer\n\n4"]]


def test_steps_are_lines_and_read_back_as_they_were() -> None:
    [steps] = kept("## One\n\n\nAdd.\n \n\nThen $x = \\boxed{\\frac{1}{2}}$.\n\n")
    assert steps == ["Add.", "Then $x = \\frac{1}{2}$.", "# Answer\n\n\\frac{1}{2}"]
    assert split_steps("\n".join(steps)) == steps
    assert extract_answer("\n".join(steps)) == ("\\frac{1}{2}", "answer_section")


def test_sections_that_differ_and_answers_alone_teach_nothing() -> None:
    good = "Add.\n# Answer\n\n4"
    assert kept("Add.\n# Answer\n\n3\n\nNo.\n# Answer\n\n4", "# Answer\n\n4", "\\boxed{4}", good, most=4) == [
        ["Add.", "# Answer\n\n4"]
    ]


def test_an_answer_of_several_lines_is_one_line_and_an_open_formula_stays_as_it_is() -> None:
    matrix = "\\begin{pmatrix} 1 \\\\\n\n2 \\end{pmatrix}"
    assert solution_steps("So.", matrix)[-1] == "# Answer\n\n\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"
    assert solution_steps("\\[ x\n= 1\nso", "1")[:-1] == ["\\[ x", "= 1", "so"]
    assert unboxed("\\boxed{a{b}} and \\fboxed{c} and \\boxed{open") == "a{b} and c and \\boxed{open"


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def learned_from(path: Path) -> list[dict[str, object]]:
    file = describe_file(path)
    stage = reference_solutions(file, lambda: read_problems(path, file, "train"))
    return pa.Table.from_pylist(stage.compute(file).to_pylist(), schema=stage.schema).to_pylist()


def test_solutions_of_a_file_are_steps_and_a_row_without_one_is_kept(tmp_path: Path) -> None:
    path = written(
        tmp_path / "math.jsonl",
        [
            {"problem": "2+2?", "answer": "4", "solution": "[asy]\ndraw(x);\n[/asy]\nAdd.\n\nIt is $\\boxed{4}$."},
            {"problem": "3+3?", "answer": 6, "solution": None},
            {"problem": "4+4?", "answer": "", "solution": "Add."},
        ],
    )
    rows = learned_from(path)
    assert rows[0] == {"problem": "2+2?", "steps": ["Add.", "It is $4$.", "# Answer\n\n4"], "error": None}
    assert [row["error"] for row in rows[1:]] == [
        "row 1: it has no solution, so it teaches no format",
        "row 2: 'answer' is empty",
    ]
    assert [row["steps"] for row in rows[1:]] == [[], []]


def test_headings_are_no_marks_and_no_steps(tmp_path: Path) -> None:
    solution = "Intro line.\n#### Step 1\nAdd 2 + 2.\n# of apples is 4.\nSo it is $\\boxed{4}$."
    path = written(tmp_path / "m.jsonl", [{"problem": "2+2?", "answer": "4", "solution": solution}])
    [row] = learned_from(path)
    assert row["steps"] == ["Intro line.", "Add 2 + 2.", "# of apples is 4.", "So it is $4$.", "# Answer\n\n4"]


def test_gsm8k_has_its_solution_in_its_answer(tmp_path: Path) -> None:
    path = written(tmp_path / "g.jsonl", [{"question": "?", "answer": "Half is 48/2 = <<48/2=24>>24.\nSo.\n#### 24"}])
    [row] = learned_from(path)
    assert row == {"problem": "?", "steps": ["Half is 48/2 = 24.", "So.", "# Answer\n\n24"], "error": None}


def test_a_file_without_solutions_has_nothing_to_learn_from(tmp_path: Path) -> None:
    path = written(tmp_path / "none.jsonl", [{"problem": "2+2?", "answer": "4"}])
    rows = read_problems(path, describe_file(path), "train")
    assert not has_solutions(rows)
    assert has_solutions([rows[0] | {"solution": "It is four."}])
    assert not has_solutions([rows[0] | {"solution": "It is four.", "split": "excluded"}])
