"""Measured figures in Markdown, rendered from `docs/results/*.json`.

    <!-- results: label_sources.json sources -->
    (the table of that name, or the sentence)
    <!-- /results -->

With a third word, `source`, a line below says how, when and on what it was measured. `docs/update.py` rewrites blocks.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_BLOCK = re.compile(r"(<!-- results: (\S+) (\S+)( source)? -->\n).*?(<!-- /results -->)", re.DOTALL)


def with_results(text: str) -> str:
    """The Markdown text with the content of every results block replaced. Raises KeyError for an unknown table."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_rendered(match[2], match[3], bool(match[4]))}{match[5]}", text)


def _rendered(file: str, name: str, source: bool) -> str:
    results = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    if name in results.get("sentences", {}):
        found = results["sentences"][name]
        body = textwrap.fill(found["text"].format(**found["values"]), 118) + "\n"
    else:
        found = results["tables"][name]
        # An empty line on both sides: Markdown on GitHub would take a table behind a comment for part of it.
        body = "\n" + _table(found) + "\n"
    return body + (f"{_source(found)}\n\n" if source else "")


def _table(table: dict[str, Any]) -> str:
    columns = table["columns"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in table["rows"]:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells for {len(columns)} columns: {row}")
        cells = [_cell(cell, table, column) for cell, column in zip(row, columns, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(cell: Any, table: dict[str, Any], column: str) -> str:
    """One cell: a text, a number, {value, low, high}, {low, high}, {mean, deviation}, or null for an empty one."""
    decimals = table.get("column_decimals", {}).get(column, table["decimals"])
    sign = "+" if column in table.get("signed", []) else ""

    def number(value: float, sign: str = "") -> str:
        # A whole number is a count: it has no decimals.
        return f"{value:{sign},}" if isinstance(value, int) else f"{value:{sign},.{decimals}f}"

    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int | float):
        return number(cell, sign)
    if "mean" in cell:
        return f"{number(cell['mean'])} ± {number(cell['deviation'])}"
    interval = f"{number(cell['low'])} to {number(cell['high'])}"
    return f"{number(cell['value'], sign)} ({interval})" if "value" in cell else interval


def _source(found: dict[str, Any]) -> str:
    """How, on what and when the figures were measured."""
    seed = f", seed {found['seed']}" if "seed" in found else ""
    at = f"commit {found['commit']}" if found["commit"] else f"commit not recorded, reported in {found['reported_in']}"
    return f"*Measured by `{found['command']}`{seed}, on {found['machine']}; {found['date']}; {at}.*"
