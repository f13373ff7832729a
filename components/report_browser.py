"""What report.html shows of single solutions: the browser of problems, and the paper's appendix I.

Of each held-out problem the picks of PRM, ORM and majority voting are embedded, and a few more samples drawn by seed;
when that is more than the budget, whole problems are drawn by seed too, and the page says of how many.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from components.report import records
from components.stage import seed_for

MORE_SAMPLES = 3  # of a problem, beside the picks
BUDGET = 5_000_000  # characters of problems and solutions
_EXAMPLES = 3  # of each kind
_KEYS = ["problem_id", "sample_index"]
Frames = Mapping[str, pd.DataFrame]


def browser(frames: Frames, seed: int) -> dict[str, Any]:
    """{problems: [...], shown, of, methods, examples}.

    frames: problems (problem_id, split, problem, ground_truth_answer), solutions (…, steps), grades (…, answer,
    is_correct), scored_samples, candidates; and where they are, scores (…, step_probabilities) and held_out_step_labels
    (…, ratings).
    """
    samples = frames["scored_samples"]
    samples = samples[samples["training_seed"] == samples["training_seed"].min()]
    methods = [
        name.removesuffix("_score")
        for name in samples.columns
        if name.endswith("_score") and samples[name].notna().any()
    ]
    about = _details(frames, samples)
    known = {str(row["problem_id"]): row for row in records(frames["problems"])}
    ids = [str(one) for one in dict.fromkeys(samples["problem_id"]) if one in known]
    random.Random(seed).shuffle(ids)
    grouped = dict(list(about.groupby("problem_id", sort=False)))
    problems, used = [], 0
    for problem_id in ids:
        made = _problem(known[problem_id], grouped[problem_id], methods, seed_for("report", seed, problem_id))
        size = len(json.dumps(made))
        if used + size > BUDGET:
            continue
        problems.append({"id": problem_id} | made)
        used += size
    order = {problem_id: place for place, problem_id in enumerate(dict.fromkeys(samples["problem_id"]))}
    problems.sort(key=lambda problem: order[problem["id"]])
    return {
        "problems": problems,
        "shown": len(problems),
        "of": len(ids),
        "methods": [*methods, "majority"],
        "examples": _examples(problems, seed) if "prm" in methods else [],
    }


def _details(frames: Frames, samples: pd.DataFrame) -> pd.DataFrame:
    """Every sample with all that the page says of it, votes of its candidate included."""
    rows = samples.merge(frames["grades"][[*_KEYS, "answer"]], on=_KEYS, how="left")
    rows = rows.merge(frames["solutions"][[*_KEYS, "steps"]], on=_KEYS, how="left")
    for name, column in (("scores", "step_probabilities"), ("held_out_step_labels", "ratings")):
        if name in frames:
            rows = rows.merge(frames[name][[*_KEYS, column]], on=_KEYS, how="left")
        else:
            rows[column] = None
    rows["votes"] = rows.groupby(["problem_id", "candidate"])["sample_index"].transform("size")
    return rows.sort_values(_KEYS)


def _problem(known: Mapping[str, Any], samples: pd.DataFrame, methods: list[str], seed: int) -> dict[str, Any]:
    """One problem: its picks, and a few more samples. Of equal scores, or of a candidate's samples, the first is
    shown."""
    answered = samples[samples["candidate"].notna()]
    picks: dict[str, int] = {}
    for method in methods:
        scored = answered[answered[f"{method}_score"].notna()]
        if len(scored):
            best = int(scored[f"{method}_score"].to_numpy().argmax())
            picks[method] = int(scored["sample_index"].to_numpy()[best])
    if len(answered):
        # The winner is the most frequent candidate, and candidates are numbered by frequency.
        winner = int(answered["candidate"].to_numpy().argmin())
        picks["majority"] = int(answered["sample_index"].to_numpy()[winner])
    rest = [int(index) for index in samples["sample_index"] if index not in picks.values()]
    more = sorted(random.Random(seed).sample(rest, min(MORE_SAMPLES, len(rest))))
    shown = samples[samples["sample_index"].isin([*picks.values(), *more])]
    return {
        "split": str(known["split"]),
        "problem": str(known["problem"]),
        "truth": _text(known["ground_truth_answer"]),
        "passRate": round(float(samples["is_correct"].eq(True).mean()), 4),
        "slots": len(samples),
        "picks": picks,
        "samples": {str(row["sample_index"]): _sample(row, methods) for row in records(shown)},
    }


def _sample(row: Mapping[str, Any], methods: list[str]) -> dict[str, Any]:
    """One solution: its steps as [text, P(neutral) + P(positive) or None, rating or None]."""
    steps = _list(row["steps"])
    probabilities = [1 - float(step[0]) for step in _list(row["step_probabilities"])]
    ratings = [int(rating) for rating in _list(row["ratings"])]
    lines = [
        [
            str(step),
            round(probabilities[at], 3) if at < len(probabilities) else None,
            ratings[at] if at < len(ratings) else None,
        ]
        for at, step in enumerate(steps)
    ]
    scores = {method: _score(row[f"{method}_score"]) for method in methods}
    correct = row["is_correct"]
    return {
        "steps": lines,
        "scores": scores,
        "answer": _text(row["answer"]),
        "correct": None if pd.isna(correct) else bool(correct),
        "votes": 0 if pd.isna(row["votes"]) else int(row["votes"]),
    }


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | np.ndarray) else []


def _text(value: Any) -> str | None:
    return None if value is None or value != value else str(value)


def _score(value: float) -> float | None:
    return None if pd.isna(value) else float(f"{value:.4g}")


def _examples(problems: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Appendix I by rule: true positives (the PRM's pick is right, and fewer than half of the samples are), true
    negatives (the majority's pick is wrong and the PRM's is not that one), false positives (the PRM's pick is wrong);
    of each kind so many, drawn by seed from the test problems."""
    kinds: dict[str, list[tuple[str, int]]] = {"true positive": [], "true negative": [], "false positive": []}
    for problem in problems:
        picks, samples = problem["picks"], problem["samples"]
        if problem["split"] != "test" or "prm" not in picks:
            continue
        right = samples[str(picks["prm"])]["correct"]
        if right and problem["passRate"] < 0.5:
            kinds["true positive"].append((problem["id"], picks["prm"]))
        if right is False:
            kinds["false positive"].append((problem["id"], picks["prm"]))
        elif samples[str(picks["majority"])]["correct"] is False:
            kinds["true negative"].append((problem["id"], picks["majority"]))
    rng = random.Random(seed)
    return [
        {"kind": kind, "problem": problem_id, "sample": sample}
        for kind, found in kinds.items()
        for problem_id, sample in rng.sample(found, min(_EXAMPLES, len(found)))
    ]
