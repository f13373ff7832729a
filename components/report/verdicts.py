"""Verdicts in words: which method beats which, at 5 % for a report as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.report.main_study import Row, is_other_prm, records, short_name
from schemas.results import ENSEMBLES, members_of

LEVEL = 0.05
SMALLEST_P = 1 / 4000  # that the draws of a study can tell: two of 8,000
_FEWEST_PROBLEMS = 5  # fewer problems support no verdict, however alike their differences are
_NOT_TRAINED = ("majority", "pass_at_1")


@dataclass(frozen=True)
class Family:
    """A sentence's p-value after the correction, and the number of sentences that it is corrected for."""

    p_value: float
    sentences: int


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number (Holm 1979): the chance that any is below a level where there is
    no difference at all is at most that level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(p) for p in corrected.round(12)]


def correction(sentences: int) -> list[str]:
    """Return the line under a report's verdicts that says how they are corrected; none under a single one."""
    if sentences < 2:
        return []
    line = (
        f"{sentences} comparisons are made here. Beats and loses to are said where Holm's correction for all of them "
        f"allows it at {100 * LEVEL:.0f} %; the intervals are each comparison's own"
    )
    if sentences * SMALLEST_P > LEVEL:
        line += (
            f". They are too many for any to be said: no p-value is below {SMALLEST_P:g}; compare fewer at a time, or "
            "read the intervals"
        )
    return [line]


def verdicts(
    comparisons: pd.DataFrame,
    num_problems: int,
    references: Collection[str] = (),
    given: Mapping[str, bool] | None = None,
) -> list[str]:
    """Return the study's answers in words, from paired differences on the test split at the largest N, its own question
    first; and a line on their correction.

    references: methods that stand beside the others in tables and are no question of the study, so that they do not
    make the correction stricter; where there are no others, they are the question. given: verifiers that are the same
    beside each of the study's trainings → whether each is a trained model.
    """
    fixed = dict.fromkeys(_NOT_TRAINED, False) | dict(given or {})
    rows = comparisons[comparisons["split"] == "test"]
    if any(not _is_vote(name) and name not in references for name in rows["method"]):
        rows = rows[~rows["method"].isin(references)]
    if rows.empty:  # one method alone
        return []
    largest = int(rows["n"].max())
    of_pairs = {(row["method"], row["baseline"]): row for row in records(rows[rows["n"] == largest])}
    pairs = [pair for pair in _questions(list(dict.fromkeys(rows["method"]))) if pair in of_pairs]
    corrected = holm([of_pairs[pair]["p_value"] for pair in pairs])
    sentences = []
    for (method, baseline), p_value in zip(pairs, corrected, strict=True):
        row = of_pairs[method, baseline] | {"num_problems": num_problems}
        trained = sum(fixed.get(name, True) for name in (method, baseline))
        if method in fixed and baseline in fixed:
            row["num_seeds"] = 1
        family = Family(p_value, len(pairs))
        names = short_name(method), short_name(baseline)
        sentences.append(compared(row, *names, f"at N = {largest}", family, trained))
    return [*sentences, *correction(len(sentences))]


def _is_vote(method: str) -> bool:
    return method == "majority" or method.endswith("_weighted")


def _questions(methods: list[str]) -> list[tuple[str, str]]:
    """Return the pairs to compare: the PRM of another source with the first PRM and the ORM alone.

    Where trainings have an ensemble, it stands for them; beside another source's trainings they stand themselves.
    """
    names = [name for name in methods if not _is_vote(name)]
    has_own = "prm" in names or "ensemble_prm" in names  # else columns of a file are called so
    others = [name for name in names if has_own and is_other_prm(name)]
    members = members_of(names)
    named = [name for name in names if name not in (*others, *members)]
    questions = list(itertools.combinations(named, 2))
    questions += [(name, baseline) for baseline in _NOT_TRAINED for name in named]
    single = [name for name in names if name not in ENSEMBLES]
    return questions + [pair for pair in itertools.combinations(single, 2) if len(set(pair) & set(others)) == 1]


def compared(row: Row, method: str, baseline: str, where: str, family: Family | None = None, trained: int = 2) -> str:
    """Return a paired difference in words: beats, loses to, or no clear difference.

    row: difference, ci_low, ci_high, as shares; num_problems, num_seeds, std_over_seeds. family: None: the sentence
    stands alone, and its interval decides. trained: how many of the two are trained models.
    """
    points, low, high = (100 * row[name] for name in ("difference", "ci_low", "ci_high"))
    is_clear = row["num_problems"] >= _FEWEST_PROBLEMS and (low > 0 or high < 0)
    is_allowed = family is None or family.p_value <= LEVEL
    if is_clear and is_allowed:
        sentence = f"{method} {'beats' if low > 0 else 'loses to'} {baseline} {where} by {abs(points):.1f} points"
        low, high = (-high, -low) if high < 0 else (low, high)
    else:
        why = ""
        if is_clear and family is not None:
            why = f"; the interval alone excludes 0; not after Holm's correction for {family.sentences} sentences"
        sentence = f"{method} shows no clear difference from {baseline} {where} ({points:+.1f} points{why})"
    return (
        f"{sentence}, 95 % interval {low:.1f} to {high:.1f}, {row['num_problems']} problems{_trainings(row, trained)}"
    )


def _trainings(row: Row, trained: int) -> str:
    """Return which trainings the sentence is of, and how far apart the same difference is between several."""
    if trained == 0:
        return ""
    if row["num_seeds"] > 1 and members_of((row["method"], row["baseline"])):
        return f" and {row['num_seeds']} trainings"
    if row["num_seeds"] == 1:
        models = "these two trained models" if trained == 2 else "this trained model"
        return f"; of {models} alone: other trainings may differ"
    return (
        f"; mean of {row['num_seeds']} training seeds, standard deviation over them {100 * row['std_over_seeds']:.1f}"
    )
