"""Schemas of the scores of any verifier, as `compare_verifiers` keeps them."""

from __future__ import annotations

import pyarrow as pa

from schemas.tables import ERROR, SAMPLE, table

_NUM_TOKENS = ("num_tokens", pa.int32(), True, "tokens that the model reads for it, those of the prompt included")

VERIFIER_SCORES = table(
    *SAMPLE,
    ("score", pa.float64(), True, "of the solution: the higher, the better; a process verifier's by its style"),
    (
        "step_probabilities",
        pa.list_(pa.list_(pa.float32(), 3)),
        True,
        "per step P(negative), P(neutral), P(positive); null of an outcome verifier",
    ),
    _NUM_TOKENS,
    ERROR,
)

CONFIDENCE_SCORES = table(
    *SAMPLE,
    ("mean_log_probability", pa.float64(), True, "mean log-probability of the solution's tokens, natural logarithm"),
    ("self_certainty", pa.float64(), True, "mean KL(uniform ‖ next-token distribution), in nats"),
    ("mean_confidence", pa.float64(), True, "mean of DeepConf's token confidences"),
    ("lowest_group_confidence", pa.float64(), True, "the least mean of a window of them"),
    ("bottom_10_confidence", pa.float64(), True, "mean of the tenth of the windows with the least means"),
    ("tail_confidence", pa.float64(), True, "mean of the last ones, as many as a window has"),
    _NUM_TOKENS,
    ERROR,
)

JUDGE_VOTES = table(
    *SAMPLE,
    ("vote", pa.int32(), False, "0-based number of the verdict"),
    ("text", pa.string(), False, "what the judge wrote"),
    (
        "status",
        pa.string(),
        False,
        "ok, unparsable (no verdict), no_such_step, no_steps (nothing to judge), or error",
    ),
    ("first_error", pa.int32(), True, "0-based index of the first wrong step, −1 for none; null without a verdict"),
    ("num_tokens", pa.int32(), False, "tokens that the judge wrote"),
    ERROR,
)
