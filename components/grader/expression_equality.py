"""Equality of two expressions: their values are compared at several points.

Values are exact where they are rational, else they have 60 digits, where a difference must vanish as digits are added.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from components.grader.expression_parser import NotAnExpression, Risky, Tree
from components.grader.expression_value import DIGITS, exact, names, numeric

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)
# Where variables are tried: whole numbers, small ones and large, squares, and fractions, of either sign.
_POINTS: tuple[tuple[str, int, int], ...] = (
    ("+", 0, 1),
    ("+", 1, 1),
    ("²", 0, 1),
    ("+-", 3, 5),
    ("-+", 5, 3),
    ("+", 7, 1),
    ("-", 2, 7),
    ("--+", 4, 1),
    ("+", 9, 1),
    ("+", 13, 2),
    ("-+", 16, 1),
    ("++-", 9, 11),
    ("k", 3, 1),
    ("m", 1, 1),
    ("km", 6, 7),
)


def equal(first: Tree, second: Tree, *, in_form: bool = True) -> bool:
    """Return whether two expressions are the same: as values where they have no variables, else as functions of them.

    in_form: a product of sums that hold variables is not its expansion, since only the form tells an answer from a
    question that asks to factor or to expand. Raises Risky for expressions that cannot be evaluated safely,
    NotAnExpression for one without any value.
    """
    if first == second:
        return True
    if _holds(first, "infinity") or _holds(second, "infinity"):
        return _infinite(first) is not None and _infinite(first) == _infinite(second)
    variables = sorted(names(first) | names(second))
    if len(variables) > len(_PRIMES):
        raise Risky("too many variables")
    if in_form and {_form(first), _form(second)} == {"sum", "product"}:
        return False
    compared = 0
    for point in range(len(_POINTS) if variables else 1):
        try:
            same = _equal_at(first, second, _point(variables, point))
        except Risky:
            if compared < 4:
                raise
            continue  # too large at the later points only
        if same is False:
            return False
        compared += same is True
    return compared >= (2 if variables else 1)


def counts(tree: Tree) -> bool:
    """Return whether a tree has a factorial or a binomial coefficient of variables, which are whole numbers then."""
    return (tree.kind in ("factorial", "binom") and bool(names(tree))) or any(map(counts, tree.parts))


def equal_for_whole_numbers(first: Tree, second: Tree) -> bool:
    """Return whether two expressions in whole numbers, such as `n!/(k!(n-k)!)` and a binomial coefficient, are equal.

    Raises Risky and NotAnExpression as `equal` does.
    """
    if first == second:
        return True
    variables = sorted(names(first) | names(second))
    if len(variables) > len(_PRIMES):
        raise Risky("too many variables")
    if {_form(first), _form(second)} == {"sum", "product"}:
        return False
    compared = 0
    for values in _whole_points(len(variables)):
        same = _equal_at(first, second, dict(zip(variables, map(Fraction, values), strict=True)))
        if same is False:
            return False
        compared += same is True
    return compared >= 8


def _whole_points(count: int) -> Iterator[tuple[int, ...]]:
    """Return points of small whole numbers: all of a grid for few variables, else some, with each order of sizes."""
    if count == 1:
        yield from ((n,) for n in (*range(13), 20, 31))
    elif count <= 3:
        yield from itertools.product(range(6 if count == 2 else 4), repeat=count)
        yield from itertools.islice(itertools.permutations((9, 4, 11)[:count]), 6)
        yield from itertools.islice(itertools.permutations((7, 13, 5)[:count]), 6)
    else:
        yield from (tuple((start + step * i) % 7 for i in range(count)) for start in range(7) for step in range(1, 7))


def _point(variables: list[str], number: int) -> dict[str, Fraction]:
    """Return a value for each variable; no two are equal, and each pair is met in either order."""
    signs, first, denominator = _POINTS[number]
    order = variables if number % 2 else variables[::-1]
    point = {}
    for i, name in enumerate(order):
        value = Fraction(_PRIMES[(first + 3 * i) % len(_PRIMES)], denominator)
        point[name] = {"+": value, "-": -value, "²": value * value, "k": 1009 * value, "m": -1000003 * value}[
            signs[i % len(signs)]
        ]
    return point


def _equal_at(first: Tree, second: Tree, at: Mapping[str, Fraction]) -> bool | None:
    """Return whether two expressions are equal at a point; None where one has no value there, or only a complex one."""
    try:
        values = exact(first, at), exact(second, at)
        if None not in values:
            return values[0] == values[1]
        left, right = _values(first, second, at, DIGITS)
        if _differ(left, right, DIGITS):
            are_complex = mpmath.im(left) != 0, mpmath.im(right) != 0
            trees = (first, second)
            # Roots and logarithms of negative numbers decide nothing, unless one side has an absolute value for them.
            silent = all(are_complex) or (any(are_complex) and not any(_holds_kind(tree, "abs") for tree in trees))
            return None if at and silent and not any(_holds(tree, "i") for tree in trees) else False
        # Equal in 60 digits. The rounding error of a zero shrinks as digits are added; a tiny number stays.
        more_one, more_two = _values(first, second, at, 3 * DIGITS)
        if _differ(more_one, more_two, 3 * DIGITS):
            return False
        if not _tiny(more_one, more_two) or _agree(more_one, more_two):
            return True
        return all(_is_rest(few, more) for few, more in ((left, more_one), (right, more_two)))
    except Risky:
        raise
    except (ZeroDivisionError, ValueError, OverflowError):  # no value here, or only at whole numbers
        return None if at else False


def _values(first: Tree, second: Tree, at: Mapping[str, Fraction], digits: int) -> tuple[Any, Any]:
    with mpmath.workdps(digits):
        point = {name: mpmath.mpf(value.numerator) / value.denominator for name, value in at.items()}
        return numeric(first, point), numeric(second, point)


def _differ(left: Any, right: Any, digits: int) -> bool:
    with mpmath.workdps(digits):
        larger, smaller = max(abs(left), abs(right)), min(abs(left), abs(right))
        if not mpmath.isfinite(larger):
            raise NotAnExpression("no finite value")
        # Beside a plain zero, cancellation leaves a rounding error some digits above the last one.
        tolerance = mpmath.mpf(10) ** (15 - digits)
        return bool(abs(left - right) > tolerance * (larger if smaller > tolerance else 1))


def _agree(left: Any, right: Any) -> bool:
    """Return whether two tiny values are the same in their first digits, as 2^{-n} and 1/2^n for a large n."""
    with mpmath.workdps(3 * DIGITS):
        return bool(abs(left - right) <= mpmath.mpf(10) ** -DIGITS * min(abs(left), abs(right)))


def _tiny(left: Any, right: Any) -> bool:
    return bool(0 < max(abs(left), abs(right)) < mpmath.mpf(10) ** -DIGITS)


def _is_rest(few: Any, more: Any) -> bool:
    """Return whether a tiny value is what rounding left of a zero: it changes altogether with the number of digits."""
    return bool(more == 0 or abs(few - more) > abs(more) / 1000)


def _holds_kind(tree: Tree, kind: str) -> bool:
    return tree.kind == kind or any(_holds_kind(part, kind) for part in tree.parts)


def _holds(tree: Tree, name: str) -> bool:
    return tree.name == name or any(_holds(part, name) for part in tree.parts)


def _infinite(tree: Tree) -> int | None:
    """Return +1 or -1 for plain infinities, None for other trees."""
    if tree.kind == "-":
        inner = _infinite(tree.parts[0])
        return None if inner is None else -inner
    return 1 if tree.kind == "name" and tree.name == "infinity" else None


def _form(tree: Tree) -> str:
    """Return "sum" for terms with variables, "product" for several factors with variables and a sum, else ""."""
    while tree.kind == "-":
        tree = tree.parts[0]
    if tree.kind == "+":
        return "sum" if names(tree) else ""
    factors = [factor for factor in _factors(tree) if names(factor)]
    sums = any(factor.kind == "+" for factor in factors)
    return "product" if sums and len(factors) > 1 else ""


def _factors(tree: Tree) -> list[Tree]:
    if tree.kind in ("*", "-"):
        return [factor for part in tree.parts for factor in _factors(part)]
    if tree.kind == "^" and tree.parts[1].value is not None and tree.parts[1].value > 1:
        return _factors(tree.parts[0]) * 2
    return [tree]
