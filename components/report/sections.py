"""The sections of report.html, from a study's tables of results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from components.report.group_sections import difficulty, new_facts, out_of_distribution
from components.report.main_study import Row, is_other_prm, label, records, table_name
from components.report.parts import (
    Section,
    by_n,
    curves,
    interval,
    listing,
    named_interval,
    percent,
    section,
    table,
    with_interval,
)
from schemas.results import members_of

_CLUSTERED = "Intervals of 95 % are over problems, for these trained models."


def sections(frames: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return the sections of the tables that are there, in the order of the page. frames: table's name → its rows."""
    of_groups = (out_of_distribution, new_facts, difficulty)
    builders = (_best_of_n, *of_groups, _reductions, _scores, _first_errors, _verifiers_first_errors, _shares)
    return [part for build in builders for part in build(frames) if part["charts"] or part["tables"]]


def _best_of_n(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    rows = frames["best_of_n"].query("split == 'test'")
    tables = [by_n(rows, "Best of N, % of problems solved (95 % interval)")]
    if "subsampling_band" in frames:
        band = frames["subsampling_band"].query("split == 'test'")
        columns: dict[str, Callable[[Row], Any]] = {
            "method": lambda row: table_name(row["method"]),
            "N": lambda row: row["n"],
            "mean": lambda row: percent(row["accuracy"]),
            "standard deviation": lambda row: f"{100 * row['std']:.2f}",
        }
        note = f"{band['trials'].max()} shuffles, as the released evaluation does: the noise of subsampling alone."
        tables.append(listing("The paper's own band", band, columns, note))
    distinct = frames["distinct_samples"].query("split == 'test'") if "distinct_samples" in frames else pd.DataFrame()
    if len(distinct):
        note = "Copies of one text are no choice: where N samples are few texts, best-of-N is of those few."
        tables.append(listing("How different N samples of a problem are", distinct, _DISTINCT, note))
    text = f"Of N samples of each problem a method picks one answer. The band is the 95 % interval, {_of_what(rows)}."
    methods = rows["method"].unique()
    drawn = [method for method in methods if not is_other_prm(method.removesuffix("_weighted"))]
    drawn += [method for method in methods if is_other_prm(method)]  # without their votes: too many
    drawn = [method for method in drawn if method not in members_of(methods)]
    yield section("Best of N", text, [curves(rows, "Test problems", drawn)], tables)


def _of_what(rows: pd.DataFrame) -> str:
    seeds = rows["num_seeds"].max()
    return "over problems, for these trained models" if seeds == 1 else f"over problems and {seeds} trainings"


def _reductions(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    if "reductions" not in frames or frames["reductions"].empty:
        return
    rows = frames["reductions"].query("split == 'test'")
    rows = rows[rows["n"] == rows["n"].max()]
    intervals = {(row["reduction"], row["neutral"]): interval(row) for row in records(rows)}
    neutrals = list(dict.fromkeys(rows["neutral"]))
    cells = [[r, *(intervals[r, n] for n in neutrals)] for r in dict.fromkeys(rows["reduction"])]
    columns = ["reduction", *(f"neutral as {n}" for n in neutrals)]
    title = f"Best of {rows['n'].max()} by the PRM, %"
    note = "Product and min are the paper's table 4; last and mean are used since."
    text = "From the probabilities of its steps to the score of a solution."
    yield section("The PRM's score", text, [], [table(title, columns, cells, note)])


def _scores(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    charts = []
    for name, unit in (("calibration", "solutions"), ("step_calibration", "steps")):
        if name not in frames:
            continue
        rows = frames[name].query("split == 'test'")
        series: list[dict[str, Any]] = [
            {
                "name": f"{label(str(model))}, {unit}",
                "kind": model,
                "points": [
                    {"x": 100 * row["mean_score"], "y": 100 * row["share_right"], "count": int(row["count"])}
                    | {"low": 100 * row["ci_low"], "high": 100 * row["ci_high"]}
                    for row in records(part)
                ],
            }
            for model, part in rows.groupby("model", sort=False)
        ]
        if series:
            series.append({"name": "as it should be", "kind": "", "points": [{"x": 0, "y": 0}, {"x": 100, "y": 100}]})
            axes = {"x": "mean score of the bin, %", "y": "% right", "log": False, "series": series}
            charts.append({"title": f"Calibration of {unit}"} | axes)
    note = (
        "AUC: does a right sample outscore a wrong one of its problem? Mean of the problems that have both. "
        f"Correlation: of ranks, within problems. {_CLUSTERED}"
    )
    tables = [listing("Quality of scores", frames["score_quality"], _QUALITY, note)]
    lengths = frames["score_by_length"].query("split == 'test'")
    if len(lengths):
        tables.append(listing("Score against length", lengths, _LENGTHS))
    yield section("What the scores mean", "Are they probabilities, and do they go by length?", charts, tables)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _verifiers_first_errors(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    rows = frames.get("verifier_step_errors", pd.DataFrame())
    title = "Does each verifier find the first wrong step? (ProcessBench's F1)"
    tables = [listing(title, rows, _VERIFIER_STEP_ERRORS, _CLUSTERED)] if len(rows) else []
    yield section("First errors by verifier", "On the solutions whose steps are rated.", [], tables)


def _first_errors(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    if "step_errors" not in frames or frames["step_errors"].empty:
        return
    rows = frames["step_errors"]
    where = frames["first_errors"]
    threshold = where["threshold"].max() if len(where) else 0
    tables = [
        listing("Does the PRM find the first wrong step? (ProcessBench's F1)", rows, _STEP_ERRORS, _CLUSTERED),
        listing(f"Where first errors are (P(negative) from {threshold:g})", where, _FIRST_ERRORS),
    ]
    yield section("First errors", "Where solutions go wrong, and whether the PRM says so.", [], tables)


def _shares(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    rows = frames["attribute_shares"]
    tables = []
    for attribute, part in rows.groupby("attribute", sort=False):
        if part["value"].nunique() < 2:
            continue
        splits = list(dict.fromkeys(part["split"]))
        lines = records(part)
        shares = {(line["value"], line["split"]): f"{percent(line['share'])} ({line['count']})" for line in lines}
        values = sorted(dict.fromkeys(part["value"]), key=lambda value: (len(value), value))
        cells = [[value, *(shares.get((value, split), "0") for split in splits)] for value in values]
        tables.append(table(f"{str(attribute).capitalize()}, % (problems)", [str(attribute), *splits], cells))
    yield section("Are the test problems like the others?", "The paper's figure 5.", [], tables)


_DISTINCT: dict[str, Callable[[Row], Any]] = {
    "N": lambda row: row["n"],
    "different texts": lambda row: "–" if pd.isna(row["distinct_texts"]) else f"{row['distinct_texts']:.1f}",
    "different answers": lambda row: f"{row['distinct_answers']:.1f}",
}
_QUALITY: dict[str, Callable[[Row], Any]] = {
    "split": lambda row: row["split"],
    "verifier": lambda row: table_name(row["model"]),
    "training seed": lambda row: row["training_seed"],
    "AUC within problems": lambda row: named_interval(row, "within_problem_auc", "auc", _number),
    "problems with both": lambda row: row["num_auc_problems"],
    "correlation with length": lambda row: _number(row["length_correlation"]),
    "calibration error": lambda row: named_interval(row, "calibration_error", "calibration_error", _number),
}
_LENGTHS: dict[str, Callable[[Row], Any]] = {
    "verifier": lambda row: table_name(row["model"]),
    "steps": lambda row: row["num_steps"],
    "solutions": lambda row: row["count"],
    "% right": lambda row: percent(row["share_right"]),
    "mean score": lambda row: f"{row['mean_score']:.3f}",
    "% of picks": lambda row: percent(row["share_picked"]),
}
_STEP_ERRORS: dict[str, Callable[[Row], Any]] = {
    "source": lambda row: row["source"],
    "P(negative) from": lambda row: "the likeliest" if pd.isna(row["threshold"]) else f"{row['threshold']:g}",
    "wrong solutions": lambda row: row["num_wrong"],
    "first error found, %": lambda row: named_interval(row, "accuracy_wrong", "accuracy_wrong"),
    "right solutions": lambda row: row["num_right"],
    "none called wrong, %": lambda row: named_interval(row, "accuracy_right", "accuracy_right"),
    "F1, %": lambda row: named_interval(row, "f1", "f1"),
}
_VERIFIER_STEP_ERRORS = {"verifier": lambda row: table_name(row["verifier"])} | _STEP_ERRORS
_FIRST_ERRORS: dict[str, Callable[[Row], Any]] = {
    "source": lambda row: row["source"],
    "first wrong step": lambda row: row["first_error"] + 1,
    "solutions": lambda row: row["count"],
    "found": lambda row: row["found"],
    "found, %": lambda row: with_interval(row["found"] / row["count"], row["ci_low"], row["ci_high"]),
    "an earlier one called": lambda row: row["early"],
    "a later one": lambda row: row["late"],
    "none": lambda row: row["missed"],
}
