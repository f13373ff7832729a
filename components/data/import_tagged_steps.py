"""Solutions whose steps are told apart by tags or turns, as ours: rows of Math-Shepherd, OpenRLHF, OpenR and RLHFlow.

The problem and the first step stand in one text, and part at "Step 1:".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from components.data.cells import Record, short
from components.data.export_formats import SHEPHERD_FIRST, SHEPHERD_TAG
from components.data.step_labels import ImportedRow, labelled_steps
from components.dataflow.errors import InputError

_ANY_FIRST = re.compile(r"\s*(?=\b[Ss]tep 1:)")
_SECOND = re.compile(r"\b[Ss]tep 1:[\s\S]*\n\s*[Ss]tep 2:")
_SIGNS = {"+": True, "-": False}
_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt", "model")


def of_shepherd(record: Record) -> ImportedRow:
    """Convert a row of Math-Shepherd: `input` with a tag behind each step, `label` with + or − in its place."""
    text, label = _text(record, "input"), _text(record, "label")
    *segments, rest = text.split(SHEPHERD_TAG)
    if not segments:
        raise InputError(f"'input' has no step tag {SHEPHERD_TAG}")
    _check_end(rest, "input")
    labels = _signs(segments, rest, label)
    problem, texts = _parted(segments, "input")
    return labelled_steps(problem, texts, labels, "label", "Math-Shepherd's")


def of_openrlhf(record: Record, name: str) -> ImportedRow:
    """Convert a row of OpenRLHF: `input` with a tag behind each step, and a list of + and −, or of chances."""
    *segments, rest = _text(record, "input").split(SHEPHERD_TAG)
    if not segments:
        raise InputError(f"'input' has no step tag {SHEPHERD_TAG}")
    _check_end(rest, "input")
    problem, texts = _parted(segments, "input")
    return labelled_steps(problem, texts, record[name], name, "OpenRLHF's", "step tags of 'input'")


def of_openr(record: Record, name: str) -> ImportedRow:
    """Convert a row of OpenR: `question`, `process` with a tag behind each step, and a list of labels."""
    *segments, rest = _text(record, "process").split(SHEPHERD_TAG)
    _check_end(rest, "process")
    texts = _numbered([segment.removeprefix("\n") for segment in segments])
    return labelled_steps(_text(record, "question"), texts, record.get(name), name, "OpenR's", "step tags of 'process'")


def of_conversation(record: Record) -> ImportedRow:
    """Convert a conversation in RLHFlow's or ShareGPT's form: the assistant answers each step with + or −."""
    turns = [_turn(turn, at) for at, turn in enumerate(record["conversations"])]
    if turns and turns[0][0] == "system":
        turns = turns[1:]
    roles = [role for role, _ in turns]
    if not turns or len(turns) % 2 or roles != ["user", "assistant"] * (len(turns) // 2):
        raise InputError("'conversations' is not steps of the user, each answered by the assistant with + or -")
    problem, texts = _parted([text for _, text in turns[::2]], "conversations")
    if len(turns) == 2 and _SECOND.search(turns[0][1]):
        raise InputError("'conversations' has one label for a text of several steps: an outcome, no labels of steps")
    labels = [text.strip() for _, text in turns[1::2]]
    if any(label not in _SIGNS for label in labels):
        raise InputError(f"'conversations' answers a step with {short(next(x for x in labels if x not in _SIGNS))}")
    return labelled_steps(problem, texts, labels, "conversations", "RLHFlow's conversations")


def _turn(turn: Any, at: int) -> tuple[str, str]:
    if isinstance(turn, Mapping):
        role, text = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if isinstance(text, str) and isinstance(role, str):
            return "user" if role in _USERS else "assistant" if role in _ASSISTANTS else role, text
    raise InputError(f"conversations[{at}] is {short(turn)}, not a turn with a role and a text")


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise InputError(f"{name!r} is {short(value)}, not a text")
    return value


def _check_end(rest: str, name: str) -> None:
    if rest.strip():
        raise InputError(
            f"{name!r} goes on behind its last {SHEPHERD_TAG}, with a step that has no label: {short(rest)}"
        )


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
        raise InputError(f"'label' goes on behind its last sign, unlike 'input': {short(label[at:])}")
    return signs


def _parted(segments: Sequence[str], name: str) -> tuple[str, list[str]]:
    """Return the problem, and the steps' texts. Raises InputError where the first segment does not show its end."""
    head = segments[0]
    start = head.find(SHEPHERD_FIRST)
    end = start + 1
    if start < 0:
        match = _ANY_FIRST.search(head)
        if match is None:
            raise InputError(f"{name!r} has no 'Step 1:' in its first step, so the problem's end is not known")
        start, end = match.span()
    if not head[:start].strip():
        raise InputError(f"{name!r} has no problem before 'Step 1:'")
    return head[:start], _numbered([head[end:], *(segment.removeprefix("\n") for segment in segments[1:])])


def _numbered(lines: Sequence[str]) -> list[str]:
    return [line.removeprefix(f"Step {number}: ").removesuffix(" ") for number, line in enumerate(lines, 1)]
