"""Ensembles of verifiers: scores made of the stored scores of others, by an expression.

    min(orm, prm)                       pessimism: both must like it
    mean(a, b, c) - 0.5 * sd(a, b, c)   the mean, less what the verifiers disagree by
    0.7 * prm + 0.3 * orm

Names are verifiers'. min, max, mean and sd (population) take two or more; numbers, +, −, *, / and brackets may be used.
A sample that lacks a score of one of them has none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from components.statistics.best_of_n import Floats

_FUNCTIONS: Mapping[str, Callable[[Floats], Any]] = {
    "min": lambda scores: scores.min(0),
    "max": lambda scores: scores.max(0),
    "mean": lambda scores: scores.mean(0),
    "sd": lambda scores: scores.std(0),
}
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_LONGEST = 500  # characters


def is_expression(text: str, known: Collection[str] = ()) -> bool:
    """Tell whether a text is meant as an expression, and not as a folder's name or a verifier's.

    known: verifiers. A minus or a slash without blanks may be a folder's, but not between these alone: a-b.
    """
    names = re.findall(r"[A-Za-z_]\w*", text)
    of_known = bool(names) and all(name in known for name in names) and any(sign in text for sign in "-/")
    return of_known or any(sign in text for sign in "()*+") or " - " in text or " / " in text


def names_in(expression: str, known: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the verifiers that an expression is made of, each once, in order.

    known: None: any. Raises ValueError, in one line, for what is no such expression, and for a name that is not among
    `known`.
    """
    names: dict[str, None] = {}
    _evaluate(_parsed(expression), _Names(names, known))
    if not names:
        raise ValueError(f"{expression!r} names no verifier")
    return tuple(names)


def evaluate(expression: str, scores: Mapping[str, Floats]) -> Floats:
    """Return the expression's value of each sample, shape (X,); NaN where a score is missing or the value not finite.

    scores: name → shape (X,). Raises ValueError as `names_in` does.
    """
    with np.errstate(all="ignore"):
        value = np.asarray(_evaluate(_parsed(expression), scores), dtype=np.float64)
    size = len(next(iter(scores.values())))
    return np.where(np.isfinite(value), value, np.nan) * np.ones(size)


class _Names(dict[str, Floats]):
    """Stands in for scores, and notes which of them are asked for."""

    def __init__(self, names: dict[str, None], known: Collection[str] | None) -> None:
        super().__init__()
        self.names, self.known = names, known

    def __getitem__(self, name: str) -> Floats:
        if self.known is not None and name not in self.known:
            raise KeyError(name)
        self.names[name] = None
        return np.ones(1)


def _parsed(expression: str) -> ast.expr:
    try:
        if len(expression) > _LONGEST:
            raise ValueError
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"{expression[:60]!r} is no expression such as min(a, b) or mean(a, b) - 0.5 * sd(a, b)"
        ) from None


def _evaluate(node: ast.expr, scores: Mapping[str, Floats]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name):
            try:
                return scores[name]
            except KeyError:
                raise ValueError(f"there is no verifier {name!r}") from None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, scores)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_evaluate(left, scores), _evaluate(right, scores))
        case ast.Call(func=ast.Name(id=function), args=args, keywords=[]) if function in _FUNCTIONS and len(args) > 1:
            return _FUNCTIONS[function](np.stack(np.broadcast_arrays(*(_evaluate(each, scores) for each in args))))
    raise ValueError(
        f"{ast.unparse(node)[:60]!r}: an expression has names of verifiers, numbers, + - * / and "
        f"{', '.join(_FUNCTIONS)} of two or more"
    )
