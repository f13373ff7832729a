"""The verdict of the paper's own grader (PRM800K, `grading/grader.py`), for comparison with published numbers.

Written anew from its description: normalise and compare; else compare tuple elements, where fractions must be reduced
and whole numbers be literal; else a difference that simplifies to zero, behind the same guards.

Departs from it where it would run model text: expressions come from our parser, not from `parse_expr`; a difference is
simplified by SymPy only when both sides have the same values; and it cannot hang (components/grader/sandbox.py).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from components.grader import expression_equality, expression_parser
from components.grader.expression_parser import NotAnExpression, Tree

_UNITS = "degree|cm|centimeter|meter|mile|second|minute|hour|day|week|month|year|foot|feet|inch|yard"
_REFUSED = re.compile(r"\^[0-9]+\^|\^[0-9][0-9]+|\^\{|\^\(")
_FRACTION = re.compile(r"-?[0-9]+/0*[1-9][0-9]*")
_WHOLE = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+|-?[0-9]+(?:\.0+)?")


def decide(answer: str, truth: str) -> tuple[bool, str]:
    """Decide whether the released grader of PRM800K would accept the answer. Returns the verdict and the rule."""
    if hendrycks(answer) == hendrycks(truth):
        return True, "text"
    normalised, reference = normalise(answer), normalise(truth)
    if normalised == reference:
        return True, "normalised"
    if not normalised:
        return False, "empty"
    items, reference_items = _elements(normalised), _elements(reference)
    if len(reference_items) > 1 and (normalised[0], normalised[-1]) != (reference[0], reference[-1]):
        return False, "brackets"
    if len(items) != len(reference_items):
        return False, "length"
    return all(map(_element, items, reference_items)), "elements"


def hendrycks(answer: str) -> str:
    """Normalise as the MATH release does: style, units set as text, `0.5` and `a/b` as fractions, no spaces."""
    answer = answer.strip()
    if match := re.fullmatch(r"\\text\{(.+?)\}", answer):
        answer = match[1].strip()
    answer = answer.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    answer = answer.replace("tfrac", "frac").replace("dfrac", "frac").replace("\\left", "").replace("\\right", "")
    answer = answer.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    answer = answer.split("\\text{ ")[0].replace("\\%", "").replace("%", "")
    answer = re.sub(r"(?<![0-9])\.(?=[0-9])", "0.", answer)
    if answer.count("=") == 1 and len(answer.split("=")[0]) <= 2:
        answer = answer.split("=")[1]
    answer = re.sub(r"\\sqrt(\w)", r"\\sqrt{\1}", answer).replace(" ", "")
    answer = re.sub(r"\\frac(\w)(\w)", r"\\frac{\1}{\2}", answer)
    answer = re.sub(r"\\frac(\w)\{", r"\\frac{\1}{", answer)
    if answer == "0.5":
        return "\\frac{1}{2}"
    return re.sub(r"^(-?\d+)/(\d+)$", r"\\frac{\1}{\2}", answer)


def normalise(answer: str) -> str:
    """Normalise a second time, as that grader does: lower case, without units, dollars, percents and spaces."""
    if match := re.fullmatch(r"\\text\{(.+?)\}", answer):
        answer = match[1]
    answer = answer.replace("\\%", "%").replace("\\$", "$").replace("$", "").replace("%", "")
    answer = answer.replace(" or ", " , ").replace(" and ", " , ")
    for name, zeros in (("million", 6), ("billion", 9), ("trillion", 12)):
        answer = answer.replace(name, f"*10^{zeros}")
    answer = re.sub(rf"(?:{_UNITS})(?:es)?(?:s)? *(?:\^[0-9]+)?", "", answer)
    answer = re.sub(r"\^ *\\circ", "", answer)
    if answer.startswith("{") and answer.endswith("}"):
        answer = answer[1:-1]
    answer = re.sub(r",\\! *", "", answer)
    if re.fullmatch(r"-?\d+\.0*", answer):
        answer = answer.split(".")[0]
    if "\\" in answer:
        answer = _plain(answer)
    answer = re.sub("- *", "-", answer)
    answer = re.sub(r"(?<=[0-9])_(?=[0-9])", "", answer)  # to Python 1101_2 is 11012
    answer = re.sub(r"(?<=[0-9]) +(?=[0-9])", "+", answer).replace(" ", "").replace("{", "").replace("}", "").lower()
    return (
        str(int(answer.replace(",", "").split(".")[0])) if _WHOLE.fullmatch(answer) and len(answer) < 1000 else answer
    )


def _plain(text: str) -> str:
    """Write LaTeX as plain mathematics: fractions with a slash, mixed numbers as sums, roots by name."""
    text = text.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac").replace("\\left", "").replace("\\right", "")
    text = re.sub(r"(?<=[0-9]) *(?=\\frac)", "+", text)
    for _ in range(5):
        text = re.sub(r"\\frac *\{([^{}]*)\} *\{([^{}]*)\}", r"\1/\2", text)
        text = re.sub(r"\\sqrt *\{([^{}]*)\}", r"sqrt(\1)", text)
    text = re.sub(r"\\frac *(\w) *(\w)", r"\1/\2", text)
    for command, plain in (("\\pi", "pi"), ("\\infty", "inf"), ("\\cup", "U"), ("\\cdot", "*"), ("\\times", "*")):
        text = text.replace(command, plain)
    return text.replace("\\", "").strip()


def _elements(text: str) -> list[str]:
    """Split a tuple into its elements; other text is one element, as is a whole number with commas."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", text)
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and not set(text[1:-1]) & set("()[]"):
        return [item.strip() for item in text[1:-1].split(",")]
    return [text]


def _element(item: str, reference: str) -> bool:
    if _FRACTION.fullmatch(item) and _FRACTION.fullmatch(reference):
        return item == reference  # fractions must be reduced alike
    if bool(_WHOLE.fullmatch(item)) != bool(_WHOLE.fullmatch(reference)):
        return False  # a whole number must be given literally
    return item == reference or _vanishes(item, reference)


def _vanishes(item: str, reference: str) -> bool:
    """Return whether the difference simplifies to zero, where the grader would try: few letters, no towers."""
    for text in (item, reference):
        letters = set(re.sub("sqrt|frac", "", text)) & set("abcdefghijklmnopqrstuvwxyz")
        if len(letters) > 2 or _REFUSED.search(text):
            return False
    try:
        first, second = expression_parser.parse(item), expression_parser.parse(reference)
        if not expression_equality.equal(first, second, in_form=False):
            return False
        from components.grader.lazy_import import announce_import

        announce_import("sympy")
        import sympy

        return bool(sympy.simplify(_to_sympy(first) - _to_sympy(second)) == 0)
    except NotAnExpression:
        return False


def _to_sympy(tree: Tree) -> Any:
    """Build a SymPy expression node by node: model text is never evaluated."""
    import sympy

    if tree.kind == "number":
        value = tree.value or Fraction(0)
        return sympy.Rational(value.numerator, value.denominator)
    if tree.kind == "name":
        constants = {"pi": sympy.pi, "infinity": sympy.oo}
        return constants.get(tree.name) or sympy.Symbol(tree.name)
    parts = [_to_sympy(part) for part in tree.parts]
    if tree.kind == "+":
        return sympy.Add(*parts)
    if tree.kind == "-":
        return -parts[0]
    if tree.kind in ("*", "/"):
        return parts[0] * parts[1] if tree.kind == "*" else parts[0] / parts[1]
    if tree.kind == "^":
        return sympy.Pow(*parts)
    names = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "Abs", "binom": "binomial"}
    if tree.kind in ("degrees", "log", "lg"):
        raise NotAnExpression(f"{tree.kind} is not known to that grader")
    return getattr(sympy, {"ceil": "ceiling"}.get(tree.kind, names.get(tree.kind, tree.kind)))(*parts)
