"""The training loop, its targets, and scoring positions, on models of a few thousand parameters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification

from components.examples import IGNORE, generator_targets, orm_targets, prm_targets
from components.models import TrainingConfig
from components.text_format import Rendered
from components.training import Examples, LogitsAt, epoch_batches, micro_batches, optimise

CONFIG = TrainingConfig(epochs=2, batch_size=4, learning_rate=1e-2)


def tiny_model(classes: int | None = None) -> LogitsAt:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=classes or 2,
    )  # fmt: skip
    return LogitsAt(LlamaForTokenClassification(config) if classes else LlamaForCausalLM(config))


def random_examples(count: int = 18, classes: int = 3) -> Examples:
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 20, rng.integers(3, 12)) for _ in range(count)]
    targets = [np.where(rng.random(len(row)) < 0.5, row % classes, IGNORE) for row in ids]
    return Examples.join(ids, targets)


def weights(model: LogitsAt) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_targets_stand_where_each_model_predicts() -> None:
    rendered = Rendered(ids=[5, 6, 7, 8, 9, 10, 11], prompt_length=2, step_ends=[3, 5, 6])
    none = IGNORE
    assert generator_targets(rendered).tolist() == [none, 7, 8, 9, 10, 11, none]
    assert orm_targets(rendered, True).tolist() == [none, none, 1, 1, 1, 1, 1]
    assert orm_targets(rendered, False).tolist() == [none, none, 0, 0, 0, 0, 0]
    assert prm_targets(rendered, [1, 0, -1]).tolist() == [none, none, none, 2, none, 1, 0]
    assert prm_targets(rendered, [-1, 1, 1]).tolist() == [none, none, none, 0, none, none, none]


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_has_every_example_once_and_depends_on_the_seed_alone(shuffle: bool) -> None:
    lengths = np.random.default_rng(1).integers(1, 50, 1001)
    config = TrainingConfig(epochs=1, batch_size=8, learning_rate=1, shuffle=shuffle)
    batches = epoch_batches(lengths, config, 0)
    assert sorted(np.concatenate(batches)) == list(range(1001))
    again = epoch_batches(lengths, config, 0)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    other = epoch_batches(lengths, config, 1)
    assert any(a.tolist() != b.tolist() for a, b in zip(batches, other, strict=True))


def test_micro_batches_keep_to_their_budget_and_lose_nothing() -> None:
    lengths = np.random.default_rng(2).integers(1, 50, 100)
    parts = micro_batches(lengths, np.arange(100), 200)
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert all(len(part) == 1 or lengths[part].max() * len(part) <= 200 for part in parts)
    assert [len(part) for part in micro_batches(np.array([500]), np.array([0]), 200)] == [1]


def test_micro_batching_does_not_change_the_result() -> None:
    results = []
    for budget in (10_000, 12):
        model = tiny_model(3)
        optimise(model, random_examples(), CONFIG, micro_batch_tokens=budget)
        results.append(weights(model))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_a_resumed_run_ends_in_the_same_bits() -> None:
    model = tiny_model(3)
    states: dict[int, Any] = {}
    optimise(
        model, random_examples(), CONFIG,
        after_step=lambda step, steps, metrics, get_state: states.update({step: copy.deepcopy(get_state())}),
    )  # fmt: skip
    resumed = tiny_model(3)
    optimise(resumed, random_examples(), CONFIG, state=states[4])
    assert len(states) == 10
    assert torch.equal(weights(model), weights(resumed))


def test_logits_are_those_of_the_model_alone_and_padding_is_not_seen() -> None:
    for model in (tiny_model(), tiny_model(3)):
        ids = torch.tensor([[1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 9, 10]])
        with torch.no_grad():
            found = model.eval()(ids, torch.tensor([3, 8]))
            first = model.model(input_ids=ids[:1, :4]).logits[0, 3]
            second = model.model(input_ids=ids[1:]).logits[0, 2]
        torch.testing.assert_close(found, torch.stack([first, second]))


def test_a_model_can_learn_by_heart() -> None:
    metrics: dict[str, float] = {}
    config = TrainingConfig(epochs=60, batch_size=8, learning_rate=1e-2)
    optimise(
        tiny_model(3), random_examples(16), config, after_step=lambda step, steps, now, get_state: metrics.update(now)
    )
    assert metrics["accuracy"] > 0.99
