"""Labels of steps as others write them, read as ours: ratings −1, 0, 1, or soft labels.

A list of labels is of one kind: true and false, + and −, 0 and 1 (0 is wrong), −1, 0 and 1 (0 is neutral), or chances
in [0, 1] that a step is right. A file is of one kind too, since 0 would mean two things else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from components.data.cells import reject_surrogates, short
from components.dataflow.errors import InputError
from components.text.answer_extraction import extract_answer
from schemas.ratings import NEGATIVE, POSITIVE

BINARY, RATINGS, SOFT = "labels 0 (wrong) and 1", "ratings -1, 0 (neutral) and 1", "chances in [0, 1]"
_WORDS = {"+": True, "-": False, "−": False}
Step = dict[str, Any]  # text, rating, probabilities


@dataclass(frozen=True)
class ImportedRow:
    """A row as ours: {"problem", "steps": [{"text", "rating"}], "finished"}; and what it looked like.

    notes: what a user should know of such rows. label_kind: BINARY, RATINGS or SOFT where the labels show it: 0 and 1,
    some number below 0, or some number between 0 and 1.
    """

    row: dict[str, Any]
    file_format: str
    notes: tuple[str, ...] = ()
    label_kind: str | None = None


def labelled_steps(
    problem: str, texts: Sequence[str], labels: object, name: str, file_format: str, of: str = "steps"
) -> ImportedRow:
    """Return the row of texts with a label each.

    name: the labels' field; of: that of the texts. Raises InputError, naming the field.
    """
    if not isinstance(labels, list):
        raise InputError(f"'{name}' is {short(labels)}, not a list of labels")
    if len(labels) != len(texts):
        raise InputError(f"'{name}' has {len(labels)} for {len(texts)} {of}")
    values, kind = _values(labels, name)
    steps = [{"text": text} | value for text, value in zip(texts, values, strict=True)]
    finished = extract_answer(texts[-1])[0] is not None
    return ImportedRow({"problem": problem, "steps": steps, "finished": finished}, file_format, label_kind=kind)


def _values(labels: Sequence[Any], name: str) -> tuple[list[Step], str | None]:
    """Return the rating of each label, or its soft label; and the kind of numbers, where it matters."""
    labels = [_WORDS.get(label.strip(), label) if isinstance(label, str) else label for label in labels]
    present = [label for label in labels if label is not None]
    if all(isinstance(label, bool) for label in present):
        return [_rated({True: POSITIVE, False: NEGATIVE, None: None}[label]) for label in labels], None
    if any(isinstance(label, bool) or not isinstance(label, int | float) for label in present):
        raise InputError(f"'{name}' is {short(labels)}, not a list of true and false, + and -, or numbers")
    if set(present) <= {0, 1}:
        kind = BINARY if 0 in present else None  # of 1 alone, nothing is in doubt
        return [_rated(None if label is None else POSITIVE if label else NEGATIVE) for label in labels], kind
    if set(present) <= {-1, 0, 1}:
        return [_rated(None if label is None else int(label)) for label in labels], RATINGS
    if all(0 <= label <= 1 for label in present):
        return [{"rating": None, "probabilities": _soft(label)} for label in labels], SOFT
    raise InputError(f"'{name}' is {short(labels)}, neither −1, 0 and 1 nor chances in [0, 1]")


def _rated(rating: int | None) -> Step:
    return {"rating": rating}


def _soft(right: float | None) -> list[float] | None:
    return None if right is None else [1 - right, 0.0, right]


def step_texts(value: object, name: str) -> list[str]:
    """Return a field as a list of steps' texts. Raises InputError."""
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InputError(f"{name!r} is {short(value)}, not a list of steps' texts")
    if error := reject_surrogates(value, name):
        raise InputError(error)
    return value


def two_kinds(kinds: Collection[str]) -> str | None:
    """Say so where some rows of a file have ratings −1, 0 and 1, and others labels where 0 is wrong; else None."""
    other = next((kind for kind in (BINARY, SOFT) if kind in kinds), None)
    if other is None or RATINGS not in kinds:
        return None
    return (
        f"some rows have {other}, others {RATINGS}: 0 would mean two things; write true and false, or steps of "
        "[{text, rating}]"
    )
