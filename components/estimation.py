"""Evaluation stages: accuracy per problem, and from it curves and paired comparisons with bootstrap intervals.

The paper's band shows the noise of subsampling only, which is nil here; ours is that of the choice of problems:
problems are drawn with replacement, and differences are paired by problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.reductions import PAPER_NEUTRAL, PAPER_REDUCTION, solution_scores
from components.selection import Floats, Samples, best_of_n, pass_at_n, sizes, vote, within_problem_auc
from components.stage import TableStage
from schemas.tables import BEST_OF_N, COMPARISONS, PROBLEM_ACCURACY, SCORE_QUALITY

PASS_AT_1 = "pass_at_1"


@dataclass(frozen=True)
class SelectionConfig:
    reduction: str = PAPER_REDUCTION  # of step probabilities to the PRM's score: product, min, last or mean
    neutral: str = PAPER_NEUTRAL  # how it counts a neutral step: positive or negative
    vote_subsets: int = 200  # random subsets per problem and N, for votes
    seed: int = 0


@dataclass(frozen=True)
class BootstrapConfig:
    resamples: int = 4000
    confidence: float = 0.95
    seed: int = 0


def problem_accuracy(config: SelectionConfig) -> TableStage:
    """The stage (grades, scores of one training seed or more) → expected accuracy per problem, method and N."""
    return TableStage("problem_accuracy", 2, config, PROBLEM_ACCURACY, _problem_accuracy)


def best_of_n_curves(config: BootstrapConfig) -> TableStage:
    """The stage problem_accuracy → the curves of figure 3, with intervals."""
    return TableStage("best_of_n", 2, config, BEST_OF_N, _curves)


def comparisons(config: BootstrapConfig) -> TableStage:
    """The stage problem_accuracy → paired differences between methods."""
    return TableStage("comparisons", 2, config, COMPARISONS, _comparisons)


def score_quality(config: SelectionConfig) -> TableStage:
    """The stage (grades, scores) → how well each reward model tells right from wrong within a problem."""
    return TableStage("score_quality", 2, config, SCORE_QUALITY, _score_quality)


def samples_by_split(config: SelectionConfig, grades: pa.Table, scores: pa.Table) -> Iterator[tuple[str, Samples]]:
    """The samples of each scored split, without problems that could not be used at all (every row failed: a bad row
    of a file, a prompt that does not fit). Raises ValueError when a slot is missing or double.

    grades, scores: tables of those schemas; scores has a row for each sample of the splits to evaluate.
    """
    keys = ["problem_id", "sample_index"]
    left = scores.select([*keys, "split", "orm_score", "prm_score"]).to_pandas()
    if (config.reduction, config.neutral) != (PAPER_REDUCTION, PAPER_NEUTRAL):
        steps = scores["step_probabilities"].to_pylist()
        left["prm_score"] = solution_scores(steps, config.reduction, config.neutral)
    right = grades.select([*keys, "answer_group", "is_correct", "error"]).to_pandas()
    rows = left.merge(right, on=keys, how="left", validate="one_to_one", indicator=True)
    if (rows["_merge"] != "both").any():
        raise ValueError("some scored samples have no grade")
    rows = rows[rows["error"].isna().groupby(rows["problem_id"]).transform("any")]
    for split, part in rows.groupby("split", sort=False):
        part = part.sort_values(keys)
        problem_ids = part["problem_id"].unique().tolist()
        slots = len(part) // max(1, len(problem_ids))
        if not (part.groupby("problem_id", sort=False).size() == slots).all():
            raise ValueError(f"split {split}: problems have unequal numbers of samples")
        shape = (len(problem_ids), slots)
        groups = part.groupby("problem_id", sort=False)["answer_group"].transform(
            lambda answers: pd.factorize(answers)[0]
        )
        empty = part["answer_group"].isna().to_numpy().reshape(shape)
        scored = {
            name: np.where(empty, np.nan, part[f"{name}_score"].to_numpy(dtype=np.float64).reshape(shape))
            for name in ("prm", "orm")
            if part[f"{name}_score"].notna().any()
        }
        is_correct = part["is_correct"].eq(True).to_numpy(dtype=np.bool_).reshape(shape)
        yield str(split), Samples(problem_ids, groups.to_numpy(dtype=np.int64).reshape(shape), is_correct, scored)


def _problem_accuracy(config: SelectionConfig, grades: pa.Table, **scores: pa.Table) -> pa.Table:
    parts = []
    for seed, table in enumerate(scores.values(), start=1):
        for split, samples in samples_by_split(config, grades, table):
            ns = sizes(samples.answer_PM.shape[1])
            for method, accuracy_PK in _methods(config, samples, ns).items():
                problems, count = accuracy_PK.shape
                part = {"problem_id": np.repeat(samples.problem_ids, count), "split": split, "training_seed": seed}
                part |= {"method": method, "n": np.tile(ns, problems), "accuracy": accuracy_PK.ravel(), "error": None}
                parts.append(pd.DataFrame(part))
    return pa.Table.from_pandas(pd.concat(parts), schema=PROBLEM_ACCURACY, preserve_index=False)


def _methods(config: SelectionConfig, samples: Samples, ns: list[int]) -> dict[str, Floats]:
    """Method → expected accuracy, shape (P, K)."""
    answers, right = samples.answer_PM, samples.is_correct_PM
    methods: dict[str, Floats] = {name: best_of_n(s, right, ns) for name, s in samples.scores.items()}
    methods["majority"] = vote(answers, right, None, ns, config.vote_subsets, config.seed)
    for name, weights in samples.scores.items():
        methods[f"{name}_weighted"] = vote(answers, right, weights, ns, config.vote_subsets, config.seed)
    methods["pass"] = pass_at_n(right, ns)
    return methods


def bootstrap_interval(values_PK: Floats, config: BootstrapConfig) -> tuple[Floats, Floats]:
    """Percentile interval of the mean over problems, low and high of shape (K,): problems drawn with replacement."""
    problems = values_PK.shape[0]
    rng = np.random.default_rng(config.seed)
    counts_BP = rng.multinomial(problems, np.full(problems, 1 / problems), size=config.resamples)
    means_BK = counts_BP @ values_PK / problems
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(means_BK, [tail, 1 - tail], axis=0)
    return low, high


@dataclass(frozen=True)
class _Accuracies:
    """Of one split: method → accuracies of shape (S, P, K), with S training seeds, P problems and the K sizes `ns`."""

    ns: list[int]
    methods: dict[str, Floats]


def _accuracies(table: pa.Table) -> Iterator[tuple[str, _Accuracies]]:
    frame = table.to_pandas().sort_values(["training_seed", "problem_id", "n"], kind="stable")
    for split, part in frame.groupby("split", sort=False):
        ns = sorted(part["n"].unique().tolist())
        shape = (part["training_seed"].nunique(), part["problem_id"].nunique(), len(ns))
        methods = part.groupby("method", sort=False)
        yield (
            str(split),
            _Accuracies(ns, {str(method): rows["accuracy"].to_numpy().reshape(shape) for method, rows in methods}),
        )


def _estimates(values_SPK: Floats, config: BootstrapConfig, name: str) -> list[dict[str, Any]]:
    """Per size the mean over seeds and problems (as `name`), its interval over problems, and its spread over seeds."""
    seeds = len(values_SPK)
    low, high = bootstrap_interval(values_SPK.mean(0), config)
    mean = values_SPK.mean((0, 1))
    spread = values_SPK.mean(1).std(0, ddof=1) if seeds > 1 else [None] * len(mean)
    return [
        {name: mean[k], "ci_low": low[k], "ci_high": high[k], "num_seeds": seeds, "std_over_seeds": spread[k]}
        for k in range(len(mean))
    ]


def _curves(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, found in _accuracies(problem_accuracy):
        for method, values_SPK in found.methods.items():
            about = {"split": split, "method": method, "num_problems": values_SPK.shape[1], "error": None}
            estimates = _estimates(values_SPK, config, "accuracy")
            rows += [about | {"n": n} | one for n, one in zip(found.ns, estimates, strict=True)]
    return pa.Table.from_pylist(rows, schema=BEST_OF_N)


def _comparisons(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, found in _accuracies(problem_accuracy):
        methods = found.methods
        baselines: dict[str, Floats] = {
            name: methods[name] for name in ("majority", "orm", "orm_weighted") if name in methods
        }
        baselines[PASS_AT_1] = methods["pass"][:, :, :1]
        for method, values_SPK in methods.items():
            for baseline, other_SPK in baselines.items():
                if method in ("pass", baseline):
                    continue
                about = {"split": split, "method": method, "baseline": baseline, "error": None}
                estimates = _estimates(values_SPK - other_SPK, config, "difference")
                rows += [about | {"n": n} | one for n, one in zip(found.ns, estimates, strict=True)]
    return pa.Table.from_pylist(rows, schema=COMPARISONS)


def _score_quality(config: SelectionConfig, grades: pa.Table, **scores: pa.Table) -> pa.Table:
    rows = []
    for seed, table in enumerate(scores.values(), start=1):
        for split, samples in samples_by_split(config, grades, table):
            for name, scores_PM in samples.scores.items():
                auc = within_problem_auc(scores_PM, samples.is_correct_PM)
                rows.append({"split": split, "training_seed": seed, "model": name, "within_problem_auc": auc})
    return pa.Table.from_pylist([row | {"error": None} for row in rows], schema=SCORE_QUALITY)
