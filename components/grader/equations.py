"""Answers that say something: an equation, an inequality, a membership."""

from __future__ import annotations

import re

from components.grader import expression_equality, expression_parser
from components.grader.compound_answers import split_top
from components.grader.expression_parser import NotAnExpression
from components.grader.expression_value import names
from components.grader.numbers import exact_number
from components.grader.quantities import Same

_NAME = re.compile(r"\([A-Za-z](?:,[A-Za-z])+\)|(?:[A-Za-z]{1,3}|\\[a-z]+|«[^»]*»)(?:_\{?\w+\}?)?'*(?:\^\{-1\})?(?:\([A-Za-z0-9](?:,[A-Za-z0-9])*\))?|(?:\\angle|\\triangle|m\\angle) ?[A-Z]{1,3}")  # fmt: skip  # noqa: E501


def by_membership(left: str, right: str, same: Same) -> bool | None:
    r"""Compare `x \in [1,2]` as `[1,2]`."""
    first, second = re.match("([A-Za-z])∈", left), re.match("([A-Za-z])∈", right)
    if first is None and second is None:
        return None
    if first is not None and second is not None and first[1] != second[1]:
        return False
    return same(left[first.end() if first else 0 :], right[second.end() if second else 0 :])


def by_equation(left: str, right: str, same: Same) -> bool | None:
    """Compare equations side by side, or as differences; `x=5` equals `5`, and never `y=5`."""
    first, second = split_top(left, "="), split_top(right, "=")
    if len(first) == len(second) == 1 or any(re.search("[<>≤≥≠]", side) for side in (left, right)):
        return None
    if len(first) == len(second) == 2:
        if (same(first[0], second[0]) and same(first[1], second[1])) or (
            same(first[0], second[1]) and same(first[1], second[0])
        ):
            return True
        if any(re.fullmatch("[A-Za-z]{2,}", side) for side in (first[0], second[0])):
            return False  # names of several letters
        if any(map(_NAME.fullmatch, (first[0], second[0]))) and first[0] != second[0] and not _shared(first, second):
            return False
        return _same_difference(first, second)
    if 1 in (len(first), len(second)) and len(first) + len(second) == 3:
        sides, value = (first, right) if len(first) == 2 else (second, left)
        if not re.search("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", left + right)) and same(sides[0], sides[1]):
            return same(sides[1], value)  # worked out: 2^5 = 32
        if _NAME.fullmatch(sides[0]):
            letters = re.findall("[A-Za-z]", sides[0]) if sides[0].startswith("(") else []
            if letters != sorted(letters):
                return False  # (y,x)=(1,2)
            return same(sides[1], value)
        return _NAME.fullmatch(sides[1]) is not None and exact_number(value) is not None and same(sides[0], value)
    return False


def _shared(first: list[str], second: list[str]) -> bool:
    """Return whether both equations have the same variables."""
    letters = [set(re.findall(r"[A-Za-z]", re.sub(r"\\[a-z]+", "", "".join(sides)))) for sides in (first, second)]
    return letters[0] == letters[1]


def _same_difference(first: list[str], second: list[str]) -> bool:
    try:
        left, right = (expression_parser.parse(f"({sides[0]})-({sides[1]})") for sides in (first, second))
        if not names(left) or not names(right):
            return False  # all true statements about numbers would be equal
        if expression_equality.equal(left, expression_parser.Tree("-", (left,)), in_form=False):
            return False  # an identity such as x = x: the difference equals its own negative
        return expression_equality.equal(left, right) or expression_equality.equal(
            left, expression_parser.Tree("-", (right,))
        )
    except NotAnExpression:
        return False
