"""The main study's results for people: a table on the terminal, and a figure like the paper's figure 3.

Also the tables of stages that a run and a plan print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from components.dataflow.plain_text import printable
from components.report.figures import figure_png
from components.report.palette import colours
from schemas.results import OTHER_PRMS, REFERENCES, members_of

LABELS = {
    "ensemble_prm": "PRM ensemble (mean score of its trainings)",
    "ensemble_orm": "ORM ensemble (mean score of its trainings)",
    "prm": "Process-supervised RM (PRM)",
    "orm": "Outcome-supervised RM (ORM)",
    "majority": "Majority voting",
    "prm_weighted": "PRM-weighted voting",
    "orm_weighted": "ORM-weighted voting",
    "exact_rule": "Exact rule (ceiling)",
    "outcome_regression": "Logistic regression on outcomes",
    "step_lookup": "Lookup of labelled steps",
    "solution_length": "Length of the solution",
    "pass": "any of N (upper bound)",
}
Row = dict[str, Any]
_WHY_SHOWN = 4  # lines under a stage of a plan
_STATUS_WIDTH = 42  # width of a plan's column


def label(method: str) -> str:
    """Return the name of a method for legends."""
    base, weighted = method.removesuffix("_weighted"), method.endswith("_weighted")
    if base == "prm_alternatives":
        base = "PRM with alternatives"
    elif is_other_prm(base):
        base = f"PRM by {base.removeprefix('prm_').replace('_', ' ')}"
    return LABELS.get(method, f"{base}-weighted voting" if weighted else base)


def is_other_prm(method: str) -> bool:
    """Tell whether a method is the PRM of a source of step labels that is not the first: prm_rollouts.

    Others may be called prm_… too: they are verifiers like any.
    """
    return method in OTHER_PRMS


def short_name(method: str) -> str:
    """Return the name of a method for sentences."""
    known = {"pass_at_1": "a single sample", "majority": "majority voting", "prm": "PRM", "orm": "ORM"}
    known |= {"ensemble_prm": "PRM ensemble", "ensemble_orm": "ORM ensemble"}
    return known.get(method, label(method) if is_other_prm(method) else method)


def table_name(method: str) -> str:
    """Return the name of a method for the heads of tables."""
    base, weighted = method.removesuffix("_weighted"), method.endswith("_weighted")
    return {"pass": "any of N"}.get(method, short_name(base) + (", weighted" if weighted else ""))


def in_order(methods: Iterable[str]) -> list[str]:
    """Return each method once: those of LABELS first, in its order, but the upper bound last."""
    present = dict.fromkeys(methods)
    known = [method for method in LABELS if method in present and method != "pass"]
    return [*known, *(method for method in present if method not in LABELS), *(["pass"] if "pass" in present else [])]


def table(best_of_n: pd.DataFrame, split: str, distinct_samples: pd.DataFrame | None = None) -> str:
    """Return the curves as text: a line per method, accuracy in per cent by N, and the interval at the largest N.

    distinct_samples: that table; a last line tells how many different texts N samples are.
    """
    rows = best_of_n[best_of_n["split"] == split]
    ns = sorted(rows["n"].unique())
    names = {method: printable(label(method)) for method in in_order(rows["method"])}
    wide = max(30, *(len(name) + 2 for name in names.values()))
    lines = [f"{'N':<{wide}}" + "".join(f"{n:>7}" for n in ns) + f"   95 % at {ns[-1]}"]
    for method, name in names.items():
        by_n = rows[rows["method"] == method].set_index("n")
        last = by_n.loc[ns[-1]]
        cells = "".join(f"{100 * by_n.loc[n, 'accuracy']:>7.1f}" for n in ns)
        lines.append(f"{name:<{wide}}{cells}   {100 * last['ci_low']:.1f} to {100 * last['ci_high']:.1f}")
    if distinct_samples is not None:
        texts = distinct_samples[distinct_samples["split"] == split].set_index("n")["distinct_texts"].dropna()
        if len(texts):
            lines.append(f"{'different texts among the N':<{wide}}" + "".join(f"{texts[n]:>7.1f}" for n in ns))
    return "\n".join(lines)


def picture(best_of_n: pd.DataFrame, title: str) -> bytes:
    """Return best_of_n.png: accuracy against N of the test split; bands are the 95 % intervals."""
    rows = best_of_n[best_of_n["split"] == "test"]
    every = rows["method"].unique()
    methods = in_order(name for name in every if name not in ("pass", *members_of(every)))
    by_name = colours([method for method in methods if not method.endswith("_weighted")])

    def draw(axes: Any) -> list[str]:
        for method in methods:
            line = rows[rows["method"] == method].sort_values("n")
            aside = method.endswith("_weighted") or method in REFERENCES
            _draw(axes, line, by_name[method.removesuffix("_weighted")], aside)
        return [label(method) for method in methods]

    ticks = sorted(rows["n"].unique())
    return figure_png(draw, ticks, "N = number of solutions per problem", "% problems solved (best-of-N)", title)


def _draw(axes: Any, line: pd.DataFrame, colour: str, aside: bool) -> None:
    style: Row = {"linewidth": 2.2, "linestyle": "-", "markersize": 4}
    style = {"linewidth": 1.3, "linestyle": "--", "markersize": 2.5} if aside else style
    axes.plot(line["n"], 100 * line["accuracy"], color=colour, marker="o", **style)
    if not aside:
        low, high = 100 * line["ci_low"], 100 * line["ci_high"]
        axes.fill_between(line["n"], low, high, color=colour, alpha=0.15, linewidth=0)


def records(frame: pd.DataFrame) -> list[Row]:
    """Return the rows as dicts."""
    return cast(list[Row], frame.to_dict("records"))


def plan_table(runs: Sequence[Any], columns: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Return a plan as text: each stage's state before any work, its shards and rows, and under it why it is not there.

    Up to 120 characters wide with short names. columns: further ones, name → stage → cell.
    """
    columns = columns or {}
    widths = {name: max(9, len(name) + 1) for name in columns}
    more = "".join(f"{name:>{width}}" for name, width in widths.items())
    wide = max(21, *(len(run.name) + 1 for run in runs))
    lines = [f"{'stage':<{wide}}{'status':<{_STATUS_WIDTH}}{'shards':>7}{'rows':>12}{more}"]
    for run in runs:
        statuses = {"PARTIAL": f"PARTIAL {run.shards_reused}/{run.shards_total}", "WAITS": _waits(run.waits_for)}
        cells = "".join(f"{columns[name].get(run.name, ''):>{width}}" for name, width in widths.items())
        lines.append(
            f"{run.name + ' ':<{wide}}{statuses.get(run.status, run.status):<{_STATUS_WIDTH}}"
            f"{run.shards_total or '?':>7}{_rows(run):>12}{cells}".rstrip()
        )
        lines += [f"    {line}" for line in run.why[:_WHY_SHOWN]]
        if len(run.why) > _WHY_SHOWN:
            lines.append(f"    and {len(run.why) - _WHY_SHOWN} more: explain {run.name}")
    return "\n".join(lines)


def _waits(names: str) -> str:
    """Return the first of the names, as many as there is room for."""
    [first, *others] = names.split(", ")
    for shown in range(len(others), -1, -1):
        rest = f" and {len(others) - shown} more" if shown < len(others) else ""
        line = f"waits for {', '.join([first, *others[:shown]])}{rest}"
        if len(line) < _STATUS_WIDTH:
            break
    return line


def _rows(run: Any) -> str:
    """Return how many rows a stage gives, and how sure that is; nothing for a model."""
    if run.output is None:
        return ""
    return f"{run.output.rows_are}{run.output.rows:,}" if run.output.shards else "?"


def stage_table(runs: Sequence[Any]) -> str:
    """Return as text what was reused and what was computed, and how long each stage took when it was computed."""
    wide = max(20, *(len(run.name) + 2 for run in runs))
    lines = [f"{'stage':<{wide}}{'reused':>8}{'computed':>10}{'rows':>12}{'errors':>8}{'seconds':>9}"]
    for run in runs:
        computed = run.shards_total - run.shards_reused
        lines.append(
            f"{run.name:<{wide}}{run.shards_reused:>8}{computed:>10}{run.rows:>12,}{run.rows_error:>8,}"
            f"{'' if run.status == 'HIT' else f'{run.seconds:.0f}':>9}"
        )
    return "\n".join(lines)


def error_causes(tables: Mapping[str, pd.Series]) -> dict[str, dict[str, int]]:
    """Return table → cause → rows; digits in a cause are folded so that alike causes are counted together."""
    causes = {}
    for name, errors in tables.items():
        kept = errors.dropna().astype(str).str.replace(r"\d+", "#", regex=True)
        if len(kept):
            causes[name] = {str(cause): int(count) for cause, count in kept.value_counts().items()}
    return causes
