"""The examples of rows of tables: labelled, graded and sampled solutions, and those that cannot train, by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.text.rendering import Rendered, Tokenizer, has_answer, render
from components.training.examples import Example, generator_example, orm_example, prm_example
from schemas.ratings import NEGATIVE, ORM_LABELS, PRM_LABELS, StepLabel, one_hot


@dataclass(frozen=True)
class ExampleConfig:
    """Settings of the conversion of rows to examples.

    kind: generator, orm or prm. max_tokens: a longer example is left out, and counted.
    """

    kind: str
    max_tokens: int
    orm_positions: str = "every_token"
    prm_neutral: str = "class"
    prm_alternative_weight: float = 1.0
    prm_share_without_alternatives: float = 0.0
    orm_target: str = "is_correct"


@dataclass(frozen=True)
class ExampleResult:
    """The result of one input row: an example, or None; and its rows and labels, counted by what became of them."""

    example: Example | None
    counts: Mapping[str, int]


def make_examples(
    tokenizer: Tokenizer, rows: Sequence[Mapping[str, Any]], config: ExampleConfig, is_validation: Sequence[bool]
) -> list[ExampleResult]:
    """Return the result of each row, in order. is_validation: which rows are of validation problems."""
    finished = [row["finished"] if "finished" in row else row.get("finish_reason", "stop") == "stop" for row in rows]
    rendered = render(tokenizer, [row["problem"] for row in rows], [row["steps"] for row in rows], finished)
    return [
        _make(tokenizer, row, solution, config, is_for)
        for row, solution, is_for in zip(rows, rendered, is_validation, strict=True)
    ]


def _make(
    tokenizer: Tokenizer, row: Mapping[str, Any], rendered: Rendered, config: ExampleConfig, is_validation: bool
) -> ExampleResult:
    labels: Counter[str] = Counter()
    example, cause = None, ""
    if row["error"] is not None or row.get("dropped") or not row["steps"]:
        cause = "error" if row["error"] is not None else row.get("dropped") or "empty"
        labels[f"labels_dropped_{cause}"] = row.get("num_labels") or 0
    elif config.kind == "generator":
        example = generator_example(rendered)
    elif config.kind == "prm":
        policy = (config.prm_neutral, config.prm_alternative_weight, is_validation)
        example, labels = prm_example(*_labels(tokenizer, row, rendered), *policy, wrong=_wrong(row))
        cause = "" if example is not None else "unlabelled"
    elif row[config.orm_target] is None:
        cause = "ungraded"
    else:
        is_right = row[config.orm_target]
        example = orm_example(rendered, is_right, config.orm_positions)
        labels[f"labels_{ORM_LABELS[int(is_right)]}"] = 1
    if example is not None and int(example.positions.max()) >= config.max_tokens:
        example, cause = None, "too_long"
    if cause or is_validation:  # what would have been used is not
        used = sum(labels.pop(name, 0) for name in _USED)
        labels[f"labels_dropped_{cause}" if cause else "labels_held_out"] += used
    counts = Counter({f"rows_{cause or ('held_out' if is_validation else 'used')}": 1}) + labels
    return ExampleResult(example, counts)


_USED = [f"labels_{name}" for names in (ORM_LABELS, PRM_LABELS) for name in names.values()]


def _wrong(row: Mapping[str, Any]) -> list[int] | None:
    """Return the steps that a row with soft labels rates as wrong besides: of 3/8 right continuations, none."""
    if not row.get("probabilities") or all(rating is None for rating in row["ratings"]):
        return None
    return [step for step, rating in enumerate(row["ratings"]) if rating == NEGATIVE]


def _labels(
    tokenizer: Tokenizer, row: Mapping[str, Any], rendered: Rendered
) -> tuple[Rendered, list[StepLabel], list[tuple[Rendered, StepLabel]]]:
    """Return a row's solution with its steps' labels, and its alternatives with theirs."""
    labels: list[StepLabel] = row.get("probabilities") or [one_hot(rating) for rating in row["ratings"]]
    alternatives = row.get("alternatives") or []
    if not alternatives:  # to render nothing takes longer than the solution took, as one of a shard
        return rendered, labels, []
    histories = [[*row["steps"][: other["step"]], other["text"]] for other in alternatives]
    ends = [has_answer(other["text"]) for other in alternatives]
    sequences = render(tokenizer, [row["problem"]] * len(alternatives), histories, ends)
    marks = [other["probabilities"] or one_hot(other["rating"]) for other in alternatives]
    return rendered, labels, list(zip(sequences, marks, strict=True))
