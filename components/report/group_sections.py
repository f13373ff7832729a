"""The sections of report.html on groups of problems: out of distribution, and by difficulty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from components.report.main_study import records, table_name
from components.report.parts import Section, Table, by_n, curves, interval, percent, section, table
from schemas.results import ENSEMBLES, members_of

_BY_HALVES = (
    "Equally many problems each, by the share that is right of one half of the generator's samples (the paper's figure "
    "6). The other half is evaluated; both ways, averaged. So N reaches half of the samples."
)


def out_of_distribution(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Yield the section on the split ood, by source (the paper's table 1), where there is one."""
    rows = frames["best_of_n"].query("split == 'ood'")
    if rows.empty:
        return
    by_source = frames["group_accuracy"].query("split == 'ood' and grouping == 'source'")
    note = "The sources' problems sum to those of the last line (the paper's table 1)."
    tables = [_accuracies(by_source, "By source", "source", note)] if len(by_source) else []
    tables += _differences(frames, "split == 'ood' and grouping == 'source'", "source")
    tables.append(by_n(rows, "Out of distribution, % of problems solved"))
    text = "Problems unlike those that the generator and the reward models were trained on."
    yield section("Out of distribution", text, [curves(rows, "Out-of-distribution problems", _main(rows))], tables)


def new_facts(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Yield the section on the embedded world's split new_facts, where there is one."""
    rows = frames["best_of_n"].query("split == 'new_facts'")
    if rows.empty:
        return
    text = "Problems with a kind of fact, and maybe a misconception, that no problem of training has."
    charts = [curves(rows, "Problems with new facts", _main(rows))]
    yield section("New facts", text, charts, [by_n(rows, "New facts, % of problems solved")])


def _main(rows: pd.DataFrame) -> list[str]:
    """Return the methods of a small chart. Where trainings have an ensemble, it stands for them."""
    methods = rows["method"].unique()
    others = members_of(methods)
    return [name for name in (*ENSEMBLES, "prm", "orm", "majority") if name in methods and name not in others]


def difficulty(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Yield the section on quintiles of the pass rate (figure 6), levels, subjects and sources."""
    rows = frames["group_accuracy"].query("split == 'test'")
    everything = rows[rows["grouping"] == "pass_rate"]
    quintiles = everything[everything["group"] != "all"]
    methods = rows["method"].unique()
    shown = [m for m in methods if not m.endswith("_weighted") and m not in ("pass", *members_of(methods))]
    charts = [curves(part, str(group), shown) for group, part in quintiles.groupby("group", sort=False)]
    tables = []
    if len(everything):
        note = f"{_BY_HALVES} {_ties(quintiles)}"
        tables.append(_accuracies(everything, "By quintile of difficulty", "quintile", note))
        tables += _differences(frames, "split == 'test' and grouping == 'pass_rate'", "quintile")
    for grouping in ("level", "subject", "source"):
        part = rows[rows["grouping"] == grouping]
        if len(part):
            tables.append(_accuracies(part, f"By {grouping}", grouping, ""))
            tables += _differences(frames, f"split == 'test' and grouping == '{grouping}'", grouping)
    yield section("By difficulty", "Does the gap hold on easy and on hard problems?", charts, tables)


def _ties(quintiles: pd.DataFrame) -> str:
    """Return which quintiles' borders go through problems of equal pass rate."""
    of_groups = [row for row in records(quintiles.drop_duplicates("group")) if row["num_tied"]]
    tied = ", ".join(f"{row['group']}: {row['num_tied']:g} of {row['num_problems']}" for row in of_groups)
    if not tied:
        return "No problem has the pass rate of one in another quintile."
    return f"Problems with the pass rate of one in another quintile, so that ids decide between them: {tied}."


def _at_largest(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["n"] == rows["n"].max()]


def _accuracies(rows: pd.DataFrame, title: str, first: str, note: str) -> Table:
    """Return a table with a line per group at the largest N of its split, its problems counted."""
    rows = _at_largest(rows)
    methods = list(dict.fromkeys(rows["method"]))
    cells = []
    for group, of_group in rows.groupby("group", sort=False):
        by_method = {row["method"]: row for row in records(of_group)}
        first_row = of_group.iloc[0]
        shown = [interval(by_method[m]) if m in by_method else "" for m in methods]
        cells.append([group, int(first_row["num_problems"]), percent(first_row["pass_rate"]), *shown])
    columns = [first, "problems", "pass rate", *(table_name(m) for m in methods)]
    return table(f"{title} (best of {rows['n'].max()}, %)" if len(rows) else title, columns, cells, note)


def _differences(frames: Mapping[str, pd.DataFrame], chosen: str, first: str) -> list[Table]:
    """Return the table of paired differences of these groups at the largest N, a line per group; none without one."""
    rows = frames["group_comparisons"].query(chosen) if "group_comparisons" in frames else pd.DataFrame()
    if rows.empty:
        return []
    rows = _at_largest(rows)
    pairs = list(dict.fromkeys(zip(rows["method"], rows["baseline"], strict=True)))
    cells = []
    for group, of_group in rows.groupby("group", sort=False):
        by_pair: dict[Any, Any] = {(row["method"], row["baseline"]): row for row in records(of_group)}
        shown = [interval(by_pair[pair], "difference") if pair in by_pair else "" for pair in pairs]
        cells.append([group, int(of_group.iloc[0]["num_problems"]), *shown])
    columns = [first, "problems", *(f"{table_name(one)} − {table_name(other)}" for one, other in pairs)]
    note = "Paired by problem and training; 95 % intervals, not corrected for the number of groups."
    return [table(f"Differences by {first} (best of {rows['n'].max()}, points)", columns, cells, note)]
