"""The sections of report.html on the inputs of a study: who rated the steps, and what is near evaluation problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from components.report.main_study import Row, records
from components.report.parts import Section, listing, named_interval, percent, section, table


def input_sections(frames: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return the sections that have a table. frames: table's name → its rows."""
    return [part for build in (labels, contaminated) for part in build(frames) if part["tables"]]


def labels(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Yield the section on who rated the steps, and on agreement between them."""
    tables = []
    if "label_sources" in frames:
        tables.append(listing("What each source gave and took", frames["label_sources"], _SOURCES))
    if "agreement" in frames:
        rows = frames["agreement"]
        names = list(dict.fromkeys(rows["source"]))
        for column, title, form in _AGREEMENT:
            cells = {
                (row["source"], row["reference"]): named_interval(row, column, column, form) for row in records(rows)
            }
            body = [[source, *(cells.get((source, other), "") for other in names)] for source in names]
            note = "Rows: the source; columns: the reference, on the same solutions. 95 % intervals over problems."
            tables.append(table(title, ["source", *names], body, note))
    if "label_counts" in frames:
        columns: dict[str, Callable[[Row], Any]] = {"what": lambda row: row["what"], "count": lambda row: row["count"]}
        tables.append(
            listing("Labelled solutions: all are used or dropped for a cause", frames["label_counts"], columns)
        )
    yield section("Step labels", "Where the labels of the steps come from.", [], tables)


_AGREEMENT: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("kappa", "Agreement on steps: Cohen's kappa", lambda value: "–" if pd.isna(value) else f"{value:.2f}"),
    ("first_error_precision", "Precision of the first error, %", percent),
    ("first_error_recall", "Recall of the first error, %", percent),
    ("same_first_error", "Solutions with the same first error or none, %", percent),
)
_SOURCES: dict[str, Callable[[Row], Any]] = {
    "source": lambda row: row["source"],
    "solutions": lambda row: f"{row['num_solutions']:,}",
    "rated": lambda row: f"{row['num_rated']:,}",
    "no verdict": lambda row: f"{row['num_unrated']:,}",
    "errors": lambda row: f"{row['num_error']:,}",
    "ratings": lambda row: f"{row['num_ratings']:,}",
    "% with a wrong step": lambda row: percent(row["share_with_error"]),
    "continuations": lambda row: "–" if pd.isna(row["num_continuations"]) else f"{row['num_continuations']:,.0f}",
    "of every step": lambda row: (
        "–" if pd.isna(row["num_continuations_every_step"]) else f"{row['num_continuations_every_step']:,.0f}"
    ),
    "tokens sampled": lambda row: "–" if pd.isna(row["num_tokens"]) else f"{row['num_tokens']:,.0f}",
}


def contaminated(frames: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Yield the section on evaluation problems that are much like something trained on."""
    if "contamination" not in frames:
        return
    text = (
        f"{len(frames['contamination'])} evaluation problems share at least half of their n-grams with one text that "
        "is trained on. The same problem, spacing and LaTeX aside, is refused before a study starts."
    )
    columns: dict[str, Callable[[Row], Any]] = {
        "% shared": lambda row: percent(row["overlap"]),
        "split": lambda row: row["split"],
        "problem": lambda row: row["problem"],
        "trained on": lambda row: f"{row['trained_on']}, row {row['trained_row']}",
        "its problem": lambda row: row["trained_problem"],
    }
    yield section("Near training texts", text, [], [listing("The nearest", frames["contamination"].head(50), columns)])
