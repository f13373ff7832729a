r"""Answers of a choice with their text, as in `\textbf{(E)}\ 12`."""

from __future__ import annotations

import re

from components.grader.quantities import Same

_LETTER = re.compile(r"«?(?P<said>(?i:option|choice|answer) ?)?\(?(?P<letter>[A-J])\)?[.:]?»?")
_CHOICE = re.compile(
    r"(?P<marked>«)?(?:\((?P<inside>[A-J])\)|(?P<plain>[A-J])(?P<mark>[.):]))(?P<end>»)? ?(?P<text>.+)", re.DOTALL
)


def by_choice(left: str, right: str, same: Same) -> bool | None:
    """Compare a letter with its text to the letter or to the text; two such answers must agree in both."""
    first, second = _choice(left), _choice(right)
    if first is None and second is None:
        letters = _LETTER.fullmatch(left), _LETTER.fullmatch(right)
        said = any(match and match["said"] for match in letters)
        return letters[0]["letter"] == letters[1]["letter"] if said and letters[0] and letters[1] else None
    if first is not None and second is not None:
        return first[0] == second[0] and same(first[1], second[1])
    (letter, text), other = (first, right) if first is not None else (second, left)  # type: ignore[misc]
    if match := _LETTER.fullmatch(other):
        return match["letter"] == letter
    if re.match("[A-J]=", other):
        return False  # a variable's value
    return same(text, other) if first is not None else same(other, text)


def _choice(answer: str) -> tuple[str, str] | None:
    """Read a letter and its text. None for other answers: products such as (B)x, ratios A:B, several choices."""
    match = _CHOICE.fullmatch(answer)
    if match is None:
        return None
    text = match["text"]
    if match["marked"] and not match["end"]:
        text = text.replace("»", "", 1)  # the text began with the letter
    text = text.strip()
    marked = match["marked"] is not None
    operator = "*/^=_'!<>≤≥∪∩,;" + "+-(" * (match["inside"] is not None and not marked)
    if text[:1] in operator or re.match(r"\(?[A-J][).:]|[A-Z](?![A-Za-z])|(?:and|or)\b", text):
        return None
    if re.search(r"[;,)] ?\(?[A-J][).:]|«\([A-J]\)|\([A-J]\)", text) or len(text.strip("«»$ ")) == 0:
        return None
    if not marked and not re.search(r"\d|[a-z]{3}|«", text):
        return None
    return match["inside"] or match["plain"], text
