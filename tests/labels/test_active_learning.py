"""The selection of solutions to label, against a slow reading of the rule, on thousands of random pools."""

from __future__ import annotations

import itertools
import random
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest

from components.dataflow.datasets import Dataset, Shard, cut
from components.dataflow.stage import seed_for
from components.labels.active_learning import ActiveLearningConfig, num_problems, selection, wrong_quota
from components.labels.selected_solutions import chosen_solutions, supervised_solutions
from schemas.small_scale import SELECTION, SUPERVISED_SOLUTIONS
from schemas.tables import GRADES, SCORES, SOLUTIONS, STEP_LABELS

Row = dict[str, Any]
Key = tuple[str, int]
WRONG, INSTEAD, BEFORE = "convincing_wrong_answer", "instead_of_a_wrong_answer", "chosen_before"


def grade(problem: str, sample: int, is_correct: bool | None, **more: Any) -> Row:
    row = {"problem_id": problem, "sample_index": sample, "split": "train", "answer": "8", "is_correct": is_correct}
    return row | {"status": "ok", "grader_version": 1, "error": None} | more


def score(problem: str, sample: int, prm: float | None) -> Row:
    return {"problem_id": problem, "sample_index": sample, "split": "train", "prm_score": prm}


def table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def choose(
    config: ActiveLearningConfig, grades: list[Row], scores: list[Row] | None, previous: pa.Table | None = None
) -> pa.Table:
    stage = selection(config, "selection")
    inputs = {"grades": table(grades, GRADES)}
    inputs |= {"scores": table(scores, SCORES)} if scores is not None else {}
    inputs |= {"previous": previous} if previous is not None else {}
    found = stage.compute(config, **{n: t.select(stage.reads[n]) for n, t in inputs.items()})
    assert isinstance(found, pa.Table)
    assert found.schema.equals(SELECTION)
    found.validate(full=True)
    return found


def random_samples(rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Shortages, ties, samples without an answer, a grade or a score, and problems with few samples, in any order."""
    values = [0.0, 0.1, 0.5, 0.9, 1.0] if rng.random() < 0.7 else [rng.random() for _ in range(100)]
    share_right = rng.choice([0.0, 0.2, 0.5, 0.9, 1.0])
    grades, scores = [], []
    for problem in rng.sample(["p10", "p9", "b", "a", "c", "B", "é", "0"], rng.randint(1, 8)):
        for sample in range(rng.choice([0, 1, 3, 6, 12])):
            row = grade(problem, sample, rng.random() < share_right)
            row |= rng.choice([{}] * 7 + [{"answer": None, "is_correct": False}, {"error": "timeout"}])
            row |= rng.choice([{}] * 9 + [{"is_correct": None}])
            grades.append(row)
            if row["answer"] is not None or rng.random() < 0.5:
                scores.append(score(problem, sample, rng.choice([*values * 3, None])))
    if rng.random() < 0.5:
        rng.shuffle(grades)
    rng.shuffle(scores)
    return grades, scores


# The rule, as it is written down ------------------------------------------------------------------------------------


def by_rule(wrong: list[Key], everything: list[Key], size: int, quota: int) -> list[tuple[Key, str]]:
    """wrong, everything: from the best on. In the order of choosing."""
    picks = [(key, WRONG) for key in wrong[:quota]]
    rest = [key for key in everything if key not in wrong[:quota]]
    highest = size - quota
    for key in rest:
        if len(picks) == size:
            break
        picks.append((key, "highest_of_the_rest" if highest > 0 else INSTEAD))
        highest -= 1
    return picks


def slowly(
    config: ActiveLearningConfig, grades: list[Row], scores: list[Row] | None, size: int, before: list[Row]
) -> list[tuple[str, int, int, str, float | None, bool]]:
    """(problem_id, sample_index, place, reason, score, is_correct) at one size."""
    score_of = {(row["problem_id"], row["sample_index"]): row["prm_score"] for row in scores or []}
    right: dict[Key, bool] = {}
    for row in grades:
        key = (row["problem_id"], row["sample_index"])
        if row["answer"] is None or row["error"] is not None or row["is_correct"] is None:
            continue
        if scores is None or score_of[key] is not None:
            right[key] = row["is_correct"]
    problems = list(dict.fromkeys(row["problem_id"] for row in grades))
    there = {(row["problem_id"], row["sample_index"]): row for row in before}
    left = [key for key in right if key not in there]
    found: list[tuple[Key, int, str]] = [(key, row["place"], BEFORE) for key, row in there.items()]

    def best_first(keys: list[Key]) -> list[Key]:
        return sorted(keys, key=lambda key: (-score_of[key], key))

    def wanted(had: list[Row], size: int) -> tuple[int, int]:
        return max(0, size - len(had)), max((row["place"] + 1 for row in had), default=0)

    if config.policy == "top_k":
        count, place = wanted(before, size * len(problems))
        wrong = best_first([key for key in left if not right[key]])
        picks = by_rule(wrong, best_first(left), count, count)
        found += [(key, place + at, reason) for at, (key, reason) in enumerate(picks)]
    for problem in problems if config.policy != "top_k" else []:
        count, place = wanted([row for row in before if row["problem_id"] == problem], size)
        own = sorted(key for key in left if key[0] == problem)
        if config.policy == "active":
            threshold = Decimal(seed_for("wrong_quota", problem)) / 2**31  # exact: 31 binary digits
            quota = int(Decimal(str(config.wrong_share)) * count + threshold)
            picks = by_rule(best_first([key for key in own if not right[key]]), best_first(own), count, quota)
        elif config.policy == "uniform":
            picks = [(key, "in_order") for key in own[:count]]
        else:
            picks = [(key, "least_certain") for key in sorted(own, key=lambda k: abs(score_of[k] - 0.5))[:count]]
        found += [(key, place + at, reason) for at, (key, reason) in enumerate(picks)]
    rows = []
    for key, place, reason in sorted(found, key=lambda one: (problems.index(one[0][0]), one[1])):
        old = there.get(key)
        is_correct = old["is_correct"] if old else right[key]
        rows.append((*key, place, reason, old["selector_score"] if old else score_of.get(key), is_correct))
    return rows


def rows_at(found: pa.Table, size: int) -> list[tuple[Any, ...]]:
    names = ("problem_id", "sample_index", "place", "reason", "selector_score", "is_correct")
    return [tuple(row[name] for name in names) for row in found.to_pylist() if row["size"] == size]


@pytest.mark.parametrize("policy", ["uniform", "active", "uncertainty", "top_k"])
def test_every_policy_chooses_as_the_rule_says_nested_and_in_rounds(policy: str) -> None:
    rng, reasons, chosen_again, pools = random.Random(policy), set(), 0, 0
    for _ in range(230 if policy == "active" else 60):
        grades, scores = random_samples(rng)
        pools += len({row["problem_id"] for row in grades})
        sizes = tuple(sorted(rng.sample(range(1, 10), rng.randint(1, 3))))
        config = ActiveLearningConfig(policy, sizes, rng.choice([0.8, 0.8, 0.0, 0.5, 1.0, 0.7]))
        given = None if policy == "uniform" else scores
        found = choose(config, grades, given)
        assert found["size"].to_pylist() == sorted(found["size"].to_pylist())
        smaller: set[Key] = set()
        for size in sizes:
            rows = rows_at(found, size)
            assert rows == slowly(config, grades, given, size, [])
            keys = {row[:2] for row in rows}
            assert smaller <= keys
            assert len(keys) == len(rows)
            smaller = keys
        reasons |= set(found["reason"].to_pylist())
        # The next round has scores of its own, as of a selector that was trained again.
        later = None if given is None else [row | {"prm_score": rng.choice([0.2, 0.6, None])} for row in scores]
        size = sizes[-1] + rng.randint(1, 6)
        before = [row for row in found.to_pylist() if row["size"] == sizes[-1]]
        config = ActiveLearningConfig(policy, (size,), config.wrong_share)
        again = choose(config, grades, later, found)
        assert rows_at(again, size) == slowly(config, grades, later, size, before)
        assert smaller <= {row[:2] for row in rows_at(again, size)}
        chosen_again += len(again) - len(before)
    wanted = {"uniform": {"in_order"}, "uncertainty": {"least_certain"}, "top_k": {WRONG, INSTEAD}}
    assert reasons == wanted.get(policy, {WRONG, INSTEAD, "highest_of_the_rest"})
    assert chosen_again > 50
    assert pools >= (800 if policy == "active" else 150)


def test_the_next_size_holds_the_last_for_any_share() -> None:
    """Every size from 1 on, so that each step of the rounding is met."""
    rng = random.Random(3)
    for _ in range(20):
        grades, scores = random_samples(rng)
        config = ActiveLearningConfig("active", tuple(range(1, 14)), rng.randint(0, 100) / 100)
        found = choose(config, grades, scores)
        keys = [{row[:2] for row in rows_at(found, size)} for size in config.sizes]
        assert all(one <= other for one, other in itertools.pairwise(keys))


def test_a_case_by_hand() -> None:
    grades = [grade("p", at, at >= 6) for at in range(10)]
    scores = [score("p", at, value) for at, value in enumerate([0.1, 0.9, 0.3, 0.3, 0.2, 0.5, 0.8, 0.95, 0.4, 0.0])]
    found = choose(ActiveLearningConfig("active", (5,)), grades, scores)
    places = [(row["sample_index"], row["reason"]) for row in found.to_pylist()]
    assert places == [*((at, WRONG) for at in (1, 5, 2, 3)), (7, "highest_of_the_rest")]
    # Two wrong answers where four are wanted: the first of the rest is in its own place, two stand in for wrong ones.
    found = choose(ActiveLearningConfig("active", (5,)), grades[4:], scores)
    places = [(row["sample_index"], row["reason"]) for row in found.to_pylist()]
    assert places == [(5, WRONG), (4, WRONG), (7, "highest_of_the_rest"), (6, INSTEAD), (8, INSTEAD)]


def test_the_quota_is_that_of_decimals_and_grows_by_one_at_most() -> None:
    assert [wrong_quota(0.8, size, "p") for size in (5, 10, 1000)] == [4, 8, 800]
    assert all(wrong_quota(0.07, 100, f"p{number}") == 7 for number in range(100))  # in binary over 7
    for share in np.linspace(0, 1, 201).round(3).tolist():
        for problem in "pq":
            quotas = [wrong_quota(share, size, problem) for size in range(200)]
            assert set(np.diff(quotas)) <= {0, 1}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_over_problems_the_share_of_wrong_answers_is_what_was_asked_for(size: int) -> None:
    """One rounding for all problems took 100, 100, 67, 75 and 75 % for 80."""
    problems = [f"{number:064x}" for number in range(600)]
    grades = [grade(problem, at, at % 2 == 0) for problem in problems for at in range(32)]
    scores = [score(problem, at, 1.0 if at % 2 == 0 else 0.1) for problem in problems for at in range(32)]
    found = choose(ActiveLearningConfig("active", (size,)), grades, scores)
    assert found["is_correct"].to_pandas().mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("policy", ["active", "uncertainty", "top_k"])
def test_copies_of_a_text_come_after_all_other_texts(policy: str) -> None:
    """Six samples say one thing, and a policy that went by scores alone would label it six times."""
    values = [0.9] * 6 + [0.8, 0.7, 0.6]
    texts = [*["the same"] * 6, "b", "c", "b"]
    grades = [grade("p", at, False) for at in range(9)]
    scores = [score("p", at, 1 - value if policy == "uncertainty" else value) for at, value in enumerate(values)]
    solutions = [solution("p", at, text=text) for at, text in enumerate(texts)]
    stage = selection(ActiveLearningConfig(policy, (1, 3, 5), 1.0), "selection")
    inputs = {
        "grades": table(grades, GRADES),
        "scores": table(scores, SCORES),
        "solutions": table(solutions, SOLUTIONS),
    }
    found = stage.compute(stage.config, **{n: t.select(stage.reads[n]) for n, t in inputs.items()})
    assert isinstance(found, pa.Table)
    order = {row[1] for row in rows_at(found, 3)}
    assert order == {0, 6, 7}
    assert {row[1] for row in rows_at(found, 5)} - order <= {1, 8}  # each text's second, the first copies
    by_place = [row[1] for row in sorted(rows_at(found, 5), key=lambda row: row[2])]
    assert sorted(by_place[3:]) == [1, 8]
    with pytest.raises(ValueError, match="solutions have no row of sample 0 of problem p"):
        stage.compute(stage.config, **inputs | {"solutions": inputs["solutions"].slice(1)})
    # A later round knows the copies of what was chosen before.
    later = selection(ActiveLearningConfig(policy, (4,), 1.0), "selection")
    first = found.filter(pa.compute.equal(found["size"], 1))
    again = later.compute(later.config, **inputs, previous=first)
    assert isinstance(again, pa.Table)
    assert {row[1] for row in rows_at(again, 4)} - {row[1] for row in rows_at(first, 1)} <= {0, 6, 7, 1, 8}
    assert {0, 6, 7} <= {row[1] for row in rows_at(again, 4)}


def test_many_rows_take_no_time() -> None:
    rng = np.random.default_rng(0)
    keys = {"problem_id": np.repeat([f"{n:064x}" for n in range(400)], 64), "sample_index": np.tile(range(64), 400)}
    count = len(keys["sample_index"])
    grades = pa.table(
        keys | {"split": ["train"] * count, "answer": ["8"] * count, "is_correct": rng.random(count) < 0.4}
    )
    grades = grades.append_column("error", pa.nulls(count, pa.string()))
    scores = pa.table(keys | {"prm_score": rng.random(count)})
    for policy in ("active", "top_k", "uncertainty"):
        stage = selection(ActiveLearningConfig(policy, (1, 2, 4, 8, 16)), "selection")
        began = time.process_time()
        found = stage.compute(stage.config, grades=grades, scores=scores)
        assert time.process_time() - began < 1  # a tenth of that on an idle machine
        assert len(found) == 400 * 31


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (("best", (1,)), "'best'"),
        (("active", ()), r"\(\)"),
        (("active", (0, 1)), r"\(0, 1\)"),
        (("active", (2, 2)), r"\(2, 2\)"),
        (("active", (4, 2)), r"\(4, 2\)"),
        (("active", (1,), 1.01), "1.01"),
        (("active", (1,), -0.1), "-0.1"),
        (("active", (1,), float("nan")), "nan"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: tuple[Any, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ActiveLearningConfig(*config)


def test_inputs_that_do_not_fit_are_refused() -> None:
    grades = [grade("p", 0, True), grade("p", 1, False), grade("p", 2, False, answer=None)]
    scores = [score("p", 0, 0.5), score("p", 1, 0.5)]
    one = ActiveLearningConfig("active", (1,))
    for policy in ("active", "uncertainty", "top_k"):
        with pytest.raises(ValueError, match=f"'{policy}' needs scores"):
            choose(ActiveLearningConfig(policy, (1,)), grades, None)
    with pytest.raises(ValueError, match="'uniform' takes no scores"):
        choose(ActiveLearningConfig("uniform", (1,)), grades, scores)
    with pytest.raises(ValueError, match="grades have two rows of sample 1 of problem p"):
        choose(one, [*grades, grades[1]], scores)
    with pytest.raises(ValueError, match="scores have two rows of sample 0 of problem p"):
        choose(one, grades, [*scores, scores[0]])
    with pytest.raises(ValueError, match="scores have no row of sample 1 of problem p"):
        choose(one, grades, scores[:1])
    previous = choose(ActiveLearningConfig("active", (1, 2)), grades, scores)
    for sizes in ((3, 4), (2,), (1,)):
        with pytest.raises(ValueError, match=r"sizes \(.*\) are not one, larger than the previous 2"):
            choose(ActiveLearningConfig("active", sizes), grades, scores, previous)
    with pytest.raises(ValueError, match="grades have no problem of the previous sample 1 of problem p"):
        choose(ActiveLearningConfig("active", (3,)), [grade("q", 0, True)], [score("q", 0, 0.5)], previous)


def test_an_empty_pool_gives_no_rows() -> None:
    grades = [grade("p", 0, None), grade("p", 1, False, answer=None)]
    found = choose(ActiveLearningConfig("active", (1, 2)), grades, [score("p", 0, 0.5)])
    assert len(found) == 0
    stage = chosen_solutions("chosen")
    assert len(stage.compute(stage.config, selection=found, solutions=SOLUTIONS.empty_table())) == 0
    previous = choose(ActiveLearningConfig("active", (3,)), [grade("p", 0, False)], [score("p", 0, 0.5)], found)
    assert previous["reason"].to_pylist() == [WRONG]


# What is made of a selection ----------------------------------------------------------------------------------------


def solution(problem: str, sample: int, **more: Any) -> Row:
    row = {"problem_id": problem, "sample_index": sample, "split": "train", "problem": f"What is {problem}?"}
    row |= {"ground_truth_answer": "8", "text": "a\nb", "steps": ["a", f"b{sample}"], "finish_reason": "stop"}
    return row | {"num_tokens": 10 + sample, "seed": sample, "error": None} | more


def labels(problem: str, sample: int, ratings: list[int], error: str | None = None) -> Row:
    row = {"problem_id": problem, "sample_index": sample, "split": "train", "ratings": ratings, "probabilities": None}
    return row | {"alternatives": [], "provenance": [], "label_source": "prm", "error": error}


def two_problems() -> tuple[pa.Table, list[Row], list[Row]]:
    grades = [grade(problem, at, at > 1) for problem in "qp" for at in range(4)]
    scores = [score(problem, at, 0.9 - at / 10) for problem in "qp" for at in range(4)]
    found = choose(ActiveLearningConfig("active", (1, 3)), grades, scores)
    return found, grades, scores


def test_the_solutions_to_label_are_those_of_the_largest_size_that_are_new() -> None:
    found, grades, scores = two_problems()
    solutions = table([solution(problem, at) for problem in "pq" for at in (3, 0, 1, 2)], SOLUTIONS)
    stage = chosen_solutions("chosen")
    chosen = stage.compute(stage.config, selection=found.select(stage.reads["selection"]), solutions=solutions)
    assert isinstance(chosen, pa.Table)
    assert chosen.schema.equals(SOLUTIONS)
    keys = [(row["problem_id"], row["sample_index"]) for row in chosen.to_pylist()]
    assert keys == [(problem, at) for problem in "pq" for at in (0, 1, 2)]
    later = choose(ActiveLearningConfig("active", (4,)), grades, scores, found)
    chosen = stage.compute(stage.config, selection=later, solutions=solutions)
    assert isinstance(chosen, pa.Table)
    assert [(row["problem_id"], row["sample_index"]) for row in chosen.to_pylist()] == [("p", 3), ("q", 3)]
    with pytest.raises(ValueError, match="solutions have no row of sample 3 of problem p"):
        stage.compute(stage.config, selection=later, solutions=solutions.slice(1))


def test_supervised_solutions_by_hand() -> None:
    found, _, _ = two_problems()
    solutions = [solution(problem, at) for problem in "pq" for at in range(4)]
    solutions[6] |= {"error": "cut off", "steps": []}
    rated = [labels("p", 0, [1, 1]), labels("p", 1, [1, -1]), labels("p", 2, [], "refused"), labels("q", 0, [])]
    rated += [labels("q", 1, [-1]), labels("q", 2, [1, 1], "not used")]
    stage = supervised_solutions("supervised")
    inputs = {"selection": found, "solutions": table(solutions, SOLUTIONS), "labels": table(rated, STEP_LABELS)}
    made = stage.compute(stage.config, **{n: t.select(stage.reads[n]) for n, t in inputs.items()})
    assert isinstance(made, pa.Table)
    assert made.schema.equals(SUPERVISED_SOLUTIONS)
    wanted = [  # problem, sample, size, reason, ratings, by steps, by the answer, error
        ("q", 0, 1, WRONG, [], None, False, None),
        ("p", 0, 1, WRONG, [1, 1], True, False, None),
        ("q", 0, 3, WRONG, [], None, False, None),
        ("q", 1, 3, WRONG, [-1], False, False, None),
        ("q", 2, 3, INSTEAD, [], None, True, "cut off"),  # both problems round 2.4 wrong answers up
        ("p", 0, 3, WRONG, [1, 1], True, False, None),
        ("p", 1, 3, WRONG, [1, -1], False, False, None),
        ("p", 2, 3, INSTEAD, [], None, True, "refused"),
    ]
    names = "problem_id sample_index size reason ratings is_correct_by_steps is_correct error".split()
    assert [tuple(row[name] for name in names) for row in made.to_pylist()] == wanted
    assert made["problem"].to_pylist()[:2] == ["What is q?", "What is p?"]
    assert made["steps"].to_pylist()[3] == ["a", "b1"]
    assert made["num_tokens"].to_pylist()[3] == 11
    assert [attributes["size"] for _, attributes in cut(made, stage, {})] == ["1", "3"]
    apart = {"solutions_1": inputs["solutions"].slice(0, 3), "solutions_2": inputs["solutions"].slice(3)}
    apart |= {"labels_1": inputs["labels"].slice(0, 1), "labels_2": inputs["labels"].slice(1)}
    assert stage.compute(stage.config, selection=found, **apart).equals(made)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="labels have no row of sample 0 of problem p, which was chosen"):
        stage.compute(stage.config, **inputs | {"labels": inputs["labels"].slice(1)})
    with pytest.raises(ValueError, match="solutions have no row of sample 0 of problem p, which was chosen"):
        stage.compute(stage.config, **inputs | {"solutions": inputs["solutions"].slice(1)})
    with pytest.raises(ValueError, match="labels have two rows of sample 2 of problem q"):
        stage.compute(stage.config, **inputs, labels_2=inputs["labels"].slice(5))


def dataset(*shards: tuple[int, dict[str, str]]) -> Dataset:
    return Dataset("any", "", None, tuple(Shard("any", "", "", 0, rows, 0, at) for rows, at in shards), "≤")


def test_what_a_plan_is_told() -> None:
    blocks = [{"split": "train", "sample_start": str(at), "sample_count": "8"} for at in (0, 8)]
    grades = dataset(*((rows * 8, block) for rows in (100, 60) for block in blocks))
    assert num_problems(grades) == 160
    assert num_problems(dataset((7, {}), (5, {}))) == 12
    assert num_problems(dataset()) == 0
    stage = selection(ActiveLearningConfig("active", (1, 4)), "selection")
    assert stage.expected_rows(stage.config, {"grades": grades, "scores": grades}) == ({"1": 160, "4": 640}, "≤")
    chosen = dataset((160, {"size": "2"}), (600, {"size": "10"}), (40, {"size": "10"}))
    stage = supervised_solutions("supervised")
    assert stage.expected_rows(stage.config, {"selection": chosen}) == ({"2": 160, "10": 640}, "≤")
    stage = chosen_solutions("chosen")
    assert stage.expected_rows(stage.config, {"selection": chosen}) == (640, "≤")
