"""Schemas of every table on disk (results.py has those of results): names, types, units and meaning of columns.

A row that failed is kept: `error` says why, and its result columns are null or empty. `error` is null for a good row.
"""

from __future__ import annotations

import pyarrow as pa


def table(*columns: tuple[str, pa.DataType, bool, str]) -> pa.Schema:
    """Make a schema of (name, type, nullable, meaning) per column; the Parquet file's metadata keeps the meaning."""
    return pa.schema(
        [pa.field(name, kind, nullable=nullable, metadata={"meaning": text}) for name, kind, nullable, text in columns]
    )


def _columns(schema: pa.Schema) -> list[tuple[str, pa.DataType, bool, str]]:
    """Return what `table` made a schema of."""
    return [(field.name, field.type, field.nullable, field.metadata[b"meaning"].decode()) for field in schema]


ERROR = ("error", pa.string(), True, "why this row has no result; null for a good row")
SAMPLE = (
    ("problem_id", pa.string(), False, "content hash of the problem"),
    ("sample_index", pa.int32(), False, "0-based slot among the problem's samples"),
    ("split", pa.string(), False, "train, test or ood"),
)
SAMPLE_KEY = ["problem_id", "sample_index"]  # what one sample's rows of all tables are joined by

PROBLEMS = table(
    ("problem_id", pa.string(), False, "content hash of the problem's text"),
    ("split", pa.string(), False, "train (labelled, trains the reward models), test, or ood (harder than train)"),
    ("problem", pa.string(), False, "the text that the generator is shown"),
    ("ground_truth_answer", pa.string(), True, "the reference answer"),
    ("source", pa.string(), False, "worked_arithmetic, or file"),
    ("source_row", pa.int64(), False, "0-based row in the source"),
    ERROR,
)

# What a generator is trained on: one solution per row, in training order.
TEACHER_SOLUTIONS = table(
    ("problem", pa.string(), False, "the problem's text"),
    ("steps", pa.list_(pa.string()), False, "the solution's steps; the last carries the answer"),
    ERROR,
)

SOLUTIONS = table(
    *SAMPLE,
    ("problem", pa.string(), False, "the problem's text"),
    ("ground_truth_answer", pa.string(), True, "the reference answer"),
    ("text", pa.string(), False, "what the generator wrote"),
    ("steps", pa.list_(pa.string()), False, "text cut into steps; joined by newlines they are the text"),
    ("finish_reason", pa.string(), True, "stop (end of text), or length (the token cap: an empty slot)"),
    ("num_tokens", pa.int32(), False, "tokens generated, the end-of-text token included"),
    ("seed", pa.int64(), False, "the sample's own seed: hash of recipe seed, problem_id and sample_index"),
    ERROR,
)

# Of a generator that thinks before it answers.
THOUGHT_SOLUTIONS = table(
    *_columns(SOLUTIONS),
    ("thinking", pa.string(), False, "what it thought before text, the markers left out; never read for an answer"),
    ("num_thinking_tokens", pa.int32(), False, "how many of num_tokens are thinking, the closing marker included"),
)

# Of a generator behind an endpoint.
ENDPOINT_SOLUTIONS = table(
    *_columns(THOUGHT_SOLUTIONS),
    ("fingerprint", pa.string(), False, "what the server said of its own set-up with this answer; empty: nothing"),
    (
        "seed_sent",
        pa.bool_(),
        False,
        "whether the server took a seed with the request; what it did with it is not known",
    ),
)

GRADES = table(
    *SAMPLE,
    ("answer", pa.string(), True, "the extracted answer; null: none, an empty slot of N"),
    (
        "answer_group",
        pa.string(),
        True,
        "normalised answer: a number as a fraction, else the text without what only sets it",
    ),
    (
        "extract_rule",
        pa.string(),
        True,
        "which rule found the answer (see docs/grader.md), or why none could: timeout, out_of_memory, error",
    ),
    ("is_correct", pa.bool_(), True, "the answer equals the reference answer; null: it could not be graded"),
    ("is_correct_prm800k", pa.bool_(), True, "the same by the paper's own grader, for comparison with its numbers"),
    ("method", pa.string(), True, "which rule decided is_correct: text, number, expression, …"),
    ("status", pa.string(), False, "ok, no_answer, too_long, risky, timeout, out_of_memory, error"),
    ("grader_version", pa.int32(), False, "of the grader's rules"),
    ERROR,
)

# Per step; null for a step that nobody rated.
_CLASS_PROBABILITIES = pa.list_(pa.list_(pa.float32()))
_ALTERNATIVE = pa.struct(
    [("step", pa.int32()), ("text", pa.string()), ("rating", pa.int8()), ("probabilities", pa.list_(pa.float32()))]
)

STEP_LABELS = table(
    *SAMPLE,
    ("ratings", pa.list_(pa.int8()), False, "−1, 0, +1 per step, through the first −1 (so maybe fewer than steps)"),
    (
        "probabilities",
        _CLASS_PROBABILITIES,
        True,
        "soft labels, if any: P(negative), P(neutral), P(positive)",
    ),
    ("alternatives", pa.list_(_ALTERNATIVE), False, "other texts for step `step` after the same history, with labels"),
    ("provenance", pa.list_(pa.string()), False, "per rating, on what evidence it stands"),
    ("label_source", pa.string(), False, "who rated: worked_arithmetic_rule, rollouts, prm, judge, or a file's name"),
    ERROR,
)

ROLLOUTS = table(
    *SAMPLE,
    ("num_steps", pa.int32(), False, "steps of the solution"),
    ("own_is_correct", pa.bool_(), True, "whether the solution's own answer is right"),
    ("is_cut", pa.bool_(), False, "the token cap cut it, so that its last step is no whole one"),
    ("first_rollout", pa.int32(), False, "number of the first continuation of each step here, from 0"),
    ("num_rollouts", pa.int32(), False, "how many after each step that was asked about"),
    ("asked_steps", pa.list_(pa.int32()), False, "the steps after which continuations were sampled, in that order"),
    ("answers", pa.list_(pa.list_(pa.string())), False, "per asked step its continuations' answers; null: none"),
    ("is_correct", pa.list_(pa.list_(pa.bool_())), False, "whether each is right; null: it could not be graded"),
    ("num_tokens", pa.int32(), False, "tokens of all continuations"),
    ERROR,
)

JUDGEMENTS = table(
    *SAMPLE,
    ("text", pa.string(), False, "what the judge wrote"),
    ("status", pa.string(), False, "ok, unparsable (no verdict in the text), or no_such_step"),
    ("first_error", pa.int32(), True, "0-based index of the first wrong step, −1 for none; null without a verdict"),
    ("num_tokens", pa.int32(), False, "tokens that the judge wrote"),
    ERROR,
)

SCORES = table(
    *SAMPLE,
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
    ERROR,
)

LABELLED_SOLUTIONS = table(
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
    ("provenance", pa.list_(pa.string()), False, "per step, who rated it"),
    (
        "dropped",
        pa.string(),
        True,
        "why a good row is not used: quality_control, screening, bad_problem, give_up, contaminated; null: it is used",
    ),
    ("num_labels", pa.int32(), False, "labels that the row has in the file, alternatives included, usable or not"),
    ("finished", pa.bool_(), False, "the last step is the solution's end: it holds the answer section"),
    ("num_alternative_labels", pa.int32(), False, "of them those of alternatives"),
    ("source_file", pa.int32(), False, "0-based number of the file, in the order given"),
    ("source_row", pa.int64(), False, "0-based row in that file"),
    ERROR,
)

GRADED_SOLUTIONS = table(
    ("problem", pa.string(), False, "the problem's text"),
    ("steps", pa.list_(pa.string()), False, "the solution's steps"),
    ("is_correct", pa.bool_(), True, "whether the solution's answer is right, as the file says; null: it does not"),
    ("dropped", pa.string(), True, "why a good row is not used: contaminated; null: it is used"),
    ("finished", pa.bool_(), False, "the last step is the solution's end"),
    ("source_file", pa.int32(), False, "0-based number of the file, in the order given"),
    ("source_row", pa.int64(), False, "0-based row in that file"),
    ERROR,
)

LABEL_COUNTS = table(
    ("what", pa.string(), False, "rows, labels or steps: of them all, and of each use or cause"),
    ("count", pa.int64(), False, "how many"),
    ERROR,
)
