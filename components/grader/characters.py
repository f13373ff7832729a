"""Characters of Unicode and Chinese joints, written as LaTeX and plain words."""

from __future__ import annotations

import re
import unicodedata

_JOINTS = (
    ("或者", " or "),
    ("或", " or "),
    ("以及", " and "),
    ("并且", " and "),
    ("且", " and "),
    ("和", " and "),
    ("、", ","),
    ("。", "."),
)


# An index or a power of digits, with the other one behind the letter or before it: C_6^2, {}_6C_2, ^6C_2.
_SMALL = r"(?:\{(\d{1,3})\}|(\d)(?!\d))"
_COMBINATIONS = (
    re.compile(rf"(?<![A-Za-z\\])C_{_SMALL}\^{_SMALL}"),
    re.compile(rf"(?:\{{\}}|(?<![\w)}}\]]))[_^]{_SMALL} ?C_{_SMALL}(?!\^)"),
)


def plain_combinations(answer: str) -> str:
    """Write numbers of combinations such as `C_6^2` as binomial coefficients.

    Not with an index below 3, or below the power: C_1 and C_2 are constants of integration.
    """
    if "C_" in answer:
        for pattern in _COMBINATIONS:
            answer = pattern.sub(_combination, answer)
    return answer


def _combination(match: re.Match[str]) -> str:
    all_of, chosen = match[1] or match[2], match[3] or match[4]
    return f"\\binom{{{all_of}}}{{{chosen}}}" if int(all_of) >= max(3, int(chosen)) else match[0]


def plain_characters(answer: str) -> str:
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


def plain_joints(answer: str) -> str:
    """Write the Chinese words and marks that join values as `or`, `and` and commas."""
    if answer.isascii():
        return answer
    for word, plain in _JOINTS:
        answer = answer.replace(word, plain)
    return answer
