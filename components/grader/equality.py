"""Equality of two answers: `decide(answer, truth)`. The first rule that knows both sides decides.

Equal text; exact numbers (never floats); then values by their kind: bases, times, quantities with units, lists, sets,
tuples, intervals, matrices, equations, inequalities, words; then expressions (expression_parser.py); and what no rule
here can read goes to math-verify. Two answers are equal when a careful reader who does not know the question would say
so; in doubt they are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from components.grader import expression_equality, expression_parser
from components.grader.choices import by_choice
from components.grader.compound_answers import CLOSING, OPENING, by_brackets, by_list
from components.grader.equations import by_equation, by_membership, by_named_value
from components.grader.expression_parser import NotAnExpression, Risky, Tree
from components.grader.intervals import by_inequality, by_union
from components.grader.matrices import by_matrix
from components.grader.normalize import END, TEXT, clean
from components.grader.numbers import exact_number, words_number
from components.grader.quantities import Same, by_quantity, is_constant, split_unit
from components.grader.solution_sets import by_sets
from components.grader.solutions import by_names
from components.grader.statements import reduced
from components.grader.units import by_base, by_number, by_ratio, by_time
from components.grader.whole_numbers import by_congruence, by_divisibility

MAX_LENGTH = 2_000  # characters of an answer; a longer one is not compared
_DERIVATIVE = re.compile(r"\\frac ?\{d(?:\^\{?\d\}?)?[A-Za-z]?\} ?\{d[A-Za-z]|(?<![A-Za-z])d[a-z]/d[a-z](?![A-Za-z])")
_SYNONYMS = {
    "ℝ": "(-∞,∞)",
    "\\mathbb{r}": "(-∞,∞)",
    "\\mathbbr": "(-∞,∞)",
    **dict.fromkeys(("all real numbers", "all reals", "all real values", "set of all real numbers"), "(-∞,∞)"),
    **dict.fromkeys(("the set of all real numbers", "set of real numbers", "the real numbers"), "(-∞,∞)"),
    "no solutions": "no solution",
}
_SYNONYMS |= {"no real solutions": "no real solution", "empty set": "∅"}
_SET_OF_ONE = re.compile(r"(?P<name>[A-Za-z]∈)?\\\{(?P<member>[^,;:|]+)\\\}")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'.-]*(?: [A-Za-z][A-Za-z'.-]*)*")


def decide(answer: str, truth: str) -> tuple[bool, str]:
    r"""Decide whether two answers are equal. Returns the verdict and the rule that decided it.

    Raises Risky for answers that would be too large to compare.

    >>> decide("0.5", "\\frac{1}{2}"), decide("(1,2)", "(2,1)")
    ((True, 'number'), (False, 'tuple'))
    """
    left, right = (_SYNONYMS.get(_squeezed(side).lower(), side) for side in (clean(answer), clean(truth)))
    if not left or not right:
        return False, "empty"
    if left == right or _squeezed(left) == _squeezed(right):
        return True, "text"
    for side in (left, right):
        refuse_risky(side)
    try:
        return compare(_only_member(left), _only_member(right))
    except RecursionError:
        raise Risky("nested too deep") from None


def _only_member(text: str) -> str:
    r"""Write the set of one number, `\{1\}` or `x∈\{1\}`, as the number: `1` or `x=1`. Only of a whole answer."""
    match = _SET_OF_ONE.fullmatch(text)
    if match is None or not is_constant(match["member"]):
        return text
    return f"{match['name'][:-1]}={match['member']}" if match["name"] else match["member"]


def canonical(answer: str) -> str:
    """Return one text for plainly equal answers: a number as a fraction, else the text without separating marks."""
    cleaned = clean(answer)
    number = exact_number(split_unit(cleaned)[0]) if len(cleaned) <= MAX_LENGTH else None
    return _squeezed(cleaned) if number is None else str(number)


def plain_number(answer: str) -> Fraction | None:
    """Return the number that an answer is, or None: two plain numbers are equal by value, as `decide` finds them."""
    return exact_number(clean(answer)) if len(answer) <= MAX_LENGTH else None


def refuse_risky(text: str) -> None:
    """Raise Risky for text whose reading could be endless: far too long, or nested too deep."""
    if len(text) > MAX_LENGTH:
        raise Risky("too long")
    depth = deepest = 0
    for character in text:
        depth += (character in OPENING) - (character in CLOSING)
        deepest = max(deepest, depth)
    if deepest > 30:
        raise Risky("nested too deep")


def _squeezed(text: str) -> str:
    """Remove what only separates: marks of text, and braces around one character."""
    text = re.sub(r"\{(\w)\}(?![\w.])", r"\1", text.replace(TEXT, "").replace(END, ""))
    return text


def compare(left: str, right: str) -> tuple[bool, str]:
    """Decide for cleaned answers, as `decide` does."""
    values = reduced(left, _same), reduced(right, _same)
    if values[0] is None or values[1] is None:
        return False, "incoherent"
    if values != (left, right) and _squeezed(values[0]) == _squeezed(values[1]):
        return True, "statement"
    left, right = values[0], values[1]
    for name, rule in _RULES:
        equal = rule(left, right, _same)
        if equal is not None:
            return equal, name
    return _by_math_verify(left, right), "math_verify"


def by_words(left: str, right: str, same: Same) -> bool | None:
    """Compare words without case, and letters with it: `ab` is not `ba`, nor `A` `a`."""
    first, second = _as_words(left), _as_words(right)
    if any(side and "-" in side and max(map(len, side.split("-"))) < 3 for side in (first, second)):
        return None  # letters with minus signs
    if first is None and second is None:
        return None
    if first is None or second is None:
        if len(first or second or "") < 5 and TEXT not in left + right and words_number(first or second or "") is None:
            return None  # variables beside each other
        number = exact_number(left) if first is None else exact_number(right)
        spelled = words_number(first or second or "")
        return False if number is None or spelled is None else number == spelled
    numbers = words_number(first), words_number(second)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if {first.lower(), second.lower()} <= {"yes", "no"}:
        return first.lower() == second.lower()
    if (
        min(len(first), len(second)) < 3
        or (first.isupper() and second.islower())
        or (first.islower() and second.isupper())
    ):
        return first == second  # letters: variables, points, sides
    return first.lower() == second.lower()


def _as_words(text: str) -> str | None:
    """Return the words of a text that holds nothing else: set as text, or two letters and more without a sign."""
    marked = TEXT in text
    text = text.replace(TEXT, "").replace(END, "").strip()
    text = re.sub(r"^(?:the|an?) (?=\w{3})", "", text, flags=re.IGNORECASE)
    if match := re.fullmatch(r"\(?([A-Za-z])\)", text):
        return match[1]
    if re.search(r"\b(?:and|or)\b", text) and words_number(text) is None:
        return None  # a list
    if not _WORDS.fullmatch(text) or (len(text) == 1 and not marked):
        return text if len(text) == 1 and text.isupper() and text.isalpha() else None
    return text.rstrip(".")


def by_expression(left: str, right: str, same: Same) -> bool | None:
    """Compare expressions by their values; None where one of them cannot be parsed."""
    if left.startswith("[") != right.startswith("["):
        return False  # [x] may be the whole part of x
    if _DERIVATIVE.search(left + " " + right):
        return False  # a derivative is not a fraction
    try:
        first, second = _tree(left), _tree(right)
    except NotAnExpression:
        return None
    try:
        if any(map(expression_equality.counts, (first, second))):
            return expression_equality.equal_for_whole_numbers(first, second)
        return expression_equality.equal(first, second)
    except NotAnExpression:
        return False


def _tree(text: str) -> Tree:
    number = exact_number(text) if re.search(r"\d[eE][-+]?\d", text) else None
    if number is not None:
        return Tree("number", value=number)
    return expression_parser.parse(_without_thousands(text), powers_follow=True)


def _without_thousands(text: str) -> str:
    return text if re.search(r"[(\[{]", text) else re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)


_BEYOND = re.compile(r"\\(?:sum|prod|int|lim|max|min|gcd|lcm|bmod|pmod)(?![a-zA-Z])")


def _by_math_verify(left: str, right: str) -> bool:
    """Compare sums, integrals and limits by math-verify; for other text it accepts too much."""
    if not (_BEYOND.search(left) or _BEYOND.search(right)):
        return False
    from components.grader.math_verify_fallback import equal

    return equal(left, right)


def _same(left: str, right: str) -> bool:
    """Compare parts of answers, which are cleaned already."""
    return left == right or compare(left, right)[0]


_RULES: list[tuple[str, Callable[[str, str, Same], bool | None]]] = [
    ("number", by_number),
    ("choice", by_choice),
    ("congruence", by_congruence),
    ("divisibility", by_divisibility),
    ("base", by_base),
    ("time", by_time),
    ("name", by_named_value),
    ("set", by_sets),
    ("ratio", by_ratio),
    ("words", by_words),
    ("membership", by_membership),
    ("names", by_names),
    ("matrix", by_matrix),
    ("union", by_union),
    ("tuple", by_brackets),
    ("list", by_list),
    ("inequality", by_inequality),
    ("equation", by_equation),
    ("quantity", by_quantity),
    ("expression", by_expression),
]
