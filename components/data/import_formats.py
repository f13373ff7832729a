"""The ecosystem's rows as ours: TRL's stepwise supervision and unpaired preference, Math-Shepherd's and ProcessBench's.

export_formats.py writes them, and says what the formats cannot hold. A row's format is recognised by its keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from components.data.export_formats import SHEPHERD_FIRST, SHEPHERD_TAG, Record
from components.dataflow.errors import InputError
from components.text.answer_extraction import extract_answer
from components.text.segmentation import steps
from schemas.ratings import NEGATIVE, NO_ERROR, POSITIVE

_ANY_FIRST = re.compile(r"\s*(?=\b[Ss]tep 1:)")
_RATINGS = {True: POSITIVE, False: NEGATIVE, None: None}
_SIGNS = {"+": True, "-": False}


def as_labelled(record: Record) -> dict[str, Any]:
    r"""Convert a row to our labelled row {"problem", "steps": [{"text", "rating"}], "finished"}; ours stay.

    {"prompt": "What is 7 + 5 - 3?", "completions": ["7 + 5 = 12", "12 - 3 = 8"], "labels": [true, false]}
    {"input": "What is … Step 1: 7 + 5 = 12 ки\nStep 2: …", "label": "What is … 12 +\nStep 2: …", "task": "MATH"}
    {"id": "gsm8k-0", "problem": "Sue lives in …", "steps": ["To find …", "On Saturday, …"], "label": 1, …}

    A right step is rated 1, a wrong one −1; in ProcessBench, steps behind the first wrong one are unrated. Signs behind
    the first wrong step are kept as they are: our readers count labels through it. The formats do not say whether a
    solution is `finished`: ProcessBench's all are; others are where the last step gives an answer
    (answer_extraction.py). Other fields (id, generator, task, …) are left out.

    Raises InputError, naming the field, where the row is malformed or of no known kind.
    """
    steps = record.get("steps")
    has_steps = "problem" in record and isinstance(steps, list)  # beside it, what is no list or text is another's field
    if isinstance(record.get("completions"), list) or ({"prompt", "completions"} & record.keys() and not has_steps):
        return _of_stepwise(record)
    if "input" in record and (isinstance(record.get("label"), str) or not has_steps):
        return _of_shepherd(record)
    if isinstance(steps, list) and steps and all(isinstance(step, Mapping) for step in steps) and "problem" in record:
        return dict(record)
    if "label" in record or (isinstance(steps, list) and any(isinstance(step, str) for step in steps)):
        return _of_processbench(record)
    if "problem" in record and "steps" in record:
        return dict(record)
    raise InputError(
        f"its fields {', '.join(map(repr, record)) or '(none)'} are those of no known format: give 'problem' and "
        "'steps', 'prompt', 'completions' and 'labels', or 'input' and 'label'"
    )


def as_graded(record: Record) -> dict[str, Any]:
    r"""Convert a row of TRL's unpaired preference to a graded solution {"problem", "text", "steps", "is_correct"}.

    {"prompt": "What is 7 + 5?", "completion": "7 + 5 = 12\n# Answer\n\n12", "label": true}

    A row that has problem, text and is_correct already stays. A row without steps is cut by `segmentation` (auto).
    Raises InputError, naming the field.
    """
    names = ("prompt", "completion", "label") if "completion" in record else ("problem", "text", "is_correct")
    problem, text, is_correct = (record.get(name) for name in names)
    if not isinstance(text, str):
        raise InputError(f"{names[1]!r} is {_short(text)}, not a text")
    if not isinstance(is_correct, bool):
        raise InputError(f"{names[2]!r} is {_short(is_correct)}, not true or false")
    texts = record.get("steps") if names[0] == "problem" else None
    if texts is not None and not (isinstance(texts, list) and all(isinstance(step, str) for step in texts)):
        raise InputError(f"'steps' is {_short(texts)}, not a list of steps' texts")
    texts = steps(text) if texts is None else texts
    return {"problem": _problem(problem, names[0]), "text": text, "steps": texts, "is_correct": is_correct}


def _of_stepwise(record: Record) -> dict[str, Any]:
    problem, texts, labels = _problem(record.get("prompt"), "prompt"), record.get("completions"), record.get("labels")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"'completions' is {_short(texts)}, not a list of steps' texts")
    if not isinstance(labels, list) or not all(isinstance(label, bool) for label in labels):
        raise InputError(f"'labels' is {_short(labels)}, not a list of true and false")
    if len(labels) != len(texts):
        raise InputError(f"'labels' has {len(labels)} for {len(texts)} 'completions'")
    return _labelled(problem, texts, labels)


def _of_shepherd(record: Record) -> dict[str, Any]:
    text, label = record.get("input"), record.get("label")
    for name, value in (("input", text), ("label", label)):
        if not isinstance(value, str):
            raise InputError(f"{name!r} is {_short(value)}, not a text")
    *segments, rest = str(text).split(SHEPHERD_TAG)
    if not segments:
        raise InputError(f"'input' has no step tag {SHEPHERD_TAG}")
    if rest.strip():
        raise InputError(
            f"'input' goes on behind its last {SHEPHERD_TAG}, with a step that has no label: {_short(rest)}"
        )
    labels = _signs(segments, rest, str(label))
    start, end = _first_step(segments[0])
    lines = [segments[0][end:], *(segment.removeprefix("\n") for segment in segments[1:])]
    texts = [line.removeprefix(f"Step {number}: ").removesuffix(" ") for number, line in enumerate(lines, 1)]
    return _labelled(_problem(segments[0][:start], "input"), texts, labels)


def _signs(segments: Sequence[str], rest: str, label: str) -> list[bool]:
    """Return the sign in `label` at each tag of `input`. Raises InputError where the two texts differ elsewhere."""
    signs, at = [], 0
    for number, segment in enumerate(segments):
        at += len(segment)
        sign = _SIGNS.get(label[at : at + 1])
        if label[at - len(segment) : at] != segment or sign is None:
            raise InputError(f"'label' is not 'input' with + or - in place of each {SHEPHERD_TAG}: see tag {number}")
        signs.append(sign)
        at += 1
    if label[at:] != rest:
        raise InputError(f"'label' goes on behind its last sign, unlike 'input': {_short(label[at:])}")
    return signs


def _first_step(head: str) -> tuple[int, int]:
    """Return where the problem ends and the first step begins. Raises InputError where 'input' does not show it."""
    at = head.find(SHEPHERD_FIRST)
    if at >= 0:
        return at, at + 1
    match = _ANY_FIRST.search(head)
    if match is None:
        raise InputError(f"'input' has no 'Step 1:' before its first {SHEPHERD_TAG}, so the problem's end is not known")
    return match.span()


def _of_processbench(record: Record) -> dict[str, Any]:
    problem, texts, label = _problem(record.get("problem"), "problem"), record.get("steps"), record.get("label")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise InputError(f"'steps' is {_short(texts)}, not a list of steps' texts")
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # pandas writes whole numbers as floats beside a null
    if isinstance(label, bool) or not isinstance(label, int) or not NO_ERROR <= label < len(texts):
        raise InputError(f"'label' is {_short(label)}, not the index of one of {len(texts)} steps, or -1")
    right = len(texts) if label == NO_ERROR else label
    labels = [True if at < right else False if at == right else None for at in range(len(texts))]
    return _labelled(problem, texts, labels) | {"finished": True}


def _labelled(problem: str, texts: Sequence[str], labels: Sequence[bool | None]) -> dict[str, Any]:
    rated = [{"text": text, "rating": _RATINGS[label]} for text, label in zip(texts, labels, strict=True)]
    return {"problem": problem, "steps": rated, "finished": extract_answer(texts[-1])[0] is not None}


def _problem(value: Any, name: str) -> str:
    if isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value):
        raise InputError(f"{name!r} is a conversation; give the problem's text")
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name!r} is {_short(value)}, not a problem's text")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
