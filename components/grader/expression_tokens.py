"""The tokens of mathematical text: numbers, commands, function names, letters and signs."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d+|\.\d+|\d+\.?)|(?P<command>\\[A-Za-z]+)|"
    r"(?P<word>sqrt|arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi)(?![a-z])|"
    r"(?P<letter>[A-Za-zα-ωΑ-Ωπ∞])|(?P<sign>[-+*/^_()\[\]{}|!°']))"
)


def split_tokens(text: str) -> tuple[list[str], str]:
    """Split a text into tokens. Returns them and the rest of the text from the first character that begins none."""
    tokens: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return tokens, text[at:]
        tokens.append(match.group().strip())
        at = match.end()
    return tokens, ""


def is_power_factor(tokens: list[str], at: int) -> bool:
    r"""Return whether a number begins a power that can only be a factor of what precedes it.

    So in `n2^{n-1}` and `(n-2)2^3`. In `x2^3` the 2 may be an index of x, since the exponent has no variable.
    """
    if at + 2 >= len(tokens) or tokens[at + 1] != "^" or tokens[at - 1][0].isdigit():
        return False
    if not tokens[at - 1].isalpha():
        return True
    exponent = tokens[at + 2 :]
    end = exponent.index("}") if exponent[0] == "{" and "}" in exponent else 1
    exponent = exponent[:end]
    return any(len(token) == 1 and token.isalpha() for token in exponent)
