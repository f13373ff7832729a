"""The training loop and its targets, on models of a few thousand parameters."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification

from components.text.rendering import Rendered
from components.training.config import TrainingConfig
from components.training.examples import Example, generator_example, orm_example, prm_example
from components.training.loop import (
    SelectiveLogits,
    batch_of,
    epoch_batches,
    micro_batches,
    optimise,
    predict,
    weighted_loss,
)
from components.training.memory_budget import reckon
from components.training.prefix_tree import prefix_tree

CONFIG = TrainingConfig(epochs=2, batch_size=4, learning_rate=1e-2)
CPU = torch.device("cpu")


def tiny_model(classes: int | None = None) -> SelectiveLogits:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=32, num_labels=classes or 2, classifier_dropout=0.0,
    )  # fmt: skip
    return SelectiveLogits(LlamaForTokenClassification(config) if classes else LlamaForCausalLM(config), 2048)


def example(sequences: Sequence[Sequence[int]], targets: Sequence[tuple[int, int, int, float]]) -> Example:
    """targets: (sequence, place in it, class, weight)."""
    tree = prefix_tree(sequences)
    at = np.array([tree.places[row][place] for row, place, _, _ in targets])
    classes, weights = np.array([c for *_, c, _ in targets]), np.array([w for *_, w in targets], np.float32)
    return Example(tree.ids, tree.positions, tree.until, at, classes, weights, np.empty(0, np.int32), None, len(at))


def random_examples(count: int = 18, classes: int = 3) -> list[Example]:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        ids = rng.integers(0, 20, rng.integers(3, 12))
        asked = np.flatnonzero(rng.random(len(ids)) < 0.5) if len(rows) else np.array([0])
        rows.append(example([ids], [(0, at, int(ids[at]) % classes, 1.0) for at in asked]))
    return rows


def gradients(model: SelectiveLogits, examples: Sequence[Example]) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of examples packed into one row, and its gradients."""
    model.zero_grad()
    batch = batch_of(examples, CPU)
    loss = weighted_loss(model(batch.row, batch.positions_U), batch)
    loss.backward()
    return float(loss.detach()), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def weights(model: SelectiveLogits) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_targets_stand_where_each_model_predicts() -> None:
    rendered = Rendered(ids=[5, 6, 7, 8, 9, 10, 11], prompt_length=2, step_ends=[3, 5, 6])
    one = generator_example(rendered)
    assert dict(zip(one.at.tolist(), one.classes.tolist(), strict=True)) == {1: 7, 2: 8, 3: 9, 4: 10, 5: 11}
    for is_correct in (True, False):
        one = orm_example(rendered, is_correct, "every_token")
        assert one.at.tolist() == [2, 3, 4, 5, 6]
        assert set(one.classes.tolist()) == {int(is_correct)}
        assert orm_example(rendered, is_correct, "last_token").at.tolist() == [6]
    labelled = [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    found, counts = prm_example(rendered, labelled, [], "class")
    assert found is not None
    assert list(zip(found.at.tolist(), found.classes.tolist(), strict=True)) == [(3, 2), (5, 1), (6, 0)]
    assert counts == {"labels_positive": 1, "labels_neutral": 1, "labels_negative": 1}
    found, counts = prm_example(rendered, labelled[::-1], [], "class")
    assert found is not None
    assert (found.at.tolist(), found.classes.tolist(), len(found.ids)) == ([3], [0], 4)
    assert counts == {"labels_negative": 1, "labels_dropped_after_first_negative": 2}


def test_neutral_policies_and_soft_and_missing_labels() -> None:
    rendered = Rendered(ids=[5, 6, 7, 8, 9, 10, 11], prompt_length=2, step_ends=[3, 5, 6])
    labels = [(0, 0, 1), (0, 1, 0), (0, 0, 1)]
    classes = {}
    for policy in ("class", "positive", "negative", "ignore"):
        found, _ = prm_example(rendered, labels, [], policy)
        assert found is not None
        classes[policy] = list(zip(found.at.tolist(), found.classes.tolist(), strict=True))
    assert classes["class"] == [(3, 2), (5, 1), (6, 2)]
    assert classes["positive"] == [(3, 2), (5, 2), (6, 2)]
    assert classes["negative"] == [(3, 2), (5, 0)]  # and by that the first negative
    assert classes["ignore"] == [(3, 2), (6, 2)]
    found, counts = prm_example(rendered, [(0.25, 0.25, 0.5), None, (0.75, 0, 0.25)], [], "class")
    assert found is not None
    assert found.at.tolist() == [3, 3, 3, 6, 6]
    assert found.classes.tolist() == [0, 1, 2, 0, 2]
    assert found.weights.tolist() == [0.25, 0.25, 0.5, 0.75, 0.25]
    assert counts == {"labels_positive": 1, "labels_unrated": 1, "labels_negative": 1}
    with pytest.raises(ValueError, match="prm_neutral 'maybe'"):
        prm_example(rendered, labels, [], "maybe")


def test_the_loss_of_a_soft_label_is_its_cross_entropy() -> None:
    model = tiny_model(3)
    soft = example([[1, 2, 3]], [(0, 2, 0, 0.2), (0, 2, 1, 0.3), (0, 2, 2, 0.5)])
    batch = batch_of([soft], CPU)
    logits = model(batch.row, batch.positions_U)
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([[0.2, 0.3, 0.5]]))
    torch.testing.assert_close(weighted_loss(logits, batch), wanted)


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_has_every_example_once_and_depends_on_the_seed_alone(shuffle: bool) -> None:
    lengths = np.random.default_rng(1).integers(1, 50, 1001)
    config = TrainingConfig(epochs=1, batch_size=8, learning_rate=1, shuffle=shuffle)
    batches = epoch_batches(lengths, np.ones(1001, int), config, 0)
    assert sorted(np.concatenate(batches)) == list(range(1001))
    again = epoch_batches(lengths, np.ones(1001, int), config, 0)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    other = epoch_batches(lengths, np.ones(1001, int), config, 1)
    assert any(a.tolist() != b.tolist() for a, b in zip(batches, other, strict=True)) == shuffle


def test_a_batch_has_trees_of_all_lengths() -> None:
    """A solution ends at its first wrong step: batches of like length would be batches of like labels."""
    lengths = np.random.default_rng(1).integers(1, 50, 4000)
    batches = epoch_batches(lengths, np.ones(4000, int), TrainingConfig(epochs=1, batch_size=8, learning_rate=1), 0)
    within = np.mean([lengths[batch].var(ddof=1) for batch in batches])
    assert within == pytest.approx(lengths.var(ddof=1), rel=0.05)


def test_micro_batches_keep_to_their_budget_and_lose_nothing() -> None:
    lengths = np.random.default_rng(2).integers(1, 50, 100)
    parts = micro_batches(lengths, np.arange(100), 200)
    assert np.concatenate(parts).tolist() == list(range(100))
    assert all(len(part) == 1 or lengths[part].sum() <= 200 for part in parts)
    assert [len(part) for part in micro_batches(np.array([500]), np.array([0]), 200)] == [1]


def test_a_language_model_that_scales_its_logits_is_refused() -> None:
    config = GraniteConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=16, logits_scaling=8.0,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"granite: logits_scaling 8\.0"):
        SelectiveLogits(GraniteForCausalLM(config), 32)


def test_packed_is_unpacked_in_loss_and_gradients() -> None:
    for classes in (None, 3):
        model, examples = tiny_model(classes), random_examples(12)
        loss, together = gradients(model, examples)
        one_by_one = [gradients(model, [one]) for one in examples if len(one.at)]
        assert loss == pytest.approx(sum(part for part, _ in one_by_one), abs=1e-5)
        for name, gradient in together.items():
            torch.testing.assert_close(gradient, sum(parts[name] for _, parts in one_by_one), rtol=0, atol=1e-5)


def test_alternatives_with_a_shared_prefix_are_separate_rows_in_loss_and_gradients() -> None:
    rng = np.random.default_rng(3)
    history = rng.integers(0, 20, 9).tolist()
    steps = [rng.integers(0, 20, size).tolist() for size in (4, 2, 6, 1)]
    sequences = [history + steps[0] + steps[1], *(history + step for step in steps[2:])]
    targets = [(0, 12, 2, 1.0), (0, 14, 0, 1.0), (1, 14, 0, 0.3), (1, 14, 2, 0.7), (2, 9, 1, 1.0)]
    shared = example(sequences, targets)
    assert len(shared.ids) < sum(map(len, sequences))
    separate = [
        example([row], [(0, *target[1:]) for target in targets if target[0] == at]) for at, row in enumerate(sequences)
    ]
    model = tiny_model(3)
    loss, together = gradients(model, [shared])
    apart = [gradients(model, [one]) for one in separate]
    assert loss == pytest.approx(sum(part for part, _ in apart), abs=1e-5)
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, sum(parts[name] for _, parts in apart), rtol=0, atol=1e-5)


def test_in_the_last_steps_alternatives_are_not_trained_on() -> None:
    def shown(alternatives: bool) -> list[Example]:
        rng = np.random.default_rng(6)
        found = []
        for _ in range(12):
            step, other = rng.integers(0, 20, 3).tolist(), rng.integers(0, 20, 4).tolist()
            rows, targets = [[1, 2, *step], [1, 2, *other]], [(0, 2, 2, 1.0), (0, 4, 0, 1.0), (1, 5, 1, 1.0)]
            one = example(rows, targets) if alternatives else example(rows[:1], targets[:2])
            found.append(dataclasses.replace(one, own_targets=2))
        return found

    weights = {}
    for name, examples, epochs, alone in (
        ("with, but not trained on", shown(True), 1, 1.0), ("without", shown(False), 1, 0), ("with", shown(True), 1, 0),
        ("with, in the first", shown(True), 2, 0.5), ("without, twice", shown(False), 2, 0),
        ("with, twice", shown(True), 2, 0),
    ):  # fmt: skip
        model = tiny_model(3)
        optimise(model, examples, dataclasses.replace(CONFIG, epochs=epochs), share_without_alternatives=alone)
        weights[name] = model.model.score.weight.detach().clone()
    assert torch.equal(weights["with, but not trained on"], weights["without"])
    assert not torch.equal(weights["with"], weights["without"])
    assert not torch.equal(weights["with, in the first"], weights["without, twice"])
    assert not torch.equal(weights["with, in the first"], weights["with, twice"])


def test_one_pass_is_prefix_by_prefix_and_a_batch_is_one_at_a_time() -> None:
    model = tiny_model(3).eval()
    rng = np.random.default_rng(4)
    problems = [rng.integers(0, 20, 6).tolist() for _ in range(5)]
    solutions = [[*problem, *rng.integers(0, 3, rng.integers(1, 9)).tolist()] for problem in problems for _ in range(7)]
    trees = [prefix_tree(solutions[at : at + 7]) for at in range(0, 35, 7)]
    assert sum(map(len, trees)) < 0.7 * sum(map(len, solutions))
    found = predict(model, trees, [np.concatenate(tree.places) for tree in trees], token_budget=100)
    alone = predict(model, [prefix_tree([row]) for row in solutions], [np.arange(len(row)) for row in solutions])
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(alone), atol=1e-5)
    plain = tiny_model(3).eval().model
    plain.set_attn_implementation("sdpa")
    for row, probabilities in zip(solutions, alone, strict=True):
        for length in range(1, len(row) + 1):
            with torch.no_grad():
                last = plain(input_ids=torch.tensor([row[:length]])).logits[0, -1].softmax(-1)
            np.testing.assert_allclose(probabilities[length - 1], last, atol=1e-5)


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

    def keep(step: int, steps: int, metrics: dict[str, float], get_state: Any) -> bool:
        states[step] = copy.deepcopy(get_state())
        return False

    optimise(model, random_examples(), CONFIG, after_step=keep)
    resumed = tiny_model(3)
    optimise(resumed, random_examples(), CONFIG, state=states[4])
    assert len(states) == 10
    assert torch.equal(weights(model), weights(resumed))


def test_a_model_can_learn_by_heart() -> None:
    metrics: dict[str, float] = {}
    config = TrainingConfig(epochs=60, batch_size=8, learning_rate=1e-2)
    optimise(
        tiny_model(3), random_examples(16), config,
        after_step=lambda step, steps, now, get_state: bool(metrics.update(now)),
    )  # fmt: skip
    assert metrics["accuracy"] > 0.99


def test_rows_are_as_long_as_a_gpu_has_room_for() -> None:
    small = LlamaConfig(hidden_size=1536, num_hidden_layers=28, intermediate_size=8960)  # 1.3 billion parameters
    large = LlamaConfig(hidden_size=3584, num_hidden_layers=28, intermediate_size=18_944)  # 7.6
    GiB = 2**30
    # Seen on a GPU: rows of 16,384 tokens of the small one took 75 GiB in all.
    assert reckon(int(75 * GiB / 0.9), 1_320_000_000, small, 3, False) == pytest.approx(16_384, rel=0.05)
    assert reckon(80 * GiB, 1_320_000_000, small, 3, False) < 16_384
    assert reckon(80 * GiB, 1_320_000_000, small, 152_064, False) < reckon(80 * GiB, 1_320_000_000, small, 3, False)
    with pytest.raises(
        ValueError, match=r"7.6 billion parameters take 113 GiB .* this GPU has 80 GiB: --sharding fsdp"
    ):
        reckon(80 * GiB, 7_600_000_000, large, 3, False)
    assert reckon(80 * GiB, 7_600_000_000 // 4, large, 3, True) > 16_384  # sharded by four, and recomputed
