"""Normalised texts of problems, by which two texts are recognised as one problem."""

from __future__ import annotations

import re
import unicodedata

_SET = re.compile(  # commands of layout, without meaning
    r"\\(?:left|right|displaystyle|textstyle|limits|big[lr]?|Big[lr]?|quad|qquad|hspace\{[^}]*\}|vspace\{[^}]*\}"
    r"|smallskip|medskip|bigskip|noindent)(?![a-z])|\\[,!;: ]|~|\$|\\[()\[\]]"
)
_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|mathit|emph|operatorname)\s*\{([^{}]*)\}")
_ONE = re.compile(r"\{\s*(\w)\s*\}")
_ALIKE = [  # commands and signs with the same meaning
    (re.compile(pattern + "(?![a-zA-Z])"), same)
    for pattern, same in (
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\(?:cdot|times|ast)", "*"),
        (r"\\(?:leq?|leqslant)", "≤"),
        (r"\\(?:geq?|geqslant)", "≥"),
        (r"\\neq?", "≠"),
        (r"\\lt", "<"),
        (r"\\gt", ">"),
        (r"\\(?:[lr]vert|vert|mid)", "|"),
        (r"\^\s*\{?\s*\\circ\s*\}?", "°"),
        (r"\\degrees?", "°"),
        (r"\\(?:l|c)?dots", "..."),
    )
]
_SIGNS = str.maketrans("’‘“”−–×·⋅", "''\"\"--***")
_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)")
_THOUSANDS = re.compile(r"(?<=\d)\s*(?:,(?:\\[!,;: ]|\s)*|\{,\})(?=\d)")  # 10,\!000 and (0, 3)
_DIGITS = re.compile(r"(?<=\d)\s+(?=\d)")  # 2 3 is not 23
_SENTENCE = re.compile(r"(?<!\d)[.,;:?](?!\d)|(?<=\d)[.,;:?](?!\d)|(?<!\d)[,;:?](?=\d)")


def same_text(problem: str) -> str:
    r"""Return a problem's text without layout; two texts of one problem become the same.

    >>> same_text("What is $\\dfrac{1}{2}\\, x$?") == same_text("What  is \\(\\frac12x\\) ?")
    True
    """
    return "".join(_DIGITS.sub("_", plain_text(problem)).split())


def plain_text(problem: str) -> str:
    """Return the same text with spaces between words."""
    text = problem.replace("\\$", " ").replace("\\%", "%").replace("²", "^2").replace("³", "^3")
    text = unicodedata.normalize("NFKC", text)
    for pattern, same in _ALIKE:
        text = pattern.sub(same, text)
    text = _FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = text.translate(_SIGNS).replace("<=", "≤").replace(">=", "≥")
    text = _THOUSANDS.sub(",", text)
    text = _SET.sub(" ", text)
    for _ in range(3):  # fonts within fonts
        text = _FONT.sub(r" \1 ", text)
    return _SENTENCE.sub(" ", _THOUSANDS.sub(",", _ONE.sub(r" \1 ", text))).casefold()
