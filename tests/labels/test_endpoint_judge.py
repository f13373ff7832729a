"""A judge behind an endpoint: what it is asked, how its verdicts are read, and that no answer is asked for twice."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow.stage import canonical_json, recipe
from components.labels.endpoint_judge import (
    EndpointVotesConfig,
    ask_for_judgements,
    ask_for_votes,
    endpoint_judge_config,
)
from components.sampling.endpoint_client import EndpointStopped
from flows.presets.presets import PRESETS
from schemas.tables import JUDGEMENTS, SOLUTIONS
from schemas.verifiers import JUDGE_VOTES
from tests.sampling.endpoint_server import Reply, completion, failure, serving
from tests.sampling.test_endpoint import access

JUDGE = dataclasses.replace(PRESETS["laptop"].judge, prompt="Problem: {problem}\nSteps:\n{steps}")
CONFIG = endpoint_judge_config(JUDGE, "m", "fp_1")


def solutions(*steps: list[str]) -> pa.Table:
    row = dict.fromkeys(SOLUTIONS.names) | {"problem_id": "p", "split": "train", "problem": "1 + 1?", "text": ""}
    row |= {"num_tokens": 1, "seed": 0, "finish_reason": "stop"}
    rows = [row | {"sample_index": at, "steps": each} for at, each in enumerate(steps)]
    return pa.Table.from_pylist(rows, schema=SOLUTIONS)


def first_wrong(body: dict[str, Any], number: int) -> Reply:
    """Call the first step with "bad" wrong."""
    wrong = re.findall(r"^(\d+): .*bad", body["messages"][0]["content"], re.MULTILINE)
    return completion(f'I see. {{"first_wrong_step": {wrong[0] if wrong else "null"}}}')


def judged(url: str, root: Path, table: pa.Table, **changes: Any) -> list[dict[str, Any]]:
    stage = ask_for_judgements(CONFIG, access(url, root=str(root), **changes))
    found = stage.make_worker(CONFIG, {})(table, {})
    assert found.schema.equals(JUDGEMENTS)
    return list(found.to_pylist())


def test_each_solution_is_one_request_and_its_answer_one_verdict(tmp_path: Path) -> None:
    table = solutions(["good", "bad"], ["good"], [])
    with serving(first_wrong) as server:
        rows = judged(server.url, tmp_path, table)
        assert [(row["first_error"], row["status"]) for row in rows] == [(1, "ok"), (-1, "ok"), (None, "error")]
        assert rows[2]["error"] == "the solution has no steps"
        assert {body["messages"][0]["content"] for body in server.asked} == {
            "Problem: 1 + 1?\nSteps:\n1: good\n2: bad",
            "Problem: 1 + 1?\nSteps:\n1: good",
        }
        assert judged(server.url, tmp_path, table) == rows
        assert (len(server.asked), server.twice) == (2, [])


def test_cut_refused_and_empty_answers_give_no_label(tmp_path: Path) -> None:
    replies = [
        completion('{"first_wrong_step": 1}', finish_reason="length"),
        completion(""),
        failure(400, "too long"),
    ]
    with serving(lambda body, number: replies[number]) as server:
        rows = judged(server.url, tmp_path, solutions(["a"], ["b"], ["c"]), at_once=1)
    assert [row["status"] for row in rows] == ["unparsable", "unparsable", "error"]
    assert [row["first_error"] for row in rows] == [None] * 3
    assert rows[2]["error"] == "the server refused it: too long"


def test_a_server_that_is_down_stops_and_keeps(tmp_path: Path) -> None:
    table = solutions(*[[f"step {number}"] for number in range(5)])
    with serving(lambda body, number: first_wrong(body, number) if number < 2 else failure(500)) as server:
        with pytest.raises(EndpointStopped, match="no answer"):
            judged(server.url, tmp_path, table, at_once=1, patience_seconds=0.2)
        server.answer = first_wrong
        judged(server.url, tmp_path, table)
        assert (sum(server.answered.values()), server.twice) == (5, [])


def test_the_key_has_model_prompt_and_settings_and_no_address() -> None:
    one, other = (ask_for_judgements(CONFIG, access(url)) for url in ("http://one:1/v1", "http://two:1/v1"))
    assert recipe(one) == recipe(other)
    text = canonical_json(recipe(one))
    assert '"model":"m"' in text
    assert "http" not in text
    changed = dataclasses.replace(CONFIG, prompt="{problem} {steps}")
    assert recipe(ask_for_judgements(changed, access("http://one:1/v1"))) != recipe(one)


def test_votes_are_requests_with_seeds_of_their_own_and_more_votes_ask_for_those_alone(tmp_path: Path) -> None:
    """The verdict changes with the seed, as a sampled one does."""

    def by_seed(body: dict[str, Any], number: int) -> Reply:
        return completion(f'{{"first_wrong_step": {1 + body["seed"] % 2}}}')

    table = solutions(["a", "b"], ["c", "d"])
    warm = dataclasses.replace(CONFIG, temperature=0.7)
    few, many = EndpointVotesConfig(warm, votes=4), EndpointVotesConfig(warm, votes=10)

    def votes(url: str, config: EndpointVotesConfig) -> list[dict[str, Any]]:
        stage = ask_for_votes(config, access(url, root=str(tmp_path)))
        worker = stage.make_worker(config, {})
        parts = [worker(table, item) for item in stage.items(config, {})]
        assert all(part.schema.equals(JUDGE_VOTES) for part in parts)
        return pa.concat_tables(parts).to_pylist()

    assert recipe(ask_for_votes(few, access(""))) == recipe(ask_for_votes(many, access("")))
    with serving(by_seed) as server:
        first = votes(server.url, few)
        assert len(server.asked) == len({body["seed"] for body in server.asked}) == 8
        assert votes(server.url, many)[:8] == first
        assert (len(server.asked), server.twice) == (20, [])
    assert {row["first_error"] for row in first} == {0, 1}
    assert sorted({row["vote"] for row in first}) == [0, 1, 2, 3]


def test_votes_of_a_served_judge_that_always_says_the_same_are_refused() -> None:
    cold = dataclasses.replace(CONFIG, temperature=0.0)
    with pytest.raises(ValueError, match="are one vote"):
        EndpointVotesConfig(cold)
    assert EndpointVotesConfig(cold, votes=1).votes == 1
