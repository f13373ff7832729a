"""The gain from the labels of the small-scale study, and the rounds of its loop of selecting and retraining.

The paper found that loop unstable (§4.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.compute_cost import INFERENCE, TRAINING
from components.evaluation.labels_spent import READS, labelled, solutions_spent
from components.statistics.best_of_n import mean_rank_correlation
from schemas.settings import settings
from schemas.small_scale import LABEL_BUDGET, ROUNDS
from schemas.tables import SAMPLE_KEY

_BY_FINAL_ANSWER = "outcome_final_answer"  # which needs no step labels
_MORE = 1000  # step labels
_ACCURACY = ["series", "size", "training_seed", "n", "accuracy"]


@dataclass(frozen=True)
class BudgetLine:
    """The costs of one trained verifier.

    supervised: the input table with what it was trained on, in the rows of its size. selector_supervised: that with
    what its selectors learned, in the rows of its smallest size; None: it has none. All tokens are those that a model
    computes, prompts included (`computed_tokens`).
    """

    series: str
    size: int
    seed: int  # which training, from 0
    supervised: str
    selector_supervised: str | None
    tokens_sampled: float  # of its own solutions as they come, or of the whole pool that it chose from
    pool_tokens_read: float  # by selectors
    tokens_trained: float  # the selectors' included
    labellings: int = 1  # how often the labeller read a problem: by rounds, and for the selector


@settings
class BudgetConfig:
    """The costs of all verifiers, and the sizes of the models."""

    lines: tuple[BudgetLine, ...]  # a verifier each
    labeller_parameters: float  # 0: the labeller is a rule
    verifier_parameters: float  # of each verifier and selector
    generator_parameters: float  # of the small generator
    prompt_tokens: float  # of a problem's prompt, which the labeller reads; mean


@dataclass(frozen=True)
class Round:
    """One round of the iterated loop; selection, supervised and scores name input tables.

    scores: of the pool, by the selector that chose in this round.
    """

    seed: int  # which training, from 0
    number: int  # from 1
    size: int
    selection: str
    supervised: str
    scores: str


@settings
class RoundsConfig:
    """The rounds of the iterated loop."""

    rounds: tuple[Round, ...]  # of all training seeds


def label_budget(config: BudgetConfig) -> TableStage:
    """The stage (verifier_accuracy, data_efficiency, supervised solutions) → the costs and gains of each series and
    size.

    The config names the tables of supervised solutions. Costs and gains are means over seeds. Raises ValueError for a
    verifier without accuracies, or without a single supervised solution.
    """
    reads = {"verifier_accuracy": _ACCURACY, "data_efficiency": ["series", "slope"]}
    for line in config.lines:
        names = (line.supervised, line.selector_supervised)
        reads |= {name: READS for name in names if name is not None}
    return TableStage("label_budget", 3, config, LABEL_BUDGET, _label_budget, reads=reads)


def rounds(config: RoundsConfig) -> TableStage:
    """The stage (verifier_accuracy, and each round's selection, supervised solutions and scores of the pool) → rounds.

    Raises ValueError for a round whose verifier has no accuracies.
    """
    reads = {"verifier_accuracy": _ACCURACY}
    for round_ in config.rounds:
        reads[round_.selection] = [*SAMPLE_KEY, "size", "reason", "is_correct", "error"]
        reads[round_.supervised] = [*SAMPLE_KEY, "size", "reason", "is_correct_by_steps", "error"]
        reads[round_.scores] = [*SAMPLE_KEY, "prm_score"]
    return TableStage("rounds", 2, config, ROUNDS, _rounds, reads=reads)


def _mean_accuracies(verifier_accuracy: pa.Table) -> tuple[dict[tuple[str, int, int, int], float], int]:
    """Return (series, size, training seed, N) → mean over problems, and the largest N."""
    frame = verifier_accuracy.select(_ACCURACY).to_pandas()
    means = frame.groupby(_ACCURACY[:-1])["accuracy"].mean()
    return {(str(s), size, seed, n): float(mean) for (s, size, seed, n), mean in means.items()}, int(frame["n"].max())


def _label_budget(
    config: BudgetConfig, verifier_accuracy: pa.Table, data_efficiency: pa.Table, **supervised: pa.Table
) -> pa.Table:
    accuracies, largest = _mean_accuracies(verifier_accuracy)
    slopes = dict(zip(*(data_efficiency[name].to_pylist() for name in ("series", "slope")), strict=True))
    frames = {name: labelled(table) for name, table in supervised.items()}
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


def _spent(config: BudgetConfig, line: BudgetLine, frames: dict[str, pd.DataFrame]) -> dict[str, float]:
    solutions = solutions_spent(frames, line.supervised, line.size, line.selector_supervised)
    needs_labels = line.series != _BY_FINAL_ANSWER
    prompts = line.labellings * solutions["problem_id"].nunique() * config.prompt_tokens
    tokens_labelled = float(solutions["num_tokens"].sum()) + prompts if needs_labels else 0.0
    flops = INFERENCE * config.generator_parameters * line.tokens_sampled
    flops += INFERENCE * config.verifier_parameters * line.pool_tokens_read
    flops += INFERENCE * config.labeller_parameters * tokens_labelled
    flops += TRAINING * config.verifier_parameters * line.tokens_trained
    return {
        "num_solutions": float(len(solutions)),
        "num_step_labels": float(solutions["num_labels"].sum()) if needs_labels else 0.0,
        "own_step_labels": float(solutions.loc[~solutions["of_selector"], "num_labels"].sum()),
        "tokens_sampled": line.tokens_sampled,
        "tokens_read": line.pool_tokens_read,
        "tokens_labelled": tokens_labelled,
        "tokens_trained": line.tokens_trained,
        "flops": flops,
    }


def _worth(row: dict[str, Any], slope: float | None) -> dict[str, Any]:
    """Return the gain per 1,000 labels, and of the next 1,000. slope: accuracy per doubling of the solutions, so of the
    verifier's own labels: those of its selector stay as they are."""
    labels, own = row["num_step_labels"], row.pop("own_step_labels")
    if not own or not labels:
        return {"gain_per_1000_labels": None, "next_1000_labels": None, "error": None}
    more = None if slope is None else slope * math.log2((own + _MORE) / own)
    return {"gain_per_1000_labels": _MORE * row["gain"] / labels, "next_1000_labels": more, "error": None}


def _rounds(config: RoundsConfig, verifier_accuracy: pa.Table, **tables: pa.Table) -> pa.Table:
    accuracies, largest = _mean_accuracies(verifier_accuracy)
    rows: list[dict[str, Any]] = []
    before: dict[int, tuple[float, str]] = {}  # training seed → the last round's accuracy and scores
    for round_ in sorted(config.rounds, key=lambda r: (r.seed, r.number)):
        seed = round_.seed + 1
        accuracy = accuracies.get(("iterated", round_.size, seed, largest))
        if accuracy is None:
            raise ValueError(f"round {round_.number}, training seed {seed}: no accuracies of size {round_.size}")
        row: dict[str, Any] = {
            "training_seed": seed,
            "round": round_.number,
            "size": round_.size,
            "n": largest,
            "accuracy": accuracy,
        }
        row |= {"one_shot": accuracies.get(("active", round_.size, seed, largest)), "error": None}
        row |= {"change": None, "selector_agreement": None}
        if seed in before:
            last, scores = before[seed]
            row["change"] = accuracy - last
            row["selector_agreement"] = rank_correlation(tables[scores], tables[round_.scores])
        row["share_wrong_answer"] = _share(tables[round_.selection], round_.size, "is_correct")
        row["share_negative"] = _share(tables[round_.supervised], round_.size, "is_correct_by_steps")
        rows.append(row)
        before[seed] = accuracy, round_.scores
    return pa.Table.from_pylist(rows, schema=ROUNDS)


def _share(table: pa.Table, size: int, column: str) -> float | None:
    """Return the share of a round's new solutions for which the column is false, of those for which it is known."""
    frame = table.select(["size", "reason", column, "error"]).to_pandas()
    new = frame[(frame["size"] == size) & (frame["reason"] != "chosen_before") & frame["error"].isna()]
    known = new[column].dropna()
    return float(known.eq(False).mean()) if len(known) else None


def rank_correlation(scores: pa.Table, other: pa.Table) -> float | None:
    """Return Spearman's correlation between two tables' prm_score within each problem, over the samples that both
    score.

    It is the mean over the problems in which both vary, None where none is.
    """
    columns = [*SAMPLE_KEY, "prm_score"]
    frame = (
        scores.select(columns)
        .to_pandas()
        .merge(other.select(columns).to_pandas(), on=SAMPLE_KEY, validate="one_to_one")
    )
    problems = frame[["prm_score_x", "prm_score_y"]].astype(float).groupby(frame["problem_id"])
    correlation = mean_rank_correlation((rows.to_numpy()[:, 0], rows.to_numpy()[:, 1]) for _, rows in problems)
    return None if math.isnan(correlation) else correlation
