"""Groups of problems: accuracies and paired differences by quintile of difficulty (figure 6), source (table 1), level
and subject.

Problems are put into quintiles by the pass rate of one half of their samples, and evaluated by the other half; both
ways, averaged. By the same samples the hardest quintile would hold the problems whose samples were unlucky, and all of
the easiest would be right by construction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.dataflow.stage import TableStage
from components.evaluation.curves import PASS_AT_1, curve_rows, difference_rows
from components.evaluation.method_accuracies import (
    MethodAccuracies,
    VoteConfig,
    accuracies_by_split,
    accuracy_rows,
    weights_of_votes,
    with_ensembles,
)
from components.evaluation.scored_samples import samples_by_split
from components.statistics.best_of_n import Floats, Samples
from components.statistics.bootstrap import BootstrapConfig
from schemas.results import GROUP_ACCURACY, GROUP_COMPARISONS, HALF_ACCURACY, REFERENCES, members_of

QUINTILES = 5


def half_accuracy(config: VoteConfig) -> TableStage:
    """The stage scored_samples → problem_accuracy of either half of each problem's samples; no row of a single one."""
    return TableStage("half_accuracy", 1, config, HALF_ACCURACY, _half_accuracy)


def group_accuracy(config: BootstrapConfig) -> TableStage:
    """The stage (problem_accuracy, half_accuracy, problem_attributes) → the curves by quintile of pass rate, by source,
    by level and by subject."""
    return TableStage("group_accuracy", 3, config, GROUP_ACCURACY, _group_accuracy)


def group_comparisons(config: BootstrapConfig) -> TableStage:
    """The stage (the same inputs) → paired differences between methods in the same groups, without weighted votes."""
    return TableStage("group_comparisons", 1, config, GROUP_COMPARISONS, _group_comparisons)


def compared_pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs that a reader asks about: trained verifiers with each other, with majority voting and with a
    single sample. Where trainings have an ensemble, it stands for them."""
    methods = list(methods)
    without = ("majority", "pass", *REFERENCES, *members_of(methods))
    verifiers = [name for name in methods if name not in without and not name.endswith("_weighted")]
    others = [*(name for name in methods if name == "majority"), PASS_AT_1]
    return [*itertools.combinations(verifiers, 2), *((name, other) for other in others for name in verifiers)]


def _half_accuracy(config: VoteConfig, scored_samples: pa.Table) -> pa.Table:
    parts = []
    whole = list(samples_by_split(scored_samples))
    halves = [[(split, seed, _half(samples, half)) for split, seed, samples in whole] for half in (0, 1)]
    both = zip(whole, *map(with_ensembles, halves), strict=True)
    for (_, _, samples), *of_halves in both:
        for half, (split, seed, chosen, ensembles) in enumerate(of_halves if samples.answer_PM.shape[1] > 1 else ()):
            rows = accuracy_rows(config, chosen, weights_of_votes(samples), ensembles)
            parts.append(rows.assign(split=split, training_seed=seed, half=half, error=None))
    if not parts:
        return pa.Table.from_pylist([], schema=HALF_ACCURACY)
    return pa.Table.from_pandas(pd.concat(parts), schema=HALF_ACCURACY, preserve_index=False)


def _half(samples: Samples, half: int) -> Samples:
    chosen = np.arange(samples.answer_PM.shape[1] // 2) * 2 + half
    arrays = ("answer_PM", "is_correct_PM", "is_right_answer_PM")
    changed: dict[str, Any] = {name: getattr(samples, name)[:, chosen] for name in arrays}
    return replace(samples, **changed, scores={name: scores[:, chosen] for name, scores in samples.scores.items()})


@dataclass(frozen=True)
class _ProblemGroup:
    grouping: str
    group: str
    accuracies: MethodAccuracies
    num_tied: float | None = None

    def row(self, split: str) -> dict[str, Any]:
        return {"split": split, "grouping": self.grouping, "group": self.group}


def _group_accuracy(config: BootstrapConfig, **tables: pa.Table) -> pa.Table:
    rows = []
    for split, group in _groups(**tables):
        pass_rate = group.accuracies.methods["pass"][0, :, 0].mean()
        about = group.row(split) | {"pass_rate": pass_rate, "num_tied": group.num_tied}
        rows += [about | row for row in curve_rows(config, group.accuracies)]
    return pa.Table.from_pylist(rows, schema=GROUP_ACCURACY)


def _group_comparisons(config: BootstrapConfig, **tables: pa.Table) -> pa.Table:
    rows = []
    for split, group in _groups(**tables):
        about = group.row(split) | {"num_problems": len(group.accuracies.problem_ids)}
        pairs = compared_pairs(group.accuracies.methods)
        rows += [about | row for row in difference_rows(config, group.accuracies, pairs)]
    return pa.Table.from_pylist(rows, schema=GROUP_COMPARISONS)


def _groups(
    problem_accuracy: pa.Table, half_accuracy: pa.Table, problem_attributes: pa.Table
) -> Iterator[tuple[str, _ProblemGroup]]:
    """Yield (split, group)."""
    attributes = problem_attributes.to_pandas().set_index("problem_id")
    by_half = [dict(accuracies_by_split(half_accuracy.filter(pc.field("half") == half))) for half in (0, 1)]
    for split, accuracies in accuracies_by_split(problem_accuracy):
        if split in by_half[0]:
            yield from ((split, group) for group in _quintiles(by_half[0][split], by_half[1][split]))
        for grouping in ("source", "level", "subject"):
            values = attributes[grouping].reindex(accuracies.problem_ids)
            if values.nunique() < 2:
                continue
            for value in sorted(values.dropna().unique(), key=lambda text: (len(text), text)):
                chosen = np.flatnonzero(values.eq(value)).tolist()
                yield split, _ProblemGroup(grouping, str(value), accuracies.of_problems(chosen))
            chosen = np.flatnonzero(values.notna()).tolist()
            yield split, _ProblemGroup(grouping, "all", accuracies.of_problems(chosen))


def _quintiles(first: MethodAccuracies, second: MethodAccuracies) -> Iterator[_ProblemGroup]:
    """Yield the quintiles, the hardest first, of equally many problems (or one more), and all problems.

    first, second: of the halves of the samples. Problems of equal pass rate are put in the order of their ids.
    """
    rates = [half.methods["pass"][0, :, 0] for half in (first, second)]
    orders = [np.lexsort((np.array(first.problem_ids), of_half)) for of_half in rates]
    count = min(QUINTILES, len(first.problem_ids))
    bins = zip(*(np.array_split(order, count) for order in orders), strict=True)
    for number, (by_first, by_second) in enumerate(bins, start=1):
        suffix = {1: " (hardest)", QUINTILES: " (easiest)"}.get(number, "")
        tied = np.mean([_tied(*of_half) for of_half in zip(rates, (by_first, by_second), strict=True)])
        accuracies = _evaluated(first, second, by_first.tolist(), by_second.tolist())
        yield _ProblemGroup("pass_rate", f"quintile {number}{suffix}", accuracies, float(tied))
    every = list(range(len(first.problem_ids)))
    yield _ProblemGroup("pass_rate", "all", _evaluated(first, second, every, every))


def _tied(rates: Floats, chosen: Any) -> int:
    """Return how many of the chosen problems have the pass rate of one that is not chosen."""
    return int(np.isin(rates[chosen], np.delete(rates, chosen)).sum())


def _evaluated(
    first: MethodAccuracies, second: MethodAccuracies, by_first: list[int], by_second: list[int]
) -> MethodAccuracies:
    """Return the mean of the second half's accuracies of the problems chosen by the first, and the reverse.

    Problems that both halves chose are averaged with themselves, the others in pairs: so a group has as many
    independent values as it has problems.
    """
    common = set(by_first) & set(by_second)
    left = second.of_problems(sorted(by_first, key=lambda at: (at not in common, at)))
    right = first.of_problems(sorted(by_second, key=lambda at: (at not in common, at)))
    means = {method: (values + right.methods[method]) / 2 for method, values in left.methods.items()}
    return MethodAccuracies(left.ns, left.problem_ids, means)
