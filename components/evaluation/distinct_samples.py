"""How many different texts and answers N samples of a problem are: N copies of one text are no choice.

A departure from the paper, which says nothing of it: its samples are long and hot. At a low temperature, or with short
solutions, best-of-64 may be best of six.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.dataflow.stage import TableStage
from components.statistics.best_of_n import sizes
from schemas.results import DISTINCT_SAMPLES
from schemas.settings import settings
from schemas.tables import SAMPLE_KEY

_READS = {"solutions": [*SAMPLE_KEY, "split", "steps"], "grades": [*SAMPLE_KEY, "answer"]}


@settings
class DistinctConfig:
    """The table has no settings."""


def distinct_samples() -> TableStage:
    """The stage (solutions, grades) → by split and N the expected number of different texts and answers of N samples of
    a problem, the mean over problems.

    solutions: steps of each sample; grades: its answer. A sample without a text (a failed row, a file without steps) is
    not counted as one.
    """
    return TableStage("distinct_samples", 1, DistinctConfig(), DISTINCT_SAMPLES, _distinct_samples, reads=_READS)


def _distinct_samples(config: DistinctConfig, solutions: pa.Table, grades: pa.Table) -> pa.Table:
    texts = pc.binary_join(solutions["steps"], "\n")
    numbers = pc.if_else(pc.equal(pc.list_value_length(solutions["steps"]), 0), None, texts).dictionary_encode()
    frame = solutions.select([*SAMPLE_KEY, "split"]).to_pandas()
    frame["text"] = numbers.combine_chunks().indices.to_pandas()  # a number per text: no text leaves Arrow
    frame = frame.merge(grades.select(_READS["grades"]).to_pandas(), on=SAMPLE_KEY, how="left")
    rows = []
    for split, part in frame.groupby("split", sort=False):
        slots = int(part.groupby("problem_id", sort=False).size().max())
        ns = sizes(slots)
        means: dict[str, Sequence[float | None]] = {
            column: np.mean([_expected_distinct(v, ns) for _, v in part.groupby("problem_id")[column]], axis=0).tolist()
            for column in ("text", "answer")
        }
        if part["text"].isna().all():  # a file of answers alone
            means["text"] = [None] * len(ns)
        rows += [
            {"split": split, "n": n, "distinct_texts": means["text"][k], "distinct_answers": means["answer"][k]}
            | {"num_problems": part["problem_id"].nunique(), "error": None}
            for k, n in enumerate(ns)
        ]
    return pa.Table.from_pylist(rows, schema=DISTINCT_SAMPLES)


def _expected_distinct(values: pd.Series, ns: list[int]) -> list[float]:
    """Return the expected number of different values in a random subset of N of a problem's M samples, shape (K,).

    A value of c samples is missing from the subset with chance C(M − c, N) / C(M, N).
    """
    counts, total = values.value_counts().to_numpy(), len(values)
    expected: list[float] = []
    for n in ns:
        n = min(n, total)
        # C(M − c, N) / C(M, N) as a product of N factors: no factorial that overflows.
        left = (total - counts[:, None] - np.arange(n)).clip(min=0) / (total - np.arange(n))
        expected.append(float((1 - left.prod(1)).sum()))
    return expected
