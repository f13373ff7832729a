"""Solutions as Python callers give them to `Verifier.score`, and what the call returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Solution = tuple[str, Sequence[str]] | Mapping[str, Any]  # a problem and its steps, or a row with fields of these names


@dataclass(frozen=True)
class SolutionScores:
    """What a verifier says of some solutions, in their order.

    step_probabilities: for each solution an array of shape (steps, 3), of the classes negative, neutral, positive; None
    for an outcome verifier. score: shape (solutions,), higher is better. The score of a model trained here is the
    paper's product over steps (PRM) or P(correct) (ORM); the score of a style is what its authors compute, so it may be
    no probability.
    """

    step_probabilities: list[NDArray[np.floating]] | None
    score: NDArray[np.float64]


def solution_rows(solutions: Iterable[Solution]) -> list[dict[str, Any]]:
    """Return a row per solution, with the fields problem, steps, finish_reason and text.

    solutions: (problem, steps) pairs, or mappings with these fields and, where there is one, a finish_reason ("stop":
    the solution ended by itself, which is the default) and a text, which outcome styles read in place of the steps.
    Other fields are ignored. Raises ValueError, which names the solution's index and the field.
    """
    if isinstance(solutions, str | Mapping) or not isinstance(solutions, Iterable):
        raise ValueError(
            f"solutions: a list of (problem, steps) pairs or of mappings is wanted, not {_kind(solutions)}"
        )
    return [_row(f"solution {index}", solution) for index, solution in enumerate(solutions)]


def _row(place: str, solution: Any) -> dict[str, Any]:
    if isinstance(solution, Mapping):
        for name in ("problem", "steps"):
            if name not in solution:
                raise ValueError(f"{place}: {name}: the field is missing")
        fields = dict(solution)
    elif isinstance(solution, tuple | list) and len(solution) == 2:
        fields = {"problem": solution[0], "steps": solution[1]}
    else:
        raise ValueError(f"{place}: a (problem, steps) pair or a mapping is wanted, not {_kind(solution)}")
    if not isinstance(fields["problem"], str):
        raise ValueError(f"{place}: problem: a text is wanted, not {_kind(fields['problem'])}")
    row: dict[str, Any] = {"problem": fields["problem"], "steps": _steps(place, fields["steps"])}
    for name, default in (("finish_reason", "stop"), ("text", None)):
        value = fields.get(name, default)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{place}: {name}: a text is wanted, not {_kind(value)}")
        row[name] = default if value is None else value
    return row


def _steps(place: str, steps: Any) -> list[str]:
    if not isinstance(steps, Sequence | np.ndarray) or isinstance(steps, str | bytes):
        raise ValueError(f"{place}: steps: a list of texts is wanted, not {_kind(steps)}")
    texts = list(steps)
    if not texts:
        raise ValueError(f"{place}: steps: the list is empty")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{place}: steps: number {number} is {_kind(text)}, not a text")
    return texts


def _kind(value: Any) -> str:
    """Describe a value that does not fit, for a message."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "a text" if isinstance(value, str) else f"a {type(value).__name__}"
