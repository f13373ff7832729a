"""The sections of the small-scale study's report.html, as `sections.py` has them for the main study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from components.report.main_study import Row, records
from components.report.parts import Chart, Section, Table, interval, listing, percent, section, table
from components.report.small_scale import (
    FITTED,
    at_largest_n,
    at_largest_size,
    fitted_line,
    in_order,
    series_label,
)
from components.report.small_scale_columns import (
    BUDGET,
    COMPARED,
    EFFICIENCY,
    EQUIVALENT,
    ROUNDS,
    SELECTORS,
    SHARES,
)

_PERCENT = "% of problems solved"
_INTERVALS = (
    "The intervals are of the median training, over trainings and problems; of one or two trainings they are over "
    "problems alone."
)


def scaling_sections(frames: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return the sections of the tables that are there, in the order of the page.

    frames: data_scaling, series_comparisons, equivalent_labels, data_efficiency, selector_quality, wrong_shares,
    label_budget, rounds → their rows; those without rows are left out.
    """
    builders = {
        "data_scaling": _scaling,
        "series_comparisons": _comparisons,
        "equivalent_labels": _equivalents,
        "data_efficiency": _efficiency,
        "selector_quality": _selectors,
        "wrong_shares": _shares,
        "label_budget": _budget,
        "rounds": _rounds,
    }
    return [build(frames[name]) for name, build in builders.items() if name in frames and len(frames[name])]


def _scaling(rows: pd.DataFrame) -> Section:
    last = at_largest_n(rows)
    fits: list[dict[str, Any]] = []
    for series in FITTED:
        line = fitted_line(last[last["series"] == series])
        if line is not None:
            points = [{"x": int(size), "y": 100 * accuracy} for size, accuracy in zip(*line, strict=True)]
            kind = f"{series}_weighted"  # dashed, in the colour of its series
            fits.append({"name": f"{series_label(series)}: fitted line", "kind": kind, "points": points})
    n = rows["n"].max()
    charts = [
        _chart(last, "size", f"Best of {n} against data (figure 4a)", "solutions labelled per problem", fits),
        _chart(at_largest_size(rows), "n", "Each series at its largest size (figure 4b)", "N, samples per problem", []),
    ]
    text = (
        "Three supervisions of the same solutions, and process supervision of solutions chosen otherwise. Bands: "
        "± standard deviation over training seeds."
    )
    return section("Accuracy against data", text, charts, [_by_size(last, n)])


def _chart(rows: pd.DataFrame, against: str, title: str, x: str, fits: list[dict[str, Any]]) -> Chart:
    series: list[dict[str, Any]] = []
    for name in in_order(rows):
        points = [_point(row, row[against]) for row in records(rows[rows["series"] == name].sort_values(against))]
        series.append({"name": series_label(name), "kind": name, "points": points})
    lowest = min(point.get("low", point["y"]) for line in series for point in line["points"])
    start = max(0, 10 * math.floor(lowest / 10))
    return {"title": title, "x": x, "y": _PERCENT, "log": True, "from": start, "series": [*series, *fits]}


def _point(row: Row, x: int) -> dict[str, float]:
    point = {"x": int(x), "y": 100 * row["accuracy"]}
    if pd.isna(row["std_over_seeds"]):
        return point
    spread = 100 * row["std_over_seeds"]
    return point | {"low": point["y"] - spread, "high": point["y"] + spread}


def _by_size(rows: pd.DataFrame, n: int) -> Table:
    sizes = sorted(rows["size"].unique().tolist())
    by_size = {(row["series"], row["size"]): row for row in records(rows)}
    cells = [
        [
            series_label(series),
            *(_accuracy(by_size[series, size]) if (series, size) in by_size else "" for size in sizes),
        ]
        for series in in_order(rows)
    ]
    title = f"Best of {n}, % of problems solved (95 % interval) ± standard deviation over training seeds"
    note = f"Means over training seeds. Columns: solutions labelled per problem. {_INTERVALS}"
    return table(title, ["series", *(str(size) for size in sizes)], cells, note)


def _accuracy(row: Row) -> str:
    return interval(row) if pd.isna(row["std_over_seeds"]) else f"{interval(row)} ± {percent(row['std_over_seeds'])}"


def _comparisons(rows: pd.DataFrame) -> Section:
    title = f"Paired differences at best of {rows['n'].max()}, points"
    note = _INTERVALS
    text = "Series at the same number of solutions, on the same test samples."
    return section("Comparisons", text, [], [listing(title, rows, COMPARED, note)])


def _equivalents(rows: pd.DataFrame) -> Section:
    note = (
        "Labels: all that the series spent, its selector's included. Equivalent: the labels with which process "
        "supervision of solutions as they come is as accurate, interpolated between its sizes in log2 of labels. "
        "Worth: equivalent by labels; over 1, the series needs fewer. Outside: more accurate than process supervision "
        f"with any labels that were measured (above), less (below), or it does not gain (no_rise). {_INTERVALS}"
    )
    tables = [
        listing(title, rows[rows["unit"] == unit], EQUIVALENT, note)
        for unit, title in (("step_labels", "In step labels"), ("solutions", "In solutions labelled"))
    ]
    return section("What equal accuracy costs", "How many labels of solutions as they come do as well.", [], tables)


def _efficiency(rows: pd.DataFrame) -> Section:
    note = (
        "Slope: points per doubling of the solutions labelled. Ratio of slopes: the paper's efficiency; it cannot see "
        "a constant factor, and leaves out the selector's labels. By the lines: how many times its largest size "
        "process supervision's line needs to be as accurate. They have no interval where process supervision does not "
        "clearly rise. No rise: resamples in which it does not. Largest residual: accuracy minus the line, in points, "
        f"and where; fits: whether no residual's interval leaves out 0. {_INTERVALS}"
    )
    text = "Least squares of accuracy in log2 of the solutions labelled per problem (the paper's ratio: 2.6)."
    return section("Fitted lines", text, [], [listing("Fitted lines", rows, EFFICIENCY, note)])


def _selectors(rows: pd.DataFrame) -> Section:
    note = (
        "AUC: the chance that a solution with the right answer outscores one of the same problem's pool with a wrong "
        "one; 0.50 is chance. By labels: the same without and with a step that the labeller calls wrong, of solutions "
        "that the selector did not learn from."
    )
    text = "The verifiers that chose what is labelled. Wrong answers are convincing only to one that is not blind."
    return section("Selectors", text, [], [listing("Selectors", rows, SELECTORS, note)])


def _shares(rows: pd.DataFrame) -> Section:
    note = (
        "Convincing: chosen as convincing wrong answers. Instead: in the place of such, where a pool has too few. Of "
        "rounds: of what the round chose. Wrong answer: whatever the reason. Distinct: the others are copies."
    )
    text = "The share of wrong answers in what was labelled, beside the share that was asked for."
    return section("What was chosen", text, [], [listing("Shares, %", rows, SHARES, note)])


def _budget(rows: pd.DataFrame) -> Section:
    note = (
        "Means over training seeds. Gain: best of N over a single sample. The next 1,000: by the fitted line. Tokens: "
        "those that a model computes, prompts included; sampled: of each problem up to the last solution taken, or the "
        "whole pool, of a policy that chooses. FLOPs: 2 per parameter and token read or sampled, 6 in training; "
        "attention, the labeller's training and the test samples are left out."
    )
    text = "Labels, tokens and FLOPs of each series, selectors included, and what they gave."
    return section("What a label is worth", text, [], [listing("Budget", rows, BUDGET, note)])


def _rounds(rows: pd.DataFrame) -> Section:
    note = (
        "Agreement: rank correlation within problems of the selector's scores of the pool with those of the round "
        "before. Wrong, negative: of the round's new solutions, those with a wrong final answer, and those in which "
        "the labeller found a wrong step."
    )
    text = "Active learning whose selector is retrained on what it chose; the paper found that unstable."
    return section("Rounds of active learning", text, [], [listing("Rounds", rows, ROUNDS, note)])
