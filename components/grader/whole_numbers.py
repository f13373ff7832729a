r"""Remainders and divisors: `N \equiv 5 \pmod 7`, `17 \bmod 5`, `\gcd(12,18)`."""

from __future__ import annotations

import math
import re

from components.grader.numbers import exact_number
from components.grader.quantities import Same

_CONGRUENCE = re.compile(
    r"(?:(?P<name>[A-Za-z](?:_\w)?)≡)?(?P<value>-?\d{1,200}) ?,?(?P<sign>\\pmod|[«(]{0,2}(?:\\b?mod|«?mod»?)) ?"
    r"\{?(?P<modulus>\d{1,200})\}?[)»]{0,2}"
)
_REMAINDER = re.compile(r"(?P<value>-?\d{1,200}) ?\\?b?mod ?\{?(?P<modulus>\d{1,200})\}?")
_FUNCTION = re.compile(
    r"\\(?P<name>gcd|lcm|max|min)(?:\(|\\\{)(?P<numbers>-?\d{1,200}(?:[,;]-?\d{1,200}){1,20})(?:\)|\\\})"
)


def by_divisibility(left: str, right: str, same: Same) -> bool | None:
    r"""Compare `17 \bmod 5` or `\gcd(12,18)` by its value."""
    values = whole_number(left), whole_number(right)
    if values == (None, None) or all(map(_REMAINDER.fullmatch, (left, right))):
        return None  # 3 mod 7 and 3 mod 5 may be classes
    first, second = values[0], values[1]
    numbers = exact_number(left) if first is None else first, exact_number(right) if second is None else second
    return None if None in numbers else numbers[0] == numbers[1]


def whole_number(text: str) -> int | None:
    r"""Return the value of `17 \bmod 5` or of a greatest or least number such as `\gcd(12,18)`; None for other text."""
    if match := _REMAINDER.fullmatch(text):
        modulus = int(match["modulus"])
        return int(match["value"]) % modulus if modulus else None
    if match := _FUNCTION.fullmatch(text):
        numbers = [int(number) for number in re.split("[,;]", match["numbers"])]
        values = {"gcd": math.gcd(*numbers), "lcm": math.lcm(*numbers), "max": max(numbers), "min": min(numbers)}
        return values[match["name"]]
    return None


def by_congruence(left: str, right: str, same: Same) -> bool | None:
    r"""Compare `N \equiv 5 \pmod 7` by the residue as it is written, and `17 \bmod 5` by its value."""
    readings = _congruence(left), _congruence(right)
    if readings == (None, None):
        return None
    if None not in readings:
        first, second = ((match["name"], int(match["value"]), int(match["modulus"])) for match in readings if match)
        return first[1:] == second[1:] and (first[0] == second[0] or None in (first[0], second[0]))
    match, other = (readings[0], right) if readings[0] else (readings[1], left)
    assert match is not None
    return 0 <= int(match["value"]) < int(match["modulus"]) and exact_number(other) == int(match["value"])


def _congruence(text: str) -> re.Match[str] | None:
    match = _CONGRUENCE.fullmatch(text)
    if match is None or not (match["name"] or match["sign"] == "\\pmod" or "(" in match["sign"]):
        return None  # 23 mod 7 without brackets is a number
    return match
