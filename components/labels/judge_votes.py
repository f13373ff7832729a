"""Votes of a model that writes its verdict, a judge or a generative PRM: the score of a solution is the share of its
verdicts that find no error.

Verdicts are sampled in blocks, each with a seed of its own: 8 votes are the first 8 of 32, so that more votes compute
what is new. A verdict that cannot be read is kept, counted, and no vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import PositiveInt

from components.dataflow.stage import MapStage, Model, TableStage, seed_for
from components.labels.judge_labels import Judge, JudgeConfig, open_judge
from components.sampling.engines import engine_distribution
from schemas.ratings import NO_ERROR
from schemas.settings import NoSettings, settings
from schemas.tables import SAMPLE_KEY
from schemas.verifiers import JUDGE_VOTES, VERIFIER_SCORES

NO_STEPS = "no_steps"


@settings
class JudgeVotesConfig:
    """Settings of votes: the judge, and how many verdicts it writes about each solution."""

    judge: JudgeConfig  # its sampling's temperature must be over 0 where there is more than one vote
    votes: PositiveInt = 8  # verdicts about each solution
    vote_block: PositiveInt = 4  # verdicts in one shard: the grain of resuming and of extending

    def __post_init__(self) -> None:
        refuse_equal_votes(self.votes, self.judge.sampling.temperature)


def refuse_equal_votes(votes: int, temperature: float) -> None:
    """Raise ValueError for several votes of a judge that always writes the same."""
    if votes > 1 and temperature == 0:
        raise ValueError("several votes at temperature 0 are one vote: give a temperature, or votes=1")


def judge_votes(config: JudgeVotesConfig, judge: Model, name: str = "judge_votes") -> MapStage:
    """The stage solutions → judge_votes, a row per solution and vote."""
    return MapStage(
        name,
        version=1,
        config=config,
        schema=JUDGE_VOTES,
        make_worker=_open_votes,
        place="engines",
        models={"judge": judge},
        engines=(engine_distribution(config.judge.sampling.engine), "torch", "transformers"),
        items=blocks_of_votes,
        not_in_key=("votes",),
        expected_rows=lambda item, rows: rows * item["votes"],
    )


def blocks_of_votes(config: Any, attributes: Mapping[str, str]) -> list[dict[str, int]]:
    """Return the blocks of a config's votes, a shard each: {"first_vote", "votes"}."""
    starts = range(0, config.votes, config.vote_block)
    return [{"first_vote": first, "votes": min(config.vote_block, config.votes - first)} for first in starts]


class JudgeVotes:
    """The actor of the stage: one judge, asked several times about each solution of a shard."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution and vote of the item."""
        parts = []
        for vote in range(item["first_vote"], item["first_vote"] + item["votes"]):
            judged = _without_steps_is_no_error(table, self.judge.judge(table, seed_for(self.judge.seed, "vote", vote)))
            parts.append(judged.append_column("vote", pa.array([vote] * len(judged), pa.int32())))
        return pa.concat_tables(parts).select(JUDGE_VOTES.names).cast(JUDGE_VOTES)


def _without_steps_is_no_error(solutions: pa.Table, judged: pa.Table) -> pa.Table:
    """Give rows about solutions without a step a status of their own: a verifier has no score of them, and no error."""
    empty = pc.and_(pc.equal(pc.list_value_length(solutions["steps"]), 0), pc.is_null(solutions["error"]))
    status = pc.if_else(empty, NO_STEPS, judged["status"])
    error = pc.if_else(empty, pa.scalar(None, pa.string()), judged["error"])
    judged = judged.set_column(judged.column_names.index("status"), "status", status)
    return judged.set_column(judged.column_names.index("error"), "error", error)


def _open_votes(config: JudgeVotesConfig, models: dict[str, Path], options: Mapping[str, Any] = {}) -> JudgeVotes:
    return JudgeVotes(open_judge(config.judge, models, options))


def verdict_scores(name: str = "verdict_scores") -> TableStage:
    """The stage judge_votes → verifier_scores: shares of the readable verdicts.

    score: share that finds no error. step_probabilities: of each step through the last one that a verdict names, the
    share of verdicts whose first error it is, of those that call no earlier step wrong; steps after it have no error.
    """
    reads = {"solutions": [*SAMPLE_KEY, "split", "steps"]}
    return TableStage(name, 1, NoSettings(), VERIFIER_SCORES, _verdict_scores, reads=reads)


def _verdict_scores(config: NoSettings, solutions: pa.Table, judge_votes: pa.Table) -> pa.Table:
    votes = judge_votes.select([*SAMPLE_KEY, "status", "first_error", "num_tokens", "error"]).to_pandas()
    by_solution: dict[Any, pd.DataFrame] = dict(iter(votes.groupby(SAMPLE_KEY, sort=False)))
    rows = []
    for row in solutions.select([*SAMPLE_KEY, "split", "steps"]).to_pylist():
        own = by_solution.get((row["problem_id"], row["sample_index"]))
        rows.append(_row(row, own) if own is not None else _nothing(row, "it was never judged"))
    return pa.Table.from_pylist(rows, schema=VERIFIER_SCORES)


def _nothing(row: Mapping[str, Any], error: str | None) -> dict[str, Any]:
    return {name: row[name] for name in (*SAMPLE_KEY, "split")} | {
        "score": None, "step_probabilities": None, "num_tokens": None, "error": error,
    }  # fmt: skip


def _row(row: Mapping[str, Any], votes: pd.DataFrame) -> dict[str, Any]:
    found = votes.loc[votes["status"] == "ok", "first_error"].astype(int).tolist()
    scored = _nothing(row, None) | {"num_tokens": int(votes["num_tokens"].sum())}
    if not found:
        errors = votes["error"].dropna()
        causes = Counter(votes["status"])
        cause = errors.iloc[0] if len(errors) else ", ".join(f"{count} {status}" for status, count in causes.items())
        return scored | {"error": f"none of {len(votes)} verdicts can be read: {cause}" if row["steps"] else None}
    left, probabilities = len(found), []
    for step in range(len(row["steps"])):
        wrong = found.count(step)
        negative = wrong / left if left else 0.0
        probabilities.append([negative, 0.0, 1 - negative])
        left -= wrong
    return scored | {"score": found.count(NO_ERROR) / len(found), "step_probabilities": probabilities}
