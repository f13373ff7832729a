"""Votes of a judge: blocks that grow, seeds of their own, and scores from verdicts that can be read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow.stage import MapStage, Model, recipe
from components.labels.judge_labels import Judge, JudgeConfig, Written
from components.labels.judge_votes import JudgeVotes, JudgeVotesConfig, judge_votes, verdict_scores
from components.sampling.engines import SamplingConfig
from schemas.settings import NoSettings
from schemas.tables import JUDGEMENTS, SOLUTIONS
from schemas.verifiers import JUDGE_VOTES

JUDGE = JudgeConfig(
    SamplingConfig(
        samples_per_problem={},
        temperature=1.0,
        max_tokens=8,
        max_model_length=64,
        dtype="float32",
        engine="transformers",
    ),
    prompt="{problem}\n{steps}",
)
CONFIG = JudgeVotesConfig(JUDGE)


def solutions(*steps: list[str]) -> pa.Table:
    rows = [
        {"problem_id": str(number), "sample_index": 0, "split": "test", "problem": "?", "text": "", "steps": each}
        | {"finish_reason": "stop", "num_tokens": 1, "seed": 0, "error": None}
        for number, each in enumerate(steps)
    ]
    return pa.Table.from_pylist(rows, schema=SOLUTIONS)


def stage(votes: int) -> MapStage:
    return judge_votes(dataclasses.replace(CONFIG, votes=votes), Model("judge", "d"))


def test_more_votes_add_blocks_and_keep_those_that_are_there() -> None:
    few, many = stage(8), stage(30)
    assert recipe(few) == recipe(many)
    items = few.items(few.config, {})
    assert items == [{"first_vote": 0, "votes": 4}, {"first_vote": 4, "votes": 4}]
    assert many.items(many.config, {})[:2] == items
    assert many.items(many.config, {})[-1] == {"first_vote": 28, "votes": 2}
    assert few.expected_rows(items[0], 10) == 40


def test_several_votes_of_a_judge_that_always_says_the_same_are_refused() -> None:
    cold = dataclasses.replace(JUDGE, sampling=dataclasses.replace(JUDGE.sampling, temperature=0.0))
    with pytest.raises(ValueError, match="are one vote"):
        JudgeVotesConfig(cold)
    assert JudgeVotesConfig(cold, votes=1).votes == 1


class FixedJudge:
    """Stands in for the judge: its verdict is the seed of its sampling."""

    seed = 0

    def judge(self, table: pa.Table, seed: int) -> pa.Table:
        verdict = {"text": str(seed), "status": "ok", "first_error": -1, "num_tokens": 2, "error": None}
        rows = [{name: row[name] for name in ("problem_id", "sample_index", "split")} for row in table.to_pylist()]
        return pa.Table.from_pylist([row | verdict for row in rows], schema=JUDGEMENTS)


def test_each_vote_has_a_seed_of_its_own_whatever_its_block() -> None:
    worker = JudgeVotes(FixedJudge())  # type: ignore[arg-type]
    table = solutions(["a"], ["b"])
    whole = worker(table, {"first_vote": 0, "votes": 4}).to_pylist()
    parts = [row for first in (0, 2) for row in worker(table, {"first_vote": first, "votes": 2}).to_pylist()]
    assert whole == parts
    assert len({row["text"] for row in whole}) == 4
    assert [row["vote"] for row in whole] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_solution_without_steps_is_no_error_and_has_no_vote() -> None:
    judge = Judge("{problem}{steps}", 0, lambda prompts, seeds: [Written('{"first_wrong_step": null}')] * len(prompts))
    table = solutions(["a"], [])
    rows = JudgeVotes(judge)(table, {"first_vote": 0, "votes": 2}).to_pylist()
    assert [(row["status"], row["error"]) for row in rows] == [("ok", None), ("no_steps", None)] * 2
    votes = pa.Table.from_pylist(rows, schema=JUDGE_VOTES)
    found = verdict_scores().compute(NoSettings(), table, votes)
    assert isinstance(found, pa.Table)
    assert [(row["score"], row["error"]) for row in found.to_pylist()] == [(1.0, None), (None, None)]


def scored(verdicts: list[tuple[str, int | None]], steps: list[str]) -> dict[str, Any]:
    votes = [
        {"problem_id": "0", "sample_index": 0, "split": "test", "vote": number, "text": "", "status": status}
        | {"first_error": first_error, "num_tokens": 3, "error": None}
        for number, (status, first_error) in enumerate(verdicts)
    ]
    table = verdict_scores().compute(NoSettings(), solutions(steps), pa.Table.from_pylist(votes, schema=JUDGE_VOTES))
    assert isinstance(table, pa.Table)
    [row] = table.to_pylist()
    return row


def test_the_score_is_the_share_of_readable_verdicts_without_an_error() -> None:
    row = scored([("ok", -1), ("ok", 1), ("ok", 1), ("unparsable", None), ("ok", 2)], ["a", "b", "c"])
    assert row["score"] == 1 / 4
    assert [step[0] for step in row["step_probabilities"]] == pytest.approx([0, 2 / 4, 1 / 2])
    product = 1.0
    for negative, _, _ in row["step_probabilities"]:
        product *= 1 - negative
    assert product == pytest.approx(row["score"])  # the paper's reduction gives the same score
    assert row["num_tokens"] == 15
    assert row["error"] is None


def test_a_solution_whose_verdicts_cannot_be_read_has_an_error() -> None:
    row = scored([("unparsable", None), ("no_such_step", None)], ["a"])
    assert row["score"] is None
    assert row["error"] == "none of 2 verdicts can be read: 1 unparsable, 1 no_such_step"
