"""Normalisation of answers: spacing, sizes, synonyms of commands, dollars around mathematics."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from components.grader.characters import plain_characters, plain_combinations, plain_joints
from components.grader.unit_names import TEXT_LETTER_UNITS, UNITS
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
    **dict.fromkeys(("\\Vert", "\\lVert", "\\rVert"), "‖"),
    **dict.fromkeys(("−", "‐", "‑", "﹣"), "-"),
    **{"\\approx": "≈", "\\thickapprox": "≈", "\\equiv": "≡", "\\mid": "∣", "\\setminus": "∖", "\\backslash": "∖"},
    **{"\\pounds": "£", "\\euro": "€", "\\texteuro": "€", "\\yen": "¥", "\\smallsetminus": "∖"},
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
_THOUSANDS = (
    (re.compile(r"(?<=\d)\s{0,3}(?:(?<!\\)\{\s{0,3},\s{0,3}\}|,)\s{0,3}\\!\s{0,3}(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<=\d)\s{0,3}(?<!\\)\{\s{0,3},\s{0,3}\}\s{0,3}(?=\d)"), ","),
)
# Of a whole answer only: `9,\,500` and `9'500`. In a list `,\,` separates values.
_ONE_NUMBER = re.compile(r"-?\\?\$?[1-9]\d{0,2}(?:(?:,\\[,;:]\d{3})+|(?:['’]\d{3})+)(?:\.\d+)?")
_ABOUT = re.compile(
    r"(?:^|(?P<open>\()| |,)(?:«?(?:or |which is )?(?:approximately|approx\.?|about|roughly)»?|≈|大?约) ?"
    r"(?P<number>[^()«»≈ ]{1,40})(?P<close>\))?$"
)
# Names of units that may follow an expression as plain words; `2\pi mg` could be a product of variables.
_PLAIN_UNITS = frozenset(unit for unit in UNITS if unit.isalpha() and len(unit) > 3) | set(
    "mm cm km kg in ft rad pct".split()
)
_PLAIN_UNIT = re.compile(
    r"(?<=[)}πi]) +(?P<unit>(?:(?:sq|square|cubic|cu)\.? )?(?P<word>[a-z]{2,12}?)s?(?:\^\{?[23]\}?)?)$"
)
_QUAD = re.compile(r"(?<=[\w)}\]]) ?\\q?quad ?(?=[A-Za-z(]|\\[a-su-z])")  # between two equations
_AFTER_UNIT = re.compile(r"$|[/^$.,;)]|\s{0,3}(?:\\cdot|·|\\,)?\s{0,3}\\(?:text|mathrm)(?![A-Za-z])")
_AS_TEXT = re.compile(r"\\(?:text|mbox|textbf|textrm|textit|textsf|textnormal|mathrm|mathit|mathbf|mathsf|operatorname|boldsymbol|bold|rm)\s*\{([^{}]*)\}")  # fmt: skip  # noqa: E501
_FUNCTION_NAMES = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp"
_REWRITTEN = [
    (re.compile(rf"\\operatorname\*?\s?\{{({_FUNCTION_NAMES}|gcd|lcm|max|min|deg|det|dim)\}}"), r"\\\1 "),
    (re.compile(rf"\\(?:mathrm|text)\s?\{{({_FUNCTION_NAMES}|gcd|lcm)\}}"), r"\\\1 "),
    (re.compile(r"(?<=\d)(?:\\[,;: ]|[ ~])+\\Omega$"), r"\\text{ ohm}"),
    (re.compile(r"\bper cent\b"), "percent"),
    (re.compile(r"\\(?:bar|dot) ?\{(\d+)\}"), r"\\overline{\1}"),
    (re.compile(r"\\(?:mathbf|boldsymbol|bm|mathit) ?\{([A-Za-z])\}"), r"\1"),
    (re.compile(r"(\\(?:text|mathrm) ?\{[^{}]*\^)\{(-?\d)\}([^{}]*\})"), r"\1\2\3"),
    (re.compile(r"\\(overline|bar) ?(\d)(?!\d)"), r"\\overline{\2}"),
    (re.compile(r"(?:√|(?<![A-Za-z\\])sqrt) ?(\d+)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])(?:infinity|infty|inf)(?![A-Za-z])", re.IGNORECASE), "∞"),
    (re.compile(r"(?<=[\])]) ?U ?(?=[\[(])"), "∪"),
    (re.compile(r"\\(?:Bbb|mathbb) ?\{?([A-Z])\}?"), r"\\mathbb{\1}"),
    (re.compile(r"\{([^{}]*)\\choose(?![a-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"(?<=\d) ?[xX] ?(?=10 ?\^)"), r"\\times "),
    (re.compile(r"^([^{}]*)\\choose(?![a-z])([^{}]*)$"), r"\\binom{\1}{\2}"),
    (re.compile(r"^(\d+(?:\.\d+)?)\"$"), r"\1''"),
    (re.compile(r"^([^{}]*)\\over(?![a-z])([^{}]*)$"), r"\\frac{\1}{\2}"),
]
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALED = re.compile(
    rf"(?P<before>-?\$?-?)(?P<number>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d{{1,9}}(?:\.\d{{1,12}})?) ?(?P<text>{TEXT})?"
    rf"(?P<scale>(?i:{'|'.join(_SCALES)}))(?P<rest>(?: [A-Za-z]{{3,12}})?)(?(text){END}|)"
)
_WRAPPER = re.compile(r"\\f?boxed\s*\{(.*)\}", re.DOTALL)


def clean(answer: str) -> str:
    r"""Remove an answer's style: spacing, sizes, synonyms of commands, dollars around mathematics, a closing period.

    Text within mathematics is kept between « and ».

    >>> clean("$\\dfrac{1}{2}$."), clean("5\\text{ cm}")
    ('\\frac{1}{2}', '5«cm»')
    """
    answer = _unwrapped(answer)
    answer = _thousands(answer).replace("\\\\", ROW).replace("\\|", "‖")
    answer = answer.removesuffix("\\").rstrip()
    if answer.count("=") > 1:
        answer = _QUAD.sub(", ", answer)
    if "=" in answer:
        answer = re.sub(r"\\(?:lor|vee)(?![A-Za-z])|∨", " or ", answer)
    for pattern, plain in _REWRITTEN:
        answer = pattern.sub(plain, answer)
    answer = plain_combinations(answer)
    answer = answer.replace("\\!", "").replace("\\(", "").replace("\\)", "").replace("\\[", "").replace("\\]", "")
    answer = answer.replace("{,}", ",").replace("^{\\circ}", "°").replace("^\\circ", "°").replace("\\%", "%")
    for _ in range(3):  # text within text
        answer = _AS_TEXT.sub(_as_text, answer)
    answer = _SIZES.sub("", answer)
    answer = _COMMANDS.sub(_synonym, answer)
    answer = _SPACES.sub(" ", answer)
    answer = _dollars(answer)
    answer = _without_spaces(answer)
    answer = {"\\{\\}": "∅", "+∞": "∞"}.get(answer, answer)
    if answer.startswith("{") and _closes_at(answer, 0) == len(answer) - 1:
        answer = f"\\{answer[:-1]}\\}}" if "," in answer else answer[1:-1].strip()
    if re.fullmatch(rf"{TEXT}[^{TEXT}{END}]*\d[^{TEXT}{END}]*(?:{END}|[a-z]{END}\^\{{?[23]\}}?)", answer):
        answer = answer[1:].replace(END, "")  # all of it is set as text
    return _scaled(answer)


def _scaled(answer: str) -> str:
    """Write `1.5 million` as 1500000; what follows it is kept."""
    match = _SCALED.fullmatch(answer)
    if match is None:
        return answer
    value = Fraction(match["number"].replace(",", "")) * _SCALES[match["scale"].lower()]
    if value.denominator != 1:
        return answer
    return f"{match['before']}{value}" + (f"{TEXT}{match['rest'].strip()}{END}" if match["rest"].strip() else "")


def _unwrapped(answer: str) -> str:
    """Write characters of Unicode and Chinese joints plainly, and remove what encloses a whole answer."""
    answer = plain_characters(_INVISIBLE.sub("", to_text(answer)))
    answer = unicodedata.normalize("NFKC", answer.replace("…", "...")).replace(TEXT, "").replace(END, "").strip()
    answer = re.sub(r"\+ ?/ ?-|\+-", "±", answer)
    answer = re.sub(r"^[–—](?=\d)", "-", answer)
    answer = plain_joints(answer)
    answer = answer.replace("$\\$$", "\\$").strip("`").removeprefix("**").removesuffix("**").strip()
    if answer[:1] == answer[-1:] == '"':
        answer = answer[1:-1]
    while match := _WRAPPER.fullmatch(answer.removesuffix(".").strip("$ ")):
        answer = match[1].strip()
    return answer


def _without_spaces(answer: str) -> str:
    """Remove spaces that separate nothing, and the marks that end an answer."""
    answer = re.sub(rf"{TEXT}\s*(.*?)\s*{END}", rf"{TEXT}\1{END}", answer)
    answer = re.sub(rf"{END}\s*{TEXT}", " ", answer)
    answer = re.sub(r" +", " ", answer).replace(" ,", ",").strip()
    # `1, 234` is a list, where `1,234` is a number; and beside such numbers every spaced comma separates.
    comma = r"(?<=\d), (?=[-\d])" if re.search(r"\d,\d{3}(?!\d)", answer) else r"(?<=\d), (?=\d{3}(?!\d))"
    answer = re.sub(comma, ";", answer)
    answer = _approximately(answer)
    answer = _PLAIN_UNIT.sub(_plain_unit, answer)
    # A space between digits, words, or after a digit before a fraction, means something; others do not.
    answer = re.sub(r"(?<![A-Za-z0-9.]) | (?![A-Za-z0-9.])", "", answer)
    answer = re.sub(r"(?<=\\[a-z]) (?=[^A-Za-z])", "", answer)
    while answer and (answer[-1] in ",;" or (answer[-1] == "." and not answer.endswith("..."))):
        answer = answer[:-1].rstrip()
    return answer


def _approximately(answer: str) -> str:
    """Write words for an approximation as ≈: `approximately 8.24`, and `(about 1.41)` behind an exact value."""
    match = _ABOUT.search(answer)
    if match is None or (match["open"] is None) != (match["close"] is None):
        return answer
    return f"{answer[: match.start()]}≈{match['number']}"


def _thousands(answer: str) -> str:
    r"""Write the separators of thousands as commas: `1,\! 234`, `1{, }234`, `1,\,234` and `1'234` are 1,234."""
    for pattern, plain in _THOUSANDS:
        answer = pattern.sub(plain, answer)
    whole = answer.strip("$ ")
    if match := _ONE_NUMBER.fullmatch(whole.removesuffix(".")):
        return re.sub(r",\\[,;:]|['’]", ",", match[0])
    return answer


def _plain_unit(match: re.Match[str]) -> str:
    """Mark the name of a unit behind an expression as text: the space before it is lost otherwise."""
    return TEXT + match["unit"] + END if {match["word"], match["word"] + "s"} & _PLAIN_UNITS else match[0]


def _as_text(match: re.Match[str]) -> str:
    """Mark text between « and »; a single letter is a variable or a choice, unless it can be a unit."""
    text = match[1].strip()
    if not text or (len(text) == 1 and text.isalpha() and text not in _LETTER_UNITS and not _letter_unit(match)):
        return text or " "
    return TEXT + match[1] + END


def _letter_unit(match: re.Match[str]) -> bool:
    r"""Return whether a capital letter is a unit: behind a number or a bracket, and at the end, as in `12\text{ N}`."""
    written = match.string[max(0, match.start() - 8) : match.start()]
    before = written.rstrip(" ~\\,;")
    letters = TEXT_LETTER_UNITS + "ACFHT" * (match[1].startswith(" ") or before != written)
    return (
        match[1].strip() in letters
        and re.search(r"(?:[\d)}πi])$", before) is not None
        and _AFTER_UNIT.match(match.string, match.end()) is not None
    )


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
