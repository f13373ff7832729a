"""The text of a problem without its dress, by which two texts are seen to be of one problem."""

from __future__ import annotations

import re
import unicodedata

_SET = re.compile(  # commands that change how a text is set, and not what it says
    r"\\(?:left|right|displaystyle|textstyle|limits|big[lr]?|Big[lr]?|quad|qquad|hspace\{[^}]*\}|vspace\{[^}]*\}"
    r"|smallskip|medskip|bigskip|noindent)(?![a-z])|\\[,!;: ]|~|\$|\\[()\[\]]"
)
_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|mathit|emph|operatorname)\s*\{([^{}]*)\}")
_ONE = re.compile(r"\{\s*(\w)\s*\}")
_ALIKE = [  # commands and signs that say the same
    (re.compile(pattern + "(?![a-zA-Z])"), same)
    for pattern, same in (
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\(?:cdot|times|ast)", "*"),
        (r"\\(?:leq?|leqslant)", "≤"),
        (r"\\(?:geq?|geqslant)", "≥"),
        (r"\\neq?", "≠"),
        (r"\\(?:[lr]vert|vert|mid)", "|"),
        (r"\^\s*\{?\s*\\circ\s*\}?", "°"),
        (r"\\degrees?", "°"),
        (r"\\(?:l|c)?dots", "..."),
    )
]
_SIGNS = str.maketrans("’‘“”−–×·⋅", "''\"\"--***")
_SENTENCE = re.compile(r"(?<!\d)[.,;:?](?!\d)|(?<=\d)[.,;:?](?!\d)|(?<!\d)[,;:?](?=\d)")


def same_text(problem: str) -> str:
    """A problem's text without what only sets it; two texts of one problem become the same.

    >>> same_text("What is $\\\\dfrac{1}{2}\\\\, x$?") == same_text("What  is \\\\(\\\\frac12x\\\\) ?")
    True
    """
    return "".join(plain_text(problem).split())


def plain_text(problem: str) -> str:
    """The same with its words still apart."""
    text = unicodedata.normalize("NFKC", problem.replace("\\$", " dollar "))
    for pattern, same in _ALIKE:
        text = pattern.sub(same, text)
    text = text.translate(_SIGNS).replace("<=", "≤").replace(">=", "≥")
    text = _SET.sub(" ", text)
    for _ in range(3):  # fonts within fonts
        text = _FONT.sub(r" \1 ", text)
    return _SENTENCE.sub(" ", _ONE.sub(r" \1 ", text)).casefold()
