"""What active learning rests on: how well its selectors tell right from wrong, and what was chosen by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.labels_spent import LabelledLine
from components.statistics.best_of_n import within_problem_auc
from schemas.settings import Share, settings
from schemas.small_scale import CHOSEN_BEFORE, POLICIES, SELECTOR_QUALITY, WRONG_SHARES
from schemas.tables import SAMPLE_KEY

_ACCURACY = ["series", "size", "training_seed", "n", "accuracy"]


@dataclass(frozen=True)
class Selector:
    """A verifier that chose solutions of the pool."""

    series: str
    size: int
    seed: int  # which training, from 0
    scores: str  # the input table with its scores of the pool


@settings
class SelectorsConfig:
    """The selectors of the study."""

    selectors: tuple[Selector, ...]


@settings
class WrongSharesConfig:
    """What was chosen, by verifier, and what was asked for."""

    wrong_share: Share  # of convincing wrong answers, of `active` and `iterated`
    lines: tuple[LabelledLine, ...]  # of process supervision


def selector_quality(config: SelectorsConfig) -> TableStage:
    """The stage (verifier_accuracy, grades of the pool, supervised_uniform, scores of the pool) → selectors.

    Raises ValueError for a selector without accuracies.
    """
    reads = {"verifier_accuracy": _ACCURACY}
    reads["grades"] = [*SAMPLE_KEY, "answer", "is_correct", "error"]
    reads["supervised_uniform"] = [*SAMPLE_KEY, "size", "is_correct_by_steps", "error"]
    reads |= {selector.scores: [*SAMPLE_KEY, "prm_score"] for selector in config.selectors}
    return TableStage("selector_quality", 1, config, SELECTOR_QUALITY, _selector_quality, reads=reads)


def wrong_shares(config: WrongSharesConfig) -> TableStage:
    """The stage supervised solutions → the shares of what was chosen, by series and size; means over seeds."""
    reads = {line.supervised: [*SAMPLE_KEY, "size", "reason", "is_correct", "steps"] for line in config.lines}
    return TableStage("wrong_shares", 1, config, WRONG_SHARES, _wrong_shares, reads=reads)


def _selector_quality(
    config: SelectorsConfig,
    verifier_accuracy: pa.Table,
    grades: pa.Table,
    supervised_uniform: pa.Table,
    **scores: pa.Table,
) -> pa.Table:
    frame = verifier_accuracy.to_pandas()
    means = frame.groupby(_ACCURACY[:-1])["accuracy"].mean().to_dict()
    largest = int(frame["n"].max())
    graded = grades.to_pandas()
    graded = graded[graded["answer"].notna() & graded["error"].isna() & graded["is_correct"].notna()]
    labelled = _labelled(supervised_uniform.to_pandas())
    rows = []
    for selector in config.selectors:
        key = (selector.series, selector.size, selector.seed + 1)
        if (*key, largest) not in means:
            raise ValueError(f"selector {selector.series} of size {selector.size}: no accuracies")
        row: dict[str, Any] = dict(zip(("series", "size", "training_seed"), key, strict=True))
        row |= {"n": largest, "accuracy": means[*key, largest], "single_sample": means[*key, 1], "error": None}
        pool = scores[selector.scores].to_pandas()
        row["pool_auc"], row["num_pool_problems"] = _auc(pool, graded, "is_correct")
        of_later_round = labelled[:0] if selector.series in POLICIES else labelled
        row["labelled_auc"], row["num_labelled_problems"] = _auc(pool, of_later_round, "is_correct_by_steps")
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SELECTOR_QUALITY)


def _labelled(supervised: pd.DataFrame) -> pd.DataFrame:
    """Return the labelled solutions that a selector, trained on the smallest size, did not learn from."""
    smallest, largest = (supervised[supervised["size"] == end] for end in supervised["size"].agg(["min", "max"]))
    learned = pd.MultiIndex.from_frame(smallest[SAMPLE_KEY])
    known = largest["error"].isna() & largest["is_correct_by_steps"].notna()
    return largest[known & ~pd.MultiIndex.from_frame(largest[SAMPLE_KEY]).isin(learned)]


def _auc(scores: pd.DataFrame, truth: pd.DataFrame, column: str) -> tuple[float | None, int]:
    """Return the AUC within problems, and how many problems have both kinds."""
    rows = scores[scores["prm_score"].notna()].merge(truth, on=SAMPLE_KEY, validate="one_to_one")
    rows = rows.assign(right=rows[column].astype(bool))
    both = rows.groupby("problem_id")["right"].transform("nunique") == 2
    problems = [part for _, part in rows[both].groupby("problem_id")]
    if not problems:
        return None, 0
    values = [part["prm_score"].to_numpy(dtype=np.float64) for part in problems]
    return within_problem_auc(values, [part["right"].to_numpy(dtype=np.bool_) for part in problems]), len(problems)


def _wrong_shares(config: WrongSharesConfig, **supervised: pa.Table) -> pa.Table:
    asked = {"active": config.wrong_share, "iterated": config.wrong_share, "top_k": 1.0}
    frames = {name: table.to_pandas() for name, table in supervised.items()}
    rows = []
    for line in config.lines:
        chosen = frames[line.supervised]
        chosen = chosen[chosen["size"] == line.size]
        new = chosen["reason"][chosen["reason"] != CHOSEN_BEFORE]
        row: dict[str, Any] = {"series": line.series, "size": line.size, "num_solutions": float(len(chosen))}
        row |= {"convincing": new.eq("convincing_wrong_answer").mean()}
        row |= {"instead": new.eq("instead_of_a_wrong_answer").mean()}
        row |= {"wrong_answer": chosen["is_correct"].eq(False).mean()}
        texts = chosen.assign(text=chosen["steps"].map("\n".join))
        rows.append(row | {"distinct": float((~texts.duplicated(["problem_id", "text"])).mean())})
    if not rows:
        return pa.Table.from_pylist([], schema=WRONG_SHARES)
    means = pd.DataFrame(rows).groupby(["series", "size"], sort=False).mean().reset_index()
    by_size = [{str(name): value for name, value in row.items()} for row in means.to_dict("records")]
    return pa.Table.from_pylist(
        [row | {"asked": asked.get(row["series"]), "error": None} for row in by_size], schema=WRONG_SHARES
    )
