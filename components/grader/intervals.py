"""Intervals, unions of them, and inequalities, which may say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from components.grader.compound_answers import bracketed, list_items, same_in_any_order, split_top
from components.grader.numbers import exact_number
from components.grader.quantities import Same

_ORDER = {"<": ("<", False), "≤": ("≤", False), ">": ("<", True), "≥": ("≤", True)}


def by_inequality(left: str, right: str, same: Same) -> bool | None:
    """Compare inequalities link by link, or as the intervals that they mean."""
    if not any(re.search("[<>≤≥≠]", side) for side in (left, right)):
        return None
    readings = [_relations(side) for side in (left, right)]
    if None not in readings:
        first, second = readings
        assert first is not None
        assert second is not None
        if len(first) == len(second) and all(
            a[1] == b[1] and same(a[0], b[0]) and same(a[2], b[2]) for a, b in zip(first, second, strict=True)
        ):
            return True
    letters = [set(re.findall("[A-Za-z]", side)) for side in (left, right)]
    if all(letters) and letters[0] != letters[1]:
        return False
    intervals = [interval(side) for side in (left, right)]
    return None not in intervals and same(str(intervals[0]), str(intervals[1])) if [left, right] != intervals else False


def _relations(text: str) -> list[tuple[str, str, str]] | None:
    """Read `a > b` as ("b", "<", "a"), and a chain as its links, from the smallest on."""
    parts = re.split("([<>≤≥≠])", text)
    links = []
    for left, sign, right in zip(parts[0::2], parts[1::2], parts[2::2], strict=False):
        if sign == "≠":
            low, high = sorted((left, right))
            links.append((low, sign, high))
            continue
        kind, turned = _ORDER[sign]
        links.append((right, kind, left) if turned else (left, kind, right))
    turned = len(links) > 1 and links[0][0] == links[1][2]
    return links[::-1] if turned else links or None


def interval(text: str) -> str | None:
    """Write an inequality in one variable as an interval; an interval stays as it is, other text is None."""
    if not re.search("[<>≤≥]", text):
        return text if bracketed(text) or "∪" in text else None
    links = _relations(text)
    if links is None or len(links) > 2:
        return None
    variable = re.compile("[a-zA-Z]")
    if len(links) == 2:
        (low, sign_low, middle), (again, sign_high, high) = links
        if middle != again or not variable.fullmatch(middle):
            return None
    elif variable.fullmatch(links[0][0]):
        low, sign_low, (_, sign_high, high) = "-∞", "<", links[0]
    elif variable.fullmatch(links[0][2]):
        (low, sign_low, _), sign_high, high = links[0], "<", "∞"
    else:
        return None
    return f"{'[' if sign_low == '≤' else '('}{low},{high}{']' if sign_high == '≤' else ')'}"


def by_union(left: str, right: str, same: Same) -> bool | None:
    """Compare unions of intervals: merged where their ends are rational or infinite, else part by part."""
    first, second = split_top(left, "∪"), split_top(right, "∪")
    if len(first) == len(second) == 1:
        return None
    parts = _parts_of_union(left), _parts_of_union(right)
    merged = _merged(parts[0]), _merged(parts[1])
    return merged[0] == merged[1] if None not in merged else same_in_any_order(parts[0], parts[1], same)


def _parts_of_union(text: str) -> list[str]:
    """Return the intervals of a union, or of inequalities in one variable that are joined by `or`."""
    parts = split_top(text, "∪")
    items = list_items(text)
    variables = set(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+|\bor\b", "", text)))
    if len(parts) > 1 or items is None or len(variables) != 1 or not re.search(r"(?<![A-Za-z])or(?![A-Za-z])", text):
        return parts
    return [interval(part) or part for part in items]


_Bound = tuple[Fraction | float, int]  # a point; 1 for a bound just above it, 0 for one at it


def _merged(parts: Sequence[str]) -> list[tuple[_Bound, _Bound]] | None:
    """Return a union's intervals in order, touching ones merged; None for ends neither rational nor infinite."""
    spans = []
    for part in parts:
        inside = bracketed(part)
        if inside is None or not inside[1]:
            return None
        kind, items = inside
        ends = [{"∞": float("inf"), "-∞": float("-inf")}.get(item, exact_number(item)) for item in items]
        numbers = [end for end in ends if end is not None]
        if len(numbers) != len(items) or (kind != "\\{\\}" and len(items) != 2):
            return None
        if kind == "\\{\\}":
            spans += [((number, 0), (number, 1)) for number in numbers]
        else:
            spans.append(((numbers[0], int(kind[0] == "(")), (numbers[1], int(kind[-1] == "]"))))
    merged: list[tuple[_Bound, _Bound]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged
