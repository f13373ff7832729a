"""Conversion of a study's joined rows into each published format (`components/data/export_formats.py`).

What the written rows have lost is counted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

from components.data import export_formats as formats
from components.data import export_prm800k
from components.dataflow.errors import InputError
from components.evaluation.first_error import first_wrong

Row = dict[str, Any]
Lost = Counter[str]
# A joined row, the command line, and what rows lost so far (added to) → the row of the format. Raises LeftOut and
# InputError.
Convert = Callable[[Row, argparse.Namespace, Lost], Row]


def _record(row: Row) -> Row:
    """Return our labelled row of a row of labelled_solutions, or of solutions and step labels (through the first
    −1)."""
    texts, ratings, soft = row["steps"], row["ratings"], row["probabilities"] or []
    if max(len(ratings), len(soft)) > len(texts):
        raise InputError("it has more ratings than steps")
    steps: list[Row] = [{"text": text, "rating": None, "probabilities": None, "alternatives": []} for text in texts]
    for name, values in (("rating", ratings), ("probabilities", soft)):
        for step, value in zip(steps, values, strict=False):
            step[name] = value
    for other in row["alternatives"] or []:
        if not 0 <= other["step"] < len(steps):
            raise InputError("an alternative is of no step")
        steps[other["step"]]["alternatives"].append(other)
    finished = row["finished"] if "finished" in row else row["finish_reason"] == "stop"
    return {"problem": row["problem"], "steps": steps, "finished": finished}


def _note_lost(lost: Lost, record: Row, steps: int, alternatives: int) -> None:
    """Count what a written row has lost. steps, alternatives: how many of the record's are in the written row."""
    written = record["steps"][:steps]
    lost["steps are not in written rows: they are behind the labels"] += len(record["steps"]) - steps
    in_record = sum(len(step["alternatives"]) for step in record["steps"])
    lost["alternatives to steps are not in written rows"] += in_record - alternatives
    lost["soft labels became the likelier class"] += sum(max(step["probabilities"] or [1]) < 1 for step in written)


def _signed(row: Row, lost: Lost, convert: Callable[[Row], Row]) -> Row:
    """Return a row of a format that knows right and wrong alone, with a label per step in it."""
    record = _record(row)
    converted, labelled = convert(record), formats.trl_stepwise(record)["labels"]
    _note_lost(lost, record, len(labelled), 0)
    neutral = [formats.hard_rating(step) == 0 for step in record["steps"][: len(labelled)]]
    lost["neutral steps count as right"] += sum(neutral)
    return converted


def trl_stepwise(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of TRL's stepwise supervision."""
    return _signed(row, lost, formats.trl_stepwise)


def math_shepherd(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of Math-Shepherd's data."""
    return _signed(row, lost, lambda record: formats.math_shepherd(record, options.task))


def prm800k(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of PRM800K's format."""
    record = _record(row)
    converted = export_prm800k.prm800k(record, row.get("label_source"), row.get("ground_truth_answer"))
    steps = converted["label"]["steps"]
    _note_lost(lost, record, len(steps), sum(len(step["completions"]) - 1 for step in steps))
    return converted


def labelling_queue(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of the labelling queue."""
    return export_prm800k.labelling_queue(row)


def trl_unpaired(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of TRL's unpaired preference."""
    return formats.trl_unpaired(row)


def processbench(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of ProcessBench's data."""
    identity = f"{row['problem_id']}-{row['sample_index']}"
    return formats.processbench(_record(row), identity, row["generator"], row["is_correct"])


def processbench_predictions(row: Row, options: argparse.Namespace, lost: Lost) -> Row:
    """Return a row of ProcessBench's data with the PRM's prediction. Raises LeftOut where there is no score."""
    if row["step_probabilities"] is None:
        raise formats.LeftOut("the PRM did not score it")
    prediction = first_wrong([negative for negative, *_ in row["step_probabilities"]], options.threshold)
    return formats.processbench_prediction(processbench(row, options, lost), prediction)
