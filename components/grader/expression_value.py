"""Values of expressions at a point: exact where they are rational, else numbers of mpmath in the working precision.

An expression too large to evaluate is refused (`Risky`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath

from components.grader.expression_parser import NotAnExpression, Risky, Tree

_MAX_EXPONENT = 5_000  # in an exact power
_MAX_BITS = 200_000  # of an intermediate exact number
_MAX_FACTORIAL = 2_000
DIGITS = 60


def names(tree: Tree) -> set[str]:
    """Return the variables of a tree, without the constants."""
    own = {tree.name} if tree.kind == "name" and tree.name not in _CONSTANTS else set()
    return own.union(*map(names, tree.parts))


def has_function(tree: Tree) -> bool:
    """Return whether a tree holds an unknown function, such as f in f(2)."""
    return tree.kind == "apply" or any(map(has_function, tree.parts))


_CONSTANTS = {"pi": lambda: +mpmath.pi, "e": lambda: +mpmath.e, "i": lambda: mpmath.mpc(0, 1)}


def exact(tree: Tree, at: Mapping[str, Fraction]) -> Fraction | None:
    """Return the rational value of a tree at a point; None where rational operations alone give none.

    Raises Risky for numbers too large, ZeroDivisionError.
    """
    if tree.kind == "number":
        return tree.value
    if tree.kind == "name":
        return at.get(tree.name)
    if tree.kind not in ("+", "-", "*", "/", "^", "factorial", "binom"):
        return None
    values = []
    for part in tree.parts:
        value = exact(part, at)
        if value is None:
            return None
        values.append(value)
    return _bounded(_rational(tree.kind, values))


def _rational(kind: str, values: list[Fraction]) -> Fraction | None:
    if kind == "+":
        return sum(values, Fraction(0))
    if kind == "-":
        return -values[0]
    if kind == "*":
        return values[0] * values[1]
    if kind == "/":
        return values[0] / values[1]
    if any(value.denominator != 1 for value in values[-1:]):
        return None
    if kind == "^":
        exponent = int(values[1])
        size = max(values[0].numerator.bit_length(), values[0].denominator.bit_length())
        if abs(exponent) > _MAX_EXPONENT or size * abs(exponent) > _MAX_BITS:
            if values[0] in (0, 1, -1) and exponent > 0:
                return values[0] ** (2 + exponent % 2)
            raise Risky("a power too large")
        if values[0] == 0 and exponent <= 0:
            raise ZeroDivisionError
        return values[0] ** exponent
    if kind == "factorial":
        return Fraction(math.factorial(_small(values[0])))
    if values[0].denominator != 1 or values[0] < 0 or values[1] < 0:
        return None
    return Fraction(math.comb(_small(values[0]), _small(values[1])))


def _small(value: Fraction) -> int:
    if value > _MAX_FACTORIAL:
        raise Risky("a factorial too large")
    if value < 0:
        raise NotAnExpression("no factorial of a negative number")
    return int(value)


def _bounded(value: Fraction | None) -> Fraction | None:
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise Risky("a number too large")
    return value


def numeric(tree: Tree, at: Mapping[str, Any]) -> Any:
    """Return a tree's value at a point as an mpmath number in working precision. Raises Risky, ZeroDivisionError."""
    if tree.kind == "number":
        assert tree.value is not None
        return mpmath.mpf(tree.value.numerator) / tree.value.denominator
    if tree.kind == "name":
        return _CONSTANTS[tree.name]() if tree.name in _CONSTANTS else at[tree.name]
    values = [numeric(part, at) for part in tree.parts]
    if tree.kind == "+":
        return mpmath.fsum(values)
    if tree.kind == "-":
        return -values[0]
    if tree.kind == "*":
        return values[0] * values[1]
    if tree.kind == "/":
        return values[0] / values[1]
    if tree.kind == "^":
        return _power(*values)
    if tree.kind == "apply":  # an unknown function: equal only for equal arguments
        return mpmath.cos(values[0] + zlib.crc32(tree.name.encode()) % 9973) + values[0] / 7
    return _apply(tree.kind, values)


def _power(base: Any, exponent: Any) -> Any:
    if base == 0:
        if mpmath.re(exponent) <= 0:
            raise ZeroDivisionError
        return base * 0
    if abs(exponent) * (1 + abs(mpmath.log(abs(base)))) > 1_000_000:
        raise Risky("a power too large")
    if mpmath.im(base) == 0 and mpmath.re(base) < 0 and mpmath.im(exponent) == 0:
        # An odd root of a negative number is meant to be real.
        exponent = mpmath.re(exponent)
        inverse = int(mpmath.nint(1 / exponent)) if exponent else 0
        if inverse % 2 and abs(1 / exponent - inverse) < mpmath.mpf(10) ** (-DIGITS // 2):
            return -(mpmath.re(-base) ** exponent)
    return base**exponent


def _apply(kind: str, values: list[Any]) -> Any:
    value = values[0]
    if kind == "factorial":
        return mpmath.factorial(_small(_whole(value)))
    if kind == "binom":
        return mpmath.binomial(_small(_whole(value)), _small(_whole(values[1])))
    if kind == "degrees":
        return value * mpmath.pi / 180
    if kind in ("log", "lg"):
        return mpmath.log10(value)
    if kind == "exp":
        return _power(+mpmath.e, value)
    if kind in ("sinh", "cosh", "tanh") and abs(value) > 100_000:
        raise Risky("a power too large")
    renamed = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "fabs"}
    return getattr(mpmath, renamed.get(kind, kind))(value)


def _whole(value: Any) -> Fraction:
    nearest = mpmath.nint(mpmath.re(value))
    if abs(value - nearest) > mpmath.mpf(10) ** (-DIGITS // 2):
        raise NotAnExpression("no whole number")
    return Fraction(int(nearest))
