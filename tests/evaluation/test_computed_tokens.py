"""Tokens that are computed, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from components.evaluation.computed_tokens import Prompts, prompts_of, reading_tokens, sampling_tokens

# Two problems, three samples each, in blocks of two; one sample had no token, since its prompt did not fit.
SAMPLES = pd.DataFrame(
    {"problem_id": list("aaabbb"), "sample_index": [0, 1, 2, 0, 1, 2], "num_tokens": [5, 7, 4, 10, 0, 1]}
)
PROMPTS = Prompts({"a": 70, "b": 20})


def test_prompts_are_prefilled_as_the_cache_lets_them() -> None:
    # Sampled tokens that are read: 4 + 6 + 3 of a, 9 + 0 of b. Prompts of a: 70 and again 70 − 64 in the first block,
    # 70 in the second; of b: 20 and 20, for no block of 32 is full, and one is whole in each block of samples anyway.
    assert sampling_tokens(SAMPLES, PROMPTS, sample_block=2, cache_block=32) == 22 + (70 + 6 + 70) + (20 + 20)
    # In one block of samples: 70 + 6 + 6, and 20 + 20 since it is shorter than a block; of 16 it is 20 + 4.
    assert sampling_tokens(SAMPLES, PROMPTS, 8, 32) == 22 + 82 + 40
    assert sampling_tokens(SAMPLES, PROMPTS, 8, 16) == 22 + (70 + 6 + 6) + (20 + 4)
    # Without a cache every request reads its prompt.
    assert sampling_tokens(SAMPLES, PROMPTS, 8, None) == 22 + 3 * 70 + 2 * 20


def test_what_all_prompts_begin_with_is_found_again() -> None:
    ids = {"a": [*range(64), 7, 8], "b": [*range(64), 9]}
    prompts = prompts_of(ids)
    assert (dict(prompts.lengths), prompts.common, prompts.mean) == ({"a": 66, "b": 65}, 64, 65.5)
    one_each = SAMPLES[SAMPLES["sample_index"] == 0]
    assert sampling_tokens(one_each, prompts, 8, 32) == 4 + 9 + 2 + 1
    assert prompts_of({"a": [1, 2]}).common == 0


def test_reading_takes_a_prompt_per_problem_and_block() -> None:
    assert reading_tokens(SAMPLES, PROMPTS, sample_block=2) == 27 + (70 + 70) + (20 + 20)
    assert reading_tokens(SAMPLES, PROMPTS, sample_block=8) == 27 + 70 + 20
    assert reading_tokens(SAMPLES[:0], PROMPTS, 8) == pytest.approx(0)
