from __future__ import annotations

import random

import pytest

from components.text.rendering import answer_step
from components.worlds.worked_arithmetic import (
    MODULUS,
    NAMES,
    OPERANDS,
    Chain,
    Operation,
    WorldConfig,
    chains,
    kind_of,
    misconceptions,
    misread,
    new_kinds,
    teacher_solutions,
)
from components.worlds.worked_steps import rate_steps

CONFIG = WorldConfig(teacher_solutions=3000)
PROBLEM = f"Start with 7 modulo {MODULUS}. Ann adds 5. Bob multiplies by 3. Eve keeps the last digit."


def test_the_documented_problem_reads_and_solves_as_documented() -> None:
    chain = Chain(7, (Operation("Ann", "+", 5), Operation("Bob", "*", 3), Operation("Eve", "%", 10)))
    assert chain.problem == PROBLEM
    assert Chain.parse(PROBLEM) == chain
    assert chain.answer == 6


@pytest.mark.parametrize(
    "text",
    ["", "What is 2 + 2?", PROBLEM + " ", PROBLEM.replace(str(MODULUS), "19"), PROBLEM.replace("adds", "eats")],
)
def test_other_texts_are_not_of_this_world(text: str) -> None:
    assert Chain.parse(text) is None
    assert rate_steps(text, ["Ann 7 + 5 = 12"]) is None


def test_splits_and_teacher_are_disjoint_by_construction() -> None:
    train, test = chains(CONFIG, "train", 2000), chains(CONFIG, "test", 500)
    ood, new_facts = chains(CONFIG, "ood", 200), chains(CONFIG, "new_facts", 200)
    taught = {chain for chain, _ in teacher_solutions(CONFIG)}
    groups = [set(train), set(test), set(ood), set(new_facts), taught]
    assert [len(g) for g in groups[:4]] == [2000, 500, 200, 200]
    for index, group in enumerate(groups):
        for other in groups[index + 1 :]:
            assert not group & other
    assert min(len(chain.operations) for chain in ood) > max(len(chain.operations) for chain in train)
    assert len({chain.problem for chain in [*train, *test, *ood, *new_facts]}) == 2900


def test_new_facts_are_in_no_problem_of_another_split() -> None:
    new = new_kinds(CONFIG)
    assert len(new) >= 5
    for split in ("train", "test", "ood"):
        assert not any(new & {*chain.kinds} for chain in chains(CONFIG, split, 300))
    assert all(new & {*chain.kinds} for chain in chains(CONFIG, "new_facts", 100))


def test_a_longer_list_of_problems_begins_with_the_shorter() -> None:
    assert chains(CONFIG, "test", 50) == chains(CONFIG, "test", 80)[:50]


def test_seeds_give_other_worlds() -> None:
    other = WorldConfig(seed=CONFIG.seed + 1)
    assert len(set(chains(CONFIG, "test", 300)) & set(chains(other, "test", 300))) < 3
    assert misconceptions(CONFIG) != misconceptions(other)
    assert new_kinds(CONFIG) != new_kinds(other)


def test_a_world_that_is_too_small_says_so() -> None:
    with pytest.raises(ValueError, match="too few distinct ood problems"):
        chains(WorldConfig(ood_min_operations=1, ood_max_operations=1), "ood", 30_000)


def test_teacher_errs_only_by_its_misconceptions_and_misreadings_and_at_their_rates() -> None:
    wrong = misconceptions(CONFIG)
    stated = slipped = changed = checked = 0
    for chain, steps in teacher_solutions(CONFIG):
        value = chain.start
        lines = [step for step in steps if not step.startswith(("So far", "# Answer"))]
        for turn, line in zip(chain.operations, lines, strict=True):
            name, written, symbol, operand, _, result = line.split()
            assert (name, int(written)) == (turn.name, value)
            did = Operation(name, symbol, int(operand))
            changed += did != turn
            kind = kind_of(did, value)
            if kind in wrong:
                stated += 1
                slipped += int(result) != did.apply(value)
                assert int(result) in (did.apply(value), (did.apply(value) + wrong[kind]) % MODULUS)
            else:
                assert int(result) == did.apply(value)
            value, checked = int(result), checked + 1
        assert steps[-1] == answer_step(str(value))
    assert 0.55 < slipped / stated < 0.65
    assert 0.10 < stated / checked < 0.35
    assert 0.08 < changed / checked < 0.12  # a rate of 0.12, but "%" is never misread


def test_misconceptions_are_wrong() -> None:
    assert all(slip % MODULUS for slip in misconceptions(CONFIG).values())


def test_a_misreading_is_another_operation_of_the_same_world() -> None:
    rng = random.Random(0)
    operation = Operation("Ann", "+", 2)
    seen = {misread(rng, operation) for _ in range(200)}
    assert operation not in seen
    assert Operation("Ann", "-", 2) in seen
    assert {Operation("Ann", "+", operand) for operand in OPERANDS["+"] if operand != 2} < seen
    assert misread(rng, Operation("Ann", "%", 10)) is None


def test_every_random_solution_parses_back() -> None:
    rng = random.Random(0)
    for chain in rng.sample(chains(CONFIG, "train", 300), 100):
        assert {operation.name for operation in chain.operations} <= {*NAMES}
        assert Chain.parse(chain.problem) == chain
