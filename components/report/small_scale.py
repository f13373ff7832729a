"""The small-scale study's results for people (paper §4): names, lines, and a table on the terminal.

Its verdicts in words are in `small_scale_verdicts.py`, its figures in `small_scale_figures.py`, its sections of
report.html in `small_scale_sections.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.report.main_study import records

LABELS = {
    "process": "Process, by the labeller",
    "outcome_prm": "Outcome, by the labeller",
    "outcome_final_answer": "Outcome, by the final answer",
    "active": "Process, active learning",
    "uncertainty": "Process, least certain first",
    "top_k": "Process, highest scores first",
    "iterated": "Process, active learning in rounds",
}
FITTED = ("process", "active")  # whose lines are drawn, as in the paper
_UNCOUNTABLE = 1000.0  # times as much data: what a nearly flat line asks for


def series_label(series: str) -> str:
    """Return the name of a series for legends and tables."""
    return LABELS.get(series, series)


def in_order(frame: pd.DataFrame) -> list[str]:
    """Return the series that a table has rows of: those of LABELS first, in its order."""
    present = dict.fromkeys(frame["series"])
    return [*(name for name in LABELS if name in present), *(name for name in present if name not in LABELS)]


def at_largest_n(data_scaling: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the largest N."""
    return data_scaling[data_scaling["n"] == data_scaling["n"].max()]


def at_largest_size(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each series at its largest size."""
    return frame[frame["size"] == frame.groupby("series")["size"].transform("max")]


def fitted_line(rows: pd.DataFrame) -> tuple[list[int], list[float]] | None:
    """Return the least squares of accuracy in log2 of the size: (sizes, accuracies); None through a single size.

    rows: of one series and N.
    """
    sizes = sorted(rows["size"].tolist())
    if len(sizes) < 2:
        return None
    slope, intercept = np.polyfit(np.log2(sizes), rows.sort_values("size")["accuracy"].to_numpy(), 1)
    return sizes, [float(intercept + slope * np.log2(size)) for size in sizes]


def times(value: float) -> str:
    """Return a factor in words."""
    return f"over {_UNCOUNTABLE:,.0f} times" if value > _UNCOUNTABLE else f"{value:.1f} times"


def text_table(data_scaling: pd.DataFrame) -> str:
    """Return accuracy at the largest N in per cent as text: one line per series, one column per size.

    At its largest size a series has the interval of the median training, and the standard deviation over trainings.
    """
    rows = at_largest_n(data_scaling)
    sizes = sorted(rows["size"].unique())
    wide = max(20, *(len(series_label(series)) + 2 for series in in_order(rows)))
    lines = [f"{'solutions per problem':<{wide}}" + "".join(f"{size:>7}" for size in sizes) + "   95 % at the largest"]
    for series in in_order(rows):
        by_size = {row["size"]: row for row in records(rows[rows["series"] == series])}
        last = by_size[max(by_size)]
        cells = "".join(f"{100 * by_size[s]['accuracy']:>7.1f}" if s in by_size else f"{'–':>7}" for s in sizes)
        several = not pd.isna(last["std_over_seeds"])
        spread = f", ± {100 * last['std_over_seeds']:.1f} over seeds" if several else ""
        shown = f"{100 * last['ci_low']:.1f} to {100 * last['ci_high']:.1f}{spread}"
        lines.append(f"{series_label(series):<{wide}}{cells}   {shown}")
    return "\n".join(lines)
