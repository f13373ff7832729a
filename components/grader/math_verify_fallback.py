"""The last resort for answers that no rule reads: math-verify, its LaTeX route only.

Answers that it accepts are checked again, since it also accepts near ones: the difference of the two parsed values must
vanish exactly, or in fifty digits. Its own alarms are off (they fail outside of a main thread); the caller limits the
time.
"""

from __future__ import annotations

from typing import Any


def equal(left: str, right: str) -> bool:
    """Return whether math-verify reads both sides and finds them equal, and the check agrees."""
    from components.grader.lazy_import import announce_import

    announce_import("math_verify")
    from math_verify import verify

    try:
        first, second = _parsed(left), _parsed(right)
        return any(
            verify([b], [a], timeout_seconds=None, strict=True, allow_set_relation_comp=False) and _agrees(a, b)
            for a in first
            for b in second
        )
    except (TypeError, ValueError, AttributeError, NotImplementedError, ArithmeticError):
        return False  # it cannot read it either


def _parsed(text: str) -> list[Any]:
    """Return the SymPy objects that math-verify read, without its plain strings."""
    from math_verify import LatexExtractionConfig, parse

    config = LatexExtractionConfig(boxed_match_priority=-1)
    values = parse(f"${text}$", extraction_config=[config], parsing_timeout=None, fallback_mode="no_fallback")
    return [value for value in values if not isinstance(value, str)]


def _agrees(left: Any, right: Any) -> bool:
    import sympy

    if not isinstance(left, sympy.Expr) or not isinstance(right, sympy.Expr):
        return left == right
    difference = left - right
    if difference.free_symbols:
        return bool(difference.expand() == 0)
    if difference.is_Rational:
        return bool(difference == 0)
    value = abs(difference.evalf(50))
    scale = abs(left.evalf(50))
    return bool(value.is_number and value <= sympy.Float("1e-20") * (scale if scale > 1 else 1))
