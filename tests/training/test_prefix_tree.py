from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.training.prefix_tree import prefix_tree

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=9)


@given(SEQUENCES)
def test_each_token_sees_its_own_history_and_nothing_else(sequences: list[list[int]]) -> None:
    tree = prefix_tree(sequences)
    distinct = {tuple(sequence[: end + 1]) for sequence in sequences for end in range(len(sequence))}
    assert len(tree) == len(distinct)  # every prefix once
    index = np.arange(len(tree))
    sees = (index[None, :] <= index[:, None]) & (index[:, None] < tree.until[None, :])
    for sequence, places in zip(sequences, tree.places, strict=True):
        assert tree.ids[places].tolist() == sequence
        assert tree.positions[places].tolist() == list(range(len(sequence)))
        for end, place in enumerate(places):
            assert np.flatnonzero(sees[place]).tolist() == sorted(places[: end + 1])


def test_the_docstrings_example() -> None:
    tree = prefix_tree([[1, 2, 3], [1, 2, 4, 5]])
    assert tree.ids.tolist() == [1, 2, 3, 4, 5]
    assert tree.positions.tolist() == [0, 1, 2, 2, 3]
    assert tree.until.tolist() == [5, 5, 3, 5, 5]
