r"""The left side of `x = 5`: which texts name a value, so that `x = 5` and `5` are one answer."""

from __future__ import annotations

import re

from components.grader.expression_parser import NotAnExpression, Risky, parse
from components.grader.expression_value import has_function, names

_INDEX = (
    r"(?:_(?:[A-Za-z0-9]|\{?«?[\w+\-,*]+»?\}?|\{?\\[a-z]+\}?|«[^«»]*»|\{\\triangle ?[A-Z]{3}\}))?"
    r"'*(?:\^\{-1\}|\^\{?[T*]\}?)?"
)
_POINT = r"(?:[^()=,;]{1,30}|[fgh]\([^()=,;]{1,12}\))"
# A product such as x(x+1) is no name: only letters of functions have arguments of several characters.
_FUNCTION = rf"(?:[fghFGHPQNEVST]|\\(?:phi|varphi|sigma|mathbb ?\{{[EP]\}})|«[^«»]*»){_INDEX}\({_POINT}(?:,{_POINT})*\)"
_MARKED = rf"\\(?:overline|vec|hat|bar|overrightarrow|widehat|mathbf|tilde) ?\{{[A-Za-z]{{1,3}}\}}{_INDEX}"
_NAME = re.compile(
    r"\([A-Za-z](?:,[A-Za-z])+\)"
    rf"|(?:[A-Za-z]{{1,3}}|\\[a-z]+|«[^«»]*»){_INDEX}(?:\([A-Za-z0-9](?:,[A-Za-z0-9])*\))?"
    r"|«[^«»]*»[A-Z]{0,4}|[A-Za-z]{1,3}(?:_\d)?(?::[A-Za-z]{1,3}(?:_\d)?){1,3}"
    r"|(?:\\angle|\\triangle|m\\angle) ?[A-Z]{1,3}"
    rf"|{_FUNCTION}|{_MARKED}"
    r"|\\frac ?\{d\^?\{?\d?\}?[A-Za-z]?\} ?\{d[A-Za-z](?:\^\{?\d\}?)?\}(?:[A-Za-z]\([a-z]\))?"
    r"|\\frac ?\{\\partial ?[A-Za-z]\} ?\{\\partial ?[A-Za-z]\}|(?:E|\\mathbb ?\{E\})\[[^\[\]=]{1,20}\]"
    r"|d[a-z]/d[a-z]|\[(?:\\triangle ?)?[A-Z]{3,4}\]|P\([^()]{1,20}\)"
)
_LETTER = r"(?:\\[a-z]+|[A-Za-z]|\\angle ?[A-Z]{1,3})"
_ANGLE = (
    rf"(?:\d? ?{_LETTER}|\(\d?{_LETTER}\)|\(?\\frac ?\{{{_LETTER}\}} ?\{{\d\}}\)?|\({_LETTER}(?:/\d|[-+]{_LETTER})\))"
)
_LENGTH = rf"(?:[A-Za-z]{{1,3}}{_INDEX}|{_MARKED}|\\[a-z]+)"
_PART = rf"(?:[A-Za-z]{{1,3}}{_INDEX}|{_MARKED}|\[[A-Z]{{3,4}}\])"
# Names only where a constant stands beside them: otherwise they are an equation that could be the answer.
_EXPRESSION_NAME = re.compile(
    rf"\\?(?:sin|cos|tan|cot|sec|csc)(?:\^\{{?2\}}?)? ?{_ANGLE}"
    rf"|[|‖]{_LENGTH}[|‖](?:\^\{{?2\}}?)?|[|‖]{_MARKED}(?:[-+]\d?{_MARKED})+[|‖]|{_MARKED}\*{_MARKED}"
    rf"|\\frac ?\{{(?P<top>{_PART})\}} ?\{{(?P<bottom>{_PART})\}}"
    r"|\\(?:sum|prod|i{0,2}int|oint|lim)(?![a-z]).{1,70}"
    r"|[A-Z]{2}\^\{?2\}?|[A-Z]{2}(?:\+[A-Z]{2}){1,5}"
    r"|\\(?:gcd|lcm|max|min|deg|det|dim)(?:\([-A-Za-z0-9,]+\)| ?[A-Za-z])?|(?:gcd|lcm)\([-A-Za-z0-9,]+\)"
)


def is_name(text: str) -> bool:
    r"""Return whether a text names a value: `x`, `f(2)`, `x_{\text{max}}`, `\overline{AB}`, `\frac{dy}{dx}`."""
    return len(text) < 60 and _NAME.fullmatch(text) is not None


def is_expression_name(text: str) -> bool:
    r"""Return whether an expression names a constant beside it: `\cos\theta`, `|z|`, `\frac{AB}{CD}`, `m+n`.

    Not `x+y` or `\frac{y}{x}`: they could begin the equation of a curve.
    """
    match = _EXPRESSION_NAME.fullmatch(text) if len(text) < 80 else None
    if match is None:
        return len(text) < 80 and is_combination(text)
    if match["top"]:
        return not {match["top"], match["bottom"]} & set("xyz") and match["top"] != match["bottom"]
    return True


def is_combination(text: str) -> bool:
    r"""Return whether a text combines several letters as `m+n`, `100m+n` or `\sqrt{a}+b` do in questions for a number.

    Not letters that are coordinates, and not one letter alone: `2n+1=15` would still have to be solved.
    """
    try:
        tree = parse(text)
    except (NotAnExpression, Risky):
        return False
    letters = names(tree)
    return tree.kind == "+" and len(letters) > 1 and letters <= set("abcdfghjklmnopqrstuvw") and not has_function(tree)
