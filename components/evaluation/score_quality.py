"""The quality of a verifier's scores, which best-of-N does not show: do they mean what they say, and what do they go
by?

Within-problem AUC, calibration of scores as probabilities, score against length (stages of `scored_samples`), and the
other ways to make the PRM's score out of its step probabilities (table 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.rated_steps import rated_steps
from components.evaluation.scored_samples import models_of, samples_by_split
from components.statistics.best_of_n import (
    Bools,
    Floats,
    Samples,
    best_of_n,
    mean_rank_correlation,
    sizes,
    within_problem_auc,
)
from components.statistics.bootstrap import BootstrapConfig, estimates
from components.statistics.classification import calibration_error
from components.statistics.clustered import (
    NONE,
    auc_interval,
    calibration_error_interval,
    named,
    share_interval,
)
from components.statistics.score_reduction import NEUTRALS, REDUCTIONS, solution_scores
from schemas import results
from schemas.quality import CALIBRATION, SCORE_BY_LENGTH, SCORE_QUALITY
from schemas.settings import NoSettings
from schemas.tables import SAMPLE_KEY

_BINS = 10


def score_quality() -> TableStage:
    """The stage scored_samples → per verifier: within-problem AUC, calibration, correlation with length."""
    return TableStage("score_quality", 5, NoSettings(), SCORE_QUALITY, _score_quality)


def calibration() -> TableStage:
    """The stage scored_samples → the share of right solutions by bins of the score: do scores mean it?"""
    return TableStage("calibration", 2, NoSettings(), CALIBRATION, _calibration)


def step_calibration() -> TableStage:
    """The stage (held_out_step_labels, scores of one training seed or more) → the same of the PRM's steps."""
    return TableStage("step_calibration", 2, NoSettings(), CALIBRATION, _step_calibration)


def score_by_length() -> TableStage:
    """The stage scored_samples → mean score, share right and share picked by number of steps."""
    return TableStage("score_by_length", 1, NoSettings(), SCORE_BY_LENGTH, _score_by_length)


def reductions(config: BootstrapConfig) -> TableStage:
    """The stage (scored_samples, scores of one training seed or more) → best-of-N of the PRM by each reduction, with
    neutral steps counted as positive and as negative: the paper's table 4, and the two that are used since."""
    return TableStage("reductions", 3, config, results.REDUCTIONS, _reductions)


def is_probability(scores: Floats) -> bool:
    """Tell whether all scores that are there lie in [0, 1]."""
    there = scores[~np.isnan(scores)]
    return bool(len(there)) and bool((there >= 0).all() and (there <= 1).all())


def _score_quality(config: NoSettings, scored_samples: pa.Table) -> pa.Table:
    lengths = _lengths(scored_samples)
    rows = []
    for split, seed, samples in samples_by_split(scored_samples):
        steps_PM = _in_shape(lengths[split, seed], samples.problem_ids, samples.answer_PM.shape)
        ids_PM = np.repeat(np.array(samples.problem_ids, dtype=object)[:, None], samples.answer_PM.shape[1], 1)
        for name, scores_PM in samples.scores.items():
            row: dict[str, Any] = {"split": split, "training_seed": seed, "model": name, "error": None}
            row["within_problem_auc"] = _or_null(within_problem_auc(scores_PM, samples.is_correct_PM))
            interval, row["num_auc_problems"] = auc_interval(scores_PM, samples.is_correct_PM)
            row |= named("auc", interval)
            row["length_correlation"] = _or_null(mean_rank_correlation(zip(scores_PM, steps_PM, strict=True)))
            rows.append(row | _calibration_error(ids_PM, scores_PM, samples.is_correct_PM))
    return pa.Table.from_pylist(rows, schema=SCORE_QUALITY)


def _calibration_error(ids_PM: Any, scores_PM: Floats, is_correct_PM: Bools) -> dict[str, Any]:
    """Return the error of the scores that are there, and its interval; null where they are no probabilities."""
    if not is_probability(scores_PM):
        return {"calibration_error": None} | named("calibration_error", NONE)
    there = ~np.isnan(scores_PM)
    scores, right = scores_PM[there], is_correct_PM[there]
    interval = calibration_error_interval(ids_PM[there].tolist(), scores, right)
    return {"calibration_error": calibration_error(scores, right)} | named("calibration_error", interval)


def _lengths(scored_samples: pa.Table) -> dict[tuple[str, int], pd.DataFrame]:
    frame = scored_samples.select(["split", "training_seed", "problem_id", "sample_index", "num_steps"]).to_pandas()
    groups = frame.sort_values(SAMPLE_KEY).groupby(["split", "training_seed"])
    return {(str(split), int(seed)): part for (split, seed), part in groups}


def _in_shape(part: pd.DataFrame, problem_ids: list[str], shape: tuple[int, ...]) -> Floats:
    rows = part[part["problem_id"].isin(problem_ids)]
    return rows["num_steps"].to_numpy(dtype=np.float64).reshape(shape)


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _calibration(config: NoSettings, scored_samples: pa.Table) -> pa.Table:
    frame = scored_samples.to_pandas()
    rows: list[dict[str, Any]] = []
    for split, part in frame.groupby("split", sort=False):
        for name in models_of(scored_samples):
            scored = part[part["candidate"].notna() & part[f"{name}_score"].notna()]
            scores = scored[f"{name}_score"].to_numpy(dtype=np.float64)
            rows += _bins(str(split), name, "solution", scores, scored["is_correct"].eq(True), scored["problem_id"])
    return pa.Table.from_pylist(rows, schema=CALIBRATION)


def _step_calibration(config: NoSettings, held_out_step_labels: pa.Table, **scores: pa.Table) -> pa.Table:
    solutions = [solution for table in scores.values() for solution in rated_steps(held_out_step_labels, table)]
    rows: list[dict[str, Any]] = []
    for split in dict.fromkeys(solution.split for solution in solutions):
        chosen = [solution for solution in solutions if solution.split == split]
        negative = np.concatenate([solution.negative[: len(solution.ratings)] for solution in chosen])
        ratings = np.concatenate([solution.ratings for solution in chosen])
        ids = np.repeat([solution.problem_id for solution in chosen], [len(solution.ratings) for solution in chosen])
        rows += _bins(split, "prm", "step", 1 - negative, ratings >= 0, ids)
    return pa.Table.from_pylist(rows, schema=CALIBRATION)


def _bins(
    split: str, model: str, unit: str, scores: Floats, is_right: Any, problem_ids: Any
) -> Iterator[dict[str, Any]]:
    if not is_probability(scores):
        return
    right, ids = np.asarray(is_right, dtype=np.bool_), np.asarray(problem_ids, dtype=object)
    places = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    for place in np.unique(places):
        chosen = places == place
        low, high = share_interval(ids[chosen].tolist(), right[chosen])
        yield {
            "split": split, "model": model, "unit": unit, "error": None,
            "bin_low": place / _BINS, "bin_high": (place + 1) / _BINS, "count": int(chosen.sum()),
            "mean_score": float(scores[chosen].mean()), "share_right": float(right[chosen].mean()),
            "ci_low": low, "ci_high": high,
        }  # fmt: skip


def _score_by_length(config: NoSettings, scored_samples: pa.Table) -> pa.Table:
    frame = scored_samples.to_pandas()
    frame = frame[frame["candidate"].notna() & frame["num_steps"].notna()]
    rows = []
    for split, part in frame.groupby("split", sort=False):
        for name in models_of(scored_samples):
            scored = part[part[f"{name}_score"].notna()]
            # Equal scores share the pick, as in best-of-N.
            group = scored.groupby(["training_seed", "problem_id"])[f"{name}_score"]
            top = scored[f"{name}_score"].eq(group.transform("max"))
            ties = top.groupby([scored["training_seed"], scored["problem_id"]]).transform("sum")
            picked = (top / ties).groupby(scored["num_steps"]).sum() / max(1, group.ngroups)
            for num_steps, of_length in scored.groupby("num_steps"):
                rows.append(
                    {"split": split, "model": name, "num_steps": num_steps, "count": len(of_length), "error": None}
                    | {"share_right": of_length["is_correct"].eq(True).mean(), "share_picked": picked[num_steps]}
                    | {"mean_score": of_length[f"{name}_score"].mean()}
                )
    return pa.Table.from_pylist(rows, schema=SCORE_BY_LENGTH)


def _reductions(config: BootstrapConfig, scored_samples: pa.Table, **scores: pa.Table) -> pa.Table:
    keys = [*SAMPLE_KEY, "training_seed"]
    frame = scored_samples.drop_columns(["prm_score"]).to_pandas()
    tables = [table.to_pandas().assign(training_seed=seed) for seed, table in enumerate(scores.values(), start=1)]
    probabilities = pd.concat(tables)[[*keys, "step_probabilities"]]
    joined = frame.merge(probabilities, on=keys, how="left", validate="one_to_one")
    rows = []
    if joined["step_probabilities"].isna().all():
        return pa.Table.from_pylist([], schema=results.REDUCTIONS)
    columns = [None if step is None else np.stack(step) for step in joined["step_probabilities"]]
    for reduction in REDUCTIONS:
        for neutral in NEUTRALS:
            joined["prm_score"] = solution_scores(columns, reduction, neutral)
            table = pa.Table.from_pandas(joined.drop(columns="step_probabilities"), preserve_index=False)
            for split, values_SPK, ns in _best_of_n_by_split(table):
                reduced = {"split": split, "reduction": reduction, "neutral": neutral, "error": None}
                reduced["num_problems"] = values_SPK.shape[1]
                by_n = zip(ns, estimates(values_SPK, config, "accuracy"), strict=True)
                rows += [reduced | {"n": n} | estimate for n, estimate in by_n]
    return pa.Table.from_pylist(rows, schema=results.REDUCTIONS)


def _best_of_n_by_split(table: pa.Table) -> Iterator[tuple[str, Floats, list[int]]]:
    """Yield (split, accuracies of shape (S, P, K), the K sizes) of the PRM, of splits where it has scores."""
    by_split: dict[str, list[Samples]] = {}
    for split, _, samples in samples_by_split(table):
        if "prm" in samples.scores:
            by_split.setdefault(split, []).append(samples)
    for split, of_seeds in by_split.items():
        ns = sizes(of_seeds[0].answer_PM.shape[1])
        yield split, np.stack([best_of_n(of_seed.scores["prm"], of_seed.is_correct_PM, ns) for of_seed in of_seeds]), ns
