"""The small-scale study's figures 4a and 4b (paper §4), as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from components.report.figures import figure_png
from components.report.palette import colours
from components.report.small_scale import FITTED, at_largest_n, at_largest_size, fitted_line, in_order, series_label
from schemas.small_scale import SUPERVISIONS


def figure_4a(data_scaling: pd.DataFrame) -> bytes:
    """Return a PNG of accuracy at the largest N against the solutions labelled per problem.

    Bands: ± standard deviation over training seeds. Thin dashed lines: least squares of process supervision and of
    active learning.
    """
    rows = at_largest_n(data_scaling)
    lines = {series: rows[rows["series"] == series] for series in in_order(rows)}
    fitted = {series: line for series in FITTED if series in lines and (line := fitted_line(lines[series]))}
    return _figure(lines, "size", fitted, "solutions labelled per problem", f"best-of-{rows['n'].max()}")


def figure_4b(data_scaling: pd.DataFrame) -> bytes:
    """Return a PNG of accuracy against N, of each series at its largest size; bands as in figure 4a."""
    rows = at_largest_size(data_scaling)
    lines = {series: rows[rows["series"] == series] for series in in_order(rows)}
    return _figure(lines, "n", {}, "N = number of solutions per problem", "best-of-N")


def _figure(
    lines: Mapping[str, pd.DataFrame],
    against: str,
    fitted: Mapping[str, tuple[list[int], list[float]]],
    x: str,
    y: str,
) -> bytes:
    by_series = colours(list(lines))

    def draw(axes: Any) -> list[str]:
        for series, rows in lines.items():
            _draw(axes, rows.sort_values(against), against, by_series[series], series in SUPERVISIONS)
        for series, (sizes, accuracies) in fitted.items():
            percents = [100 * value for value in accuracies]
            axes.plot(sizes, percents, color=by_series[series], linewidth=1, linestyle="--")
        return [series_label(series) for series in lines]

    ticks = sorted({value for rows in lines.values() for value in rows[against]})
    return figure_png(draw, ticks, x, f"% problems solved ({y})")


def _draw(axes: Any, rows: pd.DataFrame, against: str, colour: str, is_supervision: bool) -> None:
    mean, spread = 100 * rows["accuracy"], 100 * rows["std_over_seeds"].astype(float)
    width, marker = (2.2, 4.0) if is_supervision else (1.5, 3.0)
    axes.plot(rows[against], mean, color=colour, marker="o", markersize=marker, linewidth=width)
    if spread.notna().any():
        axes.fill_between(rows[against], mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
