"""ProcessBench's rows as samples of compare_verifiers.py and as solutions of step_errors.py: the same F1 both ways."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from components.data import rated_solutions, sample_texts
from components.data.sample_ratings import file_ratings, format_of_ratings
from components.data.scored_description import describe_scored
from components.data.scored_samples_file import file_samples
from components.dataflow.stage import TableStage
from components.evaluation.first_error import StepErrorsConfig, step_errors
from components.evaluation.verifier_step_errors import VerifierStepErrorsConfig, verifier_step_errors
from schemas.verifiers import VERIFIER_SCORES
from tests.real_rows import REAL_ROWS, needs_real_rows

FIGURES = ["num_wrong", "num_right", "accuracy_wrong", "accuracy_right", "f1"]


def computed(stage: TableStage) -> pa.Table:
    rows = stage.compute(stage.config)
    return rows if isinstance(rows, pa.Table) else pa.concat_tables(list(rows))


def scores_of(solutions: pa.Table) -> pa.Table:
    """Probabilities of each step by a verifier that reads its text alone, and the more of it the more it doubts."""
    rows = []
    for row in solutions.to_pylist():
        negatives = [(zlib.crc32(f"{row['problem']}{step}".encode()) % 1000) / 1500 for step in row["steps"]]
        probabilities = [[negative, 0.0, 1 - negative] for negative in negatives]
        own = {name: row[name] for name in ("problem_id", "sample_index", "split", "error")}
        rows.append(own | {"score": 0.5, "step_probabilities": probabilities, "num_tokens": 1})
    return pa.Table.from_pylist(rows, schema=VERIFIER_SCORES)


@needs_real_rows("processbench_*.jsonl.gz")
@pytest.mark.parametrize("path", sorted(REAL_ROWS.glob("processbench_*.jsonl.gz")), ids=lambda path: path.name[:20])
def test_f1_is_that_of_step_errors(path: Path) -> None:
    files, paths, _ = rated_solutions.describe_rated([path])
    rated = computed(rated_solutions.file_solutions(files, paths))
    alone = step_errors(StepErrorsConfig())
    wanted = alone.compute(
        alone.config,
        held_out_step_labels=computed(rated_solutions.file_labels(files, paths)),
        scores=scores_of(rated),
    ).to_pandas()

    file, _ = describe_scored(path, {}, [], None, 1, needs_scores=False)
    texts = sample_texts.describe_texts(path, file, "auto")
    assert format_of_ratings(texts, path)
    solutions = computed(sample_texts.file_solutions(texts, path))
    stage = verifier_step_errors(VerifierStepErrorsConfig((("a", ("scores",)),)))
    labels = computed(file_ratings(texts, path))
    found = stage.compute(stage.config, held_out_step_labels=labels, scores=scores_of(solutions)).to_pandas()
    found = found[found["threshold"].notna()].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[["threshold", *FIGURES]], wanted[["threshold", *FIGURES]])
    with gzip.open(path, "rt") as lines:
        labelled = [json.loads(line)["label"] for line in lines]
    assert set(found["num_wrong"]) == {sum(label >= 0 for label in labelled)}

    # Where a problem has several samples there is best-of-N too: they are its slots, beside empty ones.
    samples = computed(file_samples(file, path)).to_pandas().set_index(["problem_id", "sample_index"])
    own = solutions.select(["problem_id", "sample_index"]).to_pandas()
    graded = samples.loc[pd.MultiIndex.from_frame(own)].sort_values("source_row")
    with gzip.open(path, "rt") as lines:
        assert graded["is_correct"].tolist() == [json.loads(line)["final_answer_correct"] for line in lines]
    assert len(samples) - len(own) == file.slots * own["problem_id"].nunique() - len(own)
