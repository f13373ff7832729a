"""Single solutions in report.html: the browser of problems, and the examples of the paper's appendix I.

Of each held-out problem the picks of PRM, ORM and majority voting are embedded, and a few more samples drawn by seed;
when that is more than the budget, whole problems are drawn by seed too, and the page says of how many.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.dataflow.stage import seed_for
from components.report.main_study import records
from schemas.tables import SAMPLE_KEY

MORE_SAMPLES = 3  # of a problem, beside the picks
BUDGET = 5_000_000  # characters of problems and solutions
_EXAMPLES = 3  # of each kind
_AT_ONCE = 250  # problems whose solutions are taken out of Arrow together


def browser(tables: Mapping[str, pa.Table], seed: int) -> dict[str, Any]:
    """Return the data of the browser: {problems: [...], shown, of, methods, examples}.

    tables: problems (problem_id, split, problem, ground_truth_answer), solutions (…, steps), grades (…, answer),
    scored_samples; and where they are, scores (…, step_probabilities) and held_out_step_labels (…, ratings). Of several
    training seeds the first is shown.
    """
    samples = tables["scored_samples"].to_pandas()
    samples = samples[samples["training_seed"] == samples["training_seed"].min()].sort_values(SAMPLE_KEY)
    samples["votes"] = samples.groupby(["problem_id", "candidate"])["sample_index"].transform("size")
    methods = [
        name.removesuffix("_score")
        for name in samples.columns
        if name.endswith("_score") and samples[name].notna().any()
    ]
    known = _known(tables["problems"])
    ids = [problem_id for problem_id in dict.fromkeys(samples["problem_id"]) if problem_id in known]
    drawn = random.Random(seed).sample(ids, len(ids))
    problems: dict[str, Any] = {}
    used, tried = 0, 0
    while len(problems) == tried < len(ids):  # until one of those at once is too much
        some = drawn[tried : tried + _AT_ONCE]
        tried += len(some)
        for problem_id, content in _contents(tables, samples, known, some, methods, seed):
            size = len(json.dumps(content))
            if used + size <= BUDGET:
                problems[problem_id] = {"id": problem_id} | content
                used += size
    in_order = [problems[problem_id] for problem_id in ids if problem_id in problems]
    return {
        "problems": in_order,
        "shown": len(in_order),
        "of": len(ids),
        "methods": [*methods, "majority"],
        "examples": _examples(in_order, seed) if "prm" in methods else [],
    }


def _contents(
    tables: Mapping[str, pa.Table],
    samples: pd.DataFrame,
    known: Mapping[str, Mapping[str, Any]],
    ids: list[str],
    methods: list[str],
    seed: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what the page shows of each of these problems."""
    grouped = dict(list(samples[samples["problem_id"].isin(ids)].groupby("problem_id", sort=False)))
    picks = {problem_id: _picks(grouped[problem_id], methods) for problem_id in ids}
    chosen = pd.concat([_chosen(grouped[at], picks[at], seed_for("report", seed, at)) for at in ids])
    shown: dict[str, list[Mapping[str, Any]]] = {problem_id: [] for problem_id in ids}
    for row in records(_details(tables, chosen)):  # at once: a conversion for each problem takes longer than the rest
        shown[row["problem_id"]].append(row)
    for problem_id in ids:
        of_it = known[problem_id], grouped[problem_id], picks[problem_id], shown[problem_id]
        yield problem_id, _problem(*of_it, methods)


def _known(problems: pa.Table) -> dict[str, dict[str, Any]]:
    """Return each problem's row by its id. A table of solutions has a problem once for each: its last row stands."""
    ids = problems["problem_id"].to_pandas()
    last = np.flatnonzero(~ids.duplicated(keep="last"))
    return {row["problem_id"]: row for row in records(problems.take(last).to_pandas())}


def _picks(samples: pd.DataFrame, methods: list[str]) -> dict[str, int]:
    """Return method → the sample that it picks out of all.

    Of equal scores, and of the winner's samples, the first; of answers with equally many votes the lower candidate.
    """
    answered = samples[samples["candidate"].notna()]
    picks: dict[str, int] = {}
    for method in methods:
        scored = answered[answered[f"{method}_score"].notna()]
        if len(scored):
            best = int(scored[f"{method}_score"].to_numpy().argmax())
            picks[method] = int(scored["sample_index"].to_numpy()[best])
    if len(answered):
        first = np.lexsort((answered["sample_index"], answered["candidate"], -answered["votes"]))[0]
        picks["majority"] = int(answered["sample_index"].to_numpy()[first])
    return picks


def _chosen(samples: pd.DataFrame, picks: Mapping[str, int], seed: int) -> pd.DataFrame:
    """Return the rows of the picks, and of a few more samples."""
    rest = [int(index) for index in samples["sample_index"] if index not in picks.values()]
    more = random.Random(seed).sample(rest, min(MORE_SAMPLES, len(rest)))
    return samples[samples["sample_index"].isin([*picks.values(), *more])]


def _details(tables: Mapping[str, pa.Table], chosen: pd.DataFrame) -> pd.DataFrame:
    """Return the chosen samples with all that the page shows of them; no other row leaves Arrow."""
    rows = chosen
    wanted = {
        "grades": "answer",
        "solutions": "steps",
        "scores": "step_probabilities",
        "held_out_step_labels": "ratings",
    }
    for name, column in wanted.items():
        if name not in tables:
            rows = rows.assign(**{column: None})
            continue
        keys = tables[name].select(SAMPLE_KEY).to_pandas().reset_index()
        indices = keys.merge(chosen[SAMPLE_KEY], on=SAMPLE_KEY)["index"].to_numpy()
        rows = rows.merge(
            tables[name].take(indices).select([*SAMPLE_KEY, column]).to_pandas(), on=SAMPLE_KEY, how="left"
        )
    return rows


def _problem(
    known: Mapping[str, Any],
    every: pd.DataFrame,
    picks: dict[str, int],
    shown: list[Mapping[str, Any]],
    methods: list[str],
) -> dict[str, Any]:
    """Return the data of one problem."""
    return {
        "split": str(known["split"]),
        "problem": str(known["problem"]),
        "truth": _text(known["ground_truth_answer"]),
        "passRate": round(float(every["is_correct"].eq(True).mean()), 4),
        "slots": len(every),
        "picks": picks,
        "samples": {str(row["sample_index"]): _sample(row, methods) for row in shown},
    }


def _sample(row: Mapping[str, Any], methods: list[str]) -> dict[str, Any]:
    """Return the data of one solution: its steps as [text, P(neutral) + P(positive) or None, rating or None]."""
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
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _examples(problems: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Draw the examples of appendix I by seed from the test problems, so many of each kind.

    True positives: the PRM's pick is right, and fewer than half of the samples are. True negatives: the majority's pick
    is wrong and the PRM's is not that one. False positives: the PRM's pick is wrong.
    """
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
        for kind, candidates in kinds.items()
        for problem_id, sample in rng.sample(candidates, min(_EXAMPLES, len(candidates)))
    ]
