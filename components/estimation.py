"""Evaluation stages: accuracy per problem, and from it curves and paired comparisons with bootstrap intervals.

The paper's band shows the noise of subsampling only, which is nil here; ours is that of the choice of problems:
problems are drawn with replacement, and differences are paired by problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from components.selection import Floats, Samples, best_of_n, pass_at_n, sizes, vote, within_problem_auc
from components.stage import TableStage
from schemas.tables import BEST_OF_N, COMPARISONS, PROBLEM_ACCURACY, SCORE_QUALITY

PASS_AT_1 = "pass_at_1"


@dataclass(frozen=True)
class SelectionConfig:
    vote_subsets: int = 200  # random subsets per problem and N, for votes
    seed: int = 0


@dataclass(frozen=True)
class BootstrapConfig:
    resamples: int = 4000
    confidence: float = 0.95
    seed: int = 0


def problem_accuracy(config: SelectionConfig) -> TableStage:
    """The stage (grades, scores) → expected accuracy per problem, method and N."""
    return TableStage("problem_accuracy", 1, config, PROBLEM_ACCURACY, _problem_accuracy)


def best_of_n_curves(config: BootstrapConfig) -> TableStage:
    """The stage problem_accuracy → the curves of figure 3, with intervals."""
    return TableStage("best_of_n", 1, config, BEST_OF_N, _curves)


def comparisons(config: BootstrapConfig) -> TableStage:
    """The stage problem_accuracy → paired differences between methods."""
    return TableStage("comparisons", 1, config, COMPARISONS, _comparisons)


def score_quality(config: SelectionConfig) -> TableStage:
    """The stage (grades, scores) → how well each reward model tells right from wrong within a problem."""
    return TableStage("score_quality", 1, config, SCORE_QUALITY, _score_quality)


def samples_by_split(grades: pa.Table, scores: pa.Table) -> Iterator[tuple[str, Samples]]:
    """The samples of each scored split, without problems that could not be used at all (every row failed: a bad row
    of a file, a prompt that does not fit). Raises ValueError when a slot is missing or double.

    grades, scores: tables of those schemas; scores has a row for each sample of the splits to evaluate.
    """
    keys = ["problem_id", "sample_index"]
    left = scores.select([*keys, "split", "orm_score", "prm_score"]).to_pandas()
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


def _problem_accuracy(config: SelectionConfig, grades: pa.Table, scores: pa.Table) -> pa.Table:
    parts = []
    for split, samples in samples_by_split(grades, scores):
        ns = sizes(samples.answer_PM.shape[1])
        answers, right = samples.answer_PM, samples.is_correct_PM
        methods: dict[str, Floats] = {name: best_of_n(s, right, ns) for name, s in samples.scores.items()}
        methods["majority"] = vote(answers, right, None, ns, config.vote_subsets, config.seed)
        for name, weights in samples.scores.items():
            methods[f"{name}_weighted"] = vote(answers, right, weights, ns, config.vote_subsets, config.seed)
        methods["pass"] = pass_at_n(right, ns)
        for method, accuracy_PK in methods.items():
            problems, count = accuracy_PK.shape
            parts.append(
                pd.DataFrame(
                    {
                        "problem_id": np.repeat(samples.problem_ids, count),
                        "split": split,
                        "method": method,
                        "n": np.tile(ns, problems),
                        "accuracy": accuracy_PK.ravel(),
                        "error": None,
                    }
                )
            )
    return pa.Table.from_pandas(pd.concat(parts), schema=PROBLEM_ACCURACY, preserve_index=False)


def bootstrap_interval(values_PK: Floats, config: BootstrapConfig) -> tuple[Floats, Floats]:
    """Percentile interval of the mean over problems, low and high of shape (K,): problems drawn with replacement."""
    problems = values_PK.shape[0]
    rng = np.random.default_rng(config.seed)
    counts_BP = rng.multinomial(problems, np.full(problems, 1 / problems), size=config.resamples)
    means_BK = counts_BP @ values_PK / problems
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(means_BK, [tail, 1 - tail], axis=0)
    return low, high


def _accuracy_by_method(table: pa.Table) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Per split: method → frame of problems × N."""
    frame = table.to_pandas()
    for split, part in frame.groupby("split", sort=False):
        methods = part.groupby("method", sort=False)
        yield (
            str(split),
            {str(m): rows.pivot(index="problem_id", columns="n", values="accuracy") for m, rows in methods},
        )


def _curves(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, methods in _accuracy_by_method(problem_accuracy):
        for method, frame in methods.items():
            low, high = bootstrap_interval(frame.to_numpy(), config)
            for k, n in enumerate(frame.columns):
                rows.append(
                    {"split": split, "method": method, "n": n, "accuracy": frame[n].mean(), "ci_low": low[k]}
                    | {"ci_high": high[k], "num_problems": len(frame), "error": None}
                )
    return pa.Table.from_pylist(rows, schema=BEST_OF_N)


def _comparisons(config: BootstrapConfig, problem_accuracy: pa.Table) -> pa.Table:
    rows = []
    for split, methods in _accuracy_by_method(problem_accuracy):
        one_sample = methods["pass"][[1]].to_numpy()
        for method in methods:
            for baseline in ("majority", "orm", "orm_weighted", PASS_AT_1):
                if method in ("pass", baseline) or (baseline != PASS_AT_1 and baseline not in methods):
                    continue
                frame = methods[method]
                other = one_sample if baseline == PASS_AT_1 else methods[baseline].loc[frame.index].to_numpy()
                difference_PK = frame.to_numpy() - other
                low, high = bootstrap_interval(difference_PK, config)
                for k, n in enumerate(frame.columns):
                    rows.append(
                        {"split": split, "method": method, "baseline": baseline, "n": n, "error": None}
                        | {"difference": difference_PK[:, k].mean(), "ci_low": low[k], "ci_high": high[k]}
                    )
    return pa.Table.from_pylist(rows, schema=COMPARISONS)


def _score_quality(config: SelectionConfig, grades: pa.Table, scores: pa.Table) -> pa.Table:
    rows = []
    for split, samples in samples_by_split(grades, scores):
        for name, scores_PM in samples.scores.items():
            auc = within_problem_auc(scores_PM, samples.is_correct_PM)
            rows.append({"split": split, "model": name, "within_problem_auc": auc, "error": None})
    return pa.Table.from_pylist(rows, schema=SCORE_QUALITY)
