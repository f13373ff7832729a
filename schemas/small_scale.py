"""Schemas of the tables of the small-scale study (paper §4), as `tables.py` has those of all before."""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa

from schemas.tables import ERROR, SAMPLE, table

_SIZE = ("size", pa.int32(), False, "solutions labelled per problem (of a policy over all problems: in the mean)")
_SERIES = (
    "series",
    pa.string(),
    False,
    "process, outcome_prm (no step over the threshold), outcome_final_answer: supervisions of the same solutions; "
    "active, uncertainty, top_k, iterated: process supervision of solutions chosen so",
)
_N = ("n", pa.int32(), False, "test samples per problem that the verifier chooses from")
_NUM_PROBLEMS = ("num_problems", pa.int32(), False, "test problems that count")
_NUM_SEEDS = ("num_seeds", pa.int32(), False, "training seeds")
_STD = ("std_over_seeds", pa.float64(), True, "standard deviation (n − 1) of that number over seeds; null for one")

_MEDIAN = (
    "median_training",
    pa.float64(),
    False,
    "median over training seeds of that number: half of trainings do better",
)
_CI = (
    (
        "ci_low",
        pa.float64(),
        False,
        "lower end of the 95 % interval of the median training, over trainings and problems; of one or two trainings: "
        "of their mean, over problems alone",
    ),
    ("ci_high", pa.float64(), False, "upper end"),
)

SUPERVISIONS = ("process", "outcome_prm", "outcome_final_answer")  # series on the same solutions
Policy = Literal["active", "uncertainty", "top_k", "iterated"]
POLICIES: tuple[Policy, ...] = get_args(Policy)  # series of process supervision, on solutions chosen so
FEWEST_TRAININGS = 3  # of an interval that speaks of other trainings than the study's own
CHOSEN_BEFORE = "chosen_before"  # the reason of what an earlier round chose

SELECTION = table(
    *SAMPLE,
    _SIZE,
    (
        "place",
        pa.int32(),
        False,
        "0-based: in which order it was chosen, of its problem (of a policy over all: of all)",
    ),
    (
        "reason",
        pa.string(),
        False,
        "why it was chosen: in_order, convincing_wrong_answer, highest_of_the_rest, instead_of_a_wrong_answer (there "
        "were too few), least_certain, chosen_before (in an earlier round)",
    ),
    ("selector_score", pa.float64(), True, "the selector's score of the solution, in [0, 1]; null without a selector"),
    ("is_correct", pa.bool_(), False, "whether its final answer is right"),
    ERROR,
)

# What the verifiers are trained on: all three supervisions of one solution, in one row, so that the series cannot but
# have the same solutions.
SUPERVISED_SOLUTIONS = table(
    *SAMPLE,
    _SIZE,
    ("problem", pa.string(), False, "the problem's text"),
    ("steps", pa.list_(pa.string()), False, "the solution's steps"),
    ("finish_reason", pa.string(), True, "stop (end of text), or length (the token cap)"),
    ("num_tokens", pa.int32(), False, "tokens of the solution"),
    ("reason", pa.string(), False, "why it was chosen: see the table selection"),
    ("ratings", pa.list_(pa.int8()), False, "process: −1 or +1 per step by the labeller, through the first −1"),
    ("is_correct_by_steps", pa.bool_(), True, "outcome by the labeller: no step of it is wrong; null: not labelled"),
    ("is_correct", pa.bool_(), False, "outcome by the final answer"),
    ERROR,
)

VERIFIER_ACCURACY = table(
    ("problem_id", pa.string(), False, "content hash of the problem"),
    _SERIES,
    _SIZE,
    ("training_seed", pa.int32(), False, "which of the study's trainings, from 1"),
    _N,
    ("accuracy", pa.float64(), False, "chance that the verifier's best of N answers this problem rightly, in [0, 1]"),
    ERROR,
)

DATA_SCALING = table(
    _SERIES,
    _SIZE,
    _N,
    ("accuracy", pa.float64(), False, "expected share of test problems answered rightly, mean over seeds, in [0, 1]"),
    _MEDIAN,
    *_CI,
    _NUM_SEEDS,
    _STD,
    _NUM_PROBLEMS,
    ERROR,
)

SERIES_COMPARISONS = table(
    _SERIES,
    ("baseline", pa.string(), False, "the series that it is compared with, at the same size"),
    _SIZE,
    _N,
    ("difference", pa.float64(), False, "accuracy of series minus that of baseline, mean over seeds, in [−1, 1]"),
    _MEDIAN,
    *_CI,
    (
        "p_value",
        pa.float64(),
        False,
        "two-sided, of a median training of 0; at most 0.05 where the interval excludes 0",
    ),
    _NUM_SEEDS,
    _STD,
    _NUM_PROBLEMS,
    ERROR,
)

DATA_EFFICIENCY = table(
    _SERIES,
    ("baseline", pa.string(), False, "process: the first solutions of each problem, labelled as they come"),
    _N,
    ("slope", pa.float64(), False, "accuracy gained per doubling of the solutions labelled: least squares, in log2"),
    ("slope_low", pa.float64(), False, "lower end of the 95 % interval of the median training's"),
    ("slope_high", pa.float64(), False, "upper end"),
    ("baseline_slope", pa.float64(), False, "that of the baseline"),
    ("efficiency", pa.float64(), True, "ratio of slopes (the paper's 2.6), blind to a constant factor; null: no rise"),
    (
        "efficiency_low",
        pa.float64(),
        True,
        "lower end of its 95 % interval; null: the baseline does not clearly rise",
    ),
    ("efficiency_high", pa.float64(), True, "upper end"),
    ("share_no_rise", pa.float64(), False, "share of resamples in which the baseline does not rise: no ratio there"),
    (
        "equivalent_data",
        pa.float64(),
        True,
        "how many times the series' largest size the baseline's line needs for the series' accuracy there",
    ),
    ("equivalent_low", pa.float64(), True, "lower end of its 95 % interval"),
    ("equivalent_high", pa.float64(), True, "upper end"),
    ("largest_residual", pa.float64(), False, "accuracy minus the series' line where that is furthest from zero"),
    ("largest_residual_size", pa.int32(), False, "the size there"),
    (
        "lacks_fit",
        pa.bool_(),
        False,
        "whether the line clearly does not fit: the interval of a residual leaves out 0 (95 %, Bonferroni over sizes)",
    ),
    _NUM_SEEDS,
    _NUM_PROBLEMS,
    ERROR,
)

EQUIVALENT_LABELS = table(
    _SERIES,
    ("baseline", pa.string(), False, "process: the first solutions of each problem, labelled as they come"),
    _SIZE,
    _N,
    ("unit", pa.string(), False, "what is counted: step_labels, through each first wrong step, or solutions labelled"),
    ("labels", pa.float64(), False, "labels that the series spent, its selector's included, mean over seeds"),
    ("selector_labels", pa.float64(), False, "of them those that its selector alone learned from"),
    ("accuracy", pa.float64(), False, "best of N by the median training of the series, in [0, 1]"),
    (
        "equivalent_labels",
        pa.float64(),
        True,
        "labels with which the baseline is as accurate, by interpolation in log2 of labels; null: see outside",
    ),
    (
        "equivalent_low",
        pa.float64(),
        True,
        "lower end of its 95 % interval, over trainings and problems; null: fewer than the baseline's fewest",
    ),
    ("equivalent_high", pa.float64(), True, "upper end; null: more than the baseline's most"),
    ("efficiency", pa.float64(), True, "equivalent_labels by labels: over 1 where the series needs fewer"),
    ("efficiency_low", pa.float64(), True, "lower end of its 95 % interval"),
    ("efficiency_high", pa.float64(), True, "upper end"),
    (
        "p_value",
        pa.float64(),
        False,
        "two-sided, of a median training as accurate as the baseline with as many labels (outside of those measured: "
        "with the fewest or the most)",
    ),
    ("efficiency_without_selector", pa.float64(), True, "equivalent_labels by the labels without the selector's"),
    (
        "outside",
        pa.string(),
        True,
        "why there is no number: above (more accurate than the baseline with any labels that it was trained on), below "
        "(less accurate), no_rise (the baseline does not gain from more labels)",
    ),
    _NUM_SEEDS,
    _NUM_PROBLEMS,
    ERROR,
)

SELECTOR_QUALITY = table(
    ("training_seed", pa.int32(), False, "which of the study's trainings, from 1"),
    ("series", pa.string(), False, "what the selector was trained as: process, or iterated (a round's verifier)"),
    _SIZE,
    (
        "pool_auc",
        pa.float64(),
        True,
        "chance that it scores a solution with the right answer over one of the same problem's pool with a wrong one; "
        "null: no problem has both",
    ),
    ("num_pool_problems", pa.int32(), False, "problems with both"),
    (
        "labelled_auc",
        pa.float64(),
        True,
        "the same of solutions without and with a step that the labeller calls wrong, of those labelled as they come "
        "that it did not learn from; null: no problem has both, or a selector of a later round",
    ),
    ("num_labelled_problems", pa.int32(), False, "problems with both"),
    _N,
    ("accuracy", pa.float64(), False, "best of N by the selector on test problems, in [0, 1]"),
    ("single_sample", pa.float64(), False, "accuracy of a single sample there"),
    ERROR,
)

WRONG_SHARES = table(
    _SERIES,
    _SIZE,
    ("num_solutions", pa.float64(), False, "solutions chosen, mean over seeds"),
    ("asked", pa.float64(), True, "share of convincing wrong answers that was asked for; null: none"),
    ("convincing", pa.float64(), True, "share chosen as such, of what the last round chose; null: it chose nothing"),
    ("instead", pa.float64(), True, "share in the place of missing ones"),
    ("wrong_answer", pa.float64(), False, "share with a wrong final answer, for whatever reason they were chosen"),
    ("distinct", pa.float64(), False, "distinct solutions by solutions: the others are copies within their problem"),
    ERROR,
)

LABEL_BUDGET = table(
    _SERIES,
    _SIZE,
    (
        "num_solutions",
        pa.float64(),
        False,
        "solutions labelled, mean over seeds, the selector's own included; each once",
    ),
    ("num_step_labels", pa.float64(), False, "step labels of them, through each first wrong step"),
    ("accuracy", pa.float64(), False, "best of the largest N, mean over seeds, in [0, 1]"),
    ("gain", pa.float64(), False, "that minus the accuracy of a single sample"),
    ("gain_per_1000_labels", pa.float64(), True, "gain per 1,000 step labels, all of them counted"),
    ("next_1000_labels", pa.float64(), True, "what the fitted line says 1,000 further step labels would add"),
    (
        "tokens_sampled",
        pa.float64(),
        False,
        "computed to sample its solutions, prompts included: those of each problem up to the last that it has, or the "
        "whole pool, of a policy that chooses",
    ),
    ("tokens_read", pa.float64(), False, "that a selector read to choose, prompts included"),
    ("tokens_labelled", pa.float64(), False, "that the labeller read, prompts included"),
    ("tokens_trained", pa.float64(), False, "in training, prompts and the selector's included"),
    (
        "flops",
        pa.float64(),
        False,
        "of all that: 2 per parameter and token, in training 6 (the labeller's own left out)",
    ),
    ERROR,
)

ROUNDS = table(
    ("training_seed", pa.int32(), False, "which of the study's trainings, from 1"),
    ("round", pa.int32(), False, "from 1"),
    _SIZE,
    _N,
    ("accuracy", pa.float64(), False, "best of N by the verifier of this round, in [0, 1]"),
    ("change", pa.float64(), True, "that minus the accuracy of the round before; null for the first"),
    ("one_shot", pa.float64(), True, "the accuracy of the series active at this size and seed: chosen at once"),
    (
        "selector_agreement",
        pa.float64(),
        True,
        "rank correlation within problems with the selector of the round before",
    ),
    ("share_wrong_answer", pa.float64(), True, "of this round's new solutions, those with a wrong final answer"),
    ("share_negative", pa.float64(), True, "of them those in which the labeller found a wrong step; null: none is new"),
    ERROR,
)
