"""What each reward model of a study was given: labels by sign, their bits, tokens, updates, and the sweep.

Rivals are matched where they have the same solutions, updates and rates to choose from. Where they have not, a note
says so: their difference is then not of supervision alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.dataflow.runner import Runner
from components.dataflow.stage import Model
from components.report.main_study import Row, table_name
from components.report.parts import Section, listing, section
from schemas.ratings import ORM_LABELS, PRM_LABELS

_NOT_ALONE = "their difference is not of supervision alone"
_KINDS = {"orm": ORM_LABELS, "prm": PRM_LABELS}


def given(run: Runner) -> pd.DataFrame:
    """Return a row per reward model that the study trained, those of the sweep included.

    Columns: stage, kind, learning_rate, rows (solutions), labels (in an epoch) and of them right, neutral and wrong,
    bits, epochs, updates, tokens, held_out_loss, held_out_auc, solutions (which ones it learned from: input and
    digest). bits is an upper bound on what the labels say: their
    number times the entropy of their shares, log2; labels of one solution are not independent.
    """
    rows = []
    for name, model in run.results.items():
        if not isinstance(model, Model) or name.partition("_")[0] not in _KINDS:
            continue
        manifest = run.store.manifest(run.store.folder_of(model)) or {}
        config = manifest.get("recipe", {}).get("config")
        if config is None:  # a published model: others trained it
            continue
        metrics = model.metrics
        counts = [int(metrics.get(f"labels_{label}", 0)) for label in _KINDS[config["kind"]].values()]
        rows.append(
            {
                "stage": name,
                "kind": config["kind"],
                "learning_rate": config["training"]["learning_rate"],
                "rows": int(metrics.get("rows_used", 0)),
                "labels": sum(counts),
                "labels_wrong": counts[0],
                "labels_neutral": counts[1] if len(counts) == 3 else 0,
                "labels_right": counts[-1],
                "bits": _bits(counts),
                "epochs": config["training"]["epochs"],
                "updates": int(metrics.get("steps", 0)),
                "tokens": int(metrics.get("tokens_trained", 0)),
                "held_out_loss": metrics.get("held_out_loss"),
                "held_out_auc": metrics.get("held_out_within_problem_auc"),
                "solutions": _solutions(manifest.get("inputs", {})),
            }
        )
    return pd.DataFrame(rows)


def _solutions(inputs: Mapping[str, Mapping[str, str]]) -> str:
    """Return which solutions a model learned from: sampled ones, or those of a file."""
    names = ("solutions", "labelled_solutions", "graded_solutions")
    return ", ".join(f"{name} {inputs[name]['digest']}" for name in names if name in inputs)


def _bits(counts: list[int]) -> float:
    total = sum(counts)
    return -sum(count * math.log2(count / total) for count in counts if count)


def unmatched(table: pd.DataFrame, sources: Sequence[str] = ()) -> list[str]:
    """Return notes where the first ORM and PRM differ in solutions, updates, rates to choose from or alternatives; none
    where they are matched. Tokens differ by design: a PRM reads no step after the first wrong one.

    table: as `given` returns it. sources: of step labels; the first one's PRM is compared.
    """
    first = {kind: rows.iloc[0] for kind, rows in table.groupby("kind")} if len(table) else {}
    if set(first) != set(_KINDS):
        return []
    differ = [
        f"{what} ({first['prm'][what]:,} against {first['orm'][what]:,})"
        for what in ("rows", "updates")
        if abs(first["prm"][what] - first["orm"][what]) > 0.02 * first["orm"][what]
    ]
    notes = []
    if differ:
        notes.append(f"PRM and ORM were not trained on the same number of {' and '.join(differ)}: {_NOT_ALONE}")
    rates = {kind: sorted({f"{rate:g}" for rate in rows["learning_rate"]}) for kind, rows in table.groupby("kind")}
    if rates["prm"] != rates["orm"]:
        tried = f"({', '.join(rates['prm'])} against {', '.join(rates['orm'])})"
        notes.append(f"PRM and ORM had not the same learning rates to choose from {tried}: {_NOT_ALONE}")
    if first["prm"]["solutions"] != first["orm"]["solutions"]:
        notes.append(f"PRM and ORM were trained on different solutions: {_NOT_ALONE}")
    if sources[:1] == ("alternatives",):
        notes.append(f"the PRM learned from alternatives to steps too, which the ORM has not: {_NOT_ALONE}")
    return notes


def given_section(table: pd.DataFrame) -> Section:
    """Return the section of report.html with the table."""
    note = "Bits: an upper bound, labels × the entropy of their shares. Rates named _at_: a sweep; the best is kept."
    is_same = len(table) > 0 and table["solutions"].nunique() == 1
    same = "All learn from the same solutions, of which a PRM reads each through its first wrong step. "
    text = f"{same if is_same else ''}A label of a step is one of several that a solution has."
    return section("What each was given", text, [], [listing("Supervision and training", table, _GIVEN, note)])


def _or_dash(name: str) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[name]) else f"{row[name]:.4f}"


_GIVEN: dict[str, Callable[[Row], Any]] = {
    "model": lambda row: table_name(row["stage"]),
    "learning rate": lambda row: f"{row['learning_rate']:g}",
    "solutions": lambda row: f"{row['rows']:,}",
    "labels": lambda row: f"{row['labels']:,}",
    "right": lambda row: f"{row['labels_right']:,}",
    "neutral": lambda row: f"{row['labels_neutral']:,}",
    "wrong": lambda row: f"{row['labels_wrong']:,}",
    "kbit": lambda row: f"{row['bits'] / 1000:.1f}",
    "epochs": lambda row: row["epochs"],
    "updates": lambda row: f"{row['updates']:,}",
    "tokens": lambda row: f"{row['tokens']:,}",
    "held-out loss": _or_dash("held_out_loss"),
    "held-out AUC": _or_dash("held_out_auc"),
}
