"""Schemas of the tables on the quality of verifiers' scores and of step labels.

Intervals are of 95 %, over problems: all solutions of a problem are drawn together. They hold for these trained models
and these labels.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.tables import ERROR, table

_SPLIT = ("split", pa.string(), False, "test or ood")
_TRAINING_SEED = ("training_seed", pa.int32(), False, "which of the study's trainings of ORM and PRM, from 1")
_LOW, _HIGH = "lower end of its 95 % interval over problems", "upper end"


def _interval(name: str) -> tuple[tuple[str, pa.DataType, bool, str], tuple[str, pa.DataType, bool, str]]:
    return (f"{name}_low", pa.float64(), True, _LOW), (f"{name}_high", pa.float64(), True, _HIGH)


SCORE_QUALITY = table(
    _SPLIT,
    _TRAINING_SEED,
    ("model", pa.string(), False, "orm, prm, or another score's name"),
    (
        "within_problem_auc",
        pa.float64(),
        True,
        "chance that a right sample outscores a wrong one of its problem; null where no problem has both",
    ),
    *_interval("auc"),
    ("num_auc_problems", pa.int32(), False, "problems with right and wrong samples, which that number is a mean of"),
    (
        "length_correlation",
        pa.float64(),
        True,
        "rank correlation of score and number of steps within a problem, averaged over problems, in [−1, 1]",
    ),
    ("calibration_error", pa.float64(), True, "expected calibration error of ten bins; null for no probability"),
    *_interval("calibration_error"),
    ERROR,
)

CALIBRATION = table(
    _SPLIT,
    ("model", pa.string(), False, "orm, prm, or another score's name"),
    ("unit", pa.string(), False, "solution (score and grade) or step (P(neutral) + P(positive), and its rating)"),
    ("bin_low", pa.float64(), False, "scores from here"),
    ("bin_high", pa.float64(), False, "to here (bins of equal width)"),
    ("count", pa.int64(), False, "solutions or steps in the bin, over all training seeds"),
    ("mean_score", pa.float64(), False, "their mean score, in [0, 1]"),
    ("share_right", pa.float64(), False, "share of them that are right, in [0, 1]"),
    ("ci_low", pa.float64(), False, "lower end of the share's 95 % interval over problems"),
    ("ci_high", pa.float64(), False, _HIGH),
    ERROR,
)

SCORE_BY_LENGTH = table(
    _SPLIT,
    ("model", pa.string(), False, "orm, prm, or another score's name"),
    ("num_steps", pa.int32(), False, "steps of a solution"),
    ("count", pa.int64(), False, "scored solutions of that length, over all training seeds"),
    ("share_right", pa.float64(), False, "share of them that are right, in [0, 1]"),
    ("mean_score", pa.float64(), False, "their mean score"),
    (
        "share_picked",
        pa.float64(),
        False,
        "share of the problems' best-scored samples that have that length, in [0, 1]",
    ),
    ERROR,
)

_OF_STEP_ERRORS = (
    ("num_wrong", pa.int64(), False, "solutions with a wrong step"),
    ("num_right", pa.int64(), False, "solutions without"),
    ("accuracy_wrong", pa.float64(), True, "share of the former whose first wrong step is found exactly, in [0, 1]"),
    *_interval("accuracy_wrong"),
    ("accuracy_right", pa.float64(), True, "share of the latter in which no step is called wrong, in [0, 1]"),
    *_interval("accuracy_right"),
    ("f1", pa.float64(), True, "harmonic mean of the two accuracies (ProcessBench), in [0, 1]"),
    *_interval("f1"),
    ("num_problems", pa.int64(), False, "problems of these solutions"),
    ERROR,
)

STEP_ERRORS = table(
    ("source", pa.string(), False, "whose solutions: a split of the study, or a file"),
    ("threshold", pa.float64(), False, "a step is called wrong from this P(negative) on, the first such is the answer"),
    *_OF_STEP_ERRORS,
)

VERIFIER_STEP_ERRORS = table(
    ("verifier", pa.string(), False, "whose calls these are"),
    ("source", pa.string(), False, "whose solutions: a split of the study, or a file"),
    (
        "threshold",
        pa.float64(),
        True,
        "a step is called wrong from this P(negative) on; null: the likeliest first error is called, of a judge's "
        "verdicts that of the most",
    ),
    *_OF_STEP_ERRORS,
)

FIRST_ERRORS = table(
    ("source", pa.string(), False, "whose solutions: a split of the study, or a file"),
    ("threshold", pa.float64(), False, "a step is called wrong from this P(negative) on"),
    ("first_error", pa.int32(), False, "index of the first wrong step, from 0"),
    ("count", pa.int64(), False, "solutions with their first error there"),
    ("found", pa.int64(), False, "of them, those in which exactly that step is the first called wrong"),
    ("ci_low", pa.float64(), False, "lower end of the 95 % interval of found / count, over problems"),
    ("ci_high", pa.float64(), False, _HIGH),
    ("early", pa.int64(), False, "in which an earlier step is"),
    ("late", pa.int64(), False, "in which a later one is"),
    ("missed", pa.int64(), False, "in which none is"),
    ERROR,
)

AGREEMENT = table(
    ("source", pa.string(), False, "who rated the steps"),
    ("reference", pa.string(), False, "whose ratings of the same solutions it is compared with"),
    ("num_solutions", pa.int64(), False, "solutions that both rated"),
    ("num_steps", pa.int64(), False, "steps of them that both rated: through the earlier of the two first errors"),
    (
        "first_error_precision",
        pa.float64(),
        True,
        "of solutions in which source finds an error, the share whose first error is the reference's, in [0, 1]",
    ),
    *_interval("first_error_precision"),
    (
        "first_error_recall",
        pa.float64(),
        True,
        "of solutions in which the reference has an error, the share whose first error source finds, in [0, 1]",
    ),
    *_interval("first_error_recall"),
    (
        "same_first_error",
        pa.float64(),
        True,
        "share of solutions with the same first error or with none, in [0, 1]",
    ),
    *_interval("same_first_error"),
    ("kappa", pa.float64(), True, "Cohen's kappa of wrong or not, over those steps, in [−1, 1]"),
    *_interval("kappa"),
    ERROR,
)

LABEL_SOURCES = table(
    ("source", pa.string(), False, "who rated the steps"),
    ("num_solutions", pa.int64(), False, "solutions that it was asked about"),
    ("num_rated", pa.int64(), False, "of them those that it gave ratings"),
    ("num_unrated", pa.int64(), False, "those that it gave none, without an error: a judge's text had no verdict"),
    ("num_error", pa.int64(), False, "those with an error"),
    ("num_ratings", pa.int64(), False, "ratings of steps"),
    ("share_with_error", pa.float64(), True, "share of rated solutions with a wrong step, in [0, 1]"),
    ("num_continuations", pa.int64(), True, "continuations that were sampled for them"),
    ("num_continuations_every_step", pa.int64(), True, "what asking after every step would have taken"),
    ("num_tokens", pa.int64(), True, "tokens that were sampled for them"),
    ERROR,
)
