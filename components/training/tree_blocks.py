"""Long trees in blocks of their tokens, for attention outside of flex attention: a block looks at itself and at the
tokens before it that lead to it, which are few, in place of all tokens of the tree.

Of 64 samples of a problem that is a quarter of the work. It is for reading alone: a key is taken by several blocks, so
a gradient would be added up in an order of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.training.prefix_tree import PrefixTree

BLOCK = 32  # tokens
_PADDED_SHARE = 1.7  # blocks share an attention call while its area is at most so many times theirs
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Tokens of a row, by their places: queries, and the keys that they may see."""

    queries: Places
    keys: Places


def blocks_of(trees: Sequence[PrefixTree]) -> tuple[list[list[Block]], Places]:
    """Return the blocks of a row of trees, in groups for an attention call each; and `until` of each token of the row.

    In preorder a token before a block is seen from within it where it leads to the block's first token.
    """
    starts = np.cumsum([0, *(len(tree) for tree in trees)])
    until = np.concatenate([tree.until + start for tree, start in zip(trees, starts, strict=False)]).astype(np.int64)
    blocks = [block for start, end in pairwise(starts.tolist()) for block in _cut(until, start, end)]
    groups: list[list[Block]] = []
    area = 0
    for block in sorted(blocks, key=lambda block: (-len(block.keys), -len(block.queries))):
        own = len(block.queries) * len(block.keys)
        if groups:
            width = max(len(block.queries), *(len(other.queries) for other in groups[-1]))
            if (len(groups[-1]) + 1) * width * len(groups[-1][0].keys) <= _PADDED_SHARE * (area + own):
                groups[-1].append(block)
                area += own
                continue
        groups.append([block])
        area = own
    return groups, until


def _cut(until: Places, start: int, end: int) -> Iterator[Block]:
    for first in range(start, end, BLOCK):
        own = np.arange(first, min(first + BLOCK, end))
        before = start + np.flatnonzero(until[start:first] > first)
        yield Block(own, np.concatenate([before, own]))


def padded(group: Sequence[Block], until: Places) -> tuple[Places, Places, Tensor]:
    """Return a group's queries (blocks, Q) and keys (blocks, K), and what is added to the scores (blocks, 1, Q, K): 0
    where a token sees another and −∞ elsewhere. What is filled up is the first query, and keys that nobody sees."""
    shape = len(group), max(len(block.queries) for block in group), max(len(block.keys) for block in group)
    queries_TQ, keys_TK = np.empty(shape[:2], dtype=np.int64), np.zeros((shape[0], shape[2]), dtype=np.int64)
    until_TK = np.zeros_like(keys_TK)
    for row, block in enumerate(group):
        queries_TQ[row] = block.queries[0]
        queries_TQ[row, : len(block.queries)] = block.queries
        keys_TK[row, : len(block.keys)] = block.keys
        until_TK[row, : len(block.keys)] = until[block.keys]
    sees_TQK = (keys_TK[:, None, :] <= queries_TQ[:, :, None]) & (queries_TQ[:, :, None] < until_TK[:, None, :])
    mask = torch.zeros(sees_TQK.shape).masked_fill_(torch.from_numpy(~sees_TQK), -torch.inf)
    return queries_TQ, keys_TK, mask[:, None]
