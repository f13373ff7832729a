"""The columns of the small-scale study's tables in report.html: heading → the cell of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from components.report.main_study import Row
from components.report.parts import percent
from components.report.small_scale import series_label, times


def _points(name: str) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[name]) else f"{100 * row[name]:+.1f}"


def _between(low: str, high: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[low]) else f"{write(row[low])} to {write(row[high])}"


def _open_ended(low: str, high: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    """Return the cell of an interval whose ends may lie outside of what was measured."""

    def cell(row: Row) -> str:
        ends = ["" if pd.isna(row[name]) else write(row[name]) for name in (low, high)]
        return " to ".join(ends) if all(ends) else f"≥ {ends[0]}" if ends[0] else f"≤ {ends[1]}" if ends[1] else "–"

    return cell


def _or_dash(name: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[name]) else write(row[name])


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


COMPARED: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "minus": lambda row: series_label(row["baseline"]),
    "solutions per problem": lambda row: row["size"],
    "median training": _points("median_training"),
    "95 % interval": _between("ci_low", "ci_high", _signed),
    "p": _or_dash("p_value", "{:.4f}".format),
    "mean": _points("difference"),
    "seeds": lambda row: row["num_seeds"],
    "std over seeds": _or_dash("std_over_seeds", percent),
    "problems": lambda row: row["num_problems"],
}
EFFICIENCY: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "slope": _points("slope"),
    "its 95 % interval": _between("slope_low", "slope_high", _signed),
    "ratio of slopes": _or_dash("efficiency", "{:.2f}".format),
    "95 % interval": _between("efficiency_low", "efficiency_high", "{:.2f}".format),
    "by the lines": _or_dash("equivalent_data", times),
    "95 % interval of it": _between("equivalent_low", "equivalent_high", times),
    "no rise, %": _or_dash("share_no_rise", percent),
    "largest residual": _points("largest_residual"),
    "at": lambda row: row["largest_residual_size"],
    "fits": lambda row: "no" if row["lacks_fit"] else "yes",
    "seeds": lambda row: row["num_seeds"],
}
EQUIVALENT: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "solutions per problem": lambda row: row["size"],
    "accuracy, %": _or_dash("accuracy", percent),
    "labels": _or_dash("labels", "{:,.0f}".format),
    "of them the selector's": _or_dash("selector_labels", "{:,.0f}".format),
    "equivalent": _or_dash("equivalent_labels", "{:,.0f}".format),
    "95 % interval": _open_ended("equivalent_low", "equivalent_high", "{:,.0f}".format),
    "worth": _or_dash("efficiency", "{:.2f}".format),
    "95 % interval of it": _open_ended("efficiency_low", "efficiency_high", "{:.2f}".format),
    "p": _or_dash("p_value", "{:.4f}".format),
    "without the selector's": _or_dash("efficiency_without_selector", "{:.2f}".format),
    "outside": lambda row: row["outside"] if isinstance(row["outside"], str) else "",
    "seeds": lambda row: row["num_seeds"],
}
SELECTORS: dict[str, Callable[[Row], Any]] = {
    "trained as": lambda row: series_label(row["series"]),
    "solutions per problem": lambda row: row["size"],
    "training seed": lambda row: row["training_seed"],
    "AUC in the pool": _or_dash("pool_auc", "{:.3f}".format),
    "problems with both": lambda row: row["num_pool_problems"],
    "AUC by labels": _or_dash("labelled_auc", "{:.3f}".format),
    "best of N, %": _or_dash("accuracy", percent),
    "a single sample, %": _or_dash("single_sample", percent),
}
SHARES: dict[str, Callable[[Row], Any]] = {
    "series": lambda row: series_label(row["series"]),
    "solutions per problem": lambda row: row["size"],
    "solutions chosen": _or_dash("num_solutions", "{:,.0f}".format),
    "asked": _or_dash("asked", percent),
    "convincing": _or_dash("convincing", percent),
    "instead": _or_dash("instead", percent),
    "wrong answer": _or_dash("wrong_answer", percent),
    "distinct": _or_dash("distinct", percent),
}
BUDGET: dict[str, Callable[[Row], Any]] = {
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
ROUNDS: dict[str, Callable[[Row], Any]] = {
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
