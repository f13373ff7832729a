"""Training examples of the three models: the places of the targets, the targets, and their weights.

Generator: the next token, over the solution. ORM (paper §2.5): the outcome, at every solution token, question masked;
or at the last token alone, for comparison. PRM (paper §2.6): the class of each rated step, at the step's last token,
through the first negative. An alternative to a step is a sequence of its own, history + alternative, with one target at
its end; sequences of one solution share their prefixes (`prefix_tree.py`), which is exact and costs nothing twice.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.text.rendering import Rendered
from components.training.prefix_tree import Ints, prefix_tree
from schemas.ratings import PRM_LABELS, StepLabel

NEUTRAL_POLICIES = ("class", "positive", "negative", "ignore")
_NOTHING: Ints = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class Example:
    """One row of training data: a tree of tokens (see PrefixTree), and its targets.

    at, classes, weights: shape (targets,): the token with the target, its class, and its weight in the loss. A soft
    label is several targets at one token. read_at: where a score of the whole solution is read; is_right: the truth
    about the solution, None where it is not known. own_targets: so many, the first ones, are of the solution itself;
    the others are of alternatives to its steps. solutions: how many the example has (`grouped_examples.py`).
    """

    ids: Ints
    positions: Ints
    until: Ints
    at: Ints
    classes: Ints
    weights: NDArray[np.float32]
    read_at: Ints
    is_right: bool | None
    own_targets: int
    solutions: int = 1

    def without_alternatives(self) -> Example:
        """Return the example with the solution's own tokens and targets alone, through its last target.

        All of it where the solution has no target of its own.
        """
        if self.own_targets in (0, len(self.at)):
            return self
        targets = self.at[: self.own_targets]
        # The tokens with a target, and those that they see.
        is_own = np.zeros(len(self.ids), dtype=np.bool_)
        for last in np.unique(targets):
            is_own[: last + 1] |= self.until[: last + 1] > last
        own = np.flatnonzero(is_own).astype(np.int32)
        return dataclasses.replace(
            self,
            ids=self.ids[own],
            positions=self.positions[own],
            until=np.searchsorted(own, self.until[own]).astype(np.int32),
            at=np.searchsorted(own, targets).astype(np.int32),
            classes=self.classes[: self.own_targets],
            weights=self.weights[: self.own_targets],
            read_at=_NOTHING,
        )


def _single(rendered: Rendered, at: Ints, classes: Ints, read_at: Ints, is_right: bool | None) -> Example:
    tree = prefix_tree([rendered.ids])
    weights = np.ones(len(at), dtype=np.float32)
    return Example(tree.ids, tree.positions, tree.until, at, classes, weights, read_at, is_right, len(at))


def generator_example(rendered: Rendered) -> Example:
    """Return an example whose targets are the next token's id, from the prompt's last token to the last but one."""
    at = np.arange(rendered.prompt_length - 1, len(rendered.ids) - 1, dtype=np.int32)
    return _single(rendered, at, np.array(rendered.ids[rendered.prompt_length :], np.int32), _NOTHING, None)


def orm_example(rendered: Rendered, is_correct: bool, positions: str) -> Example:
    """Return an example whose targets are an ORM_LABELS key, at every solution token or at the last.

    Raises ValueError for other `positions`.
    """
    last = len(rendered.ids) - 1
    if positions not in ("every_token", "last_token"):
        raise ValueError(f"orm_positions {positions!r}: every_token or last_token")
    first = rendered.prompt_length if positions == "every_token" else last
    at = np.arange(first, last + 1, dtype=np.int32)
    return _single(rendered, at, np.full(len(at), int(is_correct), np.int32), np.array([last], np.int32), is_correct)


def class_weights(label: StepLabel, neutral: str) -> NDArray[np.float32] | None:
    """Return the weights of the three classes in training, shape (3,), or None for a step without a target.

    neutral: "class" keeps neutral as a class of its own; "positive" and "negative" move its probability there; "ignore"
    leaves it out. Raises ValueError for another policy.
    """
    if neutral not in NEUTRAL_POLICIES:
        raise ValueError(f"prm_neutral {neutral!r}: one of {', '.join(NEUTRAL_POLICIES)}")
    if label is None:
        return None
    weights = np.array(label, dtype=np.float32)
    if neutral != "class":
        moved, weights[1] = weights[1], 0.0
        if neutral != "ignore":
            weights[{"negative": 0, "positive": 2}[neutral]] += moved
    return weights if weights.sum() > 0 else None


def prm_example(
    rendered: Rendered,
    labels: Sequence[StepLabel],
    alternatives: Sequence[tuple[Rendered, StepLabel]],
    neutral: str,
    alternative_weight: float = 1.0,
    keep_all_tokens: bool = False,
    wrong: Sequence[int] | None = None,
) -> tuple[Example | None, Counter[str]]:
    """Build one PRM training example, and count its labels: those used by class, those dropped by cause.

    The target at the last token of each labelled step, through the first negative one, is its PRM_LABELS key; each
    alternative to those steps is a branch of its own with one target at its end. The example is None when no label is
    left.

    rendered: the solution; labels may be fewer than its steps. alternatives: history + alternative, and the label of
    its last step, which weighs `alternative_weight`, where one of the solution itself weighs 1. A step is negative that
    is more likely so than not, after the neutral policy (`class_weights`).

    keep_all_tokens: also those after the last label, which training has no use for and validation has. wrong: the
    solution's negative steps, where soft labels do not say; None: by that rule.
    """
    weights = [class_weights(label, neutral) for label in labels]
    negative = [step for step, of_step in enumerate(weights) if of_step is not None and of_step[0] > of_step.sum() / 2]
    negative = negative if wrong is None else list(wrong)
    stop = min(negative, default=len(labels))
    sequences = [rendered, *(other for other, _ in alternatives)]
    rated = [(0, step, label) for step, label in enumerate(labels)]  # sequence, its step, the label
    rated += [(row, len(other.step_ends) - 1, label) for row, (other, label) in enumerate(alternatives, start=1)]
    kept, counts = _kept(rated, stop, neutral)
    if not kept:
        return None, counts
    ends = {row: sequences[row].step_ends[step] + 1 for row, step, _ in kept}  # the last, since steps ascend
    if keep_all_tokens:
        ends[0] = len(rendered.ids)
    tree = prefix_tree([sequences[row].ids[:end] for row, end in ends.items()])
    places = dict(zip(ends, tree.places, strict=True))
    targets = [
        (places[row][sequences[row].step_ends[step]], label, weight * (alternative_weight if row else 1.0))
        for row, step, of_classes in kept
        for label, weight in enumerate(of_classes.tolist())
        if weight > 0
    ]
    example = Example(
        tree.ids,
        tree.positions,
        tree.until,
        np.array([at for at, _, _ in targets], np.int32),
        np.array([label for _, label, _ in targets], np.int32),
        np.array([weight for _, _, weight in targets], np.float32),
        places[0][rendered.step_ends] if keep_all_tokens else _NOTHING,
        False if negative else True if len(labels) == len(rendered.step_ends) and None not in labels else None,
        sum(int((of_classes > 0).sum()) for row, _, of_classes in kept if row == 0),
    )
    return example, counts


def _kept(
    rated: Sequence[tuple[int, int, StepLabel]], stop: int, neutral: str
) -> tuple[list[tuple[int, int, NDArray[np.float32]]], Counter[str]]:
    """Return those labels (sequence, step, label) that train, as class weights, and the counts of all."""
    counts: Counter[str] = Counter()
    kept = []
    for row, step, label in rated:
        weights = class_weights(label, neutral)
        if label is None:
            counts["labels_unrated"] += 1
        elif step > stop:
            counts["labels_dropped_after_first_negative"] += 1
        elif weights is None:
            counts["labels_dropped_neutral"] += 1
        else:
            likeliest = 0 if weights[0] > 0.5 * weights.sum() else 1 + int(weights[1:].argmax())
            counts[f"labels_{PRM_LABELS[likeliest]}"] += 1
            kept.append((row, step, weights))
    return kept, counts
