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
    """Yield what the page shows of each of these problems.

    All of them at once: to handle tables problem by problem takes longer than all the rest of the report.
    """
    every = samples[samples["problem_id"].isin(ids)].reset_index(drop=True)
    picks = _picks(every, methods)
    shown: dict[str, list[Mapping[str, Any]]] = {problem_id: [] for problem_id in ids}
    for row in records(_details(tables, _chosen(every, picks, seed))):
        shown[row["problem_id"]].append(row)
    pass_rates = every["is_correct"].eq(True).groupby(every["problem_id"]).mean()
    slots = every.groupby("problem_id").size()
    for problem_id in ids:
        yield (
            problem_id,
            {
                "split": str(known[problem_id]["split"]),
                "problem": str(known[problem_id]["problem"]),
                "truth": _text(known[problem_id]["ground_truth_answer"]),
                "passRate": round(float(pass_rates[problem_id]), 4),
                "slots": int(slots[problem_id]),
                "picks": picks[problem_id],
                "samples": {str(row["sample_index"]): _sample(row, methods) for row in shown[problem_id]},
            },
        )


def _known(problems: pa.Table) -> dict[str, dict[str, Any]]:
    """Return each problem's row by its id. A table of solutions has a problem once for each: its last row stands."""
    ids = problems["problem_id"].to_pandas()
    last = np.flatnonzero(~ids.duplicated(keep="last"))
    return {row["problem_id"]: row for row in records(problems.take(last).to_pandas())}


def _picks(samples: pd.DataFrame, methods: list[str]) -> dict[str, dict[str, int]]:
    """Return problem → method → the sample that it picks out of all. samples: in order.

    Of equal scores, and of the winner's samples, the first; of answers with equally many votes the lower candidate.
    """
    picks: dict[str, dict[str, int]] = {problem_id: {} for problem_id in samples["problem_id"].unique()}
    answered = samples[samples["candidate"].notna()]
    best = {}
    for method in methods:
        scored = answered[answered[f"{method}_score"].notna()]
        best[method] = scored.loc[scored.groupby("problem_id", sort=False)[f"{method}_score"].idxmax()]
    in_order = answered.sort_values(["votes", "candidate", "sample_index"], ascending=[False, True, True])
    best["majority"] = in_order.drop_duplicates("problem_id")
    for method, rows in best.items():
        for problem_id, index in zip(rows["problem_id"], rows["sample_index"], strict=True):
            picks[problem_id][method] = int(index)
    return picks


def _chosen(samples: pd.DataFrame, picks: Mapping[str, Mapping[str, int]], seed: int) -> pd.DataFrame:
    """Return the rows of the picks, and of a few more samples of each problem."""
    chosen: set[tuple[str, int]] = set()
    for problem_id, indices in samples.groupby("problem_id", sort=False)["sample_index"]:
        picked = set(picks[str(problem_id)].values())
        rest = [index for index in indices.tolist() if index not in picked]
        more = random.Random(seed_for("report", seed, str(problem_id))).sample(rest, min(MORE_SAMPLES, len(rest)))
        chosen |= {(str(problem_id), index) for index in (*picked, *more)}
    keys = zip(samples["problem_id"], samples["sample_index"].tolist(), strict=True)
    return samples[[key in chosen for key in keys]]


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
