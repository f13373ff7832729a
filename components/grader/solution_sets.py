r"""Sets of real numbers: `x > 2`, `|k| \ge 2`, `x \ne 2`, `\{x \mid x>2\}`, `\mathbb{R}\setminus\{2\}`.

Each is read as a variable and a union of intervals, and two unions are compared.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction

import mpmath

from components.grader.compound_answers import bracketed, list_items, split_top
from components.grader.expression_parser import NotAnExpression, Risky, parse
from components.grader.expression_value import exact, names, numeric
from components.grader.numbers import exact_number
from components.grader.quantities import Same, is_constant
from components.grader.value_names import is_name

_MARKS = re.compile(r"[<>≤≥≠∖∈∉]|\\notin|\\mathbb\{R\}")
_BUILDER = re.compile(
    r"\\\{(?P<name>[A-Za-z]|\\[a-z]+) ?(?:∈ ?\\mathbb\{R\})?(?:[∣|:]|«(?:such that|where)»)(?P<condition>.+)\\\}"
)
_MEMBER = re.compile(r"(?P<name>[A-Za-z]|\\[a-z]+) ?∈(?P<set>.+)")
_REALS = re.compile(r"(?:^[A-Za-z]∈ ?\\mathbb\{R\}(?:[,;]|«and»| ?and )|[,;][A-Za-z]∈ ?\\mathbb\{R\}$)")
_WITHOUT = re.compile(
    r"(?:\\mathbb\{R\}|ℝ|\(-∞,∞\)|«all real numbers except»|all real numbers except )(?:∖|-|(?<=[» ])|\\(?=\\))"
    r"(?P<points>\\\{.+\\\}|[\[(].+[\])]|[^{}(]+)"
)
_OUTSIDE = re.compile(r"(?P<name>[A-Za-z]|\\[a-z]+) ?(?:\\notin|∉) ?(?P<points>.+)")
_OR = re.compile(r"[,;]?(?:«or»|(?: |(?<![A-Za-z\\ ]))or(?: |(?![A-Za-z]))|∨)")
_AND = re.compile(r"[,;]?(?:«and»|(?: |(?<![A-Za-z\\ ]))and(?: |(?![A-Za-z]))|∧)|[,;]")
_SIGNS = {"<": (False, False), "≤": (False, True), ">": (True, False), "≥": (True, True)}

_NAMED_SETS = {"\\mathbb{R}": "(-∞,∞)", "ℝ": "(-∞,∞)"}
_NAMED_SETS |= {f"\\mathbb{{R}}{power}": "(0,∞)" for power in ("^+", "^{+}", "_+", "_{>0}", "^*_+")}

Piece = tuple[str, bool, str, bool]  # low end, whether it belongs to the set, and the same of the high end
EVERYTHING: Piece = ("-∞", False, "∞", False)


def by_sets(left: str, right: str, same: Same) -> bool | None:
    """Compare sets of numbers as unions of intervals; None where one side cannot be read as one."""
    if not _MARKS.search(left + " " + right):
        return None
    first, second = solution_set(left), solution_set(right)
    if first is None or second is None or (left, right) == (first[1], second[1]):
        return None
    if first[0] and second[0] and first[0] != second[0]:
        return False
    return same(first[1], second[1])


def solution_set(text: str) -> tuple[str, str] | None:
    """Return a set's variable ("" for a set without one) and the set as a union of intervals; None for other text."""
    text = _REALS.sub("", text)
    if match := _OUTSIDE.fullmatch(text):
        text = f"{match['name']}∈\\mathbb{{R}}∖{match['points']}"
    if match := _BUILDER.fullmatch(text):
        inner = solution_set(match["condition"])
        return inner if inner is not None and inner[0] == match["name"] else None
    if match := _MEMBER.fullmatch(text):
        inner = solution_set(match["set"])
        return None if inner is None or inner[0] else (match["name"], inner[1])
    if text in _NAMED_SETS:
        return "", _NAMED_SETS[text]
    if match := _WITHOUT.fullmatch(text):
        pieces = _outside(match["points"])
        return None if pieces is None else ("", _written(pieces))
    if not re.search("[<>≤≥≠]", text):
        plain = [bracketed(part) for part in split_top(text, "∪")]
        return ("", text) if all(part and part[1] for part in plain) else None
    return _conditions(text)


def _conditions(text: str) -> tuple[str, str] | None:
    """Read conditions on one variable that are joined by `or`, and within these by `and` or commas."""
    variables: set[str] = set()
    union: list[Piece] = []
    for choice in _OR.split(text):
        points = "≠" in choice and len(re.findall("[≠<>≤≥]", choice)) == 1  # x ≠ 2, 3
        pieces: list[Piece] = [EVERYTHING]
        for condition in [choice] if points else _AND.split(choice):
            name, its_pieces = _condition(condition) or ("", [])
            variables.add(name)
            pieces = its_pieces if pieces == [EVERYTHING] else _intersection(pieces, its_pieces)
        if not pieces:
            return None
        union += pieces
    return (variables.pop(), _written(union)) if len(variables) == 1 else None


def _condition(text: str) -> tuple[str, list[Piece]] | None:
    """Read `x<2`, `1≤|z|≤3`, `2x+1>0` or `x≠2,3` as a variable and intervals."""
    if "≠" in text:
        name, _, points = text.partition("≠")
        pieces = _without(points) if is_name(name) and "≠" not in points else None
        return None if pieces is None else (name, pieces)
    parts = re.split("([<>≤≥])", text)
    signs = [_SIGNS[sign] for sign in parts[1::2]]
    if not signs or len({falling for falling, _ in signs}) > 1 or not all(parts):
        return None
    terms, closed = parts[0::2], [is_closed for _, is_closed in signs]
    if signs[0][0]:
        terms, closed = terms[::-1], closed[::-1]
    if len(terms) == 3:
        return _between(terms[1], (terms[0], closed[0], terms[2], closed[1]))
    if len(terms) != 2:
        return None
    low, high = terms
    if _has_variable(low) and not _has_variable(high):
        return _between(low, ("-∞", False, high, closed[0]))
    if _has_variable(high) and not _has_variable(low):
        return _between(high, (low, closed[0], "∞", False))
    return _between(f"({high})-({low})", ("0", closed[0], "∞", False)) if "|" not in low + high else None


def _between(middle: str, piece: Piece) -> tuple[str, list[Piece]] | None:
    """Return the variable in an expression between two bounds, and the intervals in which it lies."""
    low, low_closed, high, high_closed = piece
    if is_name(middle):
        return middle, [piece]
    if re.fullmatch(r"\|[^|]+\|", middle):
        return _absolute_between(middle[1:-1], piece)
    linear = _linear(middle)
    if linear is None:
        return None
    name, factor, constant = linear
    ends = [_solved(low, factor, constant), _solved(high, factor, constant)]
    if factor < 0:
        return name, [(ends[1], high_closed, ends[0], low_closed)]
    return name, [(ends[0], low_closed, ends[1], high_closed)]


def _absolute_between(inner: str, piece: Piece) -> tuple[str, list[Piece]] | None:
    """Return the variable in an expression whose absolute value lies between two bounds, and its intervals."""
    low, low_closed, high, high_closed = piece
    mirrored = "-∞" if high == "∞" else _negative(high)
    value = _value(high if low == "-∞" else low)
    if value is None or value < 0 or (value == 0 and (low == "-∞" or low_closed)):
        return None
    if low == "-∞":
        return _between(inner, (mirrored, high_closed, high, high_closed))
    below = _between(inner, (mirrored, high_closed, _negative(low), low_closed))
    above = _between(inner, piece)
    if below is None or above is None:
        return None
    return below[0], [*below[1], *above[1]]


def _negative(end: str) -> str:
    number = exact_number(end)
    return f"-({end})" if number is None else str(-number)


def _linear(text: str) -> tuple[str, Fraction, Fraction] | None:
    """Read a x + b with rational a ≠ 0 and b in one variable: its name, a and b."""
    try:
        tree = parse(text)
        variables = names(tree)
        if len(variables) != 1:
            return None
        (name,) = variables
        values = [exact(tree, {name: Fraction(x)}) for x in (0, 1, 2, -7, 1009)]
    except (NotAnExpression, Risky, ZeroDivisionError):
        return None
    if None in values:
        return None
    constant, factor = values[0], values[1] - values[0]  # type: ignore[operator]
    expected = [constant + factor * x for x in (0, 1, 2, -7, 1009)]  # type: ignore[operator]
    return (name, factor, constant) if factor and values == expected else None  # type: ignore[return-value]


def _solved(end: str, factor: Fraction, constant: Fraction) -> str:
    """Return the value of x at which factor x + constant reaches an end."""
    if end in ("∞", "-∞"):
        return end if factor > 0 else {"∞": "-∞", "-∞": "∞"}[end]
    number = exact_number(end)
    return f"(({end})-({constant}))/({factor})" if number is None else str((number - constant) / factor)


def _has_variable(text: str) -> bool:
    return not is_constant(text)


def _outside(points: str) -> list[Piece] | None:
    """Return all numbers outside of an interval, or except the points of a set."""
    inside = bracketed(points)
    if inside is None or inside[0] == "\\{\\}":
        return _without(points.removeprefix("\\{").removesuffix("\\}"))
    kind, ends = inside
    if len(ends) != 2 or None in map(_value, ends) or "∞" in points:
        return None
    return [("-∞", False, ends[0], kind[0] == "("), (ends[1], kind[-1] == ")", "∞", False)]


def _without(points: str) -> list[Piece] | None:
    """Return the intervals of all numbers except some points, which may be a list or `±2`."""
    items = list_items(points) or [points]
    values = [_value(item) for item in items]
    if None in values:
        return None if len(items) > 1 or _linear(points) is None else _around(items)
    return _around([item for _, item in sorted(zip(values, items, strict=True))])


def _around(points: list[str]) -> list[Piece]:
    ends = ["-∞", *points, "∞"]
    return [(low, False, high, False) for low, high in itertools.pairwise(ends)]


def _value(text: str) -> float | None:
    """Return a real constant's value, only to compare it with others; None for other text."""
    if text in ("∞", "-∞"):
        return float("inf") if text == "∞" else float("-inf")
    number = exact_number(text)
    if number is not None:
        return float(number)
    try:
        with mpmath.workdps(30):
            value = numeric(parse(text), {})
            return None if mpmath.im(value) else float(mpmath.re(value))
    except (NotAnExpression, Risky, ArithmeticError, ValueError, KeyError, TypeError):
        return None


def _intersection(first: Sequence[Piece], second: Sequence[Piece]) -> list[Piece]:
    """Return what two unions have in common; nothing where that is one point, or the order of their ends is unknown."""
    common = []
    for one in first:
        for two in second:
            lows = [(_value(piece[0]), not piece[1], piece[0]) for piece in (one, two)]
            highs = [(_value(piece[2]), piece[3], piece[2]) for piece in (one, two)]
            if any(end[0] is None for end in lows + highs):
                return []
            low, high = max(lows), min(highs)
            if low[0] < high[0]:  # type: ignore[operator]
                common.append((low[2], not low[1], high[2], high[1]))
            elif low[0] == high[0]:
                return []  # one point, or none
    return common


def _written(pieces: Sequence[Piece]) -> str:
    return "∪".join(f"{'[' if p[1] else '('}{p[0]},{p[2]}{']' if p[3] else ')'}" for p in pieces)
