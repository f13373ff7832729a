"""The sections of the small-scale study's report.html, as `sections.py` has them for the main study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
    times,
)

_PERCENT = "% of problems solved"


def scaling_sections(frames: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return the sections of the tables that are there, in the order of the page.

    frames: data_scaling, series_comparisons, data_efficiency, label_budget, rounds → their rows; those without rows are
    left out.
    """
    builders = {
        "data_scaling": _scaling,
        "series_comparisons": _comparisons,
        "data_efficiency": _efficiency,
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
    title = f"Best of {n}, % of problems solved (95 % interval over problems) ± standard deviation over training seeds"
    note = "Columns: solutions labelled per problem."
    return table(title, ["series", *(str(size) for size in sizes)], cells, note)


def _accuracy(row: Row) -> str:
    return interval(row) if pd.isna(row["std_over_seeds"]) else f"{interval(row)} ± {percent(row['std_over_seeds'])}"


def _comparisons(rows: pd.DataFrame) -> Section:
    title = f"Paired differences at best of {rows['n'].max()}, points"
    note = "The intervals are over problems and training seeds, for other seeds than those that were trained."
    text = "Series at the same number of solutions, on the same test samples."
    return section("Comparisons", text, [], [listing(title, rows, _COMPARED, note)])


def _efficiency(rows: pd.DataFrame) -> Section:
    note = (
        "Slope: points per doubling of the solutions labelled. Efficiency: ratio of the slopes. Equivalent data: "
        "how many times its largest size process supervision's line needs to be as accurate. No rise: resamples in "
        "which process supervision does not gain from data; with more than 2.5 % of them there is no interval."
    )
    text = "How much further labels go than those of process supervision of solutions as they come (the paper: 2.6)."
    return section("Data efficiency", text, [], [listing("Fitted lines", rows, _EFFICIENCY, note)])


def _budget(rows: pd.DataFrame) -> Section:
    note = (
        "Means over training seeds. Gain: best of N over a single sample. The next 1,000: by the fitted line. FLOPs: 2 "
        "per parameter and token read or sampled, 6 in training."
    )
    text = "Labels, tokens and FLOPs of each series, selectors included, and what they gave."
    return section("What a label is worth", text, [], [listing("Budget", rows, _BUDGET, note)])


def _rounds(rows: pd.DataFrame) -> Section:
    note = (
        "Agreement: rank correlation within problems of the selector's scores of the pool with those of the round "
        "before. Wrong, negative: of the round's new solutions, those with a wrong final answer, and those in which "
        "the labeller found a wrong step."
    )
    text = "Active learning whose selector is retrained on what it chose; the paper found that unstable."
    return section("Rounds of active learning", text, [], [listing("Rounds", rows, _ROUNDS, note)])


def _points(name: str) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[name]) else f"{100 * row[name]:+.1f}"


def _between(low: str, high: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[low]) else f"{write(row[low])} to {write(row[high])}"


def _or_dash(name: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[name]) else write(row[name])


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


_COMPARED: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "minus": lambda row: series_label(row["baseline"]),
    "solutions per problem": lambda row: row["size"],
    "difference": _points("difference"),
    "95 % interval": _between("ci_low", "ci_high", _signed),
    "seeds": lambda row: row["num_seeds"],
    "std over seeds": _or_dash("std_over_seeds", percent),
    "problems": lambda row: row["num_problems"],
}
_EFFICIENCY: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "slope": _points("slope"),
    "its 95 % interval": _between("slope_low", "slope_high", _signed),
    "efficiency": _or_dash("efficiency", "{:.2f}".format),
    "95 % interval": _between("efficiency_low", "efficiency_high", "{:.2f}".format),
    "equivalent data": _or_dash("equivalent_data", times),
    "95 % interval of it": _between("equivalent_low", "equivalent_high", times),
    "no rise, %": _or_dash("share_no_rise", percent),
    "seeds": lambda row: row["num_seeds"],
}
_BUDGET: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "solutions per problem": lambda row: row["size"],
    "solutions labelled": _or_dash("num_solutions", "{:,.0f}".format),
    "step labels": _or_dash("num_step_labels", "{:,.0f}".format),
    "accuracy, %": _or_dash("accuracy", percent),
    "gain, points": _points("gain"),
    "per 1,000 labels": _or_dash("gain_per_1000_labels", lambda value: f"{100 * value:+.2f}"),
    "the next 1,000": _or_dash("next_1000_labels", lambda value: f"{100 * value:+.2f}"),
    "tokens sampled": _or_dash("tokens_sampled", "{:.2e}".format),
    "read by selectors": _or_dash("tokens_read", "{:.2e}".format),
    "read by the labeller": _or_dash("tokens_labelled", "{:.2e}".format),
    "trained on": _or_dash("tokens_trained", "{:.2e}".format),
    "FLOPs": _or_dash("flops", "{:.2e}".format),
}
_ROUNDS: dict[str, Callable[[Row], Any]] = {
    "training seed": lambda row: row["training_seed"],
    "round": lambda row: row["round"],
    "solutions per problem": lambda row: row["size"],
    "accuracy, %": _or_dash("accuracy", percent),
    "change, points": _points("change"),
    "chosen at once, %": _or_dash("one_shot", percent),
    "agreement": _or_dash("selector_agreement", "{:.2f}".format),
    "wrong, %": _or_dash("share_wrong_answer", percent),
    "negative, %": _or_dash("share_negative", percent),
}
