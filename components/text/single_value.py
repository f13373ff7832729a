r"""The one value of a sentence: what is bold in it, else its one formula, else its one number."""

from __future__ import annotations

import re

FORMULA = r"(?:\$\$[^$]+\$\$|\$[^$]+\$(?!\d)|\\\((?:(?!\\\)).)+\\\)|\\\[(?:(?!\\\]).)+\\\])"  # with its delimiters
WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")
NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.^{\\])(?<!\d,)(?:-|−)?(?:\\?[$£€¥])?(?:-|−)?"
    r"(?:\\[dt]?frac(?:\{[^{}\n]{1,30}\}){2}|(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s?/\s?\d+|\s\d+/\d+|:\d+)?|\.\d+)"
    r"(?:\s?\\?%)?(?![A-Za-z0-9_^{]|[.,/]\d)"
)
_VALUE = re.compile(rf"(?P<formula>{FORMULA})|{NUMBER.pattern}")
# 3 + 4 = of "the sum is 3 + 4 = 7"
_CALCULATION = re.compile(
    r"(?<![\w.,^)\]}*/+\-])(?<![*/+\-] )(?:\\?\$?\d[\d.,]{0,12}%?\s?[-+*/×÷x]\s?){1,8}"
    r"\\?\$?\d[\d.,]{0,12}%?\s?=\s?(?=\\?[$£€]?\d)"
)
_ENDS_IN_OPERATION = re.compile(r"[-+*/<>×÷·≥≤≠±√∛π^−]\s*$|\\[a-zA-Z]+\s*$")
_BOUND = re.compile(
    r"\b(?:over|under|nearly|almost|close to|up to|exceed\w*|except|all but|other than|without|if|unlike|beyond|beside)"
    r"\s+[$\\(]*$",
    re.IGNORECASE,
)
_BEGINS_OPERATION = re.compile(r"(?!\*\*)\s*[-+*/^×÷·=<>≥≤≠±√π!²³−–\\]|\s*\((?=\d)")
DIGIT = re.compile(r"\d|\\[dt]?frac")
_BOLD = re.compile(r"\*\*(?P<stars>[^*\n]{1,200})\*\*|__(?P<lines>[^_\n]{1,200})__")
# Words that make another value of a number beside them, or hold a second one.
_CHANGES_VALUE = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozens?|hal(?:f|ves)|thirds|quarters?|fourths|fifths"
    r"|(?:an?|one|-)[ -]?(?:third|fourth|fifth)|times|plus|minus|negative|squared|cubed?|roots?|power|twice|double"
    r"|point|squares?(?!\s+(?:units?|feet|foot|inch\w*|met\w+|cent\w*|cm|miles?|yards?|kilo\w*|km|m|ft|in)\b)"
    r"|least|most|above|below|(?:more|less|fewer|greater|larger|smaller|higher|lower) than|between|multiples?|factor"
    r"|divided|not|cannot|never|neither|nor|or|mod\w*|zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)\b|[百万萬亿億半倍]|[大小]于|超过|[少多]于|[至最][少多]|除|千(?![克米瓦])",
    re.IGNORECASE,
)
_CHANGED_BEHIND = re.compile(
    r"\s*(?:[-–—,]{1,3}\s*(?:no|wait|or)\b|[A-Za-z](?![A-Za-z])|%\s*of\b|[-+*/^×÷·=<>≥≤≠±]\s*[\d$\\A-Za-z(])"
    r"|\s+(?:hundred|thousand|[mb]illion|trillion|dozens?|plus|minus|times|and an? \w+"
    r"|or (?:more|less|greater|fewer|higher)"
    r"|(?:more|less|fewer) than|to\s+[$\\\d]|divided|percent of|remainder|squared|cubed"
    r"|(?:if|when|unless)\s+(?!rounded|simplified|expressed|written|we\b)|for (?:odd|even|all (?:odd|even))\b"
    r"|[a-z]+,?(?:\s+and)?\s+(?:\$\s*\d|\\\(\s*\d|\d))"
)
_NO_NAMES = re.compile(r"\\(?:text|mathrm)\{[^{}]*\}|\\[a-zA-Z]+")


def only_value(sentence: str) -> str:
    """Return the only value of a sentence: what is bold, else its one formula, else its one number; "" for none."""
    bold = [match["stars"] or match["lines"] for match in _BOLD.finditer(sentence)]
    if len(bold) == 1:
        inside = bold[0].strip(" .:,")
        words = len(WORD.findall(inside))
        if words == 0 or (words < 3 and not DIGIT.search(inside)):
            return last_side(inside)
        sentence = inside
    elif bold:
        return ""
    if "$" not in sentence.replace("\\$", "") and "\\(" not in sentence:
        shorter = _CALCULATION.sub("", sentence)
        sentence = shorter if WORD.search(shorter) else sentence
    outside = re.sub(FORMULA, " ", sentence)
    values = [match for match in _VALUE.finditer(sentence) if _counts(match)]
    if len(values) != 1 or _CHANGES_VALUE.search(outside):
        return ""
    before, value, after = sentence[: values[0].start()], values[0][0], sentence[values[0].end() :]
    if _ENDS_IN_OPERATION.search(before) or _BOUND.search(before) or _BEGINS_OPERATION.match(after):
        return ""
    if values[0]["formula"] is not None:
        if is_changed_behind(after):
            return ""
        return last_side(unwrapped(value)) if WORD.search(outside) else ""
    # Another digit is part of a name, or of a number that is written in a way which is not known here.
    return "" if re.search(r"\d", re.sub(FORMULA, " ", before + after)) else value.strip()


def is_changed_behind(after: str) -> bool:
    """Return whether the words behind a formula make another value of it: `$5$ million`, `$5$ if n is odd`."""
    return _CHANGED_BEHIND.match(after) is not None


def _counts(match: re.Match[str]) -> bool:
    """Return whether a formula or number is a value, and not the name of one: $x$."""
    return match["formula"] is None or re.search(r"\d|\\[a-zA-Z]|[-+/^=]", unwrapped(match["formula"])) is not None


def unwrapped(formula: str) -> str:
    return re.sub(r"^(?:\$\$?|\\\(|\\\[)|(?:\$\$?|\\\)|\\\])$", "", formula).strip(" .,")


def last_side(formula: str) -> str:
    """Return the last side of 3 + 4 = 7, the value of a calculation; a formula with names in it stays."""
    sides = re.split(r"(?<![<>!\\])=(?!=)", formula.strip("$ "))
    if len(sides) > 1 and sides[-1].strip() and not re.search("[A-Za-z]", _NO_NAMES.sub(" ", sides[-2])):
        return sides[-1].strip()
    return formula
