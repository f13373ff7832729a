"""The contract of every table on disk: names, types, units and meaning of the columns.

A row that failed is kept: `error` says why, and its result columns are null or empty. `error` is null for a good row.
"""

from __future__ import annotations

import pyarrow as pa


def _table(*columns: tuple[str, pa.DataType, bool, str]) -> pa.Schema:
    """(name, type, nullable, meaning) per column; the meaning travels in the Parquet file's metadata."""
    return pa.schema(
        [pa.field(name, kind, nullable=nullable, metadata={"meaning": text}) for name, kind, nullable, text in columns]
    )


_ERROR = ("error", pa.string(), True, "why this row has no result; null for a good row")
_SAMPLE = (
    ("problem_id", pa.string(), False, "content hash of the problem"),
    ("sample_index", pa.int32(), False, "0-based slot among the problem's samples"),
    ("split", pa.string(), False, "train, test or ood"),
)

PROBLEMS = _table(
    ("problem_id", pa.string(), False, "content hash of the problem's text"),
    ("split", pa.string(), False, "train (labelled, trains the reward models), test, or ood (harder than train)"),
    ("problem", pa.string(), False, "the text that the generator is shown"),
    ("ground_truth_answer", pa.string(), True, "the reference answer"),
    ("source", pa.string(), False, "worked_arithmetic, or file"),
    ("source_row", pa.int64(), False, "0-based row in the source"),
    _ERROR,
)

# What a generator is trained on: one solution per row, in training order.
TEACHER_SOLUTIONS = _table(
    ("problem", pa.string(), False, "the problem's text"),
    ("steps", pa.list_(pa.string()), False, "the solution's steps; the last carries the answer"),
    _ERROR,
)

SOLUTIONS = _table(
    *_SAMPLE,
    ("problem", pa.string(), False, "the problem's text"),
    ("ground_truth_answer", pa.string(), True, "the reference answer"),
    ("text", pa.string(), False, "what the generator wrote"),
    ("steps", pa.list_(pa.string()), False, "text cut into steps; joined by newlines they are the text"),
    ("finish_reason", pa.string(), True, "stop (end of text), or length (the token cap: an empty slot)"),
    ("num_tokens", pa.int32(), False, "tokens generated, the end-of-text token included"),
    ("seed", pa.int64(), False, "the sample's own seed: hash of recipe seed, problem_id and sample_index"),
    _ERROR,
)

GRADES = _table(
    *_SAMPLE,
    ("answer", pa.string(), True, "the extracted answer; null: none, an empty slot of N"),
    ("answer_group", pa.string(), True, "normalised answer: what counts as one candidate in a vote"),
    ("extract_rule", pa.string(), True, "which rule found the answer: answer_section, boxed, answer_is"),
    ("is_correct", pa.bool_(), True, "the answer equals the reference answer; null: it could not be graded"),
    ("is_correct_prm800k", pa.bool_(), True, "the same by the paper's own grader, for comparison with its numbers"),
    ("method", pa.string(), True, "which rule decided is_correct: text, number, expression, …"),
    ("status", pa.string(), False, "ok, no_answer, too_long, risky, timeout, out_of_memory, error"),
    ("grader_version", pa.int32(), False, "of the grader's rules"),
    _ERROR,
)

# Per step; null for a step that nobody rated.
_CLASS_PROBABILITIES = pa.list_(pa.list_(pa.float32()))
_ALTERNATIVE = pa.struct(
    [("step", pa.int32()), ("text", pa.string()), ("rating", pa.int8()), ("probabilities", pa.list_(pa.float32()))]
)

STEP_LABELS = _table(
    *_SAMPLE,
    ("ratings", pa.list_(pa.int8()), False, "−1, 0, +1 per step, through the first −1 (so maybe fewer than steps)"),
    (
        "probabilities",
        _CLASS_PROBABILITIES,
        True,
        "soft labels, if any: P(negative), P(neutral), P(positive)",
    ),
    ("alternatives", pa.list_(_ALTERNATIVE), False, "other texts for step `step` after the same history, with labels"),
    ("label_source", pa.string(), False, "who rated: worked_arithmetic_rule"),
    _ERROR,
)

SCORES = _table(
    *_SAMPLE,
    ("orm_score", pa.float64(), True, "probability of a right answer, read at the last token, in [0, 1]"),
    (
        "prm_score",
        pa.float64(),
        True,
        "product over steps of P(neutral) + P(positive), in [0, 1]; null without a PRM",
    ),
    (
        "step_probabilities",
        pa.list_(pa.list_(pa.float32(), 3)),
        True,
        "per step P(negative), P(neutral), P(positive); null without a PRM",
    ),
    _ERROR,
)

# Where several ORMs and PRMs were trained, accuracies are means over them, and intervals those of the problems.
_SEEDS = (
    ("num_seeds", pa.int32(), False, "training seeds"),
    (
        "std_over_seeds",
        pa.float64(),
        True,
        "standard deviation (n − 1) of that number over training seeds; null for one",
    ),
)

BEST_OF_N = _table(
    ("split", pa.string(), False, "test or ood"),
    ("method", pa.string(), False, "prm, orm, majority, prm_weighted, orm_weighted, or pass (any of N is right)"),
    ("n", pa.int32(), False, "samples per problem that the method chooses from"),
    ("accuracy", pa.float64(), False, "expected share of problems answered rightly, in [0, 1]"),
    ("ci_low", pa.float64(), False, "lower end of the 95 % bootstrap interval over problems, in [0, 1]"),
    ("ci_high", pa.float64(), False, "upper end"),
    ("num_problems", pa.int32(), False, "problems that count"),
    *_SEEDS,
    _ERROR,
)

COMPARISONS = _table(
    ("split", pa.string(), False, "test or ood"),
    ("method", pa.string(), False, "the first method"),
    ("baseline", pa.string(), False, "what it is compared with; pass_at_1 is the expected accuracy of one sample"),
    ("n", pa.int32(), False, "samples per problem"),
    ("difference", pa.float64(), False, "accuracy of method minus that of baseline, in [−1, 1]"),
    ("ci_low", pa.float64(), False, "lower end of the 95 % interval, paired by problem"),
    ("ci_high", pa.float64(), False, "upper end"),
    *_SEEDS,
    _ERROR,
)

PROBLEM_ACCURACY = _table(
    ("problem_id", pa.string(), False, "content hash of the problem"),
    ("split", pa.string(), False, "test or ood"),
    ("training_seed", pa.int32(), False, "which of the study's trainings of ORM and PRM, from 1"),
    ("method", pa.string(), False, "as in best_of_n"),
    ("n", pa.int32(), False, "samples that the method chooses from"),
    ("accuracy", pa.float64(), False, "chance that the method answers this problem rightly, in [0, 1]"),
    _ERROR,
)

SCORE_QUALITY = _table(
    ("split", pa.string(), False, "test or ood"),
    ("training_seed", pa.int32(), False, "which of the study's trainings of ORM and PRM, from 1"),
    ("model", pa.string(), False, "orm or prm"),
    ("within_problem_auc", pa.float64(), False, "chance that a right sample outscores a wrong one of its problem"),
    _ERROR,
)

LABELLED_SOLUTIONS = _table(
    ("problem", pa.string(), False, "the problem's text"),
    ("steps", pa.list_(pa.string()), False, "the solution's steps, as many as the file has"),
    ("ratings", pa.list_(pa.int8()), False, "−1, 0, +1 per step, as the file has them; null: unrated"),
    (
        "probabilities",
        _CLASS_PROBABILITIES,
        True,
        "soft labels, if any: P(negative), P(neutral), P(positive)",
    ),
    ("alternatives", pa.list_(_ALTERNATIVE), False, "other texts for step `step` after the same history, with labels"),
    ("num_labels", pa.int32(), False, "labels that the row has in the file, alternatives included, usable or not"),
    ("finished", pa.bool_(), False, "the last step is the solution's end: it holds the answer section"),
    ("source_row", pa.int64(), False, "0-based row in the file"),
    _ERROR,
)
