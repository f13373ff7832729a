"""PRM800K's raw lines as labelled solutions (paper §2.4; the released repository's README has the schema).

    {"labeler": "e90a…", "generation": 6, "is_quality_control_question": false, "is_initial_screening_question": false,
     "question": {"problem": "How many seconds are in 7.8 minutes?", "ground_truth_answer": "468", …},
     "label": {"steps": [{"completions": [{"text": "7.8 minutes is …", "rating": 1, "flagged": false}, …],
                          "human_completion": null, "chosen_completion": 0}, …],
               "total_time": 92405, "finish_reason": "solution"}}

The solution consists of the steps that the labeller went on from: the chosen completion of each step, or the one that
the labeller wrote; at the step where they found an error and chose none, the first, which is the generator's. All other
completions are alternatives at their step. Two decisions that the paper leaves open: a step that the labeller wrote has
no rating in the data and gets none here, and a corrected rating takes the place of the first one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.data.cells import short
from components.dataflow.errors import InputError

Row = Mapping[str, Any]
SOURCE = "prm800k"
# Lines that the paper's filter drops, by their finish_reason.
_UNUSED = ("bad_problem", "give_up")
_FINISHED = ("solution", "found_error", *_UNUSED)


def is_prm800k(record: Row) -> bool:
    """Return whether a line is of the released schema."""
    return isinstance(record.get("question"), dict) and isinstance(record.get("label"), dict)


def read_line(record: Row) -> dict[str, Any]:
    """Convert a line to a labelled solution: problem, steps (text, rating, provenance, alternatives), finished, and
    `dropped`, the filter's cause or None.

    Raises InputError, naming the field.
    """
    question, label = record["question"], record["label"]
    reason = label.get("finish_reason")
    steps: list[dict[str, Any]] = []
    dropped = _dropped(record, reason)
    try:
        _read_steps(record, label, reason, steps)
        if not steps and dropped is None:
            raise InputError("label.steps is empty")
    except InputError:
        if dropped is None:
            raise  # a line that is dropped anyway may be malformed
    return {"problem": question.get("problem"), "steps": steps, "finished": None, "dropped": dropped}


def _read_steps(record: Row, label: Row, reason: Any, solution: list[dict[str, Any]]) -> None:
    """Add the steps to `found`. Raises InputError."""
    steps, generation = label.get("steps"), record.get("generation")
    if reason not in _FINISHED:
        raise InputError(f"label.finish_reason is {short(reason)}, not one of {', '.join(_FINISHED)}")
    if not isinstance(steps, list):
        raise InputError("label.steps is not a list")
    phase = "phase 1" if generation is None else f"generation {generation}"
    for at, step in enumerate(steps):
        where = f"label.steps[{at}]"
        step_found = _step(step, where, at == len(steps) - 1, f"{SOURCE}, {phase}")
        if step_found is None:
            if at < len(steps) - 1:
                raise InputError(f"{where} has neither completions nor a human completion")
            break  # no completion: the labeller gave up here
        solution.append(step_found)


def _dropped(record: Row, reason: Any) -> str | None:
    if record.get("is_quality_control_question"):
        return "quality_control"
    if record.get("is_initial_screening_question"):
        return "screening"
    return str(reason) if reason in _UNUSED else None


def _step(step: Row, where: str, is_last: bool, source: str) -> dict[str, Any] | None:
    """Return the completion that the solution goes on with, with the others as alternatives; None for no completion."""
    if not isinstance(step, dict):
        raise InputError(f"{where} is not an object")
    completions: Sequence[Row] = step.get("completions") or []
    if not isinstance(completions, list):
        raise InputError(f"{where}.completions is {short(completions)}, not a list")
    human, chosen = step.get("human_completion"), step.get("chosen_completion")
    labels = [_label(each, f"{where}.completions[{place}]", source) for place, each in enumerate(completions)]
    if chosen is not None:
        if isinstance(chosen, bool) or not isinstance(chosen, int) or not 0 <= chosen < len(labels):
            raise InputError(f"{where}.chosen_completion is {short(chosen)} of {len(labels)} completions")
        own = labels.pop(chosen)
        if human is not None:
            labels.append(_label(human, f"{where}.human_completion", f"{source}, written by the labeler"))
    elif human is not None:
        own = _label(human, f"{where}.human_completion", f"{source}, written by the labeler")
    elif labels and is_last:
        # An error was found, or labelling ended here: the generator's own step is the first.
        own = labels.pop(0)
    elif labels:
        raise InputError(f"{where} has no chosen and no human completion, and is not the last step")
    else:
        return None
    return {**own, "alternatives": labels}


def _label(completion: Row, where: str, source: str) -> dict[str, Any]:
    if not isinstance(completion, dict) or not isinstance(completion.get("text"), str):
        raise InputError(f"{where} has no text")
    corrected = completion.get("corrected_rating")
    rating = completion.get("rating") if corrected is None else corrected
    if corrected is not None:
        source += ", corrected"
    if completion.get("flagged"):
        source += ", flagged as unsure"
    return {"text": completion["text"], "rating": rating, "provenance": source}
