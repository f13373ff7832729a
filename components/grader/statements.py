r"""What an answer says around its value: `x = \frac{10}{4} = 2.5`, `\frac13 \approx 0.333`, `2x \text{ for all } x`."""

from __future__ import annotations

import re
from fractions import Fraction

import mpmath

from components.grader import expression_equality
from components.grader.compound_answers import list_items, split_top
from components.grader.expression_parser import NotAnExpression, Risky, parse
from components.grader.expression_value import numeric
from components.grader.normalize import ROW
from components.grader.numbers import exact_number, words_number
from components.grader.quantities import Same, is_constant, split_unit
from components.grader.unit_names import NO_UNIT
from components.grader.value_names import is_expression_name, is_name
from components.grader.whole_numbers import whole_number

_FOR = r"(?:where|with|for(?: all| any| every| each)?)"
_INTRODUCED = rf"(?:[,;] ?(?:«?{_FOR}»?)?|«,? ?(?:{_FOR})?»?| ?\(?{_FOR}|\\forall) ?"
_FOR_ALL = re.compile(
    r"(?P<said>.+?)[,;]? ?"
    r"(?:«?\(?for (?:all|any|every|each)(?: values of)?(?: real)?(?: numbers?| values of)?»?|\\forall) ?"
    r"(?P<name>[a-z])(?:∈ ?\\mathbb ?\{R\})?[»)]*"
)
_FOR_REALS = re.compile(rf"(?P<said>.+?){_INTRODUCED}(?P<name>[a-z])∈ ?\\mathbb ?\{{R\}}[»)]*")
# Letters of whole numbers: `k\pi, k \in \mathbb{Z}` and `2^n \text{ for all } n \ge 1` say nothing more.
_FOR_WHOLE = re.compile(
    rf"(?P<said>.+?){_INTRODUCED}(?P<name>[i-n])"
    r"(?:≥[012]|∈ ?\\mathbb ?\{[NZ]\}(?:\^\{?[+*]\}?)?| ?«?is an(?:y)? integer)[»)]*"
)
_FOR_INTEGERS = re.compile(
    r"(?P<said>.+?)[,;]? ?«?\(?for (?:all|any|every|each)(?: positive| natural)? (?:integers?|numbers?)»? ?"
    r"(?P<name>[i-n])[»)]*"
)
_QUANTIFIERS = (_FOR_ALL, _FOR_REALS, _FOR_WHOLE, _FOR_INTEGERS)
_ONE_CELL = re.compile(
    r"\\begin\{(?:array|aligned|gathered)\}(?:\{[lcr]\})?(?P<cell>[^&¶]*)\\end\{(?:array|aligned|gathered)\}"
)
_REMARK = re.compile(r"(?P<said>.*[^«\s]) ?«?\((?P<remark>(?:right|acute|obtuse|straight) angle|(?:an?|the|exactly|that is|because|since|as) [A-Za-z ]{2,60}|exactly|exact)\)»?")  # fmt: skip  # noqa: E501
_SPELLED = re.compile(r"«?(?P<number>\d[\d,]{0,20}) ?«?\((?P<words>[A-Za-z][A-Za-z -]{1,60})\)»?")
_NO_REMARK = NO_UNIT - {"root", "is"}
_CASES = re.compile(
    r"(?:\\\{)?\\begin\{(?:cases|aligned|align\*?|gathered|array)\}(?:\{[lcr]*\})?(?P<rows>.*)"
    r"\\end\{(?:cases|aligned|align\*?|gathered|array)\}"
)
# The name of a second equation behind a value: 2y in `x=2 \\quad y=5`.
_NEXT_NAME = re.compile(
    r"(?:[\d)}π°%»\]] ?| )(?:[A-Za-z]|[A-Z]{2,3}|\\[a-z]+|«[^«»]*»)(?:_\w|_\{\w+\})?'*(?:\([^()]*\))?$"
)
_SAYS_ANSWER = re.compile(
    r"«?(?:(?:the|my|our|final|correct) )*answer(?:s? (?:is|are):?|:)(?:»| )?(?=.)", re.IGNORECASE
)
_NAMED_BY_WORDS = re.compile(
    r"«?(?:the )?(?P<name>(?:[A-Za-z]+ ){0,3}(?:domain|range|area|volume|perimeter|total|sum|product|maximum|minimum"
    r"|value|length|width|height|distance|speed|time|cost|price|probability|slope|cent(?:er|re)|vertex|radius|result"
    r"|solutions?|roots?|number(?: of [a-z]{3,20})?|mean|median|mode|remainder"
    r"|coordinates))(?: is|»?[:=]|(?=»?\())»? ?(?=[^:=≈]+$|\d+:\d+$)",
    re.IGNORECASE,
)
_POINT = re.compile(r"(?P<name>[A-DF-MO-TW-Z])(?P<values>\([^(),;]{1,40}(?:[,;][^(),;]{1,40}){1,2}\))")
_REVERSED = re.compile(r"(?P<open>[\[\]])(?P<inner>[^\[\],;]+[,;][^\[\],;]+)(?P<close>[\[\]])")


def reduced(text: str, same: Same) -> str | None:
    r"""Return the value that a statement ends with: `P = \frac36 = \frac12` is `P = \frac12`.

    Also without remarks and the approximation behind an exact value, with systems as lists, and `]2,5[` as `(2,5)`.
    None for a statement whose sides differ: it equals nothing.
    """
    text = _without_remarks(_named(text))
    if match := _ONE_CELL.fullmatch(text):
        text = match["cell"]
    elif match := _CASES.fullmatch(text):
        text = _system(match["rows"]) or text
    elif ROW in text and "\\begin" not in text:
        text = _system(text) or text
    if text.count("[") + text.count("]") > 1:
        text = "∪".join(_REVERSED.sub(_usual_brackets, part) for part in text.split("∪"))
    if "≈" in text:
        exact = _exact_part(text)
        if exact is None:
            return None
        text = exact
    if "=" in text:
        return _end_of_chain(text, same)
    return text


def _named(text: str) -> str:
    r"""Write what words name as an equation: `\text{Area: } 24` as `«area»=24`, `P(2,3)` as `P=(2,3)`."""
    if match := _SAYS_ANSWER.match(text):
        return text[match.end() :]
    if match := _NAMED_BY_WORDS.match(text):
        return f"«{match['name'].lower()}»={text[match.end() :]}"
    if match := _POINT.fullmatch(text):
        return f"{match['name']}={match['values']}"
    return text


def _without_remarks(text: str) -> str:
    r"""Remove `\text{ for all } x` and `\text{ (a right angle)}`, which change nothing."""
    for pattern in _QUANTIFIERS:
        match = pattern.fullmatch(text)
        if match is None or re.search("[<>≤≥≠]", match["said"]):
            continue
        if re.search(rf"(?<![A-Za-z\\]){match['name']}(?![a-z])", match["said"]):
            text = match["said"].removesuffix("«").rstrip(" ,")
            break
    if (match := _REMARK.fullmatch(text)) and not _NO_REMARK & set(match["remark"].lower().split()):
        text = match["said"]
    if (match := _SPELLED.fullmatch(text)) and words_number(match["words"]) == exact_number(match["number"]):
        text = match["number"]
    return text


def _system(rows: str) -> str | None:
    """Write the equations of a system as a list; None where a row is no equation, as in a function by cases."""
    equations = [
        row.replace("&=", "=").replace("=&", "=").strip(" ,;&") for row in rows.split(ROW) if row.strip(" ,;&")
    ]
    if not equations or any("&" in row or len(split_top(row, "=")) != 2 for row in equations):
        return None
    return ",".join(equations)


def _usual_brackets(match: re.Match[str]) -> str:
    if match["open"] == "[" and match["close"] == "]":
        return match[0]
    opening, closing = ("[" if match["open"] == "[" else "("), ("]" if match["close"] == "]" else ")")
    return f"{opening}{match['inner']}{closing}"


def _exact_part(text: str) -> str | None:
    """Return what stands before `≈` where what follows is a rounding of it; an approximation alone is its number."""
    exact, *approximations = split_top(text, "≈")
    if not all(approximations) or any(list_items(side) is not None for side in (exact, *approximations)):
        return text
    if not exact:
        return approximations[0] if len(approximations) == 1 else None
    if not is_constant(exact) and (is_name(exact) or is_expression_name(exact)):
        return f"{exact}={approximations[0]}" if len(approximations) == 1 else None
    value, unit = split_unit(split_top(exact, "=")[-1])
    for approximation in approximations:
        number, its_unit = split_unit(approximation)
        if (unit and its_unit and unit != its_unit) or not _is_rounded(
            value, number, 100 if its_unit == "percent" != unit else 1
        ):
            return None
    return exact


def _is_rounded(value: str, number: str, scale: int) -> bool:
    """Return whether a decimal number is a constant's value, rounded or cut off at its last digit."""
    number = number.removesuffix("...")
    decimal = exact_number(number)
    match = re.fullmatch(r"-?[\d, ]*(?:\.(?P<digits>\d+))?", number)
    if decimal is None or match is None or not is_constant(value):
        return False
    try:
        with mpmath.workdps(40):
            exact = exact_number(value)
            first = mpmath.mpf(exact.numerator) / exact.denominator if exact is not None else numeric(parse(value), {})
            second = mpmath.mpf(decimal.numerator) / decimal.denominator
            last_digit = mpmath.mpf(10) ** -len(match["digits"] or "")
            rest = (scale * first - second) / last_digit * (1 if second >= 0 else -1)
            return bool(-0.5 <= rest < 1)
    except (NotAnExpression, Risky, ArithmeticError, ValueError, TypeError):
        return False


def _end_of_chain(text: str, same: Same) -> str | None:
    """Return a chain of equal sides as its first name and its last side; None where the sides differ."""
    sides = split_top(text, "=")
    if len(sides) < 2 or not all(sides) or re.search("[<>≤≥≠≡∧∨]", text) or list_items(text) is not None:
        return text
    first, *middle, last = sides
    if len(sides) == 2:
        if (value := whole_number(first)) is not None:
            return last if same(str(value), last) else None
        constant = is_constant(split_unit(first)[0]) and is_constant(split_unit(last)[0])
        if is_name(first) or re.search("[A-Za-z]", "" if constant else re.sub(r"\\[A-Za-z]+", "", text)):
            return text
        if first == last:
            return text  # true of all numbers
        if same(first, last):
            return last
        return text if not constant or _is_percentage(first, last) else None
    if any(is_name(side) or _NEXT_NAME.search(side) for side in middle):
        return text  # `x=2 y=5` is no chain
    if re.fullmatch("[A-Za-z]", first) and any(first in re.sub(r"\\[A-Za-z]+", "", side) for side in (*middle, last)):
        return text  # x = 2x + 1 = 7 is an equation that is not solved
    if not all(_agree(side, last, same) for side in middle):
        return None
    if _is_percentage(middle[-1], last):
        return f"{middle[-1]}={last}"  # both are values of the name
    if is_name(first) or not is_constant(split_unit(first)[0]):
        return f"{first}={last}"
    return last if _agree(first, last, same) else None


def _agree(side: str, last: str, same: Same) -> bool:
    """Return whether a side of a chain does not contradict the last one: a formula before its value says nothing."""
    if same(side, last) or _is_percentage(side, last):
        return True
    value, end = split_unit(side)[0], split_unit(last)[0]
    try:
        formula = parse(value)
        if is_constant(value) or is_constant(end):
            return not is_constant(value)
        return expression_equality.equal(formula, parse(end), in_form=False)
    except NotAnExpression:
        return False


def _is_percentage(first: str, last: str) -> bool:
    """Return whether one side is the other in percent: `0.56` and `56%`."""
    (value, unit), (other, other_unit) = split_unit(first), split_unit(last)
    numbers: list[Fraction | None] = [exact_number(value), exact_number(other)]
    if None in numbers or {unit, other_unit} != {"percent", ""}:
        return False
    percent, plain = numbers if unit else numbers[::-1]
    return percent == 100 * plain  # type: ignore[operator]
