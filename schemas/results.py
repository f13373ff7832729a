"""Schemas of the tables of results, as `tables.py` has those of all before."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas.tables import ERROR, SAMPLE, table

_SPLIT = ("split", pa.string(), False, "test or ood")
_METHOD = (
    "method",
    pa.string(),
    False,
    "prm, orm (or another score's name), majority, prm_weighted, orm_weighted, or pass (any of N is right)",
)
_N = ("n", pa.int32(), False, "samples per problem that the method chooses from")
_TRAINING_SEED = ("training_seed", pa.int32(), False, "which of the study's trainings of ORM and PRM, from 1")
_ACCURACY = ("accuracy", pa.float64(), False, "expected share of problems answered rightly, in [0, 1]")
_NUM_PROBLEMS = ("num_problems", pa.int32(), False, "problems that count")
# Where several ORMs and PRMs were trained, accuracies are means over them, and intervals those of the problems.
_INTERVAL = (
    ("ci_low", pa.float64(), False, "lower end of the 95 % bootstrap interval over problems (paired, of a difference)"),
    ("ci_high", pa.float64(), False, "upper end"),
    ("num_seeds", pa.int32(), False, "training seeds"),
    (
        "std_over_seeds",
        pa.float64(),
        True,
        "standard deviation (n − 1) of that number over training seeds; null for one",
    ),
)

CANDIDATES = table(
    ("problem_id", pa.string(), False, "content hash of the problem"),
    ("answer", pa.string(), False, "an answer, as it was extracted"),
    ("candidate", pa.int32(), False, "which of the problem's candidates it is, 0-based, the most frequent first"),
    ("candidate_answer", pa.string(), False, "that candidate's most frequent answer: what a vote for it gives"),
    ("candidate_is_correct", pa.bool_(), False, "whether that one equals the reference answer"),
    ("num_samples", pa.int32(), False, "samples that gave this very answer"),
    ERROR,
)


def _scores(names: Iterable[str]) -> list[tuple[str, pa.DataType, bool, str]]:
    return [
        (f"{name}_score", pa.float64(), True, f"of the verifier {name}: the higher, the better; null: none")
        for name in names
    ]


def file_samples(names: Iterable[str]) -> pa.Schema:
    """Return the schema of scored samples from a file, with rows of empty slots for samples that it leaves out."""
    return table(
        *SAMPLE,
        ("problem", pa.string(), False, "the problem's text; of a row that has none, its number (split unusable)"),
        ("ground_truth_answer", pa.string(), True, "the reference answer, where the file has one"),
        ("answer", pa.string(), True, "the sample's answer; null: none, an empty slot of N"),
        ("is_correct", pa.bool_(), True, "whether it is right; null: not known"),
        ("steps", pa.list_(pa.string()), True, "the solution's steps, where the file has them"),
        (
            "step_probabilities",
            pa.list_(pa.list_(pa.float32(), 3)),
            True,
            "per step P(negative), P(neutral), P(positive)",
        ),
        ("source", pa.string(), True, "where the problem is from"),
        ("level", pa.string(), True, "how hard its source calls it"),
        ("subject", pa.string(), True, "what it is about"),
        ("source_row", pa.int64(), True, "0-based row in the file; null for a slot that the file leaves out"),
        *_scores(names),
        ERROR,
    )


NO_VOTE = -1  # the candidate of a sample that gives no answer and yet is one: it is picked by its score alone


def scored_samples(names: Iterable[str]) -> pa.Schema:
    """Return the schema of the table that results are computed from, with a column <name>_score for each verifier."""
    return table(
        *SAMPLE,
        _TRAINING_SEED,
        (
            "candidate",
            pa.int32(),
            True,
            "which of the problem's candidate answers it gives; null: none, an empty slot; -1: a sample without a vote",
        ),
        ("is_correct", pa.bool_(), True, "whether its answer is right; null: it could not be graded"),
        ("candidate_is_correct", pa.bool_(), True, "whether a vote for its candidate would be right"),
        ("num_steps", pa.int32(), True, "steps of the solution, where they are known"),
        *_scores(names),
        ERROR,
    )


PROBLEM_ATTRIBUTES = table(
    ("problem_id", pa.string(), False, "content hash of the problem"),
    ("split", pa.string(), False, "train, test or ood"),
    ("source", pa.string(), False, "where the problem is from: an exam, a set; of the embedded world, its length"),
    ("level", pa.string(), True, "how hard its source calls it; of the embedded world, its number of operations"),
    ("subject", pa.string(), True, "what it is about, as its source says"),
    ERROR,
)

PROBLEM_ACCURACY = table(
    ("problem_id", pa.string(), False, "content hash of the problem"),
    _SPLIT,
    _TRAINING_SEED,
    _METHOD,
    _N,
    ("accuracy", pa.float64(), False, "chance that the method answers this problem rightly, in [0, 1]"),
    ERROR,
)

BEST_OF_N = table(_SPLIT, _METHOD, _N, _ACCURACY, *_INTERVAL, _NUM_PROBLEMS, ERROR)

COMPARISONS = table(
    _SPLIT,
    ("method", pa.string(), False, "the first method"),
    ("baseline", pa.string(), False, "what it is compared with; pass_at_1 is the expected accuracy of one sample"),
    _N,
    ("difference", pa.float64(), False, "accuracy of method minus that of baseline, in [−1, 1]"),
    *_INTERVAL,
    ERROR,
)

GROUP_ACCURACY = table(
    _SPLIT,
    ("grouping", pa.string(), False, "pass_rate (quintiles, figure 6), source (table 1), level or subject"),
    ("group", pa.string(), False, "the group of problems; all: every problem of the split"),
    ("pass_rate", pa.float64(), False, "share of the group's samples that are right: the accuracy of one, in [0, 1]"),
    _METHOD,
    _N,
    _ACCURACY,
    *_INTERVAL,
    _NUM_PROBLEMS,
    ERROR,
)

REDUCTIONS = table(
    _SPLIT,
    ("reduction", pa.string(), False, "of step probabilities to the PRM's score: product, min, last or mean"),
    ("neutral", pa.string(), False, "how it counts a neutral step: positive or negative"),
    _N,
    _ACCURACY,
    *_INTERVAL,
    _NUM_PROBLEMS,
    ERROR,
)

SUBSAMPLING_BAND = table(
    _SPLIT,
    _METHOD,
    _N,
    ("accuracy", pa.float64(), False, "mean over the trials of the released evaluation's algorithm, in [0, 1]"),
    ("std", pa.float64(), False, "population standard deviation over the trials: the band of the paper's figure 3"),
    ("trials", pa.int32(), False, "shuffles of each problem's samples"),
    ERROR,
)

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
    (
        "length_correlation",
        pa.float64(),
        True,
        "rank correlation of score and number of steps within a problem, averaged over problems, in [−1, 1]",
    ),
    ("calibration_error", pa.float64(), True, "expected calibration error of ten bins; null for no probability"),
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

STEP_ERRORS = table(
    ("source", pa.string(), False, "whose solutions: a split of the study, or a file"),
    ("threshold", pa.float64(), False, "a step is called wrong from this P(negative) on, the first such is the answer"),
    ("num_wrong", pa.int64(), False, "solutions with a wrong step"),
    ("num_right", pa.int64(), False, "solutions without"),
    ("accuracy_wrong", pa.float64(), True, "share of the former whose first wrong step is found exactly, in [0, 1]"),
    ("accuracy_right", pa.float64(), True, "share of the latter in which no step is called wrong, in [0, 1]"),
    ("f1", pa.float64(), True, "harmonic mean of the two accuracies (ProcessBench), in [0, 1]"),
    ERROR,
)

FIRST_ERRORS = table(
    ("source", pa.string(), False, "whose solutions: a split of the study, or a file"),
    ("threshold", pa.float64(), False, "a step is called wrong from this P(negative) on"),
    ("first_error", pa.int32(), False, "index of the first wrong step, from 0"),
    ("count", pa.int64(), False, "solutions with their first error there"),
    ("found", pa.int64(), False, "of them, those in which exactly that step is the first called wrong"),
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
    (
        "first_error_recall",
        pa.float64(),
        True,
        "of solutions in which the reference has an error, the share whose first error source finds, in [0, 1]",
    ),
    (
        "same_first_error",
        pa.float64(),
        True,
        "share of solutions with the same first error or with none, in [0, 1]",
    ),
    ("kappa", pa.float64(), True, "Cohen's kappa of wrong or not, over those steps, in [−1, 1]"),
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

CONTAMINATION = table(
    ("problem_id", pa.string(), False, "content hash of the evaluation problem"),
    ("split", pa.string(), False, "its split: test or ood"),
    ("source_row", pa.int64(), False, "its 0-based row in its source"),
    ("problem", pa.string(), False, "its text"),
    ("trained_on", pa.string(), False, "train problems, labelled solutions or graded solutions"),
    ("trained_row", pa.int64(), False, "the nearest training text's 0-based row there"),
    ("trained_problem", pa.string(), False, "that text"),
    ("overlap", pa.float64(), False, "share of the evaluation problem's n-grams that it holds, in [0, 1]"),
    ("is_same", pa.bool_(), False, "equal after normalisation: only where the study was told to leave such rows out"),
    ERROR,
)

ATTRIBUTE_SHARES = table(
    ("attribute", pa.string(), False, "level, subject or source"),
    ("value", pa.string(), False, "one of its values"),
    ("split", pa.string(), False, "train, test or ood"),
    ("count", pa.int64(), False, "problems of that split with that value"),
    ("share", pa.float64(), False, "of that split's problems that have the attribute, in [0, 1]"),
    ERROR,
)
