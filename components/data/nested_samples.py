"""Rows that hold all samples of a problem, unfolded to a row per sample: search-and-learn's, Qwen's and RLHFlow's files.

    {"problem": "…", "answer": "3", "completions": ["…", "…"], "scores": [[0.9, 0.8], [0.7, 0.1]], "agg_scores": [0.8, 0.1]}
    {"question": "…", "gt": "3", "code": ["…", "…"], "pred": ["3", "4"], "score": [true, false], "pred_score": [[0.9], [0.8]]}
    {"prompt": "…", "answers": ["…", "…"], "label": [1, 0], "step_scores": [[0.9, 0.8], [0.7]]}

The columns of a sample get our names. Scores of steps are multiplied, as the paper does, and are the PRM's.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from components.data.cells import Record, UnreadableCell, UnreadableRow, cell, columns_of, short

PROBLEMS = ("problem", "question", "prompt")
REFERENCES = ("ground_truth_answer", "expected_answer", "gt", "gt_answer", "reference_answer", "ground_truth")
_ATTRIBUTES = ("source", "level", "subject")
# Columns of the texts of several samples; and of one sample's text.
_TEXTS = ("completions", "code", "responses", "generations", "outputs", "samples", "solutions", "answers", "completion")
TEXTS = ("text", "completion", "generation", "generated_solution", "response", "output", "model_output", "code")
_ANSWERS = ("pred", "preds", "predictions", "predicted_answers", "extracted_answers")
_OUTCOMES = ("is_correct", "score", "label", "labels", "correct", "correctness")
_ZERO_OR_ONE = ("label", "labels", "is_correct", "correct", "correctness")
_SCORES = ("agg_scores", "scores", "pred_score", "step_scores", "prm_scores", "prm_score", "rewards")
_ORM_SCORES = ("orm_scores", "orm_score")
_LISTS = frozenset((*_TEXTS, *_ANSWERS))


def is_nested(record: Record, needs_scores: bool = True) -> bool:
    """Return whether a row holds several samples: a list of texts or of answers, and a list of scores beside it.

    needs_scores: False: the list of scores may be missing, as in samples that no verifier has read yet.
    """
    if _LISTS.isdisjoint(record) or _first(record, (*_TEXTS, *_ANSWERS), str) is None:
        return False
    if _scores(record, _SCORES) is not None or _scores(record, _ORM_SCORES) is not None:
        return True
    return not needs_scores and not _is_one_sample(record)


def _is_one_sample(record: Record) -> bool:
    """Tell whether a row has a text, a grade or a score of its own, or rated steps as TRL has them (without a
    reference): its lists are of something else than samples."""
    is_stepwise = {"completions", "labels"} <= record.keys() and record.keys().isdisjoint((*REFERENCES, "answer"))
    return (
        is_stepwise
        or any(isinstance(record.get(name), str) for name in TEXTS)
        or any(isinstance(record.get(name), bool) for name in _OUTCOMES)
        or any(isinstance(record.get(name), int | float) for name in ("prm_score", "orm_score"))
    )


def unfold(records: Iterable[Record], needs_scores: bool = True) -> Iterator[tuple[int, Record]]:
    """Yield (number of the row in the file, row of one sample). Rows of one sample stay as they are.

    In a file of rows of several samples, a row that has none counts as a problem without samples where its list is
    empty, and else is an error. needs_scores: as of `is_nested`.
    """
    any_nested = False
    for number, record in enumerate(records):
        if is_nested(record, needs_scores):
            any_nested = True
            yield from ((number, sample) for sample in _samples(record))
        elif any_nested and not isinstance(record, UnreadableRow):
            yield number, _without_samples(record)
        else:
            yield number, record


def nested_columns(record: Record) -> dict[str, str]:
    """Return our name of each list that is read of a row of several samples → the row's own name."""
    texts, answers = _first(record, _TEXTS, str), _first(record, _ANSWERS, str)
    columns = {
        "text": texts,
        "answer": answers,
        "is_correct": _first(record, _OUTCOMES, bool),
        "prm_score": _scores(record, _SCORES),
        "orm_score": _scores(record, _ORM_SCORES),
    }
    if columns["is_correct"] is None:
        columns["is_correct"] = _first(record, _ZERO_OR_ONE, int) or _first(record, _ZERO_OR_ONE, float)
    return {ours: theirs for ours, theirs in columns.items() if theirs is not None}


def _samples(record: Record) -> Iterator[Record]:
    columns = nested_columns(record)
    length = len(record[columns.get("text", columns.get("answer", ""))])
    shared = _shared(record)
    if any(len(record[theirs]) != length for theirs in columns.values()):
        lengths = ", ".join(f"{len(record[theirs])} '{theirs}'" for theirs in columns.values())
        yield UnreadableRow(f"it has {lengths}: a row of several samples has one of each for each", shared)
        return
    for at in range(length):
        sample = {ours: record[theirs][at] for ours, theirs in columns.items()}
        yield shared | {ours: _score(value) if ours.endswith("_score") else value for ours, value in sample.items()}


def _shared(record: Record) -> dict[str, Any]:
    """Return what all samples of a row have: the problem, the reference and the attributes."""
    columns = shared_columns(record)
    shared = {"problem": None, "ground_truth_answer": None} | {o: cell(record, theirs) for o, theirs in columns.items()}
    return shared | {name: record[name] for name in _ATTRIBUTES if name in record}


def shared_columns(record: Record) -> dict[str, str]:
    """Return our name of what is the same for all samples of a row → the row's own name."""
    problem = next((name for name in PROBLEMS if name in record), None)
    references = (name for name in (*REFERENCES, "answer") if isinstance(cell(record, name), str | int | float))
    columns = {"problem": problem, "ground_truth_answer": next(references, None)}
    return {ours: theirs for ours, theirs in columns.items() if theirs is not None}


def told(record: Record) -> str:
    """Say which columns of a row of several samples are read as what, and which are not read."""
    columns = shared_columns(record) | nested_columns(record)
    renamed = ", ".join(f"{ours} from '{theirs}'" for ours, theirs in columns.items() if ours != theirs)
    unread = [name for name in record if name not in (*columns.values(), *_ATTRIBUTES)]
    more = f"; ignored of it: {columns_of(dict.fromkeys(unread))}" if unread else ""
    return f"a row holds all samples of a problem: {renamed}{more}"


def _without_samples(record: Record) -> Record:
    shared = _shared(record)
    if any(record.get(name) == [] for name in (*_TEXTS, *_ANSWERS)):
        return shared
    return UnreadableRow("it has no lists of samples and of their scores, as rows before it have", shared)


def _first(record: Record, names: Iterable[str], kind: type) -> str | None:
    """Return the first of the columns that is a list of such values (or of nulls among them)."""
    for name in names:
        values = record.get(name)
        if isinstance(values, list) and values and any(type(value) is kind for value in values):
            return name
    return None


def _scores(record: Record, names: Iterable[str]) -> str | None:
    """Return the first of the columns that is a list of scores: numbers, or lists of the steps' numbers."""
    for name in names:
        values = record.get(name)
        if isinstance(values, list) and values and not any(isinstance(value, bool | str) for value in values):
            return name
    return None


def _score(value: Any) -> Any:
    """Return a sample's score; of steps' scores the product. What is no number is an error of its row."""
    if not isinstance(value, list):
        return value
    if value and all(isinstance(step, int | float) for step in value):
        try:
            return math.prod(map(float, value))
        except OverflowError:  # an integer beyond what floats hold
            return UnreadableCell(short(value))
    return UnreadableCell(short(value))
