"""Rollouts on an engine that solves the embedded world by rule: labels against the definition, and the search against
asking everywhere."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow.datasets import Shard
from components.dataflow.map_executor import tasks_of
from components.dataflow.stage import Model, digest, recipe
from components.labels import rollouts as module
from components.labels.rollout_labels import RolloutLabelsConfig, rollout_labels
from components.labels.rollouts import Rollouts, RolloutsConfig, prefix_through
from components.sampling.engines import Request, Sample, SamplingConfig
from components.text.rendering import answer_step, join_steps, split_steps
from components.training.examples_of_rows import ExampleConfig, make_examples
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY, Chain, WorldConfig, chains
from components.worlds.worked_steps import rate_steps
from schemas.tables import ROLLOUTS, SOLUTIONS, STEP_LABELS
from tests.sampling.test_chat_prompts import chat_tokenizer

TOKENIZER = build_tokenizer(VOCABULARY)
SAMPLING = SamplingConfig({}, 0.7, 128, 1024, "float32", "vllm")
PROBLEMS = chains(WorldConfig(), "train", 40)


class RuleEngine:
    """Goes on rightly from a right prefix with the chance `skill`, else wrongly; from a wrong one always wrongly, but
    for the chance `luck`."""

    skill, luck = 1.0, 0.0

    def __init__(self, folder: Path, config: SamplingConfig, options: Any) -> None:
        self.asked = 0

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        self.asked += len(requests)
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Sample:
        text = str(TOKENIZER.decode(request.prompt_ids))
        problem, _, written = text.partition("\n\n")
        steps = split_steps(written.removesuffix("\n"))
        chain = Chain.parse(problem)
        assert chain is not None
        assert request.max_tokens is not None
        ratings = rate_steps(problem, steps)
        assert ratings is not None
        chance = self.skill if -1 not in ratings else self.luck
        right = random.Random(request.seed).random() < chance
        ids = TOKENIZER([answer_step(str(chain.answer if right else chain.answer + 1))])["input_ids"][0]
        return Sample([*ids, TOKENIZER.eos_token_id], "stop")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    TOKENIZER.save_pretrained(tmp_path)
    monkeypatch.setattr(module, "open_engine", RuleEngine)

    def worker(search: Any = "every_step", skill: float = 1.0, luck: float = 0.0) -> Rollouts:
        monkeypatch.setattr(RuleEngine, "skill", skill)
        monkeypatch.setattr(RuleEngine, "luck", luck)
        return Rollouts(RolloutsConfig(SAMPLING, search, 1), {"generator": tmp_path})

    return worker


def solutions() -> pa.Table:
    """One solution per problem; two of three have one step wrong, and go on from there."""
    rows = []
    for number, chain in enumerate(PROBLEMS):
        value, steps = chain.start, []
        for place, turn in enumerate(chain.operations):
            result = turn.apply(value)
            result = (result + 1) % 20 if number % 3 and place == number % len(chain.operations) else result
            steps.append(turn.write(value, result))
            value = result
        steps.append(answer_step(str(value)))
        row = dict.fromkeys(SOLUTIONS.names) | {"problem_id": f"p{number}", "sample_index": 0, "split": "train"}
        row |= {"problem": chain.problem, "ground_truth_answer": str(chain.answer), "steps": steps, "seed": 0}
        rows.append(row | {"text": join_steps(steps), "finish_reason": "stop", "num_tokens": 9})
    return pa.Table.from_pylist(rows, schema=SOLUTIONS)


def block(start: int = 0, count: int = 8) -> dict[str, int]:
    return {"rollout_start": start, "rollout_count": count}


def labels_of(found: pa.Table, source: pa.Table, target: Any = "hard") -> list[dict[str, Any]]:
    stage = rollout_labels(RolloutLabelsConfig(target))
    table = stage.compute(stage.config, solutions=source.select(stage.reads["solutions"]), rollouts=found)
    assert table.schema.equals(STEP_LABELS)
    return table.to_pylist()


def first_error(ratings: list[int]) -> int:
    return ratings.index(-1) if -1 in ratings else -1


def test_hard_labels_say_whether_any_continuation_is_right(make: Any) -> None:
    source = solutions()
    found = make(skill=0.3, luck=0.05)(source, block())
    assert found.schema.equals(ROLLOUTS)
    for row, labels, solution in zip(found.to_pylist(), labels_of(found, source), source.to_pylist(), strict=True):
        last = len(solution["steps"]) - 1
        assert row["asked_steps"] == list(range(last))
        assert all(len(one) == 8 for one in row["is_correct"])
        right = [any(one) for one in row["is_correct"]] + [
            solution["text"].endswith(f"\n{solution['ground_truth_answer']}")
        ]
        wanted = [1 if one else -1 for one in right]
        wanted = wanted[: wanted.index(-1) + 1] if -1 in wanted else wanted
        assert labels["ratings"] == wanted
        assert len(labels["provenance"]) == len(wanted)
        assert labels["probabilities"] is None
    kinds = {first_error(labels["ratings"]) for labels in labels_of(found, source)}
    assert len(kinds) > 3


def test_soft_labels_are_shares(make: Any) -> None:
    source = solutions()
    found = make(skill=0.5)(source, block())
    for row, labels in zip(found.to_pylist(), labels_of(found, source, "soft"), strict=True):
        shares = [sum(one) / 8 for one in row["is_correct"]] + [float(row["own_is_correct"])]
        assert [p[2] for p in labels["probabilities"]] == shares[: len(labels["ratings"])]
        assert all(sum(p) == 1 and p[1] == 0 for p in labels["probabilities"])


def test_a_perfect_generator_gives_the_exact_rules_labels(make: Any) -> None:
    source = solutions()
    for search in ("every_step", "first_error"):
        for labels, solution in zip(labels_of(make(search)(source, block()), source), source.to_pylist(), strict=True):
            exact = rate_steps(solution["problem"], solution["steps"])
            assert exact is not None
            # A slip that what follows hides (16 and 6 have the same last digit) is none to a final answer.
            if solution["text"].rpartition("\n")[2] != solution["ground_truth_answer"]:
                assert labels["ratings"] == exact


def test_the_search_asks_less_and_finds_the_same_where_errors_stay(make: Any) -> None:
    source = solutions()
    full, search = make(skill=0.9), make("first_error", skill=0.9)
    every, found = labels_of(full(source, block()), source), labels_of(search(source, block()), source)
    same = [first_error(a["ratings"]) == first_error(b["ratings"]) for a, b in zip(every, found, strict=True)]
    assert sum(same) / len(same) >= 0.95
    assert search.engine.asked <= 0.5 * full.engine.asked
    said = {text for labels in found for text in labels["provenance"]}
    assert {"8 of 8 continuations are right", "0 of 8 continuations are right"} <= said
    assert any(text.startswith("as step ") for text in said)


def test_more_rollouts_add_to_the_earlier_ones(make: Any) -> None:
    source = solutions()
    worker = make(skill=0.2)
    first, second = worker(source, block()), worker(source, block(8))
    both = labels_of(pa.concat_tables([first, second]), source, "soft")
    alone = labels_of(first, source, "soft")
    for a, b, labels, few in zip(first.to_pylist(), second.to_pylist(), both, alone, strict=True):
        right = [sum(x) + sum(y) for x, y in zip(a["is_correct"], b["is_correct"], strict=True)]
        assert [p[2] for p in labels["probabilities"]][: len(right)] == [n / 16 for n in right][
            : len(labels["ratings"])
        ]
        assert len(labels["ratings"]) >= len(few["ratings"])
    assert first.column("answers") != second.column("answers")

    config = RolloutsConfig(SAMPLING, "every_step", 1)
    more = RolloutsConfig(SAMPLING, "every_step", 1, rollouts_per_step=16)
    shard = Shard("solutions", "k", "d" * 64, 1, 40, 0, {"split": "train"})
    stages = [module.rollouts(one, Model("m", "e" * 64)) for one in (config, more)]
    few, many = ([task.key for task in tasks_of(stage, digest(recipe(stage)), shard)] for stage in stages)
    assert many[: len(few)] == few
    assert len(many) == 2


def row_of(asked: list[int], is_correct: list[list[bool | None]], **more: Any) -> dict[str, Any]:
    """One block of a six-step solution with a wrong answer."""
    row: dict[str, Any] = {"problem_id": "p0", "sample_index": 0, "split": "train", "num_steps": 6, "num_tokens": 0}
    row |= {"own_is_correct": False, "is_cut": False, "first_rollout": 0, "num_rollouts": 8, "error": None}
    return row | {"asked_steps": asked, "is_correct": is_correct, "answers": [[None] * 8] * len(asked)} | more


def labelled(*blocks: dict[str, Any], **config: Any) -> dict[str, Any]:
    source = pa.Table.from_pylist([{"problem_id": "p0", "sample_index": 0, "split": "train"}])
    stage = rollout_labels(RolloutLabelsConfig(**config))
    rollouts = pa.Table.from_pylist(list(blocks), schema=ROLLOUTS)
    [row] = stage.compute(stage.config, solutions=source, rollouts=rollouts).to_pylist()
    return row


NONE_RIGHT, ONE_RIGHT = [False] * 8, [True, *[False] * 7]


def test_searches_of_two_blocks_are_one_search() -> None:
    """The later block found right continuations after steps that the earlier had given up."""
    first = row_of([2, 0], [NONE_RIGHT, NONE_RIGHT])
    second = row_of([2, 3, 4], [ONE_RIGHT, ONE_RIGHT, NONE_RIGHT], first_rollout=8)
    found = labelled(first, second, errors_stay=True)
    assert found["ratings"] == [1, 1, 1, 1, -1]
    assert found["provenance"][:3] == ["as step 2 is right", "as step 2 is right", "1 of 16 continuations are right"]
    assert labelled(first, second)["ratings"] == [-1]  # asked everywhere, each step is taken by itself


def test_what_could_not_be_graded_does_not_count() -> None:
    unknown: list[bool | None] = [None] * 8
    found = labelled(row_of([0, 1], [[None, True, *[False] * 6], NONE_RIGHT]), target="soft")
    assert found["provenance"] == ["1 of 7 continuations are right", "0 of 8 continuations are right"]
    assert found["probabilities"][0][2] == pytest.approx(1 / 7)
    assert labelled(row_of([0, 1], [unknown, NONE_RIGHT]))["error"] == "no continuation of a step could be graded"


def test_the_step_that_the_token_cap_cut_is_not_rated() -> None:
    right = [[True] * 8] * 5
    assert labelled(row_of([0, 1, 2, 3, 4], right))["ratings"] == [1, 1, 1, 1, 1, -1]
    assert labelled(row_of([0, 1, 2, 3, 4], right, is_cut=True))["ratings"] == [1, 1, 1, 1, 1]
    searched = labelled(row_of([2, 3, 4], right[:3], is_cut=True), errors_stay=True)
    assert searched["ratings"] == [1, 1, 1, 1, 1]


def test_soft_labels_train_through_the_first_step_without_a_right_continuation() -> None:
    shares = [0.375, 0.5, 0.75, 0.0]
    row = {"problem": "p", "steps": ["a", "b", "c", "d", "e"], "ratings": [1, 1, 1, -1], "alternatives": []}
    row |= {"probabilities": [[1 - p, 0.0, p] for p in shares], "finished": True, "error": None}
    [made] = make_examples(TOKENIZER, [row], ExampleConfig("prm", 64), [False])
    assert made.example is not None
    assert "labels_dropped_after_first_negative" not in made.counts
    wanted = [weight for p in shares for weight in (1 - p, p) if weight]
    assert made.example.weights.tolist() == pytest.approx(wanted)
    right = row | {"ratings": [1, 1, 1, 1, 1], "probabilities": [[0.625, 0.0, 0.375]] * 5}
    [whole] = make_examples(TOKENIZER, [right], ExampleConfig("prm", 64), [False])
    assert whole.example is not None
    assert whole.example.is_right is True


def test_rows_that_cannot_be_continued_are_kept_with_their_error(make: Any) -> None:
    rows = solutions().to_pylist()[:4]
    rows[0] |= {"error": "the engine refused it", "steps": [], "text": ""}
    rows[1] |= {"steps": [], "text": ""}
    rows[2] |= {"steps": ["Ann 1 + 1 = 2 " * 60, "b"]}
    source = pa.Table.from_pylist(rows, schema=SOLUTIONS)
    for search in ("every_step", "first_error"):
        found = make(search)(source, block())
        assert found["error"].to_pylist() == [
            "the engine refused it",
            "the solution has no steps",
            "no token is left for a continuation after step 0",
            None,
        ]
        assert [bool(labels["ratings"]) for labels in labels_of(found, source)][3]
        assert [labels["error"] for labels in labels_of(found, source)] == found["error"].to_pylist()


class Turns:
    """Stands in for an engine: notes what it is shown, and ends every solution by the answer 12."""

    def __init__(self, *args: Any) -> None:
        self.asked: list[Any] = []

    def generate(self, requests: Any) -> list[Sample]:
        self.asked += requests
        ids = CHAT("So it is \\boxed{12}. END more", add_special_tokens=False)["input_ids"]
        return [Sample(ids, "length") for _ in requests]


CHAT = chat_tokenizer()


def test_a_generator_that_is_sampled_as_it_is_goes_on_with_its_own_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CHAT.save_pretrained(tmp_path)
    monkeypatch.setattr(module, "open_engine", Turns)
    sampling = dataclasses.replace(
        SAMPLING, prompt="{problem} Think.", stop_texts=("END",), max_tokens=400, max_model_length=2048
    )
    worker = Rollouts(RolloutsConfig(sampling, "every_step", 1), {"generator": tmp_path})
    text = "First we add.\n\nThen we have 12.\n\nSo 12."
    row = dict.fromkeys(SOLUTIONS.names) | {"problem_id": "p", "sample_index": 0, "split": "train", "seed": 0}
    row |= {"problem": "7 + 5?", "ground_truth_answer": "12", "text": text, "finish_reason": "stop", "num_tokens": 9}
    row |= {"steps": ["First we add.", "Then we have 12.", "So 12."]}
    [found] = worker(pa.Table.from_pylist([row], schema=SOLUTIONS), block(count=2)).to_pylist()
    assert (found["asked_steps"], found["answers"], found["error"]) == ([0, 1], [["12", "12"]] * 2, None)
    turn = "<|turn|>user\n7 + 5? Think.<|over|>\n<|turn|>assistant\n"
    shown = [CHAT.decode(request.prompt_ids) for request in worker.engine.asked]
    assert shown == [turn + "First we add.\n\n"] * 2 + [turn + "First we add.\n\nThen we have 12.\n\n"] * 2
    assert {request.ends for request in worker.engine.asked} == {(CHAT.convert_tokens_to_ids("<|over|>"),)}
    written = len(CHAT("First we add.\n\n", add_special_tokens=False)["input_ids"])
    assert worker.engine.asked[0].max_tokens == 400 - written


def test_steps_that_are_not_those_of_the_text_are_refused() -> None:
    assert prefix_through("a\n\na\n\nb", ["a", "a", "b"], 1) == "a\n\na\n\n"
    with pytest.raises(ValueError, match="step 'c' does not stand in the text"):
        prefix_through("a\nb", ["a", "c"], 0)
