"""Attention in blocks of long trees: every token sees what it saw, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.training import tree_blocks
from components.training.packed_attention import pack
from components.training.prefix_tree import PrefixTree, prefix_tree
from components.training.tree_blocks import blocks_of, padded
from tests.training.test_loop import tiny_model

CPU = torch.device("cpu")


def trees_of(seed: int, longest: int) -> list[PrefixTree]:
    """Trees of one to twelve sequences, some of which begin alike, some of which are one token."""
    rng = np.random.default_rng(seed)
    return [
        prefix_tree([[0, *rng.integers(0, 2, rng.integers(0, longest)).tolist()] for _ in range(rng.integers(1, 13))])
        for _ in range(rng.integers(1, 5))
    ]


@pytest.mark.parametrize("size", [1, 3, 8, 32])
def test_each_token_sees_its_history_once_and_nothing_else(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_blocks, "BLOCK", size)
    for seed in range(30):
        trees = trees_of(seed, longest=20)
        groups, until = blocks_of(trees)
        seen = np.zeros((len(until), len(until)), dtype=np.int64)
        for group in groups:
            queries_TQ, keys_TK, mask = padded(group, until)
            assert torch.isfinite(mask).any(-1).all(), "no slot sees nothing, which would be no number"
            for row, block in enumerate(group):
                allowed = torch.isfinite(mask[row, 0]).numpy()
                for at, query in enumerate(queries_TQ[row][: len(block.queries)]):
                    np.add.at(seen[query], keys_TK[row][allowed[at]], 1)
        places = np.arange(len(until))
        expected = (places[None] <= places[:, None]) & (places[:, None] < until[None])
        assert (seen == expected).all()


def test_a_model_reads_the_same_in_blocks() -> None:
    model = tiny_model(3).eval()
    for seed in range(6):
        trees = trees_of(seed, longest=60)
        everywhere = torch.arange(sum(map(len, trees)))
        rows = [pack(trees, CPU, in_blocks=in_blocks) for in_blocks in (False, True)]
        with torch.no_grad():
            plain, blocks = (model(row, everywhere) for row in rows)
        torch.testing.assert_close(blocks, plain, rtol=0, atol=1e-5)
        if any(len(tree) > tree_blocks.BLOCK for tree in trees):
            assert rows[1].take_keys is not None
            areas = [sum(group.trees * group.queries * group.keys for group in row.groups) for row in rows]
            assert areas[1] < areas[0] or max(map(len, trees)) < 2 * tree_blocks.BLOCK
