"""A generator's confidence in a solution, from the probabilities that it gives the solution's tokens.

    mean_log_probability      mean log-probability of the tokens themselves
    self_certainty            mean over tokens of KL(uniform ‖ next-token distribution), over the whole vocabulary
                              (Kang et al. 2025)
    mean_confidence           mean of the tokens' confidences (DeepConf, Fu et al. 2025: average trace confidence)
    lowest_group_confidence   the least mean of a window of tokens
    bottom_10_confidence      mean of the tenth of the windows whose means are the least
    tail_confidence           mean of the last tokens, as many as a window has

DeepConf's confidence of a token is the negative mean log-probability of the likeliest tokens in its place: it is high
where all but one of them are improbable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.statistics.best_of_n import Floats

LIKELIEST = 20  # tokens of a place that DeepConf's confidence is the mean of
MEASURES = (
    "mean_log_probability",
    "self_certainty",
    "mean_confidence",
    "lowest_group_confidence",
    "bottom_10_confidence",
    "tail_confidence",
)


@dataclass(frozen=True)
class TokenProbabilities:
    """What a generator's distributions say at the places of a solution's tokens, shape (tokens,) each.

    log_probability: of the token that stands there. confidence: DeepConf's. certainty: KL(uniform ‖ distribution).
    """

    log_probability: Floats
    confidence: Floats
    certainty: Floats


def measures(tokens: TokenProbabilities, window: int) -> dict[str, float]:
    """Return each of MEASURES: the higher, the surer. window: tokens of a group (2048 in DeepConf); a shorter solution
    is one group. Raises ValueError for a solution without tokens."""
    confidence = tokens.confidence.astype(np.float64)
    if not len(confidence):
        raise ValueError("a solution without tokens has no confidence")
    size = min(window, len(confidence))
    sums = np.concatenate([[0.0], confidence.cumsum()])
    groups = np.sort((sums[size:] - sums[:-size]) / size)
    return {
        "mean_log_probability": float(tokens.log_probability.mean(dtype=np.float64)),
        "self_certainty": float(tokens.certainty.mean(dtype=np.float64)),
        "mean_confidence": float(confidence.mean()),
        "lowest_group_confidence": float(groups[0]),
        "bottom_10_confidence": float(groups[: max(1, len(groups) // 10)].mean()),
        "tail_confidence": float(confidence[-size:].mean()),
    }
