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

SUPERVISIONS = ("process", "outcome_prm", "outcome_final_answer")  # series on the same solutions
Policy = Literal["active", "uncertainty", "top_k", "iterated"]
POLICIES: tuple[Policy, ...] = get_args(Policy)  # series of process supervision, on solutions chosen so
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
    ("ci_low", pa.float64(), False, "lower end of the 95 % bootstrap interval over problems"),
    ("ci_high", pa.float64(), False, "upper end"),
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
    ("ci_low", pa.float64(), False, "lower end of the 95 % bootstrap interval over problems and seeds, paired in both"),
    ("ci_high", pa.float64(), False, "upper end"),
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
    ("slope_low", pa.float64(), False, "lower end of its 95 % bootstrap interval over problems and seeds"),
    ("slope_high", pa.float64(), False, "upper end"),
    ("baseline_slope", pa.float64(), False, "that of the baseline"),
    ("efficiency", pa.float64(), True, "ratio of the slopes (the paper's 2.6); null where the baseline does not rise"),
    ("efficiency_low", pa.float64(), True, "lower end of its 95 % interval; null where share_no_rise is over 2.5 %"),
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
    _NUM_SEEDS,
    _NUM_PROBLEMS,
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
    ("tokens_sampled", pa.float64(), False, "of solutions that had to be sampled: the pool, of a policy that has one"),
    ("tokens_read", pa.float64(), False, "that a selector read to choose"),
    ("tokens_labelled", pa.float64(), False, "that the labeller read"),
    ("tokens_trained", pa.float64(), False, "in training, the selector's included"),
    ("flops", pa.float64(), False, "of all that: 2 per parameter and token, in training 6"),
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
