"""The one table that every result is computed from: a row per held-out sample and training seed.

It has the sample's candidate answer, its grade, and a score per verifier. A study joins it from its stages;
`flows/evaluate.py` reads it from anyone's file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.dataflow.datasets import Dataset
from components.dataflow.stage import TableStage
from components.statistics.best_of_n import Samples
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_scores
from schemas.results import ENSEMBLES, NO_VOTE, REFERENCES
from schemas.results import scored_samples as schema
from schemas.settings import settings
from schemas.tables import SAMPLE_KEY

READS = {
    "grades": [*SAMPLE_KEY, "answer", "is_correct", "error"],
    "solutions": [*SAMPLE_KEY, "steps"],
}


@settings
class ReductionConfig:
    """Settings of the PRM's score of a solution, made of its steps' probabilities."""

    # From the probabilities that the steps are right to the score of the solution.
    reduction: Literal["product", "min", "last", "mean"] = PAPER_REDUCTION
    neutral: Literal["positive", "negative"] = PAPER_NEUTRAL  # which of them a neutral step counts as


def scored_samples(
    config: ReductionConfig,
    more_prms: Sequence[str] = (),
    with_references: bool = False,
    ensembles: Sequence[str] = (),
) -> TableStage:
    """The stage (grades, candidates, solutions, scores of one training seed or more) → scored_samples, of the scored
    splits.

    more_prms: PRMs besides the first, whose scores are inputs too: to each table of scores of the ORM and the first PRM
    (`scores`, …) one called <PRM>_scores, …. with_references: reference_scores is an input too, the same for each
    training seed. ensembles: of ENSEMBLES those to add, the mean score over all training seeds, null where one has
    none. Raises ValueError when a scored sample has no grade.
    """
    models = ("prm", *more_prms, "orm", *(REFERENCES if with_references else ()), *ensembles)
    compute = functools.partial(_scored_samples, more_prms=tuple(more_prms), ensembles=tuple(ensembles))
    return TableStage("scored_samples", 1, config, schema(models), compute, reads=READS, expected_rows=_expected_rows)


def _expected_rows(config: ReductionConfig, inputs: Mapping[str, Dataset]) -> tuple[int, str]:
    """Return each sample once per training seed."""
    others = ("grades", "candidates", "solutions", "reference_scores")
    scores = [dataset for name, dataset in inputs.items() if name not in others and not name.startswith("prm_")]
    return sum(dataset.rows for dataset in scores), max(dataset.rows_are for dataset in scores)


def _scored_samples(
    config: ReductionConfig,
    grades: pa.Table,
    candidates: pa.Table,
    solutions: pa.Table,
    reference_scores: pa.Table | None = None,
    more_prms: tuple[str, ...] = (),
    ensembles: tuple[str, ...] = (),
    **scores: pa.Table,
) -> pa.Table:
    named = candidates.select(["problem_id", "answer", "candidate", "candidate_is_correct"]).to_pandas()
    graded = grades.select(READS["grades"]).to_pandas()
    graded["answer"] = graded["answer"].where(graded["error"].isna())  # what could not be graded has no vote
    graded = graded.merge(named, on=["problem_id", "answer"], how="left")
    steps = pc.list_value_length(solutions["steps"])
    columns = solutions.select(SAMPLE_KEY).to_pandas().assign(num_steps=steps.to_pandas())
    models: tuple[str, ...] = ("prm", *more_prms, "orm")
    if reference_scores is not None:
        models += REFERENCES
        ours = reference_scores.select([*SAMPLE_KEY, *(f"{name}_score" for name in REFERENCES)]).to_pandas()
        columns = columns.merge(ours, on=SAMPLE_KEY, how="left", validate="one_to_one")
    parts = []
    extra = {f"{prm}_{name}" for prm in more_prms for name in scores}
    for seed, name in enumerate([name for name in scores if name not in extra], start=1):
        left = scores_of(config, scores[name], ["split", "orm_score", "prm_score"]).assign(training_seed=seed)
        for prm in more_prms:
            other = scores_of(config, scores[f"{prm}_{name}"], ["prm_score"])
            other = other.rename(columns={"prm_score": f"{prm}_score"})
            left = left.merge(other, on=SAMPLE_KEY, how="left", validate="one_to_one")
        rows = left.merge(graded, on=SAMPLE_KEY, how="left", validate="one_to_one", indicator=True)
        if (rows["_merge"] != "both").any():
            raise ValueError("some scored samples have no grade")
        parts.append(rows.merge(columns, on=SAMPLE_KEY, how="left", validate="one_to_one"))
    joined = pd.concat(parts)
    for ensemble in ensembles:
        members = joined.groupby(SAMPLE_KEY, sort=False)[f"{ENSEMBLES[ensemble]}_score"]
        joined[f"{ensemble}_score"] = members.transform("mean").where(members.transform("count") == len(parts))
    return pa.Table.from_pandas(joined, schema=schema((*models, *ensembles)), preserve_index=False)


def scores_of(config: ReductionConfig, table: pa.Table, columns: list[str]) -> pd.DataFrame:
    """Return the rows of a table of scores with their keys and these columns; prm_score is by the config's reduction.

    Any reduction but the paper's needs the table's step_probabilities.
    """
    rows = table.select([*SAMPLE_KEY, *columns]).to_pandas()
    if (config.reduction, config.neutral) != (PAPER_REDUCTION, PAPER_NEUTRAL):
        probabilities = table["step_probabilities"].to_pylist()
        rows["prm_score"] = solution_scores(probabilities, config.reduction, config.neutral)
    return rows


def models_of(table: pa.Table) -> list[str]:
    """Return the verifiers that a table of scored samples has a column of."""
    return verifiers_of(table.schema)


def verifiers_of(schema: pa.Schema) -> list[str]:
    """Return the verifiers that a schema of scored samples has a column of."""
    return [name.removesuffix("_score") for name in schema.names if name.endswith("_score")]


def samples_by_split(table: pa.Table) -> Iterator[tuple[str, int, Samples]]:
    """Yield the samples of each split and training seed.

    Problems that could not be used at all (every row failed: a bad row of a file, a prompt that does not fit) and
    verifiers without a score are left out. Raises ValueError when a slot is missing or double.
    """
    frame = table.to_pandas()
    frame = frame[frame["error"].isna().groupby([frame["training_seed"], frame["problem_id"]]).transform("any")]
    for (split, seed), part in frame.groupby(["split", "training_seed"], sort=False):
        part = part.sort_values(SAMPLE_KEY)
        problem_ids = part["problem_id"].unique().tolist()
        slots = len(part) // max(1, len(problem_ids))
        if not (part.groupby("problem_id", sort=False).size() == slots).all() or part.duplicated(SAMPLE_KEY).any():
            raise ValueError(f"split {split}: problems have unequal numbers of samples")
        shape = (len(problem_ids), slots)
        is_empty = part["candidate"].isna().to_numpy().reshape(shape)
        answers = part["candidate"].fillna(NO_VOTE).to_numpy(dtype=np.int64).reshape(shape)
        scores = {
            name: np.where(is_empty, np.nan, part[f"{name}_score"].to_numpy(dtype=np.float64).reshape(shape))
            for name in models_of(table)
            if part[f"{name}_score"].notna().any()
        }
        is_correct, is_right_answer = (
            part[name].eq(True).to_numpy(dtype=np.bool_).reshape(shape)
            for name in ("is_correct", "candidate_is_correct")
        )
        is_correct = is_correct & ~is_empty  # an empty slot is wrong, whatever its row says
        has_votes = bool((answers >= 0).any() or is_empty.all())
        yield str(split), int(seed), Samples(problem_ids, answers, is_correct, is_right_answer, scores, has_votes)
