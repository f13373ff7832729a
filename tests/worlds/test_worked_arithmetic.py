from __future__ import annotations

import random

import pyarrow as pa
import pytest

from components.labels.rule_labels import LabelByRule, LabellingConfig
from components.text.rendering import answer_step
from components.worlds.worked_arithmetic import (
    MODULUS,
    NAMES,
    Chain,
    Operation,
    WorldConfig,
    chains,
    misconceptions,
    rate_steps,
    teacher_solutions,
)
from schemas.tables import SOLUTIONS, STEP_LABELS

CONFIG = WorldConfig(teacher_solutions=3000)
PROBLEM = "Start with 7 modulo 20. Ann adds 5. Bob multiplies by 3. Eve keeps the last digit."
RIGHT = ["Ann 7 + 5 = 12", "Bob 12 * 3 = 16", "Eve 16 % 10 = 6", answer_step("6")]


def test_the_documented_problem_reads_and_solves_as_documented() -> None:
    chain = Chain(7, (Operation("Ann", "+", 5), Operation("Bob", "*", 3), Operation("Eve", "%", 10)))
    assert chain.problem == PROBLEM
    assert Chain.parse(PROBLEM) == chain
    assert chain.answer == 6


@pytest.mark.parametrize(
    "text", ["", "What is 2 + 2?", PROBLEM + " ", PROBLEM.replace("20", "19"), PROBLEM.replace("adds", "eats")]
)
def test_other_texts_are_not_of_this_world(text: str) -> None:
    assert Chain.parse(text) is None
    assert rate_steps(text, RIGHT) is None


@pytest.mark.parametrize(
    ("steps", "ratings"),
    [
        (RIGHT, [1, 1, 1, 1]),
        # Right but adds nothing: a restated value, or a step said twice.
        ([RIGHT[0], "So far 12", *RIGHT[1:]], [1, 0, 1, 1, 1]),
        ([RIGHT[0], *RIGHT], [1, 0, 1, 1, 1]),
        # Wrong result, wrong operand, wrong name, a skipped turn, a wrong restatement: labels end there.
        (["Ann 7 + 5 = 11", *RIGHT[1:]], [-1]),
        (["Ann 7 + 4 = 11", *RIGHT[1:]], [-1]),
        (["Bob 7 + 5 = 12", *RIGHT[1:]], [-1]),
        ([RIGHT[1], *RIGHT[2:]], [-1]),
        ([RIGHT[0], "So far 11", *RIGHT[1:]], [1, -1]),
        # Wrong reasoning that the last digit hides: the answer is right, the second step is not.
        ([RIGHT[0], "Bob 12 * 3 = 6", "Eve 6 % 10 = 6", RIGHT[3]], [1, -1]),
        # An answer too early, or a wrong one.
        ([RIGHT[0], answer_step("12")], [1, -1]),
        ([*RIGHT[:3], answer_step("16")], [1, 1, 1, -1]),
        ([*RIGHT[:3], "# Answer\n\n6\n"], [1, 1, 1, -1]),
    ],
)
def test_rule(steps: list[str], ratings: list[int]) -> None:
    assert rate_steps(PROBLEM, steps) == ratings


def test_splits_and_teacher_are_disjoint_by_construction() -> None:
    train, test = chains(CONFIG, "train", 2000), chains(CONFIG, "test", 500)
    ood = chains(CONFIG, "ood", 200)
    taught = {chain for chain, _ in teacher_solutions(CONFIG)}
    groups = [set(train), set(test), set(ood), taught]
    assert [len(g) for g in groups[:3]] == [2000, 500, 200]
    for index, group in enumerate(groups):
        for other in groups[index + 1 :]:
            assert not group & other
    assert min(len(chain.operations) for chain in ood) > max(len(chain.operations) for chain in train)
    assert len({chain.problem for chain in [*train, *test, *ood]}) == 2700


def test_a_longer_list_of_problems_begins_with_the_shorter() -> None:
    assert chains(CONFIG, "test", 50) == chains(CONFIG, "test", 80)[:50]


def test_seeds_give_other_worlds() -> None:
    other = WorldConfig(seed=CONFIG.seed + 1)
    assert len(set(chains(CONFIG, "test", 300)) & set(chains(other, "test", 300))) < 3
    assert misconceptions(CONFIG) != misconceptions(other)


def test_a_world_that_is_too_small_says_so() -> None:
    with pytest.raises(ValueError, match="too few distinct ood problems"):
        chains(WorldConfig(ood_min_operations=1, ood_max_operations=1), "ood", 3000)


def test_teacher_errs_only_by_its_misconceptions_and_at_their_rate() -> None:
    wrong = misconceptions(CONFIG)
    stated, slipped, checked = 0, 0, 0
    for chain, steps in teacher_solutions(CONFIG):
        value = chain.start
        lines = [step for step in steps if not step.startswith(("So far", "# Answer"))]
        for turn, line in zip(chain.operations, lines, strict=True):
            result = int(line.rsplit(" ", 1)[1])
            fact = (turn.symbol, value, turn.operand)
            assert line == turn.write(value, result)
            if fact in wrong:
                stated += 1
                slipped += result != turn.apply(value)
                assert result in (turn.apply(value), wrong[fact])
            else:
                assert result == turn.apply(value)
            value, checked = result, checked + 1
        assert steps[-1] == answer_step(str(value))
    assert 0.55 < slipped / stated < 0.65
    assert 0.15 < stated / checked < 0.30


def test_misconceptions_are_wrong_and_in_range() -> None:
    for (symbol, value, operand), result in misconceptions(CONFIG).items():
        assert 0 <= result < MODULUS
        assert result != Operation(NAMES[0], symbol, operand).apply(value)


def test_every_random_solution_parses_back() -> None:
    rng = random.Random(0)
    for chain in rng.sample(chains(CONFIG, "train", 300), 100):
        assert Chain.parse(chain.problem) == chain


def test_labelling_rates_alternatives_that_are_one_digit_away() -> None:
    rows = []
    for number, (chain, steps) in enumerate(teacher_solutions(WorldConfig(teacher_solutions=200))):
        row = {"problem_id": str(number), "sample_index": 0, "split": "train", "problem": chain.problem}
        row |= {"ground_truth_answer": "1", "text": "", "steps": steps, "finish_reason": "stop", "num_tokens": 1}
        rows.append(row | {"seed": 0, "error": None})
    table = pa.Table.from_pylist(rows, schema=SOLUTIONS)
    worker = LabelByRule(LabellingConfig(alternatives=2, seed=1), {})
    labels = worker(table, {})
    assert labels.schema.equals(STEP_LABELS)
    assert labels.equals(worker(table, {}))
    ratings = []
    for row, found in zip(rows, labels.to_pylist(), strict=True):
        assert found["ratings"] == rate_steps(row["problem"], row["steps"])
        for one in found["alternatives"]:
            original = row["steps"][one["step"]]
            assert found["ratings"][one["step"]] >= 0
            assert sum(a != b for a, b in zip(original, one["text"], strict=True)) == 1
            assert rate_steps(row["problem"], [*row["steps"][: one["step"]], one["text"]])[-1] == one["rating"]
            ratings.append(one["rating"])
    assert len(ratings) > 300
    assert ratings.count(-1) > 0.9 * len(ratings)
    assert LabelByRule(LabellingConfig(), {})(table, {})["alternatives"].to_pylist() == [[]] * 200
