"""Our rows as PRM800K's: labelled solutions, and solutions that wait for labels.

What is lost on the way, and what a labelled row is, stands in export_formats.py; prm800k.py reads the rows back.
"""

from __future__ import annotations

from typing import Any

from components.data.export_formats import LeftOut, Record, checked_text, hard_rating, rated_steps
from components.dataflow.errors import InputError
from components.text.rendering import has_answer
from schemas.ratings import NEGATIVE


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
    texts, ratings = rated_steps(record)
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
