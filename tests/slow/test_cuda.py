"""Packed rows on a GPU: what single sequences give, at every size of row, and compiled few times. Skipped without one;
`pytest tests/slow/test_cuda.py` on a machine that has one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForTokenClassification

from components.models.layers_on_gpus import spread
from components.training.config import TrainingConfig
from components.training.examples import Example
from components.training.loop import SelectiveLogits, batch_of, optimise, predict, weighted_loss
from tests.conftest import Counted
from tests.slow.test_flex_attention import random_trees

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def small_model(layers: int = 3) -> SelectiveLogits:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=192, num_hidden_layers=layers, num_attention_heads=6, num_key_value_heads=2,
        intermediate_size=256, num_labels=3,
    )  # fmt: skip
    return SelectiveLogits(LlamaForTokenClassification(config), 4096)


def random_examples(count: int, length: int = 300) -> list[Example]:
    """Trees with targets at half of their tokens."""
    rng = np.random.default_rng(1)
    found = []
    for seed in range(count):
        tree = random_trees(1, int(rng.integers(4, length)), seed)[0]
        at = np.flatnonzero(rng.random(len(tree)) < 0.5).astype(np.int32)
        at = at if len(at) else np.array([0], np.int32)
        classes, weights = tree.ids[at] % 3, rng.random(len(at), np.float32)
        found.append(Example(tree.ids, tree.positions, tree.until, at, classes, weights, at, None, len(at)))
    return found


def gradients(
    model: SelectiveLogits, examples: list[Example], device: torch.device
) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    batch = batch_of(examples, device)
    loss = weighted_loss(model(batch.row, batch.positions_U), batch)
    loss.backward()
    found = {name: one.grad.cpu() for name, one in model.named_parameters() if one.grad is not None}
    return float(loss.detach()), found


def test_loss_and_gradients_are_those_of_the_cpu(counted: Counted) -> None:
    """The CPU's are those of one sequence at a time (tests/test_training.py)."""
    here = small_model()
    there = copy.deepcopy(here).cuda()
    examples = random_examples(24)
    worst = 0.0
    for count in (1, 5, 24):
        loss, expected = gradients(here, examples[:count], torch.device("cpu"))
        found_loss, found = gradients(there, examples[:count], torch.device("cuda"))
        assert found_loss == pytest.approx(loss, rel=1e-5)
        assert found.keys() == expected.keys()
        for name in expected:
            size = float(expected[name].norm())
            worst = max(worst, float((found[name] - expected[name]).norm()) / size)
            assert worst < 1e-4, name
    counted(f"3 rows on a GPU: gradients as on the CPU, to {worst:.0e} of their size")


def test_scores_are_those_of_the_cpu_in_every_row(counted: Counted) -> None:
    here = small_model().eval()
    there = copy.deepcopy(here).cuda()
    trees = [tree for seed in range(40) for tree in random_trees(1, 20 + 12 * seed, seed)]
    at = [np.arange(len(tree)) for tree in trees]
    expected = np.concatenate(predict(here, trees, at))
    for budget in (1, 700, 16_384):
        found = np.concatenate(predict(there, trees, at, budget))
        assert np.abs(found - expected).max() < 1e-4
    counted(f"{len(expected):,} tokens scored on a GPU in rows of 3 budgets: as on the CPU")


def test_rows_of_all_sizes_are_compiled_a_few_times(counted: Counted) -> None:
    """More than Dynamo's limit, 8, and attention would be computed as N × N, without a word."""
    model, examples = small_model().cuda(), random_examples(400)
    sizes = set()

    def after_step(step: int, steps: int, metrics: dict[str, float], get_state: Any) -> bool:
        sizes.add(int(metrics["tokens"]) // 128)
        if step % 10 == 0:  # as held-out problems are read while it trains
            model.eval()
            predict(model, random_trees(3, 10 * step), [np.arange(5)] * 3, as_trained=True)
            model.train()
        return False

    optimise(
        model,
        examples,
        TrainingConfig(epochs=2, batch_size=8, learning_rate=1e-3),
        micro_batch_tokens=4096,
        after_step=after_step,
    )
    stats = torch._dynamo.utils.counters["stats"]
    assert len(sizes) > 20
    assert stats["unique_graphs"] <= 6, dict(stats)
    counted(f"{len(sizes)} sizes of rows on a GPU: {stats['unique_graphs']} graphs compiled")


def test_bfloat16_learns_as_float32_does() -> None:
    losses = {}
    for device in ("cpu", "cuda"):
        model, found = small_model().to(device), []
        optimise(
            model,
            random_examples(64, 100),
            TrainingConfig(epochs=6, batch_size=8, learning_rate=1e-3),
            after_step=lambda step, steps, metrics, get_state: bool(found.append(metrics["loss"])),  # noqa: B023
        )
        losses[device] = np.array(found)
    assert losses["cpu"][-8:].mean() < 0.7 * losses["cpu"][:8].mean()
    np.testing.assert_allclose(losses["cuda"][-8:].mean(), losses["cpu"][-8:].mean(), rtol=0.1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@torch.inference_mode()
def test_layers_on_two_gpus_give_what_one_gives() -> None:
    one, two = small_model().to("cuda:0").eval(), small_model().eval()
    spread(two, two.model, [torch.device("cuda", 0), torch.device("cuda", 1)])
    trees = random_trees(12, 300, 3)
    at = [np.arange(len(tree)) for tree in trees]
    for found, wanted in zip(predict(two, trees, at), predict(one, trees, at), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
