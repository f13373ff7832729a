"""Estimates: accuracy per problem, and from it curves and comparisons, with intervals over problems and trainings.

The paper's band shows the noise of subsampling only, which is nil here (`subsampling_band` gives it, to compare); ours
is that of the choice of problems and of the trainings. Differences are paired by both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import NonNegativeInt, PositiveInt

from components.dataflow.stage import TableStage
from components.evaluation.method_accuracies import (
    MethodAccuracies,
    VoteConfig,
    accuracies_by_split,
    accuracy_rows,
    weights_of_votes,
    with_ensembles,
)
from components.evaluation.scored_samples import samples_by_split
from components.statistics.best_of_n import best_of_n_by_shuffling, sizes
from components.statistics.bootstrap import BootstrapConfig, estimates
from schemas.results import BEST_OF_N, COMPARISONS, PROBLEM_ACCURACY, REFERENCES, SUBSAMPLING_BAND
from schemas.settings import settings

PASS_AT_1 = "pass_at_1"


@settings
class BandConfig:
    """Settings of the paper's own band."""

    trials: PositiveInt = 400  # shuffles of the samples, as in the released evaluation
    seed: NonNegativeInt = 0  # draws the shuffles


@settings
class EstimationConfig:
    """The settings of the tables of results."""

    votes: VoteConfig = field(default_factory=VoteConfig)  # estimates of votes
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)  # intervals over problems and trainings
    band: BandConfig | None = None  # the paper's own band too, by shuffling; None: without


def problem_accuracy(config: VoteConfig) -> TableStage:
    """The stage scored_samples → expected accuracy per problem, method and N."""
    return TableStage("problem_accuracy", 4, config, PROBLEM_ACCURACY, _problem_accuracy)


def best_of_n_curves(config: BootstrapConfig) -> TableStage:
    """The stage problem_accuracy → the curves of figure 3, with intervals."""
    return TableStage("best_of_n", 5, config, BEST_OF_N, _curves)


def comparisons(config: BootstrapConfig) -> TableStage:
    """The stage problem_accuracy → paired differences between methods."""
    return TableStage("comparisons", 5, config, COMPARISONS, _comparisons)


def subsampling_band(config: BandConfig) -> TableStage:
    """The stage scored_samples → the paper's own estimate and band of best-of-N: mean and deviation over shuffles."""
    return TableStage("subsampling_band", 2, config, SUBSAMPLING_BAND, _subsampling_band)


def _problem_accuracy(config: VoteConfig, scored_samples: pa.Table) -> pa.Table:
    parts = []
    for split, seed, samples, ensembles in with_ensembles(samples_by_split(scored_samples)):
        rows = accuracy_rows(config, samples, weights_of_votes(samples), ensembles)
        parts.append(rows.assign(split=split, training_seed=seed, error=None))
    if not parts:
        return pa.Table.from_pylist([], schema=PROBLEM_ACCURACY)
    return pa.Table.from_pandas(pd.concat(parts), schema=PROBLEM_ACCURACY, preserve_index=False)


def _curves(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, accuracies in accuracies_by_split(problem_accuracy):
        rows += [{"split": split} | row for row in curve_rows(config, accuracies)]
    return pa.Table.from_pylist(rows, schema=BEST_OF_N)


def curve_rows(config: BootstrapConfig, accuracies: MethodAccuracies) -> Iterator[dict[str, Any]]:
    """Yield the estimate of each method and N."""
    for method, values_SPK in accuracies.methods.items():
        method_row = {"method": method, "num_problems": values_SPK.shape[1], "error": None}
        for n, estimate in zip(accuracies.ns, estimates(values_SPK, config, "accuracy"), strict=True):
            yield method_row | {"n": n} | estimate


def difference_rows(
    config: BootstrapConfig, accuracies: MethodAccuracies, pairs: Iterable[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    """Yield the paired difference of each pair of methods, and N."""
    methods = accuracies.methods
    for method, baseline in pairs:
        other_SPK = methods["pass"][:, :, :1] if baseline == PASS_AT_1 else methods[baseline]
        pair = {"method": method, "baseline": baseline, "error": None}
        differences = zip(accuracies.ns, estimates(methods[method] - other_SPK, config, "difference"), strict=True)
        yield from (pair | {"n": n} | estimate for n, estimate in differences)


def _comparisons(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, accuracies in accuracies_by_split(problem_accuracy):
        methods = accuracies.methods
        baselines = [*(name for name in methods if name != "pass"), PASS_AT_1]
        for method in methods:
            # A reference is a baseline of the others, and is compared with none itself.
            pairs = [(method, other) for other in baselines if method not in ("pass", other, *REFERENCES)]
            rows += [{"split": split} | row for row in difference_rows(config, accuracies, pairs)]
    return pa.Table.from_pylist(rows, schema=COMPARISONS)


def _subsampling_band(config: BandConfig, scored_samples: pa.Table) -> pa.Table:
    rows = []
    for split, seed, samples in samples_by_split(scored_samples):
        if seed > 1:
            continue  # the band is of one verifier
        ns = sizes(samples.answer_PM.shape[1])
        for name, scores in samples.scores.items():
            accuracy_TK = best_of_n_by_shuffling(samples, scores, ns, config.trials, config.seed)
            band = {"split": split, "method": name, "trials": config.trials, "error": None}
            for n, mean, std in zip(ns, accuracy_TK.mean(0), accuracy_TK.std(0), strict=True):
                rows.append(band | {"n": n, "accuracy": mean, "std": std})
    return pa.Table.from_pylist(rows, schema=SUBSAMPLING_BAND)
