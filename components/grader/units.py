"""Numbers with a context: in a base, as a time, as a proportion, with a unit."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from components.grader.normalize import END, TEXT
from components.grader.numbers import exact_number, words_number

Same = Callable[[str, str], bool]  # whether two parts of answers are equal: components/grader/equality.py


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
    """Compare times as minutes of the day. A ratio such as 2:30 is read the same way, and so equals only itself."""
    first, second = (_TIME.fullmatch(_NOON.get(side.strip(TEXT + END).lower(), side)) for side in (left, right))
    if first is None or second is None or not all(m["minutes"] or m["half"] for m in (first, second)):
        return None
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


_UNIT_NAMES = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
    "in": "inch inches", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram gramme",
    "kg": "kilogram", "mg": "milligram",
    "lb": "pound", "oz": "ounce", "l": "liter litre", "ml": "milliliter millilitre", "s": "second sec", "min": "minute",
    "h": "hour hr", "day": "", "week": "", "month": "", "year": "yr", "degree": "deg °", "percent": "% percentage",
    "dollar": "$ usd buck", "cent": "¢", "unit": "", "euro": "€", "mph": "", "gal": "gallon", "qt": "quart",
}  # fmt: skip
_UNITS = {alias: unit for unit, aliases in _UNIT_NAMES.items() for alias in (unit, *aliases.split())}
# Words with more meaning than a unit, or that are mathematics.
_NO_UNIT = frozenset(
    "and or if for when where hundred thousand dozen score gross less more most least fewer above below plus "
    "minus times over divided multiplied choose root repeating recurring except excluding excluded nonzero "
    "otherwise odd even by to through out of halved doubled tripled twice ten tens ones eleventh elevenths "
    "twelfth twelfths power rem extraneous undefined under debt into squared cubed factorial not negative is "
    "ago loss mod remainder base infinity infinities floor ceil sqrt sin cos tan sinh cosh tanh cis log ln exp "
    "re im pi alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi "
    "omega".split()
)
_NO_UNIT_LIKE = re.compile("[a-z]+illion|[a-z]+teenths?|[a-z]+tieths?|arc[a-z]+|[^aeiou]+")
# Counted things that may follow a number as plain text; as LaTeX text, any word may.
_SAID_UNIT = re.compile(r"«[A-Za-z .'()]+»(?:/«?[A-Za-z .]+»?)?(?:\^\{?[23]\}?)?|[%°¢€]")
_COUNTED = frozenset(
    "way people person student child children boy girl point game marble apple orange ball card coin book page number "
    "integer solution pair side triangle square edge vertex vertices term digit prime factor divisor car ticket cookie "
    "candy flower tree step item vote team player bird cow dog cat egg box bag piece slice cup bottle stamp seat row "
    "column tile".split()
)
_QUANTITY = re.compile(
    rf"(?P<value>.*?[\d)}}πa-z]) ?(?P<unit>{TEXT}[^{TEXT}{END}]*{END}(?:\^\{{?[23]\}}?)?"
    r"(?:/(?:«[^«»]*»|[a-z]{2,}|[smh]))?"
    r"|(?:(?:sq|square|cubic|cu)\.? )?[A-Za-z]{2,}(?: [A-Za-z]+){0,4}(?:\^\{?[23]\}?)?"
    r"(?:/(?:[a-z]{2,}|[smh]))?|[%°¢€])?"
)


def split_unit(text: str) -> tuple[str, str]:
    """Split a value from its unit, "" for none: `5«cm»^2` → ("5", "cm^2"), `$5` → ("5", "dollar")."""
    if match := re.fullmatch(r"(-?)\$ ?(.+)", text):
        value, unit = split_unit(match[1] + match[2])
        return (value, "dollar") if unit in ("", "dollar") else (text, "")
    match = _QUANTITY.fullmatch(text)
    if match is None or not match["unit"]:
        return text, ""
    if match["unit"] == "°" and re.search(r"sin|cos|tan|cot|sec|csc", match["value"]):
        return text, ""  # a unit of the angle, not of the value
    word = match["unit"].startswith((TEXT, "%", "°", "¢", "€"))
    unit = _unit(match["unit"])
    spaced = text[match.end("value")] == " "
    if exact_number(match["value"]) is None and not word:
        return text, ""  # letters after letters are variables
    known = unit.split("^")[0].split("/")[0] in _UNITS.values()
    if not (word or known or (spaced and set(unit.split()) & _COUNTED)):
        return text, ""
    if word and not known and (exact_number(match["value"]) is None or not _SAID_UNIT.fullmatch(match["unit"])):
        return text, ""
    if word and re.fullmatch("[a-z]{1,2}", unit) and not known:
        return text, ""
    spoken = re.findall("[a-z]+", match["unit"].lower())
    if not known and any(word in _NO_UNIT or _NO_UNIT_LIKE.fullmatch(word) for word in spoken):
        return text, ""
    counts = (f"{count} {name}".strip() for name in (unit, *spoken) for count in ("", "one", "two"))
    if any(words_number(count) is not None for count in counts):
        return text, ""
    return match["value"], unit


def _unit(text: str) -> str:
    """Return one name for a unit: `square centimeters`, `sq. cm` and `cm^{2}` are cm^2."""
    text = re.sub(r"[«»{}.]", "", text).lower().strip()
    power = ""
    if match := re.match(r"(?:(square|sq)|(cubic|cu)) (.+)", text):
        power, text = "^2" if match[1] else "^3", match[3]
    elif match := re.fullmatch(r"(.+?)\^([23])", text):
        power, text = "^" + match[2], match[1].strip()
    parts = [" ".join(map(_one_unit, part.split())) for part in re.split(r"\s*/\s*|\s+per\s+", text)]
    return "/".join(parts) + power


def _one_unit(word: str) -> str:
    singular = word[:-1] if word.endswith("s") and len(word) > 2 else word
    return _UNITS.get(word) or _UNITS.get(singular) or singular


def by_quantity(left: str, right: str, same: Same) -> bool | None:
    """Compare quantities: a unit that only one side gives is style; where both give one, it must be the same."""
    (first, left_unit), (second, right_unit) = split_unit(left), split_unit(right)
    if not left_unit and not right_unit:
        return None
    if left_unit and right_unit and left_unit != right_unit:
        return False
    if same(first, second):
        return True
    if "percent" in (left_unit, right_unit) and left_unit != right_unit:
        numbers = exact_number(first), exact_number(second)
        if None not in numbers:
            percent, plain = numbers if left_unit else numbers[::-1]
            return percent == 100 * plain  # type: ignore[operator]
    return False
