from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.distinct_samples import DistinctConfig, distinct_samples


def test_expected_distinct_texts_are_those_of_all_subsets() -> None:
    texts = {"p": ["a", "a", "b", "c"], "q": ["a", "a", "a", None]}
    keys = [(problem, index) for problem in texts for index in range(4)]
    rows = [
        {"problem_id": p, "sample_index": i, "split": "test", "steps": texts[p][i] and [texts[p][i]], "error": None}
        for p, i in keys
    ]
    grades = [{"problem_id": p, "sample_index": i, "answer": "1" if i else None} for p, i in keys]
    table = distinct_samples().compute(
        DistinctConfig(), solutions=pa.Table.from_pylist(rows), grades=pa.Table.from_pylist(grades)
    )
    found = table.to_pandas().set_index("n")
    for n in (1, 2, 4):
        by_problem = [
            np.mean([len({*subset} - {None}) for subset in itertools.combinations(values, n)])
            for values in texts.values()
        ]
        assert found.loc[n, "distinct_texts"] == pytest.approx(np.mean(by_problem))
    assert found.loc[4, "distinct_answers"] == pytest.approx(1.0)
    assert found.loc[1, "distinct_answers"] == pytest.approx(0.75)
