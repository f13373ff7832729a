"""Solutions of one problem as one training example: the tokens with which they begin alike are computed once.

A problem's text is most of what a short solution's example holds, and samples often share their first steps too. The
loss and its gradient are those of the solutions apart, to rounding (`prefix_tree.py` says why).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.training.examples import Example
from components.training.prefix_tree import Ints, prefix_tree

_NOTHING: Ints = np.empty(0, dtype=np.int32)


def group_by_problem(examples: Sequence[Example], problems: Sequence[int], most: int) -> list[Example]:
    """Return the examples with up to `most` solutions of each problem in one, in the order of their first solutions.

    problems: a number per example, the same for solutions of one problem.
    """
    if most == 1:
        return list(examples)
    groups: list[list[Example]] = []
    open_group: dict[int, list[Example]] = {}
    for example, problem in zip(examples, problems, strict=True):
        group = open_group.get(problem)
        if group is None or len(group) == most:
            group = open_group[problem] = []
            groups.append(group)
        group.append(example)
    return [merged(group) for group in groups]


def merged(examples: Sequence[Example]) -> Example:
    """Return one example with the tokens and targets of several, for training: no score can be read from it."""
    if len(examples) == 1:
        return examples[0]
    paths = [(number, path) for number, example in enumerate(examples) for path in _paths(example.positions)]
    tree = prefix_tree([examples[number].ids[path].tolist() for number, path in paths])
    places = [np.empty(len(example.ids), dtype=np.int32) for example in examples]
    for (number, path), place in zip(paths, tree.places, strict=True):
        places[number][path] = place
    own = [slice(0, example.own_targets) for example in examples]
    others = [slice(example.own_targets, None) for example in examples]
    parts = [*zip(examples, places, own, strict=True), *zip(examples, places, others, strict=True)]
    return Example(
        tree.ids,
        tree.positions,
        tree.until,
        np.concatenate([place[example.at[part]] for example, place, part in parts]),
        np.concatenate([example.classes[part] for example, _, part in parts]),
        np.concatenate([example.weights[part] for example, _, part in parts]),
        _NOTHING,
        None,
        sum(example.own_targets for example in examples),
        sum(example.solutions for example in examples),
    )


def _paths(positions: Ints) -> list[Ints]:
    """Return the places of each sequence of a tree, from its first token to a token that none comes after."""
    path: list[int] = []
    paths: list[Ints] = []
    for place, position in enumerate(positions.tolist()):
        if position < len(path):
            paths.append(np.array(path, dtype=np.int32))
            del path[position:]
        path.append(place)
    return [*paths, np.array(path, dtype=np.int32)]
