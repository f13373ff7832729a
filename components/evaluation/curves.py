"""Estimates: accuracy per problem, and from it curves, comparisons and breakdowns, with bootstrap intervals.

The paper's band shows the noise of subsampling only, which is nil here (`subsampling_band` gives it, to compare); ours
is that of the choice of problems: problems are drawn with replacement, and differences are paired by problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import NonNegativeInt, PositiveInt

from components.dataflow.stage import TableStage
from components.evaluation.scored_samples import samples_by_split
from components.statistics.best_of_n import Floats, Samples, best_of_n, best_of_n_by_shuffling, pass_at_n, sizes, vote
from components.statistics.bootstrap import BootstrapConfig, estimates
from schemas.results import BEST_OF_N, COMPARISONS, GROUP_ACCURACY, PROBLEM_ACCURACY, SUBSAMPLING_BAND
from schemas.settings import settings

PASS_AT_1 = "pass_at_1"
QUINTILES = 5


@settings
class VoteConfig:
    """Settings of the estimates of votes."""

    vote_subsets: PositiveInt = 200  # random subsets of N samples per problem
    seed: NonNegativeInt = 0  # draws the subsets


@settings
class BandConfig:
    """Settings of the paper's own band."""

    trials: PositiveInt = 400  # shuffles of the samples, as in the released evaluation
    seed: NonNegativeInt = 0  # draws the shuffles


@settings
class EstimationConfig:
    """The settings of the tables of results."""

    votes: VoteConfig = field(default_factory=VoteConfig)  # estimates of votes
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)  # intervals over problems
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


def group_accuracy(config: BootstrapConfig) -> TableStage:
    """The stage (problem_accuracy, problem_attributes) → the curves by quintile of pass rate (figure 6), by source
    (table 1), by level and by subject."""
    return TableStage("group_accuracy", 3, config, GROUP_ACCURACY, _group_accuracy)


def subsampling_band(config: BandConfig) -> TableStage:
    """The stage scored_samples → the paper's own estimate and band of best-of-N: mean and deviation over shuffles."""
    return TableStage("subsampling_band", 2, config, SUBSAMPLING_BAND, _subsampling_band)


def _problem_accuracy(config: VoteConfig, scored_samples: pa.Table) -> pa.Table:
    parts = []
    for split, seed, samples in samples_by_split(scored_samples):
        ns = sizes(samples.answer_PM.shape[1])
        for method, accuracy_PK in _methods(config, samples, ns).items():
            problems, count = accuracy_PK.shape
            part = {"problem_id": np.repeat(samples.problem_ids, count), "split": split, "training_seed": seed}
            part |= {"method": method, "n": np.tile(ns, problems), "accuracy": accuracy_PK.ravel(), "error": None}
            parts.append(pd.DataFrame(part))
    if not parts:
        return pa.Table.from_pylist([], schema=PROBLEM_ACCURACY)
    return pa.Table.from_pandas(pd.concat(parts), schema=PROBLEM_ACCURACY, preserve_index=False)


def _methods(config: VoteConfig, samples: Samples, ns: list[int]) -> dict[str, Floats]:
    """Return method → expected accuracy, shape (P, K)."""
    right = samples.is_correct_PM
    methods: dict[str, Floats] = {name: best_of_n(s, right, ns) for name, s in samples.scores.items()}
    if samples.has_votes:
        methods["majority"] = vote(samples, None, ns, config.vote_subsets, config.seed)
    for name, scores in samples.scores.items():
        if samples.has_votes and np.nanmin(scores, initial=0.0) >= 0:  # logits and the like are no weights
            methods[f"{name}_weighted"] = vote(samples, scores, ns, config.vote_subsets, config.seed)
    methods["pass"] = pass_at_n(right, ns)
    return methods


@dataclass(frozen=True)
class _MethodAccuracies:
    """The accuracies of one split: method → shape (S, P, K), with S training seeds, P problems and the K sizes `ns`."""

    ns: list[int]
    problem_ids: list[str]
    methods: dict[str, Floats]

    def of_problems(self, chosen: Sequence[int]) -> _MethodAccuracies:
        ids = [self.problem_ids[at] for at in chosen]
        return _MethodAccuracies(self.ns, ids, {method: values[:, chosen] for method, values in self.methods.items()})


def _accuracies(table: pa.Table) -> Iterator[tuple[str, _MethodAccuracies]]:
    frame = table.to_pandas().sort_values(["training_seed", "problem_id", "n"], kind="stable")
    for split, part in frame.groupby("split", sort=False):
        ns = sorted(part["n"].unique().tolist())
        shape = (part["training_seed"].nunique(), part["problem_id"].nunique(), len(ns))
        values = {
            str(method): rows["accuracy"].to_numpy().reshape(shape)
            for method, rows in part.groupby("method", sort=False)
        }
        yield str(split), _MethodAccuracies(ns, sorted(part["problem_id"].unique()), values)


def _curves(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, accuracies in _accuracies(problem_accuracy):
        rows += [{"split": split} | row for row in _curve_rows(config, accuracies)]
    return pa.Table.from_pylist(rows, schema=BEST_OF_N)


def _curve_rows(config: BootstrapConfig, accuracies: _MethodAccuracies) -> Iterator[dict[str, Any]]:
    for method, values_SPK in accuracies.methods.items():
        method_row = {"method": method, "num_problems": values_SPK.shape[1], "error": None}
        for n, estimate in zip(accuracies.ns, estimates(values_SPK, config, "accuracy"), strict=True):
            yield method_row | {"n": n} | estimate


def _comparisons(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, accuracies in _accuracies(problem_accuracy):
        methods = accuracies.methods
        baselines: dict[str, Floats] = {name: methods[name] for name in methods if name != "pass"}
        baselines[PASS_AT_1] = methods["pass"][:, :, :1]
        for method, values_SPK in methods.items():
            for baseline, other_SPK in baselines.items():
                if method in ("pass", baseline):
                    continue
                pair = {"split": split, "method": method, "baseline": baseline, "error": None}
                differences = zip(accuracies.ns, estimates(values_SPK - other_SPK, config, "difference"), strict=True)
                rows += [pair | {"n": n} | estimate for n, estimate in differences]
    return pa.Table.from_pylist(rows, schema=COMPARISONS)


def _group_accuracy(config: BootstrapConfig, problem_accuracy: pa.Table, problem_attributes: pa.Table) -> pa.Table:
    attributes = problem_attributes.to_pandas().set_index("problem_id")
    rows = []
    for split, accuracies in _accuracies(problem_accuracy):
        pass_rates = accuracies.methods["pass"][0, :, 0]
        for grouping, group, chosen in _groups(accuracies.problem_ids, pass_rates, attributes):
            group_row = {"split": split, "grouping": grouping, "group": group, "pass_rate": pass_rates[chosen].mean()}
            rows += [group_row | row for row in _curve_rows(config, accuracies.of_problems(chosen))]
    return pa.Table.from_pylist(rows, schema=GROUP_ACCURACY)


def _groups(
    problem_ids: list[str], pass_rates: Floats, attributes: pd.DataFrame
) -> Iterator[tuple[str, str, list[int]]]:
    """Yield (grouping, group, places in problem_ids).

    Quintiles have equally many problems (or one more), the hardest first; problems of equal pass rate are put in the
    order of their ids.
    """
    order = np.lexsort((np.array(problem_ids), pass_rates))
    for number, chosen in enumerate(np.array_split(order, min(QUINTILES, len(order))), start=1):
        suffix = {1: " (hardest)", QUINTILES: " (easiest)"}.get(number, "")
        yield "pass_rate", f"quintile {number}{suffix}", sorted(chosen.tolist())
    yield "pass_rate", "all", list(range(len(problem_ids)))
    for grouping in ("source", "level", "subject"):
        values = attributes[grouping].reindex(problem_ids)
        if values.nunique() < 2:
            continue
        for value in sorted(values.dropna().unique(), key=lambda text: (len(text), text)):
            yield grouping, str(value), np.flatnonzero(values.eq(value)).tolist()
        yield grouping, "all", np.flatnonzero(values.notna()).tolist()


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
