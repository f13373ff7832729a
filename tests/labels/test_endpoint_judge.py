"""A judge behind an endpoint: what it is asked, how its verdicts are read, and that no answer is asked for twice."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow.stage import canonical_json, recipe
from components.labels.endpoint_judge import ask_for_judgements, endpoint_judge_config
from components.sampling.endpoint_client import EndpointStopped
from flows.presets.presets import PRESETS
from schemas.tables import JUDGEMENTS, SOLUTIONS
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
