"""Parts of report.html's sections as plain data that the page draws: charts and tables, and figures as text.

A chart is {title, x, y, log, series: [{name, kind, points: [{x, y, low, high}]}]}, with y, low and high in per cent;
`from`, where the y axis begins, if not at 0. A table is {title, note, columns, rows} of text and numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from components.report.main_study import Row, in_order, label, records, table_name

Chart = dict[str, Any]
Table = dict[str, Any]
Section = dict[str, Any]
_PERCENT = "% of problems solved"


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


def interval(row: Any, name: str = "accuracy") -> str:
    """Return an accuracy, or a difference, with its interval in per cent: 46.0 (39.5 to 52.5)."""
    return with_interval(row[name], row["ci_low"], row["ci_high"])


def with_interval(
    value: float | None, low: float | None, high: float | None, form: Callable[[float | None], str] = percent
) -> str:
    """Return a figure with its interval: 46.0 (39.5 to 52.5); – where there is none of either."""
    if form(value) == "–":
        return "–"
    ends = "–" if low is None or math.isnan(low) else f"{form(low)} to {form(high)}"
    return f"{form(value)} ({ends})"


def named_interval(row: Any, figure: str, name: str, form: Callable[[float | None], str] = percent) -> str:
    """Return a figure with the interval in the columns <name>_low and <name>_high."""
    return with_interval(row[figure], row[f"{name}_low"], row[f"{name}_high"], form)


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


def by_n(rows: pd.DataFrame, title: str) -> Table:
    """Return a table of accuracies with a line per method and a column per N."""
    ns = sorted(rows["n"].unique())
    intervals = {(row["method"], row["n"]): interval(row) for row in records(rows)}
    cells = [[table_name(m), *(intervals.get((m, n), "") for n in ns)] for m in in_order(rows["method"])]
    return table(title, ["method", *(f"N = {n}" for n in ns)], cells)
