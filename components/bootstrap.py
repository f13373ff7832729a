"""Bootstrap over problems: how else a mean over problems could have come out, had other problems been drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from components.selection import Floats


@dataclass(frozen=True)
class BootstrapConfig:
    resamples: int = 4000
    confidence: float = 0.95
    seed: int = 0


def bootstrap_interval(values_PK: Floats, config: BootstrapConfig) -> tuple[Floats, Floats]:
    """Interval of the mean over problems, low and high of shape (K,): problems are drawn with replacement, and the
    percentiles of the means are read a little further out than the confidence says, since such means vary too little
    by √((P − 1) / P) and their spread is itself an estimate (expanded percentiles, Hesterberg 2015)."""
    problems = values_PK.shape[0]
    rng = np.random.default_rng(config.seed)
    counts_BP = rng.multinomial(problems, np.full(problems, 1 / problems), size=config.resamples)
    means_BK = counts_BP @ values_PK / problems
    tail = (1 - config.confidence) / 2
    if problems > 1:
        tail = NormalDist().cdf(_student_quantile(tail, problems - 1) * math.sqrt(problems / (problems - 1)))
    low, high = np.quantile(means_BK, [tail, 1 - tail], axis=0)
    return low, high


def _student_quantile(probability: float, freedom: int) -> float:
    """Of Student's t, by its expansion about the normal's (Abramowitz and Stegun 26.7.5): to 0.01 from 5 degrees on."""
    z, v = NormalDist().inv_cdf(probability), freedom
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / v**power for power, term in enumerate(terms, start=1))


def estimates(values_SPK: Floats, config: BootstrapConfig, name: str) -> list[dict[str, Any]]:
    """Per size the mean over seeds and problems (as `name`), its interval over problems, and its spread over seeds."""
    seeds = len(values_SPK)
    low, high = bootstrap_interval(values_SPK.mean(0), config)
    mean = values_SPK.mean((0, 1))
    spread = values_SPK.mean(1).std(0, ddof=1) if seeds > 1 else [None] * len(mean)
    return [
        {name: mean[k], "ci_low": low[k], "ci_high": high[k], "num_seeds": seeds, "std_over_seeds": spread[k]}
        for k in range(len(mean))
    ]
