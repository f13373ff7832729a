"""Numbers with a context: in a base, as a time, as a proportion."""

from __future__ import annotations

import re
from fractions import Fraction

from components.grader.normalize import END, TEXT
from components.grader.numbers import exact_number, words_number
from components.grader.quantities import Same, split_unit


def by_number(left: str, right: str, same: Same) -> bool | None:
    """Compare plain numbers by value."""
    first, second = exact_number(left), exact_number(right)
    return None if first is None or second is None else first == second


_BASE = re.compile(
    r"\(?(?P<digits>(?=[A-F]*\d|[A-F]{2})[0-9A-F]+)\)?(?:_|_?\{?[ «]*\(?(?:in )?base[ »-]*)[\[{(«]*"
    r"(?P<base>\d+|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)[\]})»]*"
)


def by_base(left: str, right: str, same: Same) -> bool | None:
    """Compare numbers in a base: the digits are the answer, so 1011_2 is neither 1011_3 nor 11."""
    first, second = _BASE.fullmatch(left), _BASE.fullmatch(right)
    if first is None and second is None:
        return None
    if first is None or second is None:
        return False
    bases = [words_number(match["base"]) or Fraction(int(match["base"])) for match in (first, second)]
    digits = [match["digits"].lstrip("0").lower() for match in (first, second)]
    return bases[0] == bases[1] and digits[0] == digits[1]


_TIME = re.compile(r"(?P<hours>\d{1,2})(?::(?P<minutes>[0-5]\d))?(?: ?«?(?P<half>[ap])\.? ?m\.?»?)?", re.IGNORECASE)


def by_time(left: str, right: str, same: Same) -> bool | None:
    """Compare times as minutes of the day; 2:30 without a half of the day is 2:30 p.m. as well.

    A ratio such as 2:30 is read the same way, and so equals only itself.
    """
    first, second = (_TIME.fullmatch(_NOON.get(side.strip(TEXT + END).lower(), side)) for side in (left, right))
    if first is None or second is None or not all(m["minutes"] or m["half"] for m in (first, second)):
        return None
    if bool(first["half"]) != bool(second["half"]) and first["hours"] == second["hours"]:
        return (first["minutes"] or "00") == (second["minutes"] or "00")
    return _minutes(first) == _minutes(second)


_NOON = {"noon": "12:00 p.m.", "12 noon": "12:00 p.m.", "midnight": "12:00 a.m.", "12 midnight": "12:00 a.m."}


def by_ratio(left: str, right: str, same: Same) -> bool | None:
    """Compare proportions: `2:4` equals `1:2`, in this order."""
    first, second = (re.split(r" ?: ?| to |«to»", side) for side in (left, right))
    if len(first) == len(second) == 1:
        return None
    if len(first) != len(second):
        return False
    if "," in left + right:
        return None
    units = [{split_unit(part)[1] for part in parts} for parts in (first, second)]
    if "=" in left + right or any(":" in side and "to" in side for side in (left, right)) or units[0] != units[1]:
        return False
    values = [[exact_number(part) for part in parts] for parts in (first, second)]
    if None in values[0] + values[1]:
        return all(map(same, first, second))
    first_values, second_values = ([value for value in side if value is not None] for side in values)
    if (
        first_values == second_values
        or ":" not in left + right
        or not any(first_values)
        or not any(second_values)
        or re.search(r"\b0\d", left + " " + right)
    ):
        return first_values == second_values  # `1 to 3` may be a range
    scale = sum(map(abs, second_values)) / sum(map(abs, first_values))
    return [value * scale for value in first_values] == second_values


def _minutes(match: re.Match[str]) -> int:
    hours = int(match["hours"])
    if match["half"]:
        hours = hours % 12 + 12 * (match["half"].lower() == "p")
    return 60 * hours + int(match["minutes"] or 0)
