"""The tokens that models compute in sampling and in scoring, prompts included where they are computed.

A prompt is read once for the first sample of a problem, and again, in part, for each further one: vLLM keeps the keys
and values of prompts in blocks, of which only full ones are found again, and never the last token. So a prompt that is
shorter than a block is computed for every sample. Of the sampled tokens all but the last are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

VLLM_BLOCKS = {"cpu": 32, "gpu": 16}  # tokens; on a CPU as sampling/vllm_engine.py sets it, on a GPU vLLM's own


@dataclass(frozen=True)
class Prompts:
    """The prompts of a study's problems.

    lengths: problem_id → tokens. common: tokens with which all begin alike, such as worked examples.
    """

    lengths: Mapping[str, int]
    common: int = 0

    @property
    def mean(self) -> float:
        """The mean length."""
        return float(np.mean(list(self.lengths.values())))


def prompts_of(ids: Mapping[str, Sequence[int]]) -> Prompts:
    """Return the prompts of problems by their token ids; one prompt alone has nothing in common with another."""
    in_order = sorted(list(prompt) for prompt in ids.values())
    ends = zip(in_order[0], in_order[-1], strict=False) if len(in_order) > 1 else ()
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], ends)
    return Prompts({problem: len(prompt) for problem, prompt in ids.items()}, sum(1 for _ in alike))


def prefilled(length: int, known: int, block: int | None) -> int:
    """Return how many tokens of a prompt are computed where the first `known` of them were computed before.

    block: tokens of a block of the engine's cache; None: it has none.

    >>> [prefilled(70, known, 32) for known in (0, 40, 70)], prefilled(64, 64, 32), prefilled(20, 20, 32)
    ([70, 38, 6], 32, 20)
    """
    return length - min(known, length - 1) // block * block if block else length


def sampling_tokens(samples: pd.DataFrame, prompts: Prompts, sample_block: int, cache_block: int | None) -> float:
    """Return the tokens that a generator computes for these samples.

    samples: problem_id, sample_index, num_tokens; those without a token were never asked for. Problems are sampled in
    blocks of `sample_block` samples, and the first of a block is taken to find no more than what all prompts have in
    common, since another engine may have had the block before: at most so much is computed.
    """
    asked = samples[samples["num_tokens"] > 0]
    blocks = _blocks(asked, sample_block)
    lengths = [prompts.lengths[problem] for problem in blocks["problem_id"]]
    first = sum(prefilled(length, prompts.common, cache_block) for length in lengths)
    again = [prefilled(length, length, cache_block) for length in lengths]
    further = sum((count - 1) * tokens for count, tokens in zip(blocks["samples"].tolist(), again, strict=True))
    return float((asked["num_tokens"] - 1).sum() + first + further)


def _blocks(samples: pd.DataFrame, sample_block: int) -> pd.DataFrame:
    """Return a row per problem and block of samples, with the number of its samples."""
    numbered = samples.assign(block=samples["sample_index"] // sample_block)
    return numbered.groupby(["problem_id", "block"], sort=False).size().rename("samples").reset_index()


def reading_tokens(samples: pd.DataFrame, prompts: Prompts, sample_block: int) -> float:
    """Return the tokens that a reward model computes for these samples: a prompt once per problem and block of samples,
    and every token of the samples (those with which two begin alike are computed once, and counted for each).

    samples: problem_id, sample_index, num_tokens.
    """
    read = samples[samples["num_tokens"] > 0]
    prompt_tokens = sum(prompts.lengths[problem] for problem in _blocks(read, sample_block)["problem_id"])
    return float(read["num_tokens"].sum() + prompt_tokens)
