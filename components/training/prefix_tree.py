"""Token sequences that begin alike, as one row in which each shared prefix stands, and is computed, once.

Where attention is causal, a token's hidden states depend on the tokens before it alone. So sequences with a common
prefix (samples of one problem; the alternatives to one step) may share it exactly: in loss, in gradients and in scores.
A tree is laid out in preorder, and one number per token says who may look at it:

    a b c          ids        a  b  c  d  e          token i sees token j  ⇔  j ≤ i < until[j]
    a b d e   →    positions  0  1  2  2  3
                   until      5  5  3  5  5

Trees that stand one after another in a row do not see each other: the same rule packs what shares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class PrefixTree:
    """A tree of token sequences. ids, positions, until: shape (tokens,), in preorder.

    positions count from a sequence's first token; until is one past the last token that sees this one. places: for each
    sequence the index of each of its tokens.
    """

    ids: Ints
    positions: Ints
    until: Ints
    places: list[Ints]

    def __len__(self) -> int:
        return len(self.ids)


def prefix_tree(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """Return the tree of some sequences of token ids. None may be empty."""
    rows = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
    if len(rows) == 1:
        length = len(rows[0])
        place = np.arange(length, dtype=np.int32)
        return PrefixTree(rows[0], place, np.full(length, length, dtype=np.int32), [place])
    ids: list[Ints] = []
    positions: list[Ints] = []
    places: list[Ints] = [np.empty(0, dtype=np.int32)] * len(rows)
    before, path, size = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32), 0
    # In the order of their tokens, whatever two sequences share they share with every one between them.
    for index in sorted(range(len(rows)), key=lambda i: rows[i].astype(">u4").tobytes()):
        row = rows[index]
        shared = _common(before, row)
        new = len(row) - shared
        path = np.concatenate([path[:shared], np.arange(size, size + new, dtype=np.int32)])
        ids.append(row[shared:])
        positions.append(np.arange(shared, len(row), dtype=np.int32))
        places[index] = path
        before, size = row, size + new
    joined = np.concatenate(positions)
    return PrefixTree(np.concatenate(ids), joined, _until(joined), places)


def _common(a: Ints, b: Ints) -> int:
    """Return the length of the common prefix."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length


def _until(depths: Ints) -> Ints:
    """Return `until` of each token: in preorder a node's subtree ends where the next node of its depth or less
    stands."""
    until = np.full(len(depths), len(depths), dtype=np.int32)
    open_nodes: list[int] = []
    for place, depth in enumerate(depths.tolist()):
        while len(open_nodes) > depth:
            until[open_nodes.pop()] = place
        open_nodes.append(place)
    return until
