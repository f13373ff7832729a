"""The ecosystem's rows of rated steps as ours: TRL's stepwise supervision, Math-Shepherd's, OpenRLHF's, OpenR's,
RLHFlow's, ProcessBench's and PRMBench's rows, and lists of steps and labels.

export_formats.py writes the first two and ProcessBench's, and says what the formats cannot hold. A row's format is
recognised by its fields; a field that the format does not know is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.data.cells import Record, UnreadableRow, columns_of, reject_surrogates, short
from components.data.import_tagged_steps import of_conversation, of_openr, of_openrlhf, of_shepherd
from components.data.prm800k import is_prm800k, read_line
from components.data.step_labels import ImportedRow, labelled_steps, step_texts
from components.dataflow.errors import InputError
from schemas.ratings import NO_ERROR

_NEUTRAL_IS_WRONG = (
    "rows have a right step behind a wrong one, and steps from there on are not used; note that in TRL's PRM800K a "
    "neutral step counts as wrong"
)


def as_labelled(record: Record) -> dict[str, Any]:
    r"""Convert a row to our labelled row {"problem", "steps": [{"text", "rating"}], "finished"}; ours stay.

    {"prompt": "What is 7 + 5 - 3?", "completions": ["7 + 5 = 12", "12 - 3 = 8"], "labels": [true, false]}
    {"input": "What is … Step 1: 7 + 5 = 12 ки\nStep 2: …", "label": "What is … 12 +\nStep 2: …", "task": "MATH"}
    {"input": "What is … Step 1: 7 + 5 = 12 ки\nStep 2: … ки", "value": ["+", "-"]}                     OpenRLHF
    {"question": "What is …", "process": "Step 1: 7 + 5 = 12 ки\nStep 2: … ки", "labels": [1, 0]}       OpenR
    {"conversations": [{"role": "user", "content": "What is … Step 1: …"}, {"role": "assistant", "content": "+"}, …]}
    {"problem": "What is …", "steps": ["7 + 5 = 12", "12 - 3 = 8"], "labels": [1, -1]}
    {"id": "gsm8k-0", "problem": "Sue lives in …", "steps": ["To find …", "On Saturday, …"], "label": 1, …}
    {"modified_question": "What is …", "modified_process": ["7 + 5 = 12", …], "error_steps": [2]}       PRMBench

    A right step is rated 1, a wrong one −1; in ProcessBench and PRMBench, steps behind the first wrong one are unrated.
    Chances in [0, 1] are soft labels (step_labels.py). Signs behind the first wrong step are kept as they are: our
    readers count labels through it. The formats do not say whether a solution is `finished`: ProcessBench's and
    PRMBench's all are; others are where the last step gives an answer (answer_extraction.py).

    Raises InputError, naming the field, where the row is malformed or of no known kind.
    """
    return import_row(record).row


def import_row(record: Record) -> ImportedRow:
    """Convert a row as `as_labelled` does, and say which format it has. PRM800K's lines have `dropped` too."""
    if isinstance(record, UnreadableRow):
        raise InputError(record.why)
    imported = _imported(record)
    if error := reject_surrogates({name: imported.row.get(name) for name in ("problem", "steps")}, ""):
        raise InputError(error)
    return imported


def _imported(record: Record) -> ImportedRow:
    if is_prm800k(record):
        return ImportedRow(read_line(record), "PRM800K's")
    steps = record.get("steps")
    # Beside a list of steps, what is no list or text is another's field.
    has_steps = isinstance(steps, list) and _question(record) is not None
    if isinstance(record.get("conversations"), list) and not has_steps:
        return of_conversation(record)
    if isinstance(record.get("completions"), list) or ({"prompt", "completions"} & record.keys() and not has_steps):
        return _of_stepwise(record)
    if isinstance(steps, list) and steps and all(isinstance(step, Mapping) for step in steps) and has_steps:
        return ImportedRow({**record, "problem": _question(record)}, "problem and rated steps")
    if "input" in record and (isinstance(record.get("label"), str) or not has_steps):
        of_list = _list_of_labels(record, "value", "values", "labels", "label")
        return of_shepherd(record) if of_list is None else of_openrlhf(record, of_list)
    if "process" in record and ({"labels", "label"} & record.keys()) and not has_steps:
        return of_openr(record, _list_of_labels(record, "labels", "label") or "labels")
    if "modified_process" in record and "error_steps" in record:
        return _of_prmbench(record)
    if isinstance(record.get("labels"), list) and has_steps:
        texts = step_texts(steps, "steps")
        return labelled_steps(
            _problem(_question(record), "problem"), texts, record["labels"], "labels", "steps, labels"
        )
    if "label" in record or (isinstance(steps, list) and any(isinstance(step, str) for step in steps)):
        return _of_processbench(record)
    if "problem" in record:
        return ImportedRow(dict(record), "problem and rated steps")
    raise InputError(
        f"its fields {columns_of(record)} are those of no known format: give 'problem' and 'steps', 'prompt', "
        "'completions' and 'labels', or 'input' and 'label'"
    )


def _list_of_labels(record: Record, *names: str) -> str | None:
    return next((name for name in names if isinstance(record.get(name), list)), None)


def _question(record: Record) -> Any:
    """Return the problem of a row with steps: `problem`, else `question`; None without one."""
    return record.get("problem", record.get("question"))


def _of_stepwise(record: Record) -> ImportedRow:
    problem = _problem(record.get("prompt", _question(record)), "prompt")
    texts, labels = step_texts(record.get("completions"), "completions"), record.get("labels")
    imported = labelled_steps(problem, texts, labels, "labels", "TRL's stepwise supervision", "'completions'")
    ratings = [step["rating"] for step in imported.row["steps"]]
    if -1 in ratings and 1 in ratings[ratings.index(-1) :]:
        return dataclasses.replace(imported, notes=(_NEUTRAL_IS_WRONG,))
    return imported


def _of_processbench(record: Record) -> ImportedRow:
    problem, texts = _problem(_question(record), "problem"), step_texts(record.get("steps"), "steps")
    if "" in texts:
        raise InputError(f"'steps' is {short(texts)}, not a list of steps' texts")
    return _through_first_error(problem, texts, record.get("label"), "label", "ProcessBench's")


def _of_prmbench(record: Record) -> ImportedRow:
    problem = _problem(record.get("modified_question", record.get("question")), "modified_question")
    texts, wrong = step_texts(record["modified_process"], "modified_process"), record["error_steps"]
    if not isinstance(wrong, list) or not all(
        isinstance(at, int | float) and not isinstance(at, bool) and 1 <= at <= len(texts) for at in wrong
    ):
        raise InputError(f"'error_steps' is {short(wrong)}, not numbers of {len(texts)} steps, from 1")
    return _through_first_error(problem, texts, int(min(wrong)) - 1 if wrong else NO_ERROR, "error_steps", "PRMBench's")


def _through_first_error(problem: str, texts: list[str], label: Any, name: str, file_format: str) -> ImportedRow:
    """Return the row of a finished solution. label: the index of its first wrong step, or −1."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # pandas writes whole numbers as floats beside a null
    if isinstance(label, bool) or not isinstance(label, int) or not NO_ERROR <= label < len(texts):
        raise InputError(f"{name!r} is {short(label)}, not the index of one of {len(texts)} steps, or -1")
    right = len(texts) if label == NO_ERROR else label
    labels = [True if at < right else False if at == right else None for at in range(len(texts))]
    imported = labelled_steps(problem, texts, labels, name, file_format)
    return dataclasses.replace(imported, row=imported.row | {"finished": True})


def _problem(value: Any, name: str) -> str:
    if isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value):
        raise InputError(f"{name!r} is a conversation; give the problem's text")
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name!r} is {short(value)}, not a problem's text")
    return value
