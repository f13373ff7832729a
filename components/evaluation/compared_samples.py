"""The scores of any verifiers on the same samples, joined to one table of scored samples.

Each verifier's own table is computed once and keyed by its model and the samples; this join is cheap, so another
reduction, another ensemble or another name reads no solution anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.dataflow.datasets import Dataset
from components.dataflow.stage import TableStage
from components.evaluation.score_expressions import evaluate
from components.evaluation.scored_samples import models_of
from components.statistics.best_of_n import Floats
from components.statistics.score_reduction import solution_scores
from schemas.results import scored_samples as schema
from schemas.tables import SAMPLE_KEY

LENGTH, RANDOM = "length", "random"


@dataclass(frozen=True)
class ComparedVerifier:
    """How a verifier's scores are made. One of: a column of a table; of steps' probabilities; of texts; an expression.

    table: the input with its scores; "": none. column: of that table. reduction, neutral: of a process verifier's step
    probabilities to its score. rule: length or random. expression: over the scores of verifiers named before.
    """

    name: str
    table: str = ""
    column: str = ""
    reduction: str = ""
    neutral: str = "positive"
    rule: str = ""
    expression: str = ""


@dataclass(frozen=True)
class ComparisonConfig:
    """Settings of the join. given: the verifiers whose scores the samples came with. verifiers: those added to them."""

    given: tuple[str, ...]
    verifiers: tuple[ComparedVerifier, ...] = field(default_factory=tuple)

    @property
    def names(self) -> tuple[str, ...]:
        """All verifiers, those given first."""
        return (*self.given, *(verifier.name for verifier in self.verifiers))


def compared_samples(config: ComparisonConfig) -> TableStage:
    """The stage (samples, solutions, each verifier's table) → scored_samples with a score of every verifier.

    samples: a table of scored samples, of a study or of a file. A sample that a verifier has no score of is null there.
    Raises ValueError for a table that has a sample twice.
    """
    reads = {"solutions": [*SAMPLE_KEY, "steps", "text"]}
    version = 4 if any(verifier.rule == LENGTH for verifier in config.verifiers) else 3
    return TableStage(
        "scored_samples", version, config, schema(config.names), _compared, reads=reads, expected_rows=_expected_rows
    )


def _expected_rows(config: ComparisonConfig, inputs: Mapping[str, Dataset]) -> tuple[int, str]:
    return inputs["samples"].rows, inputs["samples"].rows_are


def _compared(config: ComparisonConfig, samples: pa.Table, solutions: pa.Table, **tables: pa.Table) -> pa.Table:
    dropped = [f"{name}_score" for name in models_of(samples) if name not in config.given]
    frame = samples.drop_columns(dropped).to_pandas()
    texts = solutions.select(SAMPLE_KEY).to_pandas()
    texts["text_length"] = pc.utf8_length(solutions["text"]).to_pandas()
    texts["steps_of_text"] = pc.list_value_length(solutions["steps"]).to_pandas()
    frame = frame.merge(texts, on=SAMPLE_KEY, how="left", validate="many_to_one")
    frame["num_steps"] = frame["num_steps"].fillna(frame["steps_of_text"])
    scores = {name: frame[f"{name}_score"].to_numpy(dtype=np.float64) for name in config.given}
    for verifier in config.verifiers:
        scores[verifier.name] = _scores(verifier, frame, tables, scores)
        frame[f"{verifier.name}_score"] = scores[verifier.name]
    return pa.Table.from_pandas(frame, schema=schema(config.names), preserve_index=False)


def _scores(
    verifier: ComparedVerifier, frame: pd.DataFrame, tables: Mapping[str, pa.Table], others: Mapping[str, Floats]
) -> Floats:
    """Return a verifier's score of each row of `frame`; NaN where it has none."""
    if verifier.expression:
        return evaluate(verifier.expression, others)
    if verifier.rule == LENGTH:  # the shorter, the better: negative, and so no weight of votes
        lengths = frame["text_length"].to_numpy(dtype=np.float64)
        return np.where(lengths > 0, -lengths, np.nan)  # no text is not the shortest
    if verifier.rule == RANDOM:
        return -np.array([_random(*key) for key in frame[SAMPLE_KEY].itertuples(index=False)])
    table = tables[verifier.table]
    rows = table.select(SAMPLE_KEY).to_pandas()
    if verifier.reduction:
        probabilities = table["step_probabilities"].to_pylist()
        rows["score"] = solution_scores(probabilities, verifier.reduction, verifier.neutral)
    else:
        rows["score"] = table[verifier.column].to_pandas()
    joined = frame[SAMPLE_KEY].merge(rows, on=SAMPLE_KEY, how="left", validate="many_to_one")
    return np.asarray(joined["score"], dtype=np.float64)


def _random(*key: Any) -> float:
    """Return a number in [0, 1) that depends on the sample alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
