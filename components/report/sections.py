"""The sections of report.html, from a study's tables of results: charts and tables as plain data that the page draws.

A chart is {title, x, y, log, series: [{name, kind, points: [{x, y, low, high}]}]}, with y, low and high in per cent;
`from`, where the y axis begins, if not at 0. A table is {title, note, columns, rows} of text and numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from components.report.main_study import Row, in_order, is_other_prm, label, records, table_name

Chart = dict[str, Any]
Table = dict[str, Any]
Section = dict[str, Any]
_MAIN = ("prm", "orm", "majority")
_PERCENT = "% of problems solved"


def sections(frames: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return the sections of the tables that are there, in the order of the page. frames: table's name → its rows."""
    builders = (_best_of_n, _out_of_distribution, _difficulty, _reductions, _scores, _first_errors, _shares)
    return [part for build in builders for part in build(frames) if part["charts"] or part["tables"]]


def section(heading: str, text: str, charts: list[Chart], tables: list[Table]) -> Section:
    """Return a section of the page."""
    return {"heading": heading, "text": text, "charts": charts, "tables": tables}


def table(title: str, columns: list[str], rows: list[list[Any]], note: str = "") -> Table:
    """Return a table of the page."""
    return {"title": title, "columns": columns, "rows": rows, "note": note}


def listing(title: str, frame: pd.DataFrame, columns: Mapping[str, Callable[[Row], Any]], note: str = "") -> Table:
    """Return a table with a line per row. columns: heading → the cell of a row."""
    return table(title, list(columns), [[cell(row) for cell in columns.values()] for row in records(frame)], note)


def percent(value: float | None) -> str:
    """Return a share in per cent: 46.0; – where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def interval(row: Any) -> str:
    """Return an accuracy with its interval in per cent: 46.0 (39.5 to 52.5)."""
    return f"{percent(row['accuracy'])} ({percent(row['ci_low'])} to {percent(row['ci_high'])})"


def curves(rows: pd.DataFrame, title: str, methods: list[str] | None = None) -> Chart:
    """Return a chart of accuracies against N, one series per method."""
    series = []
    for method in in_order(rows["method"] if methods is None else rows["method"][rows["method"].isin(methods)]):
        points = [
            {"x": int(row["n"]), "y": 100 * row["accuracy"], "low": 100 * row["ci_low"], "high": 100 * row["ci_high"]}
            for row in records(rows[rows["method"] == method].sort_values("n"))
        ]
        series.append({"name": label(method), "kind": method, "points": points})
    return {"title": title, "x": "N, samples per problem", "y": _PERCENT, "log": True, "series": series}


def _best_of_n(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    rows = frames["best_of_n"].query("split == 'test'")
    tables = [_by_n(rows, "Best of N, % of problems solved (95 % interval over problems)")]
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
    text = "Of N samples of each problem a method picks one answer. The band is the 95 % interval over problems."
    drawn = [method for method in rows["method"].unique() if not is_other_prm(method.removesuffix("_weighted"))]
    drawn += [method for method in rows["method"].unique() if is_other_prm(method)]  # without their votes: too many
    yield section("Best of N", text, [curves(rows, "Test problems", drawn)], tables)


def _by_n(rows: pd.DataFrame, title: str) -> Table:
    ns = sorted(rows["n"].unique())
    intervals = {(row["method"], row["n"]): interval(row) for row in records(rows)}
    cells = [[table_name(m), *(intervals.get((m, n), "") for n in ns)] for m in dict.fromkeys(rows["method"])]
    return table(title, ["method", *(f"N = {n}" for n in ns)], cells)


def _groups(rows: pd.DataFrame, title: str, first: str, note: str) -> Table:
    """Return a table with a line per group at the largest N of its split, its problems counted."""
    rows = rows[rows["n"] == rows["n"].max()]
    methods = list(dict.fromkeys(rows["method"]))
    cells = []
    for group, of_group in rows.groupby("group", sort=False):
        by_method = {row["method"]: row for row in records(of_group)}
        first_row = of_group.iloc[0]
        shown = [interval(by_method[m]) if m in by_method else "" for m in methods]
        cells.append([group, int(first_row["num_problems"]), percent(first_row["pass_rate"]), *shown])
    columns = [first, "problems", "pass rate", *(table_name(m) for m in methods)]
    return table(f"{title} (best of {rows['n'].max()}, %)" if len(rows) else title, columns, cells, note)


def _out_of_distribution(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    rows = frames["best_of_n"].query("split == 'ood'")
    if rows.empty:
        return
    by_source = frames["group_accuracy"].query("split == 'ood' and grouping == 'source'")
    note = "The sources' problems sum to those of the last line (the paper's table 1)."
    tables = [_groups(by_source, "By source", "source", note)] if len(by_source) else []
    tables.append(_by_n(rows, "Out of distribution, % of problems solved"))
    text = "Problems unlike those that the generator and the reward models were trained on."
    yield section("Out of distribution", text, [curves(rows, "Out-of-distribution problems", [*_MAIN])], tables)


def _difficulty(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    rows = frames["group_accuracy"].query("split == 'test'")
    quintiles = rows[(rows["grouping"] == "pass_rate") & (rows["group"] != "all")]
    shown = [m for m in dict.fromkeys(rows["method"]) if not m.endswith("_weighted") and m != "pass"]
    charts = [curves(part, str(group), shown) for group, part in quintiles.groupby("group", sort=False)]
    note = "Equally many problems each, by the share of the generator's samples that are right (the paper's figure 6)."
    everything = rows[rows["grouping"] == "pass_rate"]
    tables = [_groups(everything, "By quintile of difficulty", "quintile", note)]
    for grouping in ("level", "subject", "source"):
        part = rows[rows["grouping"] == grouping]
        if len(part):
            tables.append(_groups(part, f"By {grouping}", grouping, ""))
    yield section("By difficulty", "Does the gap hold on easy and on hard problems?", charts, tables)


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
                    for row in records(part)
                ],
            }
            for model, part in rows.groupby("model", sort=False)
        ]
        if series:
            series.append({"name": "as it should be", "kind": "", "points": [{"x": 0, "y": 0}, {"x": 100, "y": 100}]})
            axes = {"x": "mean score of the bin, %", "y": "% right", "log": False, "series": series}
            charts.append({"title": f"Calibration of {unit}"} | axes)
    note = "AUC: does a right sample outscore a wrong one of its problem? Correlation: of ranks, within problems."
    tables = [listing("Quality of scores", frames["score_quality"], _QUALITY, note)]
    lengths = frames["score_by_length"].query("split == 'test'")
    if len(lengths):
        tables.append(listing("Score against length", lengths, _LENGTHS))
    yield section("What the scores mean", "Are they probabilities, and do they go by length?", charts, tables)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _first_errors(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    if "step_errors" not in frames or frames["step_errors"].empty:
        return
    rows = frames["step_errors"]
    where = frames["first_errors"]
    threshold = where["threshold"].max() if len(where) else 0
    tables = [
        listing("Does the PRM find the first wrong step? (ProcessBench's F1)", rows, _STEP_ERRORS),
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


_QUALITY: dict[str, Callable[[Row], Any]] = {
    "split": lambda row: row["split"],
    "verifier": lambda row: table_name(row["model"]),
    "training seed": lambda row: row["training_seed"],
    "AUC within problems": lambda row: _number(row["within_problem_auc"]),
    "correlation with length": lambda row: _number(row["length_correlation"]),
    "calibration error": lambda row: _number(row["calibration_error"]),
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
    "P(negative) from": lambda row: f"{row['threshold']:g}",
    "wrong solutions": lambda row: row["num_wrong"],
    "first error found, %": lambda row: percent(row["accuracy_wrong"]),
    "right solutions": lambda row: row["num_right"],
    "none called wrong, %": lambda row: percent(row["accuracy_right"]),
    "F1, %": lambda row: percent(row["f1"]),
}
_FIRST_ERRORS: dict[str, Callable[[Row], Any]] = {
    "source": lambda row: row["source"],
    "first wrong step": lambda row: row["first_error"] + 1,
    "solutions": lambda row: row["count"],
    "found": lambda row: row["found"],
    "an earlier one called": lambda row: row["early"],
    "a later one": lambda row: row["late"],
    "none": lambda row: row["missed"],
}
