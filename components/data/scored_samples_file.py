"""Scored samples of anyone's, from a file: a row per sample, with its problem, answer, grade and scores.

    {"problem": "What is 2 + 2?", "answer": "4", "is_correct": true, "prm_score": 0.93, "orm_score": 0.71}

Also as the paper released its own (`scored-test-samples`): `given_answer` for `answer`, `steps` a list of texts, and
`rating_probs` per step a list of P(negative), P(neutral), P(positive), or a map of them by rating. A sample that the
file leaves out is an empty slot of N, as one without an answer is (§8 of the released evaluation: 1860 slots each);
but one that the file calls right is right, and has no vote. Where a file has no answers, they are extracted from its
texts, if it has them; else no sample has a vote.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.data.cells import Record
from components.data.nested_samples import unfold
from components.data.readers import check_unchanged, read_records
from components.data.scored_columns import NO_COLUMN, SUFFIX, ScoredFile
from components.data.scored_rows import ATTRIBUTES, SPLIT, Row, read_sample, text_of
from components.dataflow.stage import TableStage
from components.grader.sandbox import GradingSandbox
from schemas.results import NO_VOTE, PROBLEM_ATTRIBUTES, scored_samples
from schemas.results import file_samples as schema

_OF_PROBLEM = ("problem_id", "split", "problem", "ground_truth_answer", *ATTRIBUTES)
_OF_ANSWER = ["problem_id", "answer"]
_BAD = "no sample of this problem can be used"
_ROWS_AT_ONCE = 10_000


def file_samples(config: ScoredFile, path: Path) -> TableStage:
    """Make the stage that reads the file; every problem has as many slots as the config says."""
    compute = functools.partial(_file_samples, path=path)
    return TableStage("file_samples", 2 + _grades_texts(config), config, schema(config.names), compute)


def scored_file_samples(config: ScoredFile) -> TableStage:
    """Make the stage (file_samples, candidates) → scored_samples."""
    version = 2 + _grades_texts(config)
    return TableStage("scored_samples", version, config, scored_samples(config.names), _scored_file_samples)


def scored_file_attributes(config: ScoredFile) -> TableStage:
    """Make the stage file_samples → problem_attributes, from the columns source, level and subject, if any."""
    reads = {"file_samples": ["problem_id", "split", *ATTRIBUTES]}
    return TableStage("problem_attributes", 1, config, PROBLEM_ATTRIBUTES, _attributes, reads=reads)


def _grades_texts(config: ScoredFile) -> bool:
    """Tell whether the file says of texts whether they are right, and not of answers."""
    return config.text_column is not None and config.correct_column is not None


def _file_samples(config: ScoredFile, path: Path) -> pa.Table:
    check_unchanged(path, config.digest)
    table_schema = schema(config.names)
    counts: Counter[str] = Counter()
    problems: dict[str, Row] = {}  # problem_id → the columns of its empty slots
    tables = []
    pool = GradingSandbox()
    try:
        for records in _chunks(path, config.needs_scores):
            texts = [text_of(config, record) for _, record in records] if config.text_column is not None else []
            answers = [answer for answer, _ in pool.answers(texts)] if texts else [None] * len(records)
            rows = [
                read_sample(config, record, number, answer)
                for (number, record), answer in zip(records, answers, strict=True)
            ]
            if _grades_texts(config):
                for row, (text, _) in zip(rows, texts, strict=True):
                    row["is_correct"] = row["is_correct"] if text or row["is_correct"] else None  # no text: no sample
            if config.correct_column is None:
                _grade(rows, config.reference_column, pool)
            for row in rows:
                row["sample_index"] = counts[row["problem_id"]]
                counts[row["problem_id"]] += 1
                if row["split"] == SPLIT:
                    empty_slot = problems.setdefault(
                        row["problem_id"], {name: row[name] for name in _OF_PROBLEM} | {"error": _BAD}
                    )
                    empty_slot["error"] = None if row["error"] is None else empty_slot["error"]
            tables.append(
                pa.Table.from_pylist(rows, schema=table_schema)
            )  # text is far smaller there than as Python's objects
    finally:
        pool.close()
    empty = [
        empty_slot | {"sample_index": at, "is_correct": False}
        for problem_id, empty_slot in problems.items()
        for at in range(counts[problem_id], config.slots)
    ]
    return pa.concat_tables([*tables, pa.Table.from_pylist(empty, schema=table_schema)])


def _chunks(path: Path, needs_scores: bool) -> Iterator[list[tuple[int, Record]]]:
    """Yield (number of the row, row of one sample), at most _ROWS_AT_ONCE at a time."""
    records = unfold(read_records(path), needs_scores)
    while chunk := list(itertools.islice(records, _ROWS_AT_ONCE)):
        yield chunk


def _grade(rows: list[Row], reference_column: str, pool: GradingSandbox) -> None:
    """Grade the answers of a file that has no grades, by our grader."""
    answers = {(row["answer"], row["ground_truth_answer"]) for row in rows}
    pairs = sorted(pair for pair in answers if None not in pair)
    verdicts = dict(zip(pairs, pool.verdicts(pairs), strict=True))
    for row in rows:
        if row["answer"] is None:
            row["is_correct"] = False
        elif row["ground_truth_answer"] is None:
            row["error"] = row["error"] or f"row {row['source_row']}: '{reference_column}' is empty"
        else:
            verdict = verdicts[row["answer"], row["ground_truth_answer"]]
            row["is_correct"] = verdict.is_correct
            if verdict.is_correct is None:
                row["error"] = row["error"] or f"row {row['source_row']}: grading: {verdict.status}"


def _scored_file_samples(config: ScoredFile, file_samples: pa.Table, candidates: pa.Table) -> pa.Table:
    columns = ["problem_id", "sample_index", "split", "answer", "is_correct", "source_row", "error"]
    scores = [f"{name}{SUFFIX}" for name in config.names]
    frame = file_samples.select([*columns, *scores]).to_pandas()
    frame["num_steps"] = pc.list_value_length(file_samples["steps"]).to_pandas()
    frame = frame[frame["split"] == SPLIT]
    frame["answer"] = frame["answer"].where(frame["error"].isna())
    # A sample that is called right, any text that is graded, and any row of a file without answers is a sample without
    # a vote. Any other slot without an answer is empty.
    is_sample = frame["error"].isna() & frame["source_row"].notna() & frame["answer"].isna()
    if _grades_texts(config):
        is_sample &= frame["is_correct"].notna()
    elif config.answer_column != NO_COLUMN or config.text_column is not None:
        is_sample &= frame["is_correct"].eq(True)
    frame["is_correct"] = frame["is_correct"].where(frame["answer"].notna() | is_sample, False)
    by_answer = candidates.select([*_OF_ANSWER, "candidate", "candidate_is_correct", "candidate_answer"]).to_pandas()
    if config.text_column is not None:
        # The file grades texts: of one answer's samples some may be right and others wrong. Most of them decide.
        right = frame.groupby(_OF_ANSWER)["is_correct"].agg(lambda grades: grades.eq(True).mean() > 0.5)
        heads = pd.MultiIndex.from_frame(by_answer[["problem_id", "candidate_answer"]])
        by_answer["candidate_is_correct"] = right.reindex(heads).to_numpy()
    rows = frame.merge(by_answer, on=["problem_id", "answer"], how="left").assign(training_seed=1)
    rows["candidate"] = rows["candidate"].mask(is_sample.to_numpy(), NO_VOTE)
    return pa.Table.from_pandas(rows, schema=scored_samples(config.names), preserve_index=False)


def _attributes(config: ScoredFile, file_samples: pa.Table) -> pa.Table:
    frame = file_samples.to_pandas().drop_duplicates("problem_id").assign(error=None)
    frame = frame[frame["split"] == SPLIT]
    frame["source"] = frame["source"].fillna("file")
    return pa.Table.from_pandas(frame, schema=PROBLEM_ATTRIBUTES, preserve_index=False)
