"""Intervals, unions of them, and inequalities, which may say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from components.grader.compound_answers import bracketed, same_in_any_order, split_top
from components.grader.numbers import exact_number
from components.grader.quantities import Same

_ORDER = {"<": ("<", False), "≤": ("≤", False), ">": ("<", True), "≥": ("≤", True)}


def by_inequality(left: str, right: str, same: Same) -> bool | None:
    """Compare inequalities link by link: those that solution_sets.py cannot read as a set."""
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
    return False


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


def by_union(left: str, right: str, same: Same) -> bool | None:
    """Compare unions of intervals: merged where their ends are rational or infinite, else part by part."""
    first, second = split_top(left, "∪"), split_top(right, "∪")
    if len(first) == len(second) == 1:
        return None
    merged = _merged(first), _merged(second)
    return merged[0] == merged[1] if None not in merged else same_in_any_order(first, second, same)


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
