from __future__ import annotations

import pyarrow as pa
import pytest

from components.labels.rule_labels import LabelByRule, LabellingConfig
from components.text.rendering import answer_step
from components.worlds.worked_arithmetic import MODULUS, WorldConfig, teacher_solutions
from components.worlds.worked_steps import fact_of, rate_steps, statements
from schemas.tables import SOLUTIONS, STEP_LABELS

PROBLEM = f"Start with 7 modulo {MODULUS}. Ann adds 2. Bob multiplies by 2. Eve keeps the last digit."
RIGHT = ["Ann 7 + 2 = 9", "Bob 9 * 2 = 18", "Eve 18 % 10 = 8", answer_step("8")]


@pytest.mark.parametrize(
    ("steps", "ratings"),
    [
        (RIGHT, [1, 1, 1, 1]),
        # Right but adds nothing: a restated value, or a step said twice.
        ([RIGHT[0], "So far 9", *RIGHT[1:]], [1, 0, 1, 1, 1]),
        ([RIGHT[0], *RIGHT], [1, 0, 1, 1, 1]),
        # Wrong result, wrong operand, wrong name, a skipped turn, a wrong restatement: labels end there.
        (["Ann 7 + 2 = 8", *RIGHT[1:]], [-1]),
        (["Ann 7 + 4 = 11", *RIGHT[1:]], [-1]),
        (["Bob 7 + 2 = 9", *RIGHT[1:]], [-1]),
        ([RIGHT[1], *RIGHT[2:]], [-1]),
        ([RIGHT[0], "So far 11", *RIGHT[1:]], [1, -1]),
        # Wrong reasoning that the last digit hides: the answer is right, the second step is not.
        ([RIGHT[0], "Bob 9 * 2 = 8", "Eve 8 % 10 = 8", RIGHT[3]], [1, -1]),
        # An answer too early, or a wrong one.
        ([RIGHT[0], answer_step("9")], [1, -1]),
        ([*RIGHT[:3], answer_step("18")], [1, 1, 1, -1]),
        ([*RIGHT[:3], "# Answer\n\n6\n"], [1, 1, 1, -1]),
    ],
)
def test_rule(steps: list[str], ratings: list[int]) -> None:
    assert rate_steps(PROBLEM, steps) == ratings


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


def test_misread_alternatives_are_right_arithmetic_that_the_problem_does_not_ask_for() -> None:
    rows = []
    for number, (chain, steps) in enumerate(teacher_solutions(WorldConfig(teacher_solutions=100))):
        row = {"problem_id": str(number), "sample_index": 0, "split": "train", "problem": chain.problem}
        row |= {"ground_truth_answer": "1", "text": "", "steps": steps, "finish_reason": "stop", "num_tokens": 1}
        rows.append(row | {"seed": 0, "error": None})
    labels = LabelByRule(LabellingConfig(misreadings=3), {})(pa.Table.from_pylist(rows, schema=SOLUTIONS), {})
    texts = []
    for row, found in zip(rows, labels.to_pylist(), strict=True):
        for one in found["alternatives"]:
            assert one["rating"] == -1
            _, value, symbol, operand, _, result = one["text"].split()
            chain_free = {
                "+": int(value) + int(operand),
                "-": int(value) - int(operand),
                "*": int(value) * int(operand),
            }
            assert int(result) == chain_free[symbol] % MODULUS
            texts.append((one["text"], row["steps"][one["step"]]))
    assert len(texts) > 100
    assert all(text != original for text, original in texts)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (RIGHT, ["7 + 2 = 9", "9 * 2 = 18", "18 % 10 = 8"]),
        ([RIGHT[0], "So far 9", *RIGHT[1:]], ["7 + 2 = 9", "9 * 2 = 18", "18 % 10 = 8"]),
        (["Ann 7 + 3 = 10"], ["7 + 3 = 10", "not what the problem says", "a turn left out", "no answer"]),
        (
            [RIGHT[0], "Bob 11 * 2 = 2", RIGHT[2], answer_step("6")],
            ["7 + 2 = 9", "11 * 2 = 2", *["not the value before"], "18 % 10 = 8", *["not the value before"] * 2],
        ),
    ],
)
def test_statements(steps: list[str], said: list[str]) -> None:
    assert statements(PROBLEM, steps) == said


def test_a_fact_is_a_step_without_its_name() -> None:
    assert fact_of("Ann 7 + 2 = 9") == "7 + 2 = 9"
    assert fact_of("So far 9") == "So far 9"
