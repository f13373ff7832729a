"""Stepverify for Python callers: compare answers, score samples by a verifier, pick the best of N of them.

    >>> import stepverify
    >>> stepverify.is_equal(["0.5"], [r"\\frac{1}{2}"])
    [True]
    >>> stepverify.best_of_n([[0.9, 0.2, 0.4]], [[True, False, False]], [1, 3]).round(2).tolist()
    [[0.33, 1.0]]
    >>> stepverify.best_of_n([[0.9, 0.2, 0.4]], [[True, False, False]])[["n", "accuracy"]].round(2).to_numpy().tolist()
    [[1.0, 0.33], [2.0, 0.67], [3.0, 1.0]]

A study is a command (`stepverify study`, or `python flows/full_study.py`), and its tables are Parquet files. Nothing
here imports Ray or torch before a verifier is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.sampling import grading
from components.statistics import best_of_n as _statistics
from components.statistics.bootstrap import BootstrapConfig, estimates
from components.text.answer_extraction import extract_answer

if TYPE_CHECKING:
    import pandas as pd

    from components.verifiers.verifier import Verifier

__all__ = ["best_of_n", "compare_best_of_n", "extract_answer", "is_equal", "open_verifier", "pass_at_n"]

Scores = ArrayLike | Sequence[Sequence[float]]
Outcomes = ArrayLike | Sequence[Sequence[bool]]


@overload
def best_of_n(scores: Scores, is_correct: Outcomes, ns: None = None) -> pd.DataFrame: ...
@overload
def best_of_n(scores: Scores, is_correct: Outcomes, ns: Sequence[int]) -> NDArray[np.float64]: ...
def best_of_n(
    scores: Scores, is_correct: Outcomes, ns: Sequence[int] | None = None
) -> pd.DataFrame | NDArray[np.float64]:
    """Return the expected accuracy of picking the best score of N random samples; exact.

    scores: a number per problem and sample, NaN or None for a sample without one, which is never picked. is_correct:
    whether each sample's answer is right. Rows may have different lengths; a shorter one is filled with empty samples,
    whose pick is wrong. Equal scores share the pick.

    Without ns: a table with a row for every N from 1 to the most samples of a problem, and the columns n, accuracy (the
    mean over problems), low and high, the 95 % interval for other problems, as in a study's table best_of_n.
    ns: numbers of samples. The accuracy of each problem is returned then, shape (problems, len(ns)).
    Raises ValueError, naming what does not fit.
    """
    scores_PM, right_PM = _samples(scores, "scores", is_correct)
    if ns is None:
        return _for_every_n(_statistics.best_of_n(scores_PM, right_PM, _every_n(scores_PM)), "accuracy")
    return _statistics.best_of_n(scores_PM, right_PM, _sizes(ns, scores_PM.shape[1]))


def compare_best_of_n(scores_a: Scores, scores_b: Scores, is_correct: Outcomes) -> pd.DataFrame:
    """Return by how much best-of-N by one verifier's scores is more accurate than by another's, for every N.

    scores_a, scores_b, is_correct: of the same samples, as of `best_of_n`. A row per N, with the columns n, difference
    (accuracy by scores_a − accuracy by scores_b), low and high (its 95 % interval for other problems, paired by
    problem) and p_value, as in a study's table comparisons. Raises ValueError, naming what does not fit.
    """
    accuracies = []
    for name, scores in (("scores_a", scores_a), ("scores_b", scores_b)):
        scores_PM, right_PM = _samples(scores, name, is_correct)
        accuracies.append(_statistics.best_of_n(scores_PM, right_PM, _every_n(scores_PM)))
    return _for_every_n(accuracies[0] - accuracies[1], "difference")


def pass_at_n(is_correct: ArrayLike | Sequence[Sequence[bool]], ns: Sequence[int]) -> NDArray[np.float64]:
    """Return the chance that any of N random samples is right, shape (problems, len(ns)); exact.

    is_correct, ns: as in `best_of_n`. Formula: 1 − C(M − c, N) / C(M, N) of M samples with c right ones (Chen et al.
    2021). Raises ValueError.
    """
    right_PM = _right(is_correct)
    return _statistics.pass_at_n(right_PM, _sizes(ns, right_PM.shape[1]))


def open_verifier(
    folder: str | Path,
    style: str = "stepverify",
    dtype: str = "float32",
    base: str | Path | None = None,
    reference: str | Path | None = None,
) -> Verifier:
    """Return a reward model in evaluation mode: ours, or one of a style (docs/verifiers.md).

    style: a name, or the path of a style's TOML file. base: the base model's folder, for an adapter. reference: the
    reference model's folder, for a style that reads a log-ratio.

    `score([(problem, steps), …])` of it gives the score of each solution, and P(negative), P(neutral) and P(positive)
    of each step. Raises ImportError without torch and Transformers, ValueError for a folder that is not of the style.
    """
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"dtype {dtype!r}: float32, bfloat16 or float16")
    try:
        from components.verifiers.verifier import Verifier
    except ModuleNotFoundError as error:
        raise ImportError(f"a verifier needs {error.name}: install stepverify[cpu] or stepverify[gpu]") from error
    others = [None if path is None else Path(path) for path in (base, reference)]
    return Verifier(Path(folder), style, dtype, *others)


def is_equal(answers: Sequence[str], references: Sequence[str]) -> list[bool]:
    """Return whether each answer equals the reference answer beside it, by the study's grader (docs/grader.md).

    False also for what cannot be compared safely. Raises ValueError for sequences of unequal length and for what is no
    text.
    """
    for name, texts in (("answers", answers), ("references", references)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name}: a sequence of texts is wanted")
    return grading.is_equal(list(answers), list(references))


def _for_every_n(values_PM: NDArray[np.float64], name: Literal["accuracy", "difference"]) -> pd.DataFrame:
    """Return the table of means over problems for N = 1, 2, …, with intervals."""
    import pandas as pd  # here: callers of the grader alone need no pandas

    table = pd.DataFrame(estimates(values_PM[None], BootstrapConfig(), name))
    table = table.drop(columns=["num_seeds", "std_over_seeds"]).rename(columns={"ci_low": "low", "ci_high": "high"})
    table.insert(0, "n", range(1, len(table) + 1))
    return table


def _every_n(scores_PM: NDArray[np.float64]) -> list[int]:
    if not scores_PM.shape[1]:
        raise ValueError("no problem has a sample")
    return list(range(1, scores_PM.shape[1] + 1))


def _samples(scores: Any, name: str, is_correct: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores and outcomes as arrays of the same shape (problems, samples)."""
    scores_PM, right_PM = _matrix(scores, name, np.nan), _right(is_correct)
    if scores_PM.shape != right_PM.shape or [*map(len, _rows(scores))] != [*map(len, _rows(is_correct))]:
        raise ValueError(f"{name} {scores_PM.shape} and is_correct {right_PM.shape} differ: one of each per sample")
    return scores_PM, right_PM


def _rows(values: Any) -> list[Any]:
    try:
        rows = list(values.to_numpy() if hasattr(values, "to_numpy") else values)
    except TypeError:
        rows = []
    if not rows or any(np.ndim(row) == 0 and not isinstance(row, Sequence) for row in rows):
        raise ValueError("a row of samples per problem is wanted: a list of lists, or an array with two dimensions")
    return rows


def _matrix(values: Any, name: str, empty: float) -> NDArray[np.float64]:
    """Rows as one array, shorter ones filled up."""
    rows = _rows(values)
    matrix = np.full((len(rows), max(map(len, rows))), empty)
    for problem, row in enumerate(rows):
        for sample, value in enumerate(row):
            if isinstance(value, bool | np.bool_):
                raise ValueError(f"{name}: row {problem} has true or false, not numbers: are the arguments swapped?")
            if value is not None and not isinstance(value, int | float | np.integer | np.floating):
                raise ValueError(f"{name}: row {problem} has {value!r}, not a number")
            try:
                matrix[problem, sample] = np.nan if value is None else float(value)
            except OverflowError:
                raise ValueError(f"{name}: row {problem} has a number that no float can hold") from None
    return matrix


def _right(values: Any) -> NDArray[np.bool_]:
    rows = _rows(values)
    matrix = np.zeros((len(rows), max(map(len, rows))), dtype=np.bool_)
    for problem, row in enumerate(rows):
        if not all(isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating) for value in row) or any(
            value not in (0, 1) for value in row
        ):
            raise ValueError(f"is_correct: row {problem} has more than true and false: are the arguments swapped?")
        matrix[problem, : len(row)] = row
    return matrix


def _sizes(ns: Sequence[int], samples: int) -> list[int]:
    sizes = list(ns) if isinstance(ns, Iterable) else []
    if not sizes:
        raise ValueError("ns: a list of whole numbers is wanted, e.g. [1, 4]")
    for n in sizes:
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= samples:
            raise ValueError(f"N is {n}: it must be a whole number from 1 to {samples}, the samples of a problem")
    return [int(n) for n in sizes]
