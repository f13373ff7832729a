"""Our rows as the ecosystem's formats: TRL's two, Math-Shepherd's, ProcessBench's with predictions, and PRM800K's.

import_formats.py reads them back. One row in, one row out. "Our labelled row" is what labelled_solutions.py reads:
{"problem", "steps": [{"text", "rating" or "probabilities", "alternatives"}], "finished"}. Lost on the way:

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
from components.text.rendering import has_answer
from schemas.ratings import NEGATIVE, NEUTRAL, NO_ERROR, POSITIVE

Record = Mapping[str, Any]
SHEPHERD_TAG, SHEPHERD_FIRST = "ки", " Step 1: "


class LeftOut(ValueError):
    """A good row that a format cannot hold; the message is a cause, the same for all rows that have it."""


def hard_rating(step: Record, where: str = "step") -> int | None:
    """Return a step's rating, −1, 0 or 1, from its `probabilities` (which count first, as for our PRM) or its rating;
    None: unrated.

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
    texts, ratings = _steps(record)
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


def prm800k(record: Record, labeler: str | None = None, ground_truth_answer: str | None = None) -> dict[str, Any]:
    """Convert a labelled row to one of PRM800K's jsonl files (openai/prm800k `README.md`).

    {"labeler": …, "generation": null, "is_quality_control_question": false, …, "question": {"problem": "What is …"},
     "label": {"steps": [{"completions": [{"text": "7 + 5 = 12", "rating": 1, "flagged": false}], "human_completion":
     null, "chosen_completion": 0}], "total_time": null, "finish_reason": "solution"}}

    The solution's own step is `completions[0]`, its alternatives follow. At the first negative step none is chosen and
    the row ends, with `found_error`; a finished solution without one ends with `solution`. Unknown values are null:
    timestamp, total_time, the reference solution, the generator's answer and score. Nothing is flagged. Raises LeftOut
    where labels end before the solution does, for which PRM800K has no finish_reason that its filter keeps; and
    InputError where the row is malformed.
    """
    texts, ratings = _steps(record)
    if all(rating is None for rating in ratings):
        raise LeftOut("no step is rated")
    is_wrong = NEGATIVE in ratings
    finished = record.get("finished")
    if not is_wrong and not (has_answer(texts[-1]) if finished is None else finished):
        raise LeftOut("neither a negative step nor the solution's end: PRM800K has no finish_reason for it")
    count = ratings.index(NEGATIVE) + 1 if is_wrong else len(ratings)
    steps = [_prm800k_step(step, f"steps[{at}]") for at, step in enumerate(record["steps"][:count])]
    label = {"steps": steps, "total_time": None, "finish_reason": "found_error" if is_wrong else "solution"}
    return _prm800k_row(_prm800k_question(record["problem"], texts, ground_truth_answer), label, labeler)


def labelling_queue(chosen: Record) -> dict[str, Any]:
    """Convert a chosen solution to a row of PRM800K before anyone labelled it.

    chosen: {"problem_id", "sample_index", "problem", "ground_truth_answer", "steps": ["7 + 5 = 12", …], "answer",
    "selector_score", "policy", "size", "place", "reason"}.

    {"labeler": null, "generation": null, …, "question": {"problem": "What is …", "ground_truth_answer": "9",
     "pre_generated_steps": ["7 + 5 = 12", …], "pre_generated_answer": "8", "pre_generated_verifier_score": 0.93, …},
     "label": {"steps": [{"completions": [{"text": "7 + 5 = 12", "rating": null, "flagged": null}], "human_completion":
     null, "chosen_completion": null}, …], "total_time": null, "finish_reason": null}, "problem_id": …, "sample_index":
     …, "selection": {"policy": "active", "size": 16, "place": 0, "reason": "convincing_wrong_answer"}}

    Once a labeller has filled in ratings, chosen_completion 0 at each right step, and finish_reason, and has taken away
    the steps behind the first wrong one (as in PRM800K's second phase), it is a line that prm800k.py reads. Raises
    LeftOut for a solution without steps.
    """
    texts = list(chosen["steps"])
    if not texts:
        raise LeftOut("the solution is empty")
    question = _prm800k_question(
        chosen["problem"], texts, chosen["ground_truth_answer"], chosen["answer"], chosen["selector_score"]
    )
    completions = [[{"text": text, "rating": None, "flagged": None}] for text in texts]
    steps = [{"completions": options, "human_completion": None, "chosen_completion": None} for options in completions]
    return {
        **_prm800k_row(question, {"steps": steps, "total_time": None, "finish_reason": None}, None),
        "problem_id": chosen["problem_id"],
        "sample_index": chosen["sample_index"],
        "selection": {name: chosen[name] for name in ("policy", "size", "place", "reason")},
    }


def _prm800k_row(question: Record, label: Record, labeler: str | None) -> dict[str, Any]:
    return {
        "labeler": labeler,
        "timestamp": None,
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": question,
        "label": label,
    }


def _prm800k_question(
    problem: str, steps: list[str], reference: str | None, answer: str | None = None, score: float | None = None
) -> dict[str, Any]:
    return {
        "problem": problem,
        "ground_truth_solution": None,
        "ground_truth_answer": reference,
        "pre_generated_steps": steps,
        "pre_generated_answer": answer,
        "pre_generated_verifier_score": score,
    }


def _prm800k_step(step: Record, where: str) -> dict[str, Any]:
    others = step.get("alternatives")
    if not isinstance(others, list | None):
        raise InputError(f"{where}.alternatives is {others!r}, not a list")
    places = [(step, where), *((other, f"{where}.alternatives[{at}]") for at, other in enumerate(others or []))]
    completions = [
        {"text": checked_text(each, place), "rating": hard_rating(each, place), "flagged": False}
        for each, place in places
    ]
    chosen = None if completions[0]["rating"] == NEGATIVE else 0
    return {"completions": completions, "human_completion": None, "chosen_completion": chosen}


def checked_text(step: Any, where: str) -> str:
    """Return a step's text. Raises InputError."""
    if not isinstance(step, Mapping) or not isinstance(step.get("text"), str):
        raise InputError(f"{where} has no text")
    return str(step["text"])


def _steps(record: Record) -> tuple[list[str], list[int | None]]:
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
    texts, ratings = _steps(record)
    rated = [at for at, rating in enumerate(ratings) if rating is not None]
    if not rated:
        raise LeftOut("no step is rated")
    count = ratings.index(NEGATIVE) + 1 if NEGATIVE in ratings else rated[-1] + 1
    known = [rating for rating in ratings[:count] if rating is not None]
    if len(known) < count:
        raise LeftOut("a step before the last labelled one is unrated")
    return texts[:count], known
