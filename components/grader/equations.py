"""Answers that say something: an equation, an inequality, a membership."""

from __future__ import annotations

import re
from fractions import Fraction

from components.grader import expression_equality, expression_parser
from components.grader.compound_answers import list_items, split_top
from components.grader.expression_parser import NotAnExpression
from components.grader.expression_value import exact, names
from components.grader.numbers import exact_number
from components.grader.quantities import Same, is_constant, split_unit
from components.grader.value_names import is_combination, is_expression_name, is_name


def by_membership(left: str, right: str, same: Same) -> bool | None:
    r"""Compare `x \in [1,2]` as `[1,2]`."""
    first, second = re.match("([A-Za-z])∈", left), re.match("([A-Za-z])∈", right)
    if first is None and second is None:
        return None
    if first is not None and second is not None and first[1] != second[1]:
        return False
    name = (first or second)[1]  # type: ignore[index]
    sides = [_without_name(side.removeprefix(f"{name}∈"), name) for side in (left, right)]
    if (first is None) != (second is None) and "=" in sides[0] + sides[1]:
        return False  # x ∈ (2,5) is not x=2, y=5
    return same(sides[0], sides[1])


def _without_name(text: str, name: str) -> str:
    """Return `1,2` for `x=1 or x=2`; other text as it is."""
    items = list_items(text) or []
    if not items or not all(item.startswith(f"{name}=") for item in items):
        return text
    return ",".join(item.removeprefix(f"{name}=") for item in items)


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
        if any(map(is_name, (first[0], second[0]))) and first[0] != second[0] and not _shared(first, second):
            return False
        return _same_difference(first, second) or _are_multiples(first, second)
    if len(first) + len(second) == 3 and 1 in (len(first), len(second)):
        sides, value = (first, right) if len(first) == 2 else (second, left)
        if all(is_constant(split_unit(side)[0]) for side in sides):
            return same(sides[0], value) or same(sides[1], value)  # 0.56 = 56%, the only such statement left
        return is_name(sides[1]) and exact_number(value) is not None and same(sides[0], value)
    return False


def by_named_value(left: str, right: str, same: Same) -> bool | None:
    r"""Compare `x=5`, `\cos\theta=\frac12` or `S=7:32` to a value without a name."""
    first, second = _named(left), _named(right)
    if (first is None) == (second is None):
        return None
    (name, named), other = (first, right) if first is not None else (second, left)  # type: ignore[misc]
    if re.search("[=≈≡<>≤≥≠∈]", other):
        return None
    letters = re.findall("[A-Za-z]", name) if name.startswith("(") else []
    if letters != sorted(set(letters)):
        return False  # (y,x)=(1,2)
    return same(named, other) if first is not None else same(other, named)


def _named(text: str) -> tuple[str, str] | None:
    sides = split_top(text, "=")
    if len(sides) != 2 or not sides[1]:
        return None
    name, value = sides
    if is_name(name):
        return name, value
    if not is_expression_name(name) or not is_constant(split_unit(value)[0]):
        return None
    number = exact_number(value)
    if is_combination(name) and (number is None or number.denominator != 1 or number <= 1):
        return None  # a + b = 0 may be the condition that was asked for
    return name, value


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


def _are_multiples(first: list[str], second: list[str]) -> bool:
    """Return whether two polynomial equations in several variables are multiples of each other, as of one curve.

    Not when they are solved for different variables: then one of them is not in the form that was asked for.
    """
    try:
        left, right = (expression_parser.parse(f"({sides[0]})-({sides[1]})") for sides in (first, second))
        variables = sorted(names(left))
        solved = {sides[0] for sides in (first, second) if sides[0] in variables and sides[0] not in sides[1]}
        if len(variables) < 2 or variables != sorted(names(right)) or len(solved) > 1:
            return False
        if not (_is_polynomial(left) and _is_polynomial(right)):
            return False
        values = []
        for point in ((2, 3, 5, 7, 11, 13), (1, 7, 4, 29, 3, 17)):
            at = {name: Fraction(value) for name, value in zip(variables, point, strict=False)}
            values = [exact(left, at), exact(right, at)]
            if values[0] and values[1]:
                break
        if not values[0] or not values[1]:
            return False
    except (NotAnExpression, KeyError):
        return False
    ratio = expression_parser.Tree("number", value=values[0] / values[1])
    return expression_equality.equal(left, expression_parser.Tree("*", (ratio, right)), in_form=False)


def _is_polynomial(tree: expression_parser.Tree) -> bool:
    if tree.kind == "^":
        power = tree.parts[1].value
        return power is not None and power.denominator == 1 and 0 < power <= 20 and _is_polynomial(tree.parts[0])
    if tree.kind == "/" and names(tree.parts[1]):
        return False
    return tree.kind in ("number", "name", "+", "-", "*", "/") and all(map(_is_polynomial, tree.parts))
