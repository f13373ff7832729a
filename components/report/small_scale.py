"""The small-scale study's results for people (paper §4): verdicts in words, and a table on the terminal.

Its figures are in `small_scale_figures.py`, its sections of report.html in `small_scale_sections.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from components.report.main_study import Row, records
from components.report.verdicts import compared
from schemas.small_scale import SUPERVISIONS

LABELS = {
    "process": "Process, by the labeller",
    "outcome_prm": "Outcome, by the labeller",
    "outcome_final_answer": "Outcome, by the final answer",
    "active": "Process, active learning",
    "uncertainty": "Process, least certain first",
    "top_k": "Process, highest scores first",
    "iterated": "Process, active learning in rounds",
}
_IN_SENTENCES = {
    "process": "process supervision",
    "outcome_prm": "outcome supervision by the labeller",
    "outcome_final_answer": "outcome supervision by the final answer",
    "active": "active learning",
    "uncertainty": "labelling the least certain solutions first",
    "top_k": "labelling the highest scores first",
    "iterated": "active learning in rounds",
}
FITTED = ("process", "active")  # whose lines are drawn, as in the paper
_FIRST = [("process", "outcome_final_answer"), ("process", "outcome_prm")]  # the study's own question
_PAPERS_EFFICIENCY = 2.6
_UNCOUNTABLE = 1000.0  # times as much data: what a nearly flat line asks for


def series_label(series: str) -> str:
    """Return the name of a series for legends and tables."""
    return LABELS.get(series, series)


def _in_sentence(series: str) -> str:
    return _IN_SENTENCES.get(series, series)


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


def scaling_verdicts(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the study's answers in words, from the tables that are there.

    frames: series_comparisons, data_efficiency, rounds (with data_scaling), label_budget → their rows.
    """
    sentences = []
    for name, sentences_of in (
        ("series_comparisons", _of_comparisons),
        ("data_efficiency", _of_efficiency),
        ("rounds", _of_rounds),
        ("label_budget", _of_labels),
    ):
        if name in frames and len(frames[name]):
            sentences += sentences_of(frames)
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def _of_comparisons(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Compare each pair at the largest size that it has."""
    rows = records(frames["series_comparisons"])
    last = {(row["series"], row["baseline"]): row for row in sorted(rows, key=lambda row: row["size"])}
    pairs = dict.fromkeys([*_FIRST, *((row["series"], row["baseline"]) for row in rows)])
    sentences = []
    for series, baseline in pairs:
        if (row := last.get((series, baseline))) is not None:
            where = f"at {row['size']} solutions per problem and N = {row['n']}"
            sentences.append(compared(row, _in_sentence(series), _in_sentence(baseline), where))
    return sentences


def _of_efficiency(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = records(frames["data_efficiency"])
    return [_efficiency(row) for row in rows if row["series"] not in SUPERVISIONS]


def _efficiency(row: Row) -> str:
    name = _in_sentence(row["series"])
    slopes = f"{100 * row['slope']:+.1f} against {100 * row['baseline_slope']:+.1f} points per doubling"
    if pd.isna(row["efficiency"]):
        return (
            f"the data efficiency of {name} is not known, since process supervision does not gain from more solutions "
            f"({slopes})"
        )
    ratio = f"{row['efficiency']:.1f} times as data-efficient as process supervision by the ratio of slopes"
    papers = f"; the paper found {_PAPERS_EFFICIENCY}" if row["series"] == "active" else ""
    if pd.isna(row["efficiency_low"]):
        return (
            f"the data efficiency of {name} is not known: {ratio} ({slopes}{papers}), but in "
            f"{100 * row['share_no_rise']:.0f} % of resamples process supervision does not gain from more solutions"
        )
    interval = f"(95 % interval {row['efficiency_low']:.1f} to {row['efficiency_high']:.1f}{papers}), {slopes}"
    worth = "" if pd.isna(row["equivalent_low"]) else (
        f"; at its largest size its labels are worth {times(row['equivalent_data'])} as many of process supervision's "
        f"({times(row['equivalent_low'])} to {times(row['equivalent_high'])})"
    )  # fmt: skip
    if row["efficiency_low"] > 1 or row["efficiency_high"] < 1:
        return f"{name} is {ratio} {interval}{worth}"
    return f"{name} shows no clear difference from process supervision in data efficiency: {ratio} {interval}{worth}"


def times(value: float) -> str:
    """Return a factor in words."""
    return f"over {_UNCOUNTABLE:,.0f} times" if value > _UNCOUNTABLE else f"{value:.1f} times"


def _of_rounds(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = frames["rounds"]
    changes = rows.dropna(subset=["change"])
    if changes.empty:
        return []
    worst = records(changes.sort_values("change", kind="stable"))[0]
    falls = int((changes["change"] < 0).sum())
    sentence = "the loop of active learning that retrains its selector never lost accuracy from one round to the next"
    if falls:
        sentence = (
            f"the loop of active learning that retrains its selector lost accuracy in {falls} of {len(changes)} steps "
            f"from one round to the next, at most {-100 * worst['change']:.1f} points (round {worst['round']}, "
            f"training seed {worst['training_seed']})"
        )
    spreads = at_largest_size(at_largest_n(frames["data_scaling"])).set_index("series")["std_over_seeds"]
    spreads = spreads.dropna()
    if {"iterated", "active"} <= {*spreads.index}:
        sentence += (
            f"; standard deviation over training seeds {100 * spreads['iterated']:.1f} points, of choosing at once "
            f"{100 * spreads['active']:.1f}"
        )
    agreement = rows["selector_agreement"].dropna()
    if len(agreement):
        sentence += (
            f"; the selectors of successive rounds rank the pool alike to {agreement.mean():.2f} (rank correlation)"
        )
    return [sentence]


def _of_labels(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = at_largest_size(frames["label_budget"]).dropna(subset=["gain_per_1000_labels"])
    by_series = {row["series"]: row for row in records(rows)}
    gained: list[str] = []
    more: list[str] = []
    for series in in_order(rows):
        row, name = by_series[series], _in_sentence(series)
        gained.append(f"{100 * row['gain_per_1000_labels']:.2f} points ({name}, {row['num_step_labels']:,.0f} labels)")
        if not pd.isna(row["next_1000_labels"]):
            more.append(f"{100 * row['next_1000_labels']:.2f} ({name})")
    if not gained:
        return []
    sentence = (
        f"per 1,000 step labels, best-of-N gained over a single sample {', '.join(gained)}, each at its largest size"
    )
    return [sentence + (f"; by the fitted lines the next 1,000 would add {', '.join(more)}" if more else "")]


def text_table(data_scaling: pd.DataFrame) -> str:
    """Return accuracy at the largest N in per cent as text: one line per series, one column per size.

    At its largest size a series has the interval over problems, and the standard deviation over training seeds.
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
