"""The ecosystem's rows of solutions with their outcome as ours: TRL's unpaired preference, OpenMathInstruct's, NeMo's,
and rows that hold several solutions of a problem (RLHFlow's test sets, OpenR1's generations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.data.cells import Record, UnreadableRow, columns_of, csv_value, reject_surrogates, short
from components.dataflow.errors import InputError
from components.text.segmentation import steps

_PROBLEMS = ("problem", "question", "prompt", "query")
_TEXTS = ("text", "completion", "generated_solution", "generation", "response", "completions", "generations", "answers")
_OUTCOMES = ("is_correct", "label", "labels", "symbolic_correct", "correctness_math_verify", "correctness", "correct")
_FORMATS = {
    "completion": "TRL's unpaired preference",
    "generated_solution": "OpenMathInstruct's",
    "generation": "NeMo's",
    "generations": "OpenR1's",
    "answers": "RLHFlow's test sets",
}


def as_graded(record: Record) -> list[dict[str, Any]]:
    r"""Convert a row to graded solutions {"problem", "text", "steps", "is_correct"}: mostly one.

    {"prompt": "What is 7 + 5?", "completion": "7 + 5 = 12\n# Answer\n\n12", "label": true}
    {"question": "What is 7 + 5?", "generated_solution": "It is \\boxed{12}.", "is_correct": true}
    {"problem": "What is 7 + 5?", "generations": ["…", "…"], "correctness_math_verify": [true, false]}

    1 counts as true, and 0 as false. A row without steps is cut by `segmentation` (auto). Raises InputError, naming the
    field.
    """
    if isinstance(record, UnreadableRow):
        raise InputError(record.why)
    problem_name, text_name, outcome_name = fields_of(record)
    record = {**record, problem_name: _of_turn(record.get(problem_name), "user")}
    record[text_name] = _of_turn(record.get(text_name), "assistant")
    problem, texts, outcomes = record.get(problem_name), record.get(text_name), record.get(outcome_name)
    if not isinstance(texts, list):
        return [_graded(record, (problem_name, text_name, outcome_name), texts, outcomes)]
    if not isinstance(outcomes, list) or len(outcomes) != len(texts):
        raise InputError(
            f"{outcome_name!r} is {short(outcomes)}, not a list of {len(texts)} outcomes, as {text_name!r} has"
        )
    if not texts:
        raise InputError(f"{text_name!r} is empty: it has no solution")
    names = (problem_name, text_name, outcome_name)
    return [
        _graded({problem_name: problem}, names, text, outcome) for text, outcome in zip(texts, outcomes, strict=True)
    ]


def _of_turn(value: Any, role: str) -> Any:
    """Return the text of a conversation of one turn of a role, as TRL's may be; other values stay.

    A turn of the system before that of the user is left out.
    """
    if not isinstance(value, list) or not value or not all(isinstance(turn, Mapping) for turn in value):
        return value
    turns = [turn for turn in value if turn.get("role") != "system"]
    if len(turns) != 1 or turns[0].get("role") != role:
        raise InputError(f"{short(value)} is not a conversation of one turn of the {role}")
    return turns[0].get("content")


def fields_of(record: Record) -> tuple[str, str, str]:
    """Return the fields of the problem, the text and the outcome. Raises InputError for a row of no known format."""
    if "completion" in record and "prompt" in record:
        return "prompt", "completion", "label"
    found = [
        next((name for name in names if name in record and name not in other), None)
        for names, other in ((_PROBLEMS, ()), (_TEXTS, ()), (_OUTCOMES, ()))
    ]
    if None in found:
        raise InputError(
            f"its fields {columns_of(record)} are those of no known format: give 'problem', 'text' and 'is_correct', "
            "or 'prompt', 'completion' and 'label'"
        )
    return str(found[0]), str(found[1]), str(found[2])


def format_of(record: Record) -> str:
    """Name the format of a row that `as_graded` reads."""
    return _FORMATS.get(fields_of(record)[1], "problem, text and is_correct")


def _graded(record: Record, names: tuple[str, str, str], text: object, outcome: object) -> dict[str, Any]:
    problem = record.get(names[0])
    if not isinstance(text, str):
        raise InputError(f"{names[1]!r} is {short(text)}, not a text")
    outcome = csv_value(outcome)
    if isinstance(outcome, int | float) and outcome in (0, 1):
        outcome = bool(outcome)
    if not isinstance(outcome, bool):
        raise InputError(f"{names[2]!r} is {short(outcome)}, not true or false")
    if not isinstance(problem, str) or not problem.strip():
        raise InputError(f"{names[0]!r} is {short(problem)}, not a problem's text")
    texts = record.get("steps") if names[1] == "text" else None
    if texts is not None and not (isinstance(texts, list) and all(isinstance(step, str) for step in texts)):
        raise InputError(f"'steps' is {short(texts)}, not a list of steps' texts")
    if error := reject_surrogates({names[0]: problem, names[1]: text, "steps": texts}, ""):
        raise InputError(error)
    return {
        "problem": problem,
        "text": text,
        "steps": steps(text) if texts is None else texts,
        "is_correct": outcome,
    }
