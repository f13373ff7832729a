"""What a reader must know of the samples of a file."""

from __future__ import annotations

from components.data.scored_columns import NO_COLUMN, ScoredFile
from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner


def notes_of_samples(run: Runner, samples: Dataset, file: ScoredFile) -> list[str]:
    """Return notes on what the numbers rest on: rows with errors, empty slots, missing answers and scores."""
    scores = [f"{name}_score" for name in file.names]
    rows = run.store.read(samples, ["problem_id", "answer", "is_correct", "source_row", "error", *scores]).to_pandas()
    notes = []
    if samples.rows_error:
        first = rows["error"].dropna().iloc[0]
        notes.append(f"{samples.rows_error} rows have errors and are empty slots; the first: {first}")
    left_out = int(rows["source_row"].isna().sum())
    if left_out:
        short = rows.loc[rows["source_row"].isna(), "problem_id"].nunique()
        notes.append(
            f"{left_out} slots of {short} problems are not in the file: they count as empty. A single sample may be "
            "such a slot and no verifier's pick is, so part of each gain over a single sample comes from them"
        )
    sound = rows[rows["error"].isna() & rows["source_row"].notna()]
    has_answers = file.answer_column != NO_COLUMN or file.text_column is not None
    right = int((sound["answer"].isna() & sound["is_correct"].eq(True)).sum())
    if right and has_answers:
        notes.append(f"{right} samples are marked right and have no answer: they count as right, and have no vote")
    verdicts = sound[sound["answer"].notna()].groupby(["problem_id", "answer"])["is_correct"].nunique()
    if (verdicts > 1).any():
        notes.append(
            f"{int((verdicts > 1).sum())} extracted answers are right in one row and wrong in another: a vote for such "
            "an answer is right where most of its samples are"
        )
    samples_of_file = sound[sound["answer"].notna()] if has_answers else sound
    for name in file.names:
        missing = int(samples_of_file[f"{name}_score"].isna().sum())
        if missing:
            notes.append(f"{missing} answered samples have no {name}_score: {name} never picks them")
    return notes
