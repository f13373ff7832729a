"""Training examples of the three models: where each predicts, and what.

Generator: the next token, over the solution. ORM (paper §2.5): the outcome, at every solution token, question masked.
PRM (paper §2.6): the class of each rated step, at the step's last token, through the first negative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.text_format import Rendered

IGNORE = -100
ORM_LABELS = {0: "incorrect", 1: "correct"}
PRM_LABELS = {0: "negative", 1: "neutral", 2: "positive"}


def generator_targets(rendered: Rendered) -> np.ndarray:
    """shape (tokens,): the next token's id, from the prompt's last token to the one before the end."""
    targets = np.full(len(rendered.ids), IGNORE, dtype=np.int32)
    targets[rendered.prompt_length - 1 : -1] = rendered.ids[rendered.prompt_length :]
    return targets


def orm_targets(rendered: Rendered, is_correct: bool) -> np.ndarray:
    """shape (tokens,): an ORM_LABELS key at every solution token."""
    targets = np.full(len(rendered.ids), IGNORE, dtype=np.int32)
    targets[rendered.prompt_length :] = int(is_correct)
    return targets


def prm_targets(rendered: Rendered, ratings: Sequence[int]) -> np.ndarray:
    """shape (tokens,): a PRM_LABELS key at the last token of each rated step; `ratings` may be shorter than steps."""
    targets = np.full(len(rendered.ids), IGNORE, dtype=np.int32)
    for end, rating in zip(rendered.step_ends, ratings, strict=False):
        targets[end] = rating + 1
        if rating < 0:
            break
    return targets
