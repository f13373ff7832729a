"""Schemas of exported files: columns as the ecosystem's own data sets have them (`components/data/export_formats.py`
shows a row of each).
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas.tables import table

TRL_STEPWISE = table(
    ("prompt", pa.string(), False, "the problem's text"),
    ("completions", pa.list_(pa.string()), False, "the steps that are labelled, through the first wrong one"),
    ("labels", pa.list_(pa.bool_()), False, "per step: not wrong (neutral counts as right)"),
)

TRL_UNPAIRED = table(
    ("prompt", pa.string(), False, "the problem's text"),
    ("completion", pa.string(), False, "the solution's text"),
    ("label", pa.bool_(), False, "its final answer equals the reference answer"),
)

MATH_SHEPHERD = table(
    ("input", pa.string(), False, "problem and numbered steps, each with the tag ки behind it"),
    ("label", pa.string(), False, "the same text with + or - in place of each tag"),
    ("task", pa.string(), False, "GSM8K or MATH"),
)

PROCESSBENCH = table(
    ("id", pa.string(), False, "problem_id and sample_index"),
    ("generator", pa.string(), False, "who wrote the solution"),
    ("problem", pa.string(), False, "the problem's text"),
    ("steps", pa.list_(pa.string()), False, "the solution's steps, all of them"),
    ("final_answer_correct", pa.bool_(), False, "the final answer equals the reference answer"),
    ("label", pa.int64(), False, "0-based index of the first wrong step, −1 for none"),
)

PROCESSBENCH_PREDICTIONS = table(
    *((field.name, field.type, False, field.metadata[b"meaning"].decode()) for field in PROCESSBENCH),
    ("prediction", pa.int64(), False, "0-based index of the first step that the PRM calls wrong, −1 for none"),
    ("match", pa.bool_(), False, "prediction equals label"),
)

_COMPLETION = pa.struct([("text", pa.string()), ("rating", pa.int8()), ("flagged", pa.bool_())])
_HUMAN = pa.struct([("text", pa.string()), ("rating", pa.int8()), ("source", pa.string()), ("flagged", pa.bool_())])
_STEP = pa.struct(
    [("completions", pa.list_(_COMPLETION)), ("human_completion", _HUMAN), ("chosen_completion", pa.int32())]
)
_QUESTION = pa.struct(
    [
        ("problem", pa.string()),
        ("ground_truth_solution", pa.string()),
        ("ground_truth_answer", pa.string()),
        ("pre_generated_steps", pa.list_(pa.string())),
        ("pre_generated_answer", pa.string()),
        ("pre_generated_verifier_score", pa.float64()),
    ]
)

_LABEL = pa.struct([("steps", pa.list_(_STEP)), ("total_time", pa.int64()), ("finish_reason", pa.string())])
_SELECTION = pa.struct([("policy", pa.string()), ("size", pa.int32()), ("place", pa.int32()), ("reason", pa.string())])

PRM800K = table(
    ("labeler", pa.string(), True, "who rated: the label source"),
    ("timestamp", pa.string(), True, "null"),
    ("generation", pa.int32(), True, "null, as in PRM800K's first phase"),
    ("is_quality_control_question", pa.bool_(), False, "false"),
    ("is_initial_screening_question", pa.bool_(), False, "false"),
    ("question", _QUESTION, False, "the problem, its reference answer, and the solution's steps, all of them"),
    ("label", _LABEL, False, "rated steps through the first negative one; finish_reason: found_error or solution"),
)

# PRM800K's columns before anyone labelled, and ours behind them.
LABELLING_QUEUE = table(
    ("labeler", pa.string(), True, "null: nobody yet"),
    ("timestamp", pa.string(), True, "null"),
    ("generation", pa.int32(), True, "null"),
    ("is_quality_control_question", pa.bool_(), False, "false"),
    ("is_initial_screening_question", pa.bool_(), False, "false"),
    (
        "question",
        _QUESTION,
        False,
        "the problem, its reference answer, the solution's steps, answer and selector's score",
    ),
    ("label", _LABEL, False, "all steps, unrated, each its one completion; finish_reason null"),
    ("problem_id", pa.string(), False, "content hash of the problem"),
    ("sample_index", pa.int32(), False, "0-based slot among the problem's samples"),
    ("selection", _SELECTION, False, "by which policy, at which size, in which place and why: see the table selection"),
)


def sample_set(scores: Iterable[str], thinks: bool = False) -> pa.Schema:
    """Return the schema of a sample set. scores: the columns of verifiers' scores. thinks: whether its generator does,
    before it answers.
    """
    thinking = [("thinking", pa.string(), False, "what the generator thought before text, never read for an answer")]
    return table(
        ("problem_id", pa.string(), False, "content hash of the problem's text"),
        ("sample_index", pa.int32(), False, "0-based slot among the problem's samples"),
        ("problem", pa.string(), False, "the problem's text"),
        ("ground_truth_answer", pa.string(), True, "the reference answer"),
        ("text", pa.string(), False, "what the generator wrote"),
        *(thinking if thinks else []),
        ("steps", pa.list_(pa.string()), False, "text cut into steps"),
        ("answer", pa.string(), True, "the extracted answer; null: none, an empty slot of N"),
        ("is_correct", pa.bool_(), False, "the answer equals the reference answer; false where there is none"),
        ("finish_reason", pa.string(), True, "stop (end of text), or length (the token cap)"),
        *((name, pa.float64(), True, "of a verifier: the higher, the better") for name in scores),
    )
