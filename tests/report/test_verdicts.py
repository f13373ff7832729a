"""Verdicts: their words, Holm's correction, and how often they are wrong in simulated studies."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from components.report.verdicts import SMALLEST_P, compared, correction, holm, verdicts
from components.statistics.bootstrap import BootstrapConfig, estimates, two_way_interval
from flows.presets.label_source_names import SOURCES
from schemas.results import OTHER_PRMS

CONFIG = BootstrapConfig(resamples=500)
PROBLEMS, STUDIES = 200, 400
ALONE = "; of these two trained models alone: other trainings may differ"


def row(method: str, baseline: str, difference: float, low: float, high: float, p_value: float) -> dict[str, Any]:
    about = {"split": "test", "n": 64, "num_seeds": 1, "std_over_seeds": None, "method": method, "baseline": baseline}
    return about | {"difference": difference, "ci_low": low, "ci_high": high, "p_value": p_value}


def test_verdicts_in_words() -> None:
    rows = [
        row("prm", "orm", 0.061, 0.024, 0.098, 0.001),
        row("prm", "majority", -0.05, -0.08, -0.02, 0.002),
        row("orm", "majority", 0.01, -0.02, 0.04, 0.6),
        row("prm", "pass_at_1", 0.1, 0.05, 0.2, 0.0005),
        row("orm", "pass_at_1", 0.04, 0.001, 0.08, 0.04),
        row("prm", "pass_at_1", 0.5, 0.4, 0.6, 0.001) | {"n": 16},  # the largest N alone is spoken of
    ]
    said = verdicts(pd.DataFrame(rows), 500)
    assert said == [
        f"PRM beats ORM at N = 64 by 6.1 points, 95 % interval 2.4 to 9.8, 500 problems{ALONE}",
        "PRM loses to majority voting at N = 64 by 5.0 points, 95 % interval 2.0 to 8.0, 500 problems; of this trained "
        "model alone: other trainings may differ",
        "ORM shows no clear difference from majority voting at N = 64 (+1.0 points), 95 % interval -2.0 to 4.0, 500 "
        "problems; of this trained model alone: other trainings may differ",
        "PRM beats a single sample at N = 64 by 10.0 points, 95 % interval 5.0 to 20.0, 500 problems; of this trained "
        "model alone: other trainings may differ",
        "ORM shows no clear difference from a single sample at N = 64 (+4.0 points; the interval alone excludes 0; not "
        "after Holm's correction for 5 sentences), 95 % interval 0.1 to 8.0, 500 problems; of this trained model "
        "alone: other trainings may differ",
        "5 comparisons are made here. Beats and loses to are said where Holm's correction for all of them allows it at "
        "5 %; the intervals are each comparison's own",
    ]
    rows[0] |= {"num_seeds": 3, "std_over_seeds": 0.012}
    assert verdicts(pd.DataFrame(rows), 500)[0].endswith("; mean of 3 training seeds, standard deviation over them 1.2")
    pair = pd.DataFrame([rows[0], row("orm", "prm", -0.061, -0.098, -0.024, 0.001)])
    [only] = verdicts(pair, 500)  # the pair in one order alone; no correction of a single sentence
    assert only.startswith("PRM beats ORM")
    assert "no clear difference" in verdicts(pair, 4)[0]  # four problems are too few
    ceiling = [row("rule", other, 0.2, 0.1, 0.3, 0.001) for other in ("prm", "orm", "majority", "pass_at_1")]
    ceiling += [row(other, "rule", -0.2, -0.3, -0.1, 0.001) for other in ("prm", "orm", "majority")]
    assert verdicts(pd.DataFrame(rows + ceiling), 500, references=["rule"]) == verdicts(pd.DataFrame(rows), 500)
    assert len(verdicts(pd.DataFrame(rows + ceiling), 500)) == 10  # each is a question else
    pairs = [("length", "random", 0.2, 0.1, 0.3), ("random", "length", -0.2, -0.3, -0.1)]
    pairs.append(("majority", "length", 0.1, 0.05, 0.2))
    floors = pd.DataFrame([row(*pair, 0.001) for pair in pairs])
    [between] = verdicts(floors, 500, references=["length", "random"])  # there is nothing but votes beside them
    assert between.startswith("length beats random")
    alone = rows[4] | {"num_problems": 500}  # of no family: its interval decides
    assert compared(alone, "ORM", "a single sample", "at N = 64").startswith("ORM beats")


def test_verifiers_that_no_training_of_the_study_made() -> None:
    """Beside three trainings of an ORM: another's PRM, and a generator's confidence, which is no trained verifier."""
    about = {"num_seeds": 3, "std_over_seeds": 0.01}
    rows = [
        row("orm", "other", -0.1, -0.2, -0.05, 0.001) | about,
        row("orm", "sure", 0.1, 0.05, 0.2, 0.001) | about,
        row("other", "sure", 0.2, 0.1, 0.3, 0.001) | about,
        row("other", "majority", 0.2, 0.1, 0.3, 0.001) | about,
        row("sure", "majority", 0.2, 0.1, 0.3, 0.001) | about,
    ]
    said = verdicts(pd.DataFrame(rows), 500, given={"other": True, "sure": False})
    ends = [sentence.partition("500 problems")[2] for sentence in said[:-1]]
    seeds = "; mean of 3 training seeds, standard deviation over them 1.0"
    alone = "; of this trained model alone: other trainings may differ"
    assert ends == [seeds, seeds, alone, alone, ""]


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert holm([0.5]) == [0.5]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def picks(
    rng: np.random.Generator, accuracies: list[float], seeds: int, spread: float, trained: list[bool]
) -> list[np.ndarray]:
    """Right or wrong picks of several methods on the same problems, shape (S, P, K) each, trainings `spread` apart."""
    shape = (seeds, PROBLEMS, STUDIES)
    hard = rng.normal(size=(1, PROBLEMS, STUDIES))
    made = []
    for accuracy, is_trained in zip(accuracies, trained, strict=True):
        noise = rng.normal(size=shape) if is_trained else rng.normal(size=(1, *shape[1:])).repeat(seeds, 0)
        at = accuracy + (spread * rng.normal(size=(seeds, 1, STUDIES)) if is_trained else 0)
        made.append(1.0 * (ndtr(np.sqrt(0.6) * hard + np.sqrt(0.4) * noise) < at))
    return made


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_of_differences_cover_where_trainings_differ(seeds: int) -> None:
    """A gap of 22 points, trainings 5.6 points apart. The interval over problems alone covers 80 % with three."""
    spread = 0.056 / np.sqrt(2)  # of either method, so that their difference has 5.6
    prm, orm = picks(np.random.default_rng(seeds), [0.8, 0.58], seeds, spread, [True, True])
    low, high = two_way_interval(prm - orm, CONFIG)
    assert ((low <= 0.22) & (high >= 0.22)).mean() >= 0.93


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.04), (5, 0.04), (3, 0.0)])
@pytest.mark.parametrize("others", [0, 3])
def test_without_a_difference_reports_seldom_say_that_there_is_one(seeds: int, spread: float, others: int) -> None:
    """Reports of the main study, and with three more sources of step labels; one training is taken as it is. Seen
    without the correction and over problems alone: 50 % of the sentences with trainings that differ."""
    names = ["prm", *(f"prm_{source}" for source in ("rollouts", "judge", "human")[:others]), "orm", "majority"]
    names.append("pass_at_1")
    trained = [name not in ("majority", "pass_at_1") for name in names]
    made = dict(
        zip(names, picks(np.random.default_rng(others), [0.8] * len(names), seeds, spread, trained), strict=True)
    )
    pairs = list(itertools.combinations(names, 2))
    by_pair = {pair: estimates(made[pair[0]] - made[pair[1]], CONFIG, "difference") for pair in pairs}
    alone = [found["ci_low"] > 0 or found["ci_high"] < 0 for pair in pairs for found in by_pair[pair]]
    assert np.mean(alone) <= 0.07  # of all sentences, before any correction
    wrong = 0
    for study in range(STUDIES):
        rows = [
            {"split": "test", "n": 64, "method": one, "baseline": other} | by_pair[one, other][study]
            for one, other in pairs
        ]
        said = verdicts(pd.DataFrame(rows), PROBLEMS)
        wrong += any(" beats " in line or " loses to " in line for line in said[:-1])
    assert wrong / STUDIES <= 0.1


def test_verifiers_whose_names_begin_with_prm_are_compared_like_any() -> None:
    """A PRM of a label source is compared with the first PRM and the ORM alone; prm_qwen is no such PRM."""
    names = ["prm_qwen", "prm_sky", "majority", "pass_at_1"]
    pairs = [pair for pair in itertools.permutations(names, 2) if pair[0] != "pass_at_1"]
    rows = [row(method, baseline, 0.1, 0.05, 0.15, 0.001) for method, baseline in pairs]
    said = verdicts(pd.DataFrame(rows), 500)
    assert said[0].startswith("prm_qwen beats prm_sky at N = 64")
    assert len(said) == 1 + 2 + 2 + 1  # each pair, each against both baselines, and the line on the correction
    sources = ["prm", "prm_rollouts", "majority"]
    rows = [row(a, b, 0.1, 0.05, 0.15, 0.001) for a, b in itertools.permutations(sources, 2)]
    assert not any("PRM by rollouts" in one and "majority" in one for one in verdicts(pd.DataFrame(rows), 500))


def test_columns_of_a_file_called_like_other_prms_are_compared_like_any() -> None:
    rows = [row("prm_human", "prm_judge", 0.5, 0.4, 0.6, 0.0002), row("prm_judge", "pass", 0.0, -0.1, 0.1, 0.9)]
    [said] = verdicts(pd.DataFrame(rows), 100)
    assert " beats " in said


def test_of_one_method_alone_nothing_is_said() -> None:
    rows = pd.DataFrame([row("a", "b", 0.5, 0.4, 0.6, 0.0002)])
    assert verdicts(rows[rows["n"] > 10**6], 100) == []


def test_more_sentences_than_the_draws_can_tell_are_told_of() -> None:
    assert 2 / (2 * BootstrapConfig().resamples) == SMALLEST_P
    [line] = correction(200)
    assert "too many" not in line
    [line] = correction(201)
    assert "too many for any to be said: no p-value is below 0.00025" in line


def test_the_prms_of_all_label_sources_are_known_as_such() -> None:
    assert set(OTHER_PRMS) == {f"prm_{source}" for source in SOURCES}
