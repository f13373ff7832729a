"""Matrices, column vectors and determinants."""

from __future__ import annotations

import re

from components.grader.compound_answers import bracketed
from components.grader.expression_parser import NotAnExpression, Risky, parse
from components.grader.normalize import ROW
from components.grader.quantities import Same
from components.grader.value_names import is_name


def by_matrix(left: str, right: str, same: Same) -> bool | None:
    r"""Compare matrices cell by cell, and a determinant with its value; `A=\frac12\begin{pmatrix}...` as its cells."""
    if ("\\begin" in left) != ("\\begin" in right):
        left, right = _from_brackets(left), _from_brackets(right)
    first, second = _rows(left), _rows(right)
    if first is None and second is None:
        return None
    if first is None and second is not None and second[0] == "bars" and second[1]:
        return same(left, _determinant(second[1]))
    if second is None and first is not None and first[0] == "bars" and first[1]:
        return same(_determinant(first[1]), right)
    if first is None or second is None:
        return _is_tuple(first or second, left if first is None else right, same)
    if first[0] != second[0] or len(first[1]) != len(second[1]):
        return False
    names = [side.partition("\\begin")[0].rpartition("=")[0] for side in (left, right)]
    if all(names) and names[0] != names[1]:
        return False
    if re.search(r"[±∓]", left + right) or any("," in cell for row in first[1] + second[1] for cell in row):
        return False
    rows = zip(first[1], second[1], strict=True)
    return all(len(row) == len(other) and all(map(same, row, other)) for row, other in rows)


def _from_brackets(text: str) -> str:
    r"""Write `[[1,2],[3,4]]` as a matrix, and `(1,2)^T` as a tuple, which equals a column; other text as it is."""
    if match := _TRANSPOSED.fullmatch(text):
        return match["tuple"]
    if not _NESTED.fullmatch(text):
        return text
    return f"\\begin{{matrix}}{text[2:-2].replace('],[', ROW).replace(',', '&')}\\end{{matrix}}"


def _is_tuple(matrix: tuple[str, list[list[str]]] | None, other: str, same: Same) -> bool:
    """Return whether a tuple has the entries of a column vector."""
    inside = bracketed(other)
    if matrix is None or matrix[0] or inside is None or inside[0] not in ("()", "⟨⟩"):
        return False
    column, items = matrix[1], inside[1]
    one_column = all(len(row) == 1 for row in column) and len(column) == len(items)
    return one_column and all(same(row[0], item) for row, item in zip(column, items, strict=True))


def _determinant(rows: list[list[str]]) -> str:
    """Write a determinant out along its first row. Raises Risky beyond four rows."""
    if len(rows) > 4 or any(len(row) != len(rows) for row in rows):
        raise Risky("a determinant too large")
    if len(rows) == 1:
        return rows[0][0]
    minors = [[row[:column] + row[column + 1 :] for row in rows[1:]] for column in range(len(rows))]
    terms = [f"({cell})*({_determinant(minor)})" for cell, minor in zip(rows[0], minors, strict=True)]
    return terms[0] + "".join("-+"[i % 2] + term for i, term in enumerate(terms[1:]))


_NESTED = re.compile(r"\[\[[^\[\]]+\](?:,\[[^\[\]]+\])*\]")
_TRANSPOSED = re.compile(r"(?P<tuple>\([^()]+\))\^\{?(?:T|\\top|\\intercal|«T»)\}?")
_MATRIX = re.compile(
    r"(?:(?P<name>[^=]{1,60})=)?(?P<scalar>(?:[^\\=,;]|\\(?!begin))*?)\*?"
    r"[\[(]?\\begin\{(?P<kind>\w*?)(?:matrix\}|array\}(?:\{[^}]*\})?)(?P<rows>.*)\\end\{\w+\}[\])]?(?:\*(?P<behind>[^=,;&]+))?"
)
_UNKNOWNS = re.compile(r"[\[(]?\\begin\{\w*\}(?:\{c*\})?(?P<letters>[a-z](?:¶[a-z])*)¶?\\end\{\w*\}[\])]?")


def _rows(text: str) -> tuple[str, list[list[str]]] | None:
    """Read a matrix: "bars" for a determinant, "norm" or ""; and its rows of cells. None for other text.

    A factor before a matrix is multiplied into its cells; a name before it is left out.
    """
    match = _MATRIX.fullmatch(text) if "\\begin" in text else None
    if match is None or "\\begin" in match["rows"] or not _names_matrix(match["name"] or "A"):
        return None
    kind = {"v": "bars", "V": "norm"}.get(match["kind"], "")
    rows = [[cell.strip() for cell in row.split("&")] for row in match["rows"].split(ROW) if row.strip()]
    scalar = match["scalar"] or match["behind"]
    if match["scalar"] and match["behind"]:
        return None
    if not scalar:
        return kind, rows
    if kind or not _is_factor(scalar):
        return None
    factor = "-1" if scalar == "-" else scalar
    return kind, [[f"({factor})*({cell})" for cell in row] for row in rows]


def _names_matrix(text: str) -> bool:
    """Return whether the left side of an equation names its matrix: `A`, or a column of the unknowns in order."""
    if match := _UNKNOWNS.fullmatch(text):
        letters = match["letters"].split(ROW)
        return letters == sorted(letters)
    return is_name(text)


def _is_factor(text: str) -> bool:
    try:
        return text == "-" or parse(text) is not None
    except NotAnExpression:
        return False
