"""Log-ratios of a language model with a reference model, from which implicit PRMs have their scores (Yuan et al. 2024).

After token t of an answer the score is beta · Σ_{s ≤ t} (log P(s | before) − log P_reference(s | before)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.training.loop import predict
from components.training.prefix_tree import PrefixTree
from components.verifiers.styled_rendering import StyledText

_ROWS = 256  # positions whose logits over the whole vocabulary are held at once


def answer_log_probabilities(
    hidden: Any, head: Any, trees: Sequence[PrefixTree], groups: Sequence[Sequence[StyledText]]
) -> list[list[NDArray[np.float64]]]:
    """Return log P of each token of each answer, by group: shape (tokens from `answer_start` on,).

    hidden: a SelectiveLogits whose head is the identity. head: hidden states to logits of the vocabulary. trees: of the
    solutions of each group.
    """
    at = [
        np.concatenate([tree.places[i][text.answer_start - 1 : -1] for i, text in enumerate(group)])
        for tree, group in zip(trees, groups, strict=True)
    ]
    found = []
    for states, group in zip(predict(hidden, trees, at, softmax=False), groups, strict=True):
        targets = np.concatenate([np.array(text.ids[text.answer_start :]) for text in group])
        logs = _log_probabilities(head, states, targets)
        cuts = np.cumsum([len(text.ids) - text.answer_start for text in group])[:-1]
        found.append(np.split(logs, cuts))
    return found


@torch.no_grad()
def _log_probabilities(head: Any, states: np.ndarray, targets: np.ndarray) -> NDArray[np.float64]:
    weight, parts = head.weight, []
    for start in range(0, len(states), _ROWS):
        rows = torch.from_numpy(states[start : start + _ROWS]).to(weight.device, weight.dtype)
        logs = head(rows).float().log_softmax(-1)
        chosen = torch.from_numpy(targets[start : start + _ROWS]).to(weight.device)
        parts.append(logs.gather(1, chosen[:, None])[:, 0].double().cpu().numpy())
    return np.concatenate(parts)


def summed_at_steps(text: StyledText, difference: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Return beta times the sum of differences from the answer's beginning through each step's end, shape (steps,)."""
    return beta * np.cumsum(difference)[np.array(text.read_at) - text.answer_start]
