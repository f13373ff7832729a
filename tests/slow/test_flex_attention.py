"""The row that a GPU computes, by flex attention compiled for this machine, against the one that a CPU computes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from components.training.packed_attention import pack
from components.training.prefix_tree import PrefixTree, prefix_tree
from tests.training.test_loop import tiny_model

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")


def random_trees(count: int, length: int, seed: int = 0) -> list[PrefixTree]:
    """Of four sequences each, which begin alike."""
    rng = np.random.default_rng(seed)
    return [
        prefix_tree([[*range(5), *rng.integers(0, 4, rng.integers(1, length)).tolist()] for _ in range(4)])
        for _ in range(count)
    ]


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with g++")
def test_flex_attention_sees_what_the_plain_kernel_sees() -> None:
    model = tiny_model(3).eval()
    trees = random_trees(6, 7)
    everywhere = torch.arange(sum(map(len, trees)))
    with torch.no_grad():
        plain, flex = (model(pack(trees, CPU, flex=flex), everywhere) for flex in (False, True))
    torch.testing.assert_close(flex, plain, rtol=0, atol=1e-5)
    assert float(plain.std()) > 0.01


def test_blocks_are_those_that_trying_all_pairs_finds() -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    found = set()
    for seed in range(20):
        block_mask = pack(random_trees(1 + seed // 4, 150 + 40 * seed, seed), CPU, flex=True).block_mask
        assert block_mask is not None
        size = block_mask.seq_lengths[0]
        expected = create_block_mask(block_mask.mask_mod, None, None, size, size, device="cpu")
        for name in ("kv", "q", "full_kv", "full_q"):
            counts = getattr(block_mask, f"{name}_num_blocks")
            torch.testing.assert_close(counts, getattr(expected, f"{name}_num_blocks"))
            indices, others = (getattr(mask, f"{name}_indices") for mask in (block_mask, expected))
            for row, count in enumerate(counts[0, 0].tolist()):
                assert indices[0, 0, row, :count].tolist() == others[0, 0, row, :count].tolist()
        found |= {(int(block_mask.kv_num_blocks.max()) > 1, int(block_mask.full_kv_num_blocks.max()) > 0)}
    assert (True, True) in found  # neither kind was empty throughout
