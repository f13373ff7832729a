"""Normalisation of answers: spacing, sizes, synonyms of commands, dollars around mathematics."""

from __future__ import annotations

import re
import unicodedata

from components.text.answer_extraction import to_text

ROW = "¶"  # the end of a matrix row
TEXT, END = "«", "»"  # around text in LaTeX's sense: a unit or a word, and no variables
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad]")
_SYMBOLS = {
    **dict.fromkeys(("\\leq", "\\le", "\\leqslant", "<=", "=<"), "≤"),
    **dict.fromkeys(("\\geq", "\\ge", "\\geqslant", ">="), "≥"),
    **dict.fromkeys(("\\neq", "\\ne", " !="), "≠"),
    **dict.fromkeys(("\\times", "\\cdot", "\\ast", "×", "·", "⋅", "∗"), "*"),
    "**": "^",
    **dict.fromkeys(("\\ldots", "\\dots", "\\cdots", "…"), "..."),
    **dict.fromkeys(("\\emptyset", "\\varnothing", "Ø"), "∅"),
    **dict.fromkeys(("\\vert", "\\lvert", "\\rvert"), "|"),
    **dict.fromkeys(("−", "‐", "‑", "﹣"), "-"),
    **{"\\lt": "<", "\\gt": ">", "\\cup": "∪", "\\cap": "∩", "\\in": "∈", "\\infty": "∞", "\\pm": "±", "\\mp": "∓"},
    **{
        "\\div": "/",
        "÷": "/",
        "∕": "/",
        "⁄": "/",
        "\\colon": ":",
        "\\pi": "π",
        "\\degree": "°",
        "√": "\\sqrt",
        "′": "'",
    },
    **{"\\langle": "⟨", "\\rangle": "⟩", "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]"},
    **{"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\dbinom": "\\binom", "\\tbinom": "\\binom"},
    **{
        "\\$": "$$",
        "\\&": "&",
        "\\#": "#",
        "\\prime": "'",
        "\\land": "∧",
        "\\lor": "∨",
        "\\wedge": "∧",
    },
}
_COMMANDS = re.compile(r"\\[A-Za-z]+|\\[$&#]|[<>=]=| !=|=<|\*\*|[−‐‑﹣×·⋅∗…Ø÷∕⁄√′]")
_SIZES = re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])(?:\s*\.)?")
_SPACES = re.compile(r"\\[,:;> ]|\\(?:q?quad|enspace|thinspace|displaystyle|textstyle|scriptstyle|limits|nolimits|hspace\{[^{}]*\}|rm|bf|it)(?![A-Za-z])|~|\u00a0|\s")  # fmt: skip  # noqa: E501
_LETTER_UNITS = "mgshlL"
_AS_TEXT = re.compile(r"\\(?:text|mbox|textbf|textrm|textit|textsf|textnormal|mathrm|mathit|mathbf|mathsf|operatorname|boldsymbol|bold|rm)\s*\{([^{}]*)\}")  # fmt: skip  # noqa: E501
_REWRITTEN = [
    (re.compile(r"\\(?:bar|dot) ?\{(\d+)\}"), r"\\overline{\1}"),
    (re.compile(r"\\(?:mathbf|boldsymbol|bm|mathit) ?\{([A-Za-z])\}"), r"\1"),
    (re.compile(r"\\(overline|bar) ?(\d)(?!\d)"), r"\\overline{\2}"),
    (re.compile(r"(?:√|(?<![A-Za-z\\])sqrt) ?(\d+)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])(?:infinity|infty|inf)(?![A-Za-z])", re.IGNORECASE), "∞"),
    (re.compile(r"(?<=[\])]) ?U ?(?=[\[(])"), "∪"),
    (re.compile(r"\\(?:Bbb|mathbb) ?\{?([A-Z])\}?"), r"\\mathbb{\1}"),
    (re.compile(r"\{([^{}]*)\\choose(?![a-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"^([^{}]*)\\over(?![a-z])([^{}]*)$"), r"\\frac{\1}{\2}"),
]
_WRAPPER = re.compile(r"\\f?boxed\s*\{(.*)\}", re.DOTALL)


def clean(answer: str) -> str:
    r"""Remove an answer's style: spacing, sizes, synonyms of commands, dollars around mathematics, a closing period.

    Text within mathematics is kept between « and ».

    >>> clean("$\\dfrac{1}{2}$."), clean("5\\text{ cm}")
    ('\\frac{1}{2}', '5«cm»')
    """
    answer = _plain_unicode(_INVISIBLE.sub("", to_text(answer)))
    answer = unicodedata.normalize("NFKC", answer.replace("…", "...")).replace(TEXT, "").replace(END, "").strip()
    answer = re.sub(r"\+ ?/ ?-|\+-", "±", answer)
    answer = re.sub(r"^[–—](?=\d)", "-", answer)
    answer = answer.strip("`").removeprefix("**").removesuffix("**").strip()
    if answer[:1] == answer[-1:] == '"':
        answer = answer[1:-1]
    while match := _WRAPPER.fullmatch(answer.removesuffix(".").strip("$ ")):
        answer = match[1].strip()
    answer = answer.replace("\\\\", ROW)
    for pattern, plain in _REWRITTEN:
        answer = pattern.sub(plain, answer)
    answer = answer.replace("\\!", "").replace("\\(", "").replace("\\)", "").replace("\\[", "").replace("\\]", "")
    answer = answer.replace("{,}", ",").replace("^{\\circ}", "°").replace("^\\circ", "°").replace("\\%", "%")
    for _ in range(3):  # text within text
        answer = _AS_TEXT.sub(_as_text, answer)
    answer = _SIZES.sub("", answer)
    answer = _COMMANDS.sub(_synonym, answer)
    answer = _SPACES.sub(" ", answer)
    answer = _dollars(answer)
    answer = re.sub(rf"{TEXT}\s*(.*?)\s*{END}", rf"{TEXT}\1{END}", answer)
    answer = re.sub(rf"{END}\s*{TEXT}", " ", answer)
    answer = re.sub(r" +", " ", answer).replace(" ,", ",").strip()
    # `1, 234` is a list, where `1,234` is a number; and beside such numbers every spaced comma separates.
    comma = r"(?<=\d), (?=[-\d])" if re.search(r"\d,\d{3}(?!\d)", answer) else r"(?<=\d), (?=\d{3}(?!\d))"
    answer = re.sub(comma, ";", answer)
    # A space between digits, words, or after a digit before a fraction, means something; others do not.
    answer = re.sub(r"(?<![A-Za-z0-9.]) | (?![A-Za-z0-9.])", "", answer)
    answer = re.sub(r"(?<=\\[a-z]) (?=[^A-Za-z])", "", answer)
    while answer and (answer[-1] in ",;" or (answer[-1] == "." and not answer.endswith("..."))):
        answer = answer[:-1].rstrip()
    answer = {"\\{\\}": "∅", "+∞": "∞"}.get(answer, answer)
    if answer.startswith("{") and _closes_at(answer, 0) == len(answer) - 1:
        answer = f"\\{answer[:-1]}\\}}" if "," in answer else answer[1:-1].strip()
    if re.fullmatch(rf"{TEXT}[^{TEXT}{END}]*\d[^{TEXT}{END}]*{END}", answer):
        answer = answer[1:-1]  # all of it is set as text
    return answer


def _plain_unicode(answer: str) -> str:
    """Write raised and lowered characters as powers and indices, one-character fractions and Greek as LaTeX."""
    if answer.isascii():
        return answer
    written: list[str] = []
    raised = ""
    for character in answer:
        kind, _, plain = unicodedata.decomposition(character).partition(" ")
        kind = {"<super>": "^", "<sub>": "_"}.get(kind, "")
        if raised and kind != raised:
            written.append("}")
        if kind:
            written.append("" if kind == raised else kind + "{")
            written.append("".join(chr(int(code, 16)) for code in plain.split()))
        else:
            written.append(_one_character(character))
        raised = kind
    return "".join(written) + ("}" if raised else "")


def _one_character(character: str) -> str:
    if unicodedata.decomposition(character).startswith("<fraction>"):
        top, bottom = unicodedata.normalize("NFKC", character).split("⁄")
        return f"\\frac{{{top}}}{{{bottom}}}"
    if "α" <= character.lower() <= "ω" and character not in "πο":
        word = unicodedata.name(character).removeprefix("GREEK ").split(" LETTER ")
        if len(word) < 2:
            return character
        return f"\\{word[1].lower() if word[0] == 'SMALL' else word[1].capitalize()} "
    return character


def _as_text(match: re.Match[str]) -> str:
    """Mark text between « and »; a single letter is a variable or a choice, unless it can be a unit."""
    text = match[1].strip()
    if not text or (len(text) == 1 and text.isalpha() and text not in _LETTER_UNITS):
        return text or " "
    return TEXT + match[1] + END


def _synonym(match: re.Match[str]) -> str:
    return _SYMBOLS.get(match[0], match[0]) + (" " if match[0][-1].isalpha() else "")


def _dollars(answer: str) -> str:
    r"""Remove dollars in pairs, which are mathematics; a single one is money, and so is `\$` (by now `$$`)."""
    if answer.count("$$") and not (answer.startswith("$$") and answer.endswith("$$") and len(answer) > 3):
        return answer.replace("$$", "\x01").replace("$", "").replace("\x01", "$")
    if answer.count("$") == 1:
        return answer
    return answer.replace("$", "")


def _closes_at(text: str, start: int) -> int:
    """Return where the bracket that opens at `start` closes; -1 when it does not."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1
