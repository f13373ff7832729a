r"""Solutions with their names, `x=1, y=2` or `(x,y) \in \{(5,8),(8,5)\}`, beside tuples without names."""

from __future__ import annotations

import re

from components.grader.compound_answers import bracketed, list_items, same_in_any_order, split_top
from components.grader.quantities import Same

_TUPLE_NAME = re.compile(
    r"\((?P<names>[A-Za-z](?:_\{?\w\}?)?(?:,[A-Za-z](?:_\{?\w\}?)?)+)\)(?P<sign>[=∈])(?P<values>.+)"
)
_LETTER = re.compile(r"(?P<letter>[A-Za-z])(?:_\{?(?P<index>\d{1,2})\}?)?")


def by_names(left: str, right: str, same: Same) -> bool | None:
    """Compare named solutions to tuples in the order of the names: x before y, and x_1 before x_2."""
    first, second = _named(left), _named(right)
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        if not (left.startswith("(") or right.startswith("(")):
            return None  # two lists of equations: by_list
        return first[0] == second[0] and same_in_any_order(first[1], second[1], same)
    (names, solutions), other = (first, right) if first is not None else (second, left)  # type: ignore[misc]
    if re.search("[=<>≤≥≠±∓]", other):
        return None
    tuples = _tuples(other)
    inside = bracketed(other)
    if tuples is None and inside is not None and inside[0] == "\\{\\}":
        of_one = len({name[0] for name in names}) == len(solutions) == 1  # x_1 and x_2
        return same_in_any_order(solutions[0][1:-1].split(","), inside[1], same) if of_one else False
    if tuples is None:
        items = list_items(other)
        return None if items is None else len(solutions) == 1 and same(solutions[0], f"({','.join(items)})")
    return same_in_any_order(solutions, tuples, same)


def _named(text: str) -> tuple[list[str], list[str]] | None:
    """Return the names in their order, and each solution as a tuple of values; None for other text."""
    if match := _TUPLE_NAME.fullmatch(text):
        names = match["names"].split(",")
        values = match["values"].replace(f"({match['names']})=", "")
        tuples = _tuples(values)
        if tuples is None or names != _ordered(names) or (match["sign"] == "∈" and not values.startswith("\\{")):
            return None
        return names, tuples
    text = text.replace("∧", ",")
    if text.count("=") < 2 or re.search("[<>≤≥≠±∓]", text):
        return None
    return _grouped([split_top(item, "=") for item in list_items(text) or []], text)


def _grouped(equations: list[list[str]], text: str) -> tuple[list[str], list[str]] | None:
    """Return the solutions of a list of equations, in which each name comes once in every solution."""
    if not equations or any(len(sides) != 2 or not _LETTER.fullmatch(sides[0]) for sides in equations):
        return None
    written, values_written = [sides[0] for sides in equations], [sides[1] for sides in equations]
    size = len(set(written))
    names = _ordered(written[:size])
    if size < 2 or len(written) % size or names is None:
        return None
    solutions = []
    for start in range(0, len(written), size):
        values = dict(zip(written[start : start + size], values_written[start : start + size], strict=True))
        if len(values) != size:
            return None
        solutions.append(f"({','.join(values[name] for name in names)})")
    if len(solutions) == 1 and re.search(r"(?<![A-Za-z])or(?![A-Za-z])", text):
        return None
    return names, solutions


def _ordered(names: list[str]) -> list[str] | None:
    """Return names in their usual order; None for names whose order is not plain, as k after n."""
    matches = [_LETTER.fullmatch(name.replace("{", "").replace("}", "")) for name in names]
    letters = [match["letter"] for match in matches if match]
    indices = [int(match["index"]) for match in matches if match and match["index"]]
    if len(set(letters)) == 1 and len(indices) == len(names):
        return [name for _, name in sorted(zip(indices, names, strict=True))]
    if indices or len(set(letters)) != len(names):
        return None
    if set(letters) <= set("xyz"):
        return sorted(names)
    return names if letters == sorted(letters) else None


def _tuples(text: str) -> list[str] | None:
    """Return the tuples of a list or a set of tuples, or a tuple alone; None for other text."""
    inside = bracketed(text)
    items = inside[1] if inside is not None and inside[0] == "\\{\\}" else [text] if inside else list_items(text)
    kinds = {(bracketed(item) or ("",))[0] for item in items or [""]}
    return items if kinds in ({"()"}, {"⟨⟩"}) else None
