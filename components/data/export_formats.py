"""Our rows as the ecosystem's formats: TRL's two, Math-Shepherd's, and ProcessBench's with predictions.

export_prm800k.py writes PRM800K's; import_formats.py reads these back. One row in, one row out. "Our labelled row" is
what labelled_solutions.py reads: {"problem", "steps": [{"text", "rating" or "probabilities", "alternatives"}],
"finished"}. Lost on the way:

- Neutral has no place in a bool or a sign: it counts as positive (paper §2.6, whose neutral steps count as right).
- A soft label becomes negative where P(negative) is over one half, else the larger of neutral and positive.
- Labels count through the first negative step, and so do exported steps: TRL and Math-Shepherd want a label per step.
  Steps behind the first negative one, or behind the last that is rated, are left out. ProcessBench has all steps.
- Alternatives are in PRM800K's rows alone, up to the first negative step. Only PRM800K can say that a step is unrated,
  only ours that a solution is finished without its text showing it.

A row that a format cannot hold raises `LeftOut`; its message is the cause that such rows are counted by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.dataflow.errors import InputError
from schemas.ratings import NEGATIVE, NEUTRAL, NO_ERROR, POSITIVE

Record = Mapping[str, Any]
SHEPHERD_TAG, SHEPHERD_FIRST = "ки", " Step 1: "


class LeftOut(ValueError):
    """A good row that a format cannot hold; the message is a cause, the same for all rows that have it."""


def hard_rating(step: Record, where: str = "step") -> int | None:
    """Return a step's rating by its `probabilities`, which count first as for our PRM, or its rating; None: unrated.

    Raises InputError, naming the field.
    """
    soft, rating = step.get("probabilities"), step.get("rating")
    if soft is not None:
        if not isinstance(soft, Sequence) or len(soft) != 3 or not all(isinstance(p, int | float) for p in soft):
            raise InputError(f"{where}.probabilities is not three numbers: negative, neutral, positive")
        negative, neutral, positive = soft
        return NEGATIVE if negative > 0.5 else NEUTRAL if neutral > positive else POSITIVE
    if rating not in (None, NEGATIVE, NEUTRAL, POSITIVE) or isinstance(rating, bool):
        raise InputError(f"{where}.rating is {rating!r}, not −1, 0, 1 or null")
    return None if rating is None else int(rating)


def trl_stepwise(record: Record) -> dict[str, Any]:
    r"""Convert a labelled row to TRL's stepwise supervision (trl `docs/source/dataset_formats.md`).

    {"prompt": "What is 7 + 5 - 3?", "completions": ["7 + 5 = 12", "12 - 3 = 8"], "labels": [true, false]}

    The prompt is the problem alone, as in trl-lib's data sets. TRL puts nothing between it and the first step: for the
    ids of our own PRM, add "\n\n" to it and train with step_separator "\n". Raises LeftOut, and InputError where the
    row is malformed.
    """
    texts, ratings = _labelled_steps(record)
    return {
        "prompt": record["problem"],
        "completions": texts,
        "labels": [rating != NEGATIVE for rating in ratings],
    }


def trl_unpaired(graded: Record) -> dict[str, Any]:
    r"""Convert a graded solution {"problem", "text", "is_correct"} to TRL's unpaired preference.

    {"prompt": "What is 7 + 5?", "completion": "7 + 5 = 12\n# Answer\n\n12", "label": true}

    The whole text is kept; how the grade came about is not. Raises LeftOut where there is no grade or no text.
    """
    if graded["is_correct"] is None:
        raise LeftOut("the solution has no grade")
    if not graded["text"].strip():
        raise LeftOut("the solution is empty")
    return {"prompt": graded["problem"], "completion": graded["text"], "label": bool(graded["is_correct"])}


def math_shepherd(record: Record, task: str) -> dict[str, Any]:
    r"""Convert a labelled row to one of peiyi9979/Math-Shepherd. task: the data set's name there, GSM8K or MATH.

    {"input": "What is 7 + 5 - 3? Step 1: 7 + 5 = 12 ки\nStep 2: 12 - 3 = 8 ки",
     "label": "What is 7 + 5 - 3? Step 1: 7 + 5 = 12 +\nStep 2: 12 - 3 = 8 -", "task": "GSM8K"}

    Raises LeftOut, also where the text holds Math-Shepherd's own marks between steps, and InputError where the row is
    malformed.
    """
    texts, ratings = _labelled_steps(record)
    problem: str = record["problem"]
    if any(SHEPHERD_TAG in text for text in (problem, *texts)):
        raise LeftOut(f"the text holds Math-Shepherd's step tag {SHEPHERD_TAG}")
    lines = [f"Step {number}: {text} " for number, text in enumerate(texts, 1)]
    if f"{problem} {lines[0]}".find(SHEPHERD_FIRST) != len(problem):
        raise LeftOut("the problem holds 'Step 1:', by which Math-Shepherd's solutions begin")
    signs = ["-" if rating == NEGATIVE else "+" for rating in ratings]
    return {
        "input": f"{problem} " + "\n".join(line + SHEPHERD_TAG for line in lines),
        "label": f"{problem} " + "\n".join(line + sign for line, sign in zip(lines, signs, strict=True)),
        "task": task,
    }


def processbench(record: Record, identity: str, generator: str, final_answer_correct: bool | None) -> dict[str, Any]:
    """Convert a labelled row and the grade of its answer to a row of Qwen/ProcessBench.

    {"id": "gsm8k-0", "generator": "Qwen2-7B-Instruct", "problem": "Sue lives in …", "steps": ["To find …", "On …"],
     "final_answer_correct": false, "label": 1}

    label: 0-based index of the first negative step; −1 only where every step is rated. All steps are there. Raises
    LeftOut, and InputError where the row is malformed.
    """
    texts, ratings = rated_steps(record)
    wrong = ratings.index(NEGATIVE) if NEGATIVE in ratings else NO_ERROR
    if None in (ratings if wrong == NO_ERROR else ratings[:wrong]):
        raise LeftOut("a step is unrated, so the first wrong one is not known")
    if final_answer_correct is None:
        raise LeftOut("the solution has no grade")
    return {
        "id": identity,
        "generator": generator,
        "problem": record["problem"],
        "steps": texts,
        "final_answer_correct": final_answer_correct,
        "label": wrong,
    }


def processbench_prediction(row: Record, prediction: int) -> dict[str, Any]:
    """Add a PRM's prediction to a row of ProcessBench, by the names of ProcessBench's own evaluation (its `code/`).

    {…, "label": 1, "prediction": 1, "match": true}; prediction: 0-based index of the first step called wrong, −1 none.
    """
    return {**row, "prediction": prediction, "match": prediction == row["label"]}


def checked_text(step: Any, where: str) -> str:
    """Return a step's text. Raises InputError."""
    if not isinstance(step, Mapping) or not isinstance(step.get("text"), str):
        raise InputError(f"{where} has no text")
    return str(step["text"])


def rated_steps(record: Record) -> tuple[list[str], list[int | None]]:
    """Return the text and rating of every step. Raises InputError where a labelled row is malformed."""
    problem, steps = record.get("problem"), record.get("steps")
    if not isinstance(problem, str) or not problem.strip():
        raise InputError(f"'problem' is {problem!r}")
    if not isinstance(steps, list) or not steps:
        raise InputError(f"'steps' is {steps!r}, not a list of steps")
    texts = [checked_text(step, f"steps[{at}]") for at, step in enumerate(steps)]
    return texts, [hard_rating(step, f"steps[{at}]") for at, step in enumerate(steps)]


def _labelled_steps(record: Record) -> tuple[list[str], list[int]]:
    """Return the text and rating of the steps through the first negative one, or through the last that is rated."""
    texts, ratings = rated_steps(record)
    rated = [at for at, rating in enumerate(ratings) if rating is not None]
    if not rated:
        raise LeftOut("no step is rated")
    count = ratings.index(NEGATIVE) + 1 if NEGATIVE in ratings else rated[-1] + 1
    known = [rating for rating in ratings[:count] if rating is not None]
    if len(known) < count:
        raise LeftOut("a step before the last labelled one is unrated")
    return texts[:count], known
