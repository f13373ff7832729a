"""Schemas of the tables of best-of-N; `quality.py` has those on verifiers and labels, `tables.py` all before."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas.tables import ERROR, SAMPLE, table

_SPLIT = ("split", pa.string(), False, "test or ood")
_METHOD = (
    "method",
    pa.string(),
    False,
    "prm, orm (or another score's name), ensemble_prm, ensemble_orm (the mean score of a study's trainings), majority, "
    "prm_weighted, orm_weighted, or pass (any of N is right)",
)
_N = ("n", pa.int32(), False, "samples per problem that the method chooses from")
_TRAINING_SEED = ("training_seed", pa.int32(), False, "which of the study's trainings of ORM and PRM, from 1")
_ACCURACY = ("accuracy", pa.float64(), False, "expected share of problems answered rightly, in [0, 1]")
_OF_ENSEMBLES = "of an ensemble the jackknife's value for this training: their mean is the ensemble's accuracy"
_NUM_PROBLEMS = ("num_problems", pa.int32(), False, "problems that count")
_METHOD_PAIR = (
    ("method", pa.string(), False, "the first method"),
    ("baseline", pa.string(), False, "what it is compared with; pass_at_1 is the expected accuracy of one sample"),
)
_DIFFERENCE = ("difference", pa.float64(), False, "accuracy of method minus that of baseline, in [−1, 1]")
_P_VALUE = (
    "p_value",
    pa.float64(),
    False,
    "two-sided p-value of no difference, by the same draws as the interval; not corrected for other comparisons",
)
_GROUP = (
    ("grouping", pa.string(), False, "pass_rate (quintiles, figure 6), source (table 1), level or subject"),
    ("group", pa.string(), False, "the group of problems; all: every problem of the split"),
)
# Where several ORMs and PRMs were trained, accuracies are means over them.
_INTERVAL = (
    (
        "ci_low",
        pa.float64(),
        False,
        "lower end of the 95 % interval over problems and trainings (paired, of a difference); where num_seeds is 1, "
        "over problems alone, for these trained models",
    ),
    ("ci_high", pa.float64(), False, "upper end"),
    ("num_seeds", pa.int32(), False, "training seeds"),
    (
        "std_over_seeds",
        pa.float64(),
        True,
        "standard deviation (n − 1) of that number over training seeds (of an ensemble, of the jackknife's values); "
        "null for one",
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


# The mean score of a study's trainings of a verifier, where it has several.
ENSEMBLES = {"ensemble_prm": "prm", "ensemble_orm": "orm"}


def members_of(methods: Iterable[str]) -> tuple[str, ...]:
    """Return the verifiers of which an ensemble is among these methods."""
    return tuple(ENSEMBLES[method] for method in methods if method in ENSEMBLES)


# Verifiers without a language model, beside those that are trained: the ceiling and the floors.
# PRMs of sources of step labels that are not the first, beside which a PRM called so stands.
_SOURCES = ("human", "rule", "alternatives", "rollouts", "rollouts_soft", "rollouts_search", "prm", "judge")
OTHER_PRMS = tuple(f"prm_{source}" for source in _SOURCES)
REFERENCES = ("exact_rule", "step_lookup", "outcome_regression", "solution_length")
REFERENCE_SCORES = table(
    *SAMPLE,
    ("exact_rule_score", pa.float64(), True, "1 for a whole solution without a wrong step by the exact rule, else 0"),
    (
        "step_lookup_score",
        pa.float64(),
        True,
        "product over steps of the share of labelled ones of that text not wrong",
    ),
    (
        "outcome_regression_score",
        pa.float64(),
        True,
        "P(right) by a regression on what it states, from outcomes",
    ),
    (
        "solution_length_score",
        pa.float64(),
        True,
        "share right of graded train solutions with as many steps",
    ),
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
    (
        "accuracy",
        pa.float64(),
        False,
        f"chance that the method answers this problem rightly, in [0, 1]; {_OF_ENSEMBLES}",
    ),
    ERROR,
)

# Of halves of each problem's samples, in turn: by the ones problems are grouped, the others are evaluated.
HALF_ACCURACY = table(
    ("problem_id", pa.string(), False, "content hash of the problem"),
    _SPLIT,
    _TRAINING_SEED,
    (
        "half",
        pa.int32(),
        False,
        "0: the samples of even index; 1: of odd index (the last one of an odd number is left out)",
    ),
    _METHOD,
    _N,
    (
        "accuracy",
        pa.float64(),
        False,
        f"chance that the method answers this problem rightly by that half, in [0, 1]; {_OF_ENSEMBLES}",
    ),
    ERROR,
)

DISTINCT_SAMPLES = table(
    _SPLIT,
    _N,
    (
        "distinct_texts",
        pa.float64(),
        True,
        "expected number of different texts among N samples of a problem; null: none",
    ),
    ("distinct_answers", pa.float64(), False, "expected different answers among them"),
    _NUM_PROBLEMS,
    ERROR,
)

BEST_OF_N = table(_SPLIT, _METHOD, _N, _ACCURACY, *_INTERVAL, _NUM_PROBLEMS, ERROR)

COMPARISONS = table(
    _SPLIT,
    *_METHOD_PAIR,
    _N,
    _DIFFERENCE,
    *_INTERVAL,
    _P_VALUE,
    ERROR,
)

# Quintiles of the pass rate are of one half of each problem's samples, and what is evaluated is the other half; both
# ways, averaged. Their N reaches half of the samples.
GROUP_ACCURACY = table(
    _SPLIT,
    *_GROUP,
    (
        "pass_rate",
        pa.float64(),
        False,
        "share of the group's evaluated samples that are right: the accuracy of one, in [0, 1]",
    ),
    (
        "num_tied",
        pa.float64(),
        True,
        "of a quintile: problems whose pass rate a problem of another quintile has too, so that their ids decide, mean "
        "of both halves; null for other groups",
    ),
    _METHOD,
    _N,
    _ACCURACY,
    *_INTERVAL,
    _NUM_PROBLEMS,
    ERROR,
)

GROUP_COMPARISONS = table(
    _SPLIT,
    *_GROUP,
    *_METHOD_PAIR,
    _N,
    _DIFFERENCE,
    *_INTERVAL,
    _P_VALUE,
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
