"""Solutions of one problem in one example: the same loss and gradients, fewer tokens, the same batches of solutions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from components.training.config import TrainingConfig
from components.training.examples import Example
from components.training.grouped_examples import group_by_problem, merged
from components.training.loop import epoch_batches, optimise
from tests.training.test_loop import example, gradients, tiny_model


def solutions(count: int, seed: int = 5) -> list[Example]:
    """Examples of one problem, each with an alternative to its second step; two are alike in every token."""
    rng = np.random.default_rng(seed)
    prompt, found = [1, 2, 3, 4, 5], []
    for _ in range(count):
        step, other, last = (rng.integers(0, 3, size).tolist() for size in (3, 3, 2))
        rows = [[*prompt, *step, *last], [*prompt, *other]]
        targets = [(0, 7, 2, 1.0), (0, 9, int(rng.integers(3)), 1.0), (1, 7, 0, 0.4), (1, 7, 1, 0.6)]
        found.append(dataclasses.replace(example(rows, targets), own_targets=2))
    return [*found, found[0]]


def test_a_merged_example_has_the_loss_and_gradients_of_its_solutions_apart() -> None:
    model, apart = tiny_model(3), solutions(4)
    one = merged(apart)
    assert one.solutions == 5
    assert len(one.ids) < 0.7 * sum(len(each.ids) for each in apart)
    loss, together = gradients(model, [one])
    separate = [gradients(model, [each]) for each in apart]
    assert loss == pytest.approx(sum(part for part, _ in separate), abs=1e-5)
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, sum(parts[name] for _, parts in separate), rtol=0, atol=1e-5)


def test_a_merged_example_without_alternatives_is_that_of_the_solutions_without_theirs() -> None:
    apart = solutions(4)
    one, other = merged(apart).without_alternatives(), merged([each.without_alternatives() for each in apart])
    for name in ("ids", "positions", "until", "at", "classes", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.solutions == 5


def test_solutions_alike_in_every_token_are_computed_once_and_count_twice() -> None:
    one = solutions(1)[0]
    both = merged([one, one])
    np.testing.assert_array_equal(both.ids, one.ids)
    assert both.weights.sum() == 2 * one.weights.sum()


def test_groups_are_of_one_problem_and_no_larger_than_asked() -> None:
    apart = [dataclasses.replace(each, is_right=None) for each in solutions(6)]  # seven
    problems = [1, 2, 1, 1, 2, 3, 1]
    assert group_by_problem(apart, problems, 1) == apart
    groups = group_by_problem(apart, problems, 2)
    assert [group.solutions for group in groups] == [2, 2, 2, 1]  # 0 and 2; 1 and 4; 3 and 6; 5
    assert groups[3] is apart[5]
    np.testing.assert_array_equal(groups[1].ids, merged([apart[1], apart[4]]).ids)


def test_a_batch_counts_solutions_not_examples() -> None:
    sizes = np.array([2] * 30 + [1] * 20)
    config = TrainingConfig(epochs=1, batch_size=4, learning_rate=1)
    batches = epoch_batches(np.arange(50), sizes, config, 0)
    assert sorted(np.concatenate(batches)) == list(range(50))
    assert len(batches) == 20
    counts = [int(sizes[batch].sum()) for batch in batches]
    assert set(counts) <= {3, 4, 5}  # a pair whose first is the fourth solution is in that batch
    assert sum(counts) == 80


def test_training_on_groups_is_training_on_their_solutions_in_the_same_batches() -> None:
    """One batch of all: the order within a batch does not count."""
    apart = [each for seed in range(3) for each in solutions(3, seed)]
    problems = [seed for seed in range(3) for _ in range(4)]
    config = TrainingConfig(epochs=3, batch_size=12, learning_rate=1e-2)
    weights = []
    for most in (1, 2, 4):
        model = tiny_model(3)
        optimise(model, group_by_problem(apart, problems, most), config)
        weights.append(model.model.score.weight.detach().clone())
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(weights[0], weights[2], rtol=0, atol=1e-5)
