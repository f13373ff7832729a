"""The selection of the solutions of a pool that are labelled (paper §4.2, and §2.4 for PRM800K's second phase).

The pool of a problem is its samples that have an answer, a grade without an error and, where a selector chooses, its
score; all others are never chosen (the paper discards solutions without an answer). Of it, per problem and size N:

- `uniform`: the first N by sample_index.
- `active`: the w(N) top-scoring wrong-answer solutions, where w(N) is wrong_share × N, rounded up or down by problem so
  that it is wrong_share × N in the mean over problems; then, of all that remain, right or wrong, the top-scoring, until
  N are taken.
- `uncertainty`: the N whose score is nearest to one half.
- `top_k`: over all problems together, the K top-scoring wrong-answer solutions, where K is N × the problems that have
  any sample.

The paper labels up to 200 solutions of a problem, of which 80 % is a whole number, nearly; of 1, 2, 4 or 8 it is none.
One rounding for all problems would label wrong answers alone at 1 and 2. So each problem rounds at a threshold of its
own, a hash of its id.

Of samples of a problem with the same text the first by sample_index counts in its place; a policy that chooses takes
copies only when its other texts have run out. (At the paper's temperature of 1 there are hardly any. At lower ones the
most convincing wrong answer can have more copies than are chosen.)

The paper does not say what happens in a shortage. Here the next of what remains take the place of missing wrong
answers, and their `reason` says so; a pool smaller than N is taken whole. The paper does not say how ties are broken
either: equal scores count in the order of sample_index, over all problems of (problem_id, sample_index). So nothing is
drawn, and a selection has no seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.dataflow.datasets import Dataset
from components.dataflow.stage import TableStage, seed_for
from components.statistics.best_of_n import Bools, Ints
from schemas.small_scale import CHOSEN_BEFORE, SELECTION
from schemas.tables import SAMPLE_KEY

SELECTION_RULES = {
    "uniform": "the first samples of each problem",
    "active": "most convincing wrong answers of each problem, then its highest-scored of the rest (paper §4.2)",
    "uncertainty": "of each problem those whose score is nearest to one half",
    "top_k": "the most convincing wrong answers of all problems together (PRM800K's second phase)",
}
_WRONG, _INSTEAD = "convincing_wrong_answer", "instead_of_a_wrong_answer"
_REST = {
    "uniform": "in_order",
    "active": "highest_of_the_rest",
    "uncertainty": "least_certain",
    "top_k": "highest_of_the_rest",
}
_KEPT = [*SAMPLE_KEY, "split", "place", "reason", "selector_score", "is_correct"]
_READS = {
    "grades": [*SAMPLE_KEY, "split", "answer", "is_correct", "error"],
    "scores": [*SAMPLE_KEY, "prm_score"],
    "solutions": [*SAMPLE_KEY, "text"],
    "previous": [*_KEPT, "size"],
}


@dataclass(frozen=True)
class ActiveLearningConfig:
    """A rule of selection, and its sizes.

    Raises ValueError, naming the value, for an unknown policy, sizes that are not ascending or under 1, and a share
    outside [0, 1].
    """

    policy: str  # one of SELECTION_RULES; the policy iterated is active, round after round
    sizes: tuple[int, ...]  # ascending: solutions per problem (of top_k: in the mean)
    wrong_share: float = 0.8  # of `active`: share of them that has a wrong answer (paper §4.2)

    def __post_init__(self) -> None:
        if self.policy not in SELECTION_RULES:
            raise ValueError(f"policy {self.policy!r} is none of {', '.join(SELECTION_RULES)}")
        if not self.sizes or self.sizes[0] < 1 or sorted(set(self.sizes)) != list(self.sizes):
            raise ValueError(f"sizes {self.sizes!r} are not ascending numbers from 1 on")
        if not 0 <= self.wrong_share <= 1:
            raise ValueError(f"wrong_share {self.wrong_share!r} is not in [0, 1]")


def selection(config: ActiveLearningConfig, name: str) -> TableStage:
    """The stage grades, [scores], [solutions], [previous] → a row per size and solution chosen at that size, a size a
    shard or more.

    grades: the train rows alone. scores: a selector's; every policy but `uniform` needs them, and that takes none.
    solutions: of the pool, by which copies are known; without them nothing is a copy.
    previous: a selection of an earlier round, of the same policy. What it chose at its largest size stays (reason
    chosen_before), and the rule is applied to what is left of the pool, for as many per problem (top_k: in all) as N
    lacks; places go on. Rows are in the order of sizes, of problems as they come in grades, and of places.

    Smaller sizes are contained in larger ones. For `active`: the share is at most 1, so from N to N + 1 a problem's
    w(N) grows by 0 or 1; at 0 one more of an unchanged rest is taken. At 1, N − w(N) stays, and the next wrong answer
    either joins what is taken or was taken of the rest already, whose next then takes its place; a shortage of wrong
    answers is the first case. The others take a prefix of one order.

    The computation raises ValueError where scores are missing or not wanted, for doubled rows, for a gradable solution
    that is not in scores, and with `previous` for several sizes, for one that is not larger than the previous, and for
    a problem that is not in grades.
    """
    version = 1 if config.policy == "uniform" else 2  # whose rows are what they were
    return TableStage(
        name, version, config, SELECTION, _selection, shard_by="size", reads=_READS, expected_rows=_expected_rows
    )


def wrong_quota(share: float, size: int, problem_id: str) -> int:
    """Return w(N) of a problem: the whole part of share × N + u, where u in [0, 1) is a hash of the problem's id.

    Over problems it is share × N in the mean, and for one problem it grows by 0 or 1 from N to N + 1. The share counts
    as the decimal that it is written as.

    >>> [wrong_quota(0.8, size, "a") for size in (1, 2, 3, 4, 5)], [wrong_quota(0.8, 1, name) for name in "fghij"]
    ([1, 2, 3, 4, 4], [1, 1, 0, 0, 0])
    """
    return math.floor(Fraction(repr(float(share))) * size + Fraction(seed_for("wrong_quota", problem_id), 2**31))


def num_problems(samples: Dataset) -> int:
    """Return how many problems a dataset of samples has, known or planned: its rows of one block of samples, at most.

    Where shards do not say what block they hold, every row may be a problem of its own.
    """
    problems: dict[str | None, int] = {}
    for shard in samples.shards:
        start = shard.attributes.get("sample_start")
        in_shard = shard.rows // int(shard.attributes.get("sample_count", 1))
        problems[start] = problems.get(start, 0) + in_shard
    return max(problems.values(), default=0)


def _expected_rows(config: ActiveLearningConfig, inputs: Mapping[str, Dataset]) -> tuple[Any, str]:
    problems = num_problems(inputs["grades"])
    return {str(size): size * problems for size in config.sizes}, "≤"


def _selection(
    config: ActiveLearningConfig,
    grades: pa.Table,
    scores: pa.Table | None = None,
    solutions: pa.Table | None = None,
    previous: pa.Table | None = None,
) -> pa.Table:
    pool, problem_ids = _pool(config, grades, scores)
    pool = pool.assign(copy=0 if solutions is None else _copies(pool, solutions))
    before = _chosen_before(config, previous, problem_ids)
    if before is not None:
        pool = pool[~_index(pool).isin(_index(before))]
    pool = _in_order(config, pool)
    parts = []
    for size in config.sizes:
        chosen = _chosen(config, pool, size, problem_ids, before)
        chosen = chosen if before is None else pd.concat([before, chosen])
        chosen = chosen.assign(problem=problem_ids.get_indexer(pd.Index(chosen["problem_id"])), size=size, error=None)
        parts.append(chosen.sort_values(["problem", "place"], kind="stable"))
    rows = pd.concat(parts)[SELECTION.names]
    return pa.Table.from_pandas(rows, schema=SELECTION, preserve_index=False)


def _index(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[SAMPLE_KEY])


def _named(rows: pd.DataFrame) -> str:
    """Return the name of the first row, for a message."""
    problem_id, sample_index = rows[SAMPLE_KEY].iloc[0]
    return f"sample {sample_index} of problem {problem_id}"


def _pool(
    config: ActiveLearningConfig, grades: pa.Table, scores: pa.Table | None
) -> tuple[pd.DataFrame, pd.Index[Any]]:
    """Return the pool, with selector_score and the group that it is ranked in; and all problems, in order."""
    if (scores is None) != (config.policy == "uniform"):
        raise ValueError(f"policy {config.policy!r} {'needs' if scores is None else 'takes no'} scores of a selector")
    graded = _distinct("grades", grades.select(_READS["grades"]).to_pandas())
    problem_ids: pd.Index[Any] = pd.Index(graded["problem_id"].unique())
    pool = graded[graded["answer"].notna() & graded["error"].isna() & graded["is_correct"].notna()]
    pool = pool.assign(is_correct=pool["is_correct"].astype(bool), selector_score=float("nan"))
    if scores is not None:
        scored = _distinct("scores", scores.select(_READS["scores"]).to_pandas())
        pool = pool.drop(columns="selector_score").merge(scored, on=SAMPLE_KEY, how="left", indicator=True)
        if (pool["_merge"] != "both").any():
            raise ValueError(f"scores have no row of {_named(pool[pool['_merge'] != 'both'])}")
        pool = pool.rename(columns={"prm_score": "selector_score"})
        pool = pool[pool["selector_score"].notna()]
    group = 0 if config.policy == "top_k" else problem_ids.get_indexer(pd.Index(pool["problem_id"]))
    return pool.assign(group=group), problem_ids


def _copies(pool: pd.DataFrame, solutions: pa.Table) -> pd.Series[int]:
    """Return per row of the pool how many samples of its problem with the same text come before it."""
    texts = _distinct("solutions", solutions.select(_READS["solutions"]).to_pandas())
    texts = texts.assign(text=pd.factorize(texts["text"])[0])
    rows = pool[SAMPLE_KEY].merge(texts, on=SAMPLE_KEY, how="left").set_axis(pool.index)
    if (missing := rows["text"].isna()).any():
        raise ValueError(f"solutions have no row of {_named(rows[missing])}")
    return rows.sort_values("sample_index", kind="stable").groupby(["problem_id", "text"]).cumcount()


def _distinct(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    if (doubled := rows.duplicated(SAMPLE_KEY)).any():
        raise ValueError(f"{name} have two rows of {_named(rows[doubled])}")
    return rows


def _chosen_before(
    config: ActiveLearningConfig, previous: pa.Table | None, problem_ids: pd.Index[Any]
) -> pd.DataFrame | None:
    """Return what the earlier round chose at its largest size, with its group; None: nothing."""
    if previous is None:
        return None
    rows = previous.select(_READS["previous"]).to_pandas()
    if len(config.sizes) != 1 or not (rows["size"] < config.sizes[0]).all():
        raise ValueError(f"sizes {config.sizes!r} are not one, larger than the previous {rows['size'].max()}")
    rows = rows[rows["size"] == rows["size"].max()].assign(reason=CHOSEN_BEFORE)
    if (unknown := ~rows["problem_id"].isin(problem_ids)).any():
        raise ValueError(f"grades have no problem of the previous {_named(rows[unknown])}")
    group = 0 if config.policy == "top_k" else problem_ids.get_indexer(pd.Index(rows["problem_id"]))
    return rows[_KEPT].assign(group=group) if len(rows) else None


def _in_order(config: ActiveLearningConfig, pool: pd.DataFrame) -> pd.DataFrame:
    """Return the pool group by group, the best of each first, and copies last."""
    score = pool["selector_score"]
    order = {"uniform": pool["sample_index"], "uncertainty": (score - 0.5).abs()}.get(config.policy, -score)
    ties = SAMPLE_KEY if config.policy == "top_k" else ["sample_index"]
    return pool.assign(order=order).sort_values(["group", "copy", "order", *ties], kind="stable")


def _chosen(
    config: ActiveLearningConfig, pool: pd.DataFrame, size: int, problem_ids: pd.Index[Any], before: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the rows of a pool in order that are chosen at a size, with place and reason.

    One rule for all policies: the first `quota` wrong answers of a group, then the first of the rest. The quota of
    `top_k` is everything, that of `uniform` and `uncertainty` nothing.
    """
    problems = len(problem_ids)
    group, wrong = pool["group"].to_numpy(dtype=np.int64), ~pool["is_correct"].to_numpy(dtype=np.bool_)
    wanted = np.full(problems, size * problems if config.policy == "top_k" else size)
    next_place = np.zeros(problems, dtype=np.int64)
    if before is not None:
        wanted = np.maximum(0, wanted - np.bincount(before["group"], minlength=problems))
        np.maximum.at(next_place, before["group"].to_numpy(), before["place"].to_numpy() + 1)
    share = {"active": config.wrong_share, "top_k": 1.0}.get(config.policy, 0.0)
    quotas = [wrong_quota(share, number, name) for number, name in zip(wanted.tolist(), problem_ids, strict=True)]
    quota, wrong_rank = np.array(quotas, dtype=np.int64), _rank(wrong, group)
    first = wrong & (wrong_rank < quota[group])
    num_first = np.bincount(group[first], minlength=problems)
    rest_rank = _rank(~first, group)
    chosen = first | (rest_rank < (wanted - num_first)[group])
    rest = np.where(rest_rank < (wanted - quota)[group], _REST[config.policy], _INSTEAD)
    place = next_place[group] + np.where(first, wrong_rank, num_first[group] + rest_rank)
    return pool[chosen].assign(place=place[chosen], reason=np.where(first, _WRONG, rest)[chosen])


def _rank(among: Bools, group: Ints) -> Ints:
    """Return per row how many of `among` come before it in its group.

    The rows of a group are side by side, and groups ascend.
    """
    before: Ints = np.cumsum(among) - among
    return before - before[np.searchsorted(group, group)]
