"""What the labels of the small-scale study were worth, and how its loop of selecting and retraining went, which
the paper found unstable (§4.2).

A solution is counted once, though a selector and a verifier have both learned from it: it is labelled once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.compute_cost import INFERENCE, TRAINING
from components.statistics.best_of_n import mean_rank_correlation
from schemas.settings import settings
from schemas.small_scale import LABEL_BUDGET, ROUNDS
from schemas.tables import SAMPLE_KEY

_BY_FINAL_ANSWER = "outcome_final_answer"  # which needs no step labels
_MORE = 1000  # step labels
_ACCURACY = ["series", "size", "training_seed", "n", "accuracy"]


@dataclass(frozen=True)
class BudgetLine:
    """What one trained verifier took. supervised: the input table with what it was trained on, in the rows of its size.
    selector_supervised: that with what its selectors learned, in the rows of its smallest size; None: it has none."""

    series: str
    size: int
    seed: int  # which training, from 0
    supervised: str
    selector_supervised: str | None
    pool_tokens_sampled: float
    pool_tokens_read: float  # by selectors
    tokens_trained: float  # the selectors' included


@settings
class BudgetConfig:
    lines: tuple[BudgetLine, ...]
    labeller_parameters: float
    verifier_parameters: float
    generator_parameters: float


@dataclass(frozen=True)
class Round:
    """One round of the iterated loop; selection, supervised and scores name input tables. scores: of the pool, by the
    selector that chose in this round."""

    seed: int  # which training, from 0
    number: int  # from 1
    size: int
    selection: str
    supervised: str
    scores: str


@settings
class RoundsConfig:
    rounds: tuple[Round, ...]


def label_budget(config: BudgetConfig) -> TableStage:
    """The stage (verifier_accuracy, data_efficiency, and the tables of supervised solutions that the config names) →
    what each series took at each size, and what that gave; means over seeds. Raises ValueError for a verifier without
    accuracies, or without a single supervised solution."""
    reads = {"verifier_accuracy": _ACCURACY, "data_efficiency": ["series", "slope"]}
    supervised = [*SAMPLE_KEY, "size", "num_tokens", "ratings", "error"]
    for line in config.lines:
        names = (line.supervised, line.selector_supervised)
        reads |= {name: supervised for name in names if name is not None}
    return TableStage("label_budget", 1, config, LABEL_BUDGET, _label_budget, reads=reads)


def rounds(config: RoundsConfig) -> TableStage:
    """The stage (verifier_accuracy, and each round's selection, supervised solutions and scores of the pool) → how each
    round of the iterated loop went. Raises ValueError for a round whose verifier has no accuracies."""
    reads = {"verifier_accuracy": _ACCURACY}
    for one in config.rounds:
        reads[one.selection] = [*SAMPLE_KEY, "size", "reason", "is_correct", "error"]
        reads[one.supervised] = [*SAMPLE_KEY, "size", "reason", "is_correct_by_steps", "error"]
        reads[one.scores] = [*SAMPLE_KEY, "prm_score"]
    return TableStage("rounds", 2, config, ROUNDS, _rounds, reads=reads)


def _mean_accuracies(verifier_accuracy: pa.Table) -> tuple[dict[tuple[str, int, int, int], float], int]:
    """(series, size, training seed, N) → mean over problems, and the largest N."""
    frame = verifier_accuracy.select(_ACCURACY).to_pandas()
    means = frame.groupby(_ACCURACY[:-1])["accuracy"].mean()
    return {(str(s), size, seed, n): float(mean) for (s, size, seed, n), mean in means.items()}, int(frame["n"].max())


def _label_budget(
    config: BudgetConfig, verifier_accuracy: pa.Table, data_efficiency: pa.Table, **supervised: pa.Table
) -> pa.Table:
    accuracies, largest = _mean_accuracies(verifier_accuracy)
    slopes = dict(zip(*(data_efficiency[name].to_pylist() for name in ("series", "slope")), strict=True))
    frames = {name: _labelled(table) for name, table in supervised.items()}
    lines = []
    for line in config.lines:
        key = (line.series, line.size, line.seed + 1)
        if (*key, largest) not in accuracies:
            raise ValueError(f"{line.series} of size {line.size}, training seed {line.seed + 1}: no accuracies")
        accuracy = accuracies[*key, largest]
        row: dict[str, Any] = {"series": line.series, "size": line.size, "accuracy": accuracy}
        lines.append(row | {"gain": accuracy - accuracies[*key, 1]} | _spent(config, line, frames))
    if not lines:
        return pa.Table.from_pylist([], schema=LABEL_BUDGET)
    means = pd.DataFrame(lines).groupby(["series", "size"], sort=False).mean().reset_index()
    rows = [{str(name): value for name, value in row.items()} for row in means.to_dict("records")]
    rows = [row | _worth(row, slopes.get(row["series"])) for row in rows]
    return pa.Table.from_pylist(rows, schema=LABEL_BUDGET)


def _labelled(table: pa.Table) -> pd.DataFrame:
    """Per solution that was labelled: its keys, size, tokens and number of step labels."""
    frame = table.select([*SAMPLE_KEY, "size", "num_tokens", "error"]).to_pandas()
    labels = [len(ratings or []) for ratings in table["ratings"].to_pylist()]
    return frame.assign(num_labels=labels)[frame["error"].isna()]


def _spent(config: BudgetConfig, line: BudgetLine, frames: dict[str, pd.DataFrame]) -> dict[str, float]:
    own = frames[line.supervised]
    parts = [own[own["size"] == line.size]]
    if parts[0].empty:
        raise ValueError(f"{line.supervised}: no solution of size {line.size}")
    if line.selector_supervised is not None:
        of_selector = frames[line.selector_supervised]
        parts.append(of_selector[of_selector["size"] == of_selector["size"].min()])
    solutions = pd.concat(parts).drop_duplicates(SAMPLE_KEY)
    needs_labels = line.series != _BY_FINAL_ANSWER
    tokens_labelled = float(solutions["num_tokens"].sum()) if needs_labels else 0.0
    flops = INFERENCE * config.generator_parameters * line.pool_tokens_sampled
    flops += INFERENCE * config.verifier_parameters * line.pool_tokens_read
    flops += INFERENCE * config.labeller_parameters * tokens_labelled
    flops += TRAINING * config.verifier_parameters * line.tokens_trained
    return {
        "num_solutions": float(len(solutions)),
        "num_step_labels": float(solutions["num_labels"].sum()) if needs_labels else 0.0,
        "tokens_sampled": line.pool_tokens_sampled,
        "tokens_read": line.pool_tokens_read,
        "tokens_labelled": tokens_labelled,
        "tokens_trained": line.tokens_trained,
        "flops": flops,
    }


def _worth(row: dict[str, Any], slope: float | None) -> dict[str, Any]:
    """What labels gave, and would give. slope: accuracy per doubling of the solutions, so of the labels."""
    labels = row["num_step_labels"]
    if not labels:
        return {"gain_per_1000_labels": None, "next_1000_labels": None, "error": None}
    more = None if slope is None else slope * math.log2((labels + _MORE) / labels)
    return {"gain_per_1000_labels": _MORE * row["gain"] / labels, "next_1000_labels": more, "error": None}


def _rounds(config: RoundsConfig, verifier_accuracy: pa.Table, **tables: pa.Table) -> pa.Table:
    accuracies, largest = _mean_accuracies(verifier_accuracy)
    rows: list[dict[str, Any]] = []
    before: dict[int, tuple[float, str]] = {}  # training seed → the last round's accuracy and scores
    for one in sorted(config.rounds, key=lambda one: (one.seed, one.number)):
        seed = one.seed + 1
        accuracy = accuracies.get(("iterated", one.size, seed, largest))
        if accuracy is None:
            raise ValueError(f"round {one.number}, training seed {seed}: no accuracies of size {one.size}")
        row: dict[str, Any] = {
            "training_seed": seed,
            "round": one.number,
            "size": one.size,
            "n": largest,
            "accuracy": accuracy,
        }
        row |= {"one_shot": accuracies.get(("active", one.size, seed, largest)), "error": None}
        row |= {"change": None, "selector_agreement": None}
        if seed in before:
            last, scores = before[seed]
            row["change"] = accuracy - last
            row["selector_agreement"] = rank_correlation(tables[scores], tables[one.scores])
        row["share_wrong_answer"] = _share(tables[one.selection], one.size, "is_correct")
        row["share_negative"] = _share(tables[one.supervised], one.size, "is_correct_by_steps")
        rows.append(row)
        before[seed] = accuracy, one.scores
    return pa.Table.from_pylist(rows, schema=ROUNDS)


def _share(table: pa.Table, size: int, column: str) -> float | None:
    """Of the new solutions of a round, of which it is known, those for which the column is false."""
    frame = table.select(["size", "reason", column, "error"]).to_pandas()
    new = frame[(frame["size"] == size) & (frame["reason"] != "chosen_before") & frame["error"].isna()]
    known = new[column].dropna()
    return float(known.eq(False).mean()) if len(known) else None


def rank_correlation(one: pa.Table, other: pa.Table) -> float | None:
    """Spearman's correlation between two tables' prm_score within each problem, over the samples that both score; mean
    over the problems in which both vary, None where none is."""
    columns = [*SAMPLE_KEY, "prm_score"]
    frame = (
        one.select(columns).to_pandas().merge(other.select(columns).to_pandas(), on=SAMPLE_KEY, validate="one_to_one")
    )
    problems = frame[["prm_score_x", "prm_score_y"]].astype(float).groupby(frame["problem_id"])
    found = mean_rank_correlation((rows.to_numpy()[:, 0], rows.to_numpy()[:, 1]) for _, rows in problems)
    return None if math.isnan(found) else found
