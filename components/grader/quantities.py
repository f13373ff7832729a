"""Numbers with a unit or a currency."""

from __future__ import annotations

import re
from collections.abc import Callable

from components.grader.expression_parser import NotAnExpression, Risky, parse
from components.grader.expression_value import has_function, names
from components.grader.normalize import END, TEXT
from components.grader.numbers import exact_number, words_number
from components.grader.unit_names import (
    COUNTED,
    CURRENCIES,
    KNOWN,
    LETTER_UNITS,
    NO_UNIT,
    SIGNS,
    chinese_unit,
    one_unit,
)

Same = Callable[[str, str], bool]  # whether two parts of answers are equal: components/grader/equality.py

_NO_UNIT_LIKE = re.compile("[a-z]+illion|[a-z]+teenths?|[a-z]+tieths?|arc[a-z]+|[^aeiou]+")
_SAID_UNIT = re.compile(r"«(?!\(in )[A-Za-z .'()]+»(?:/«?[A-Za-z .]+»?)?(?:\^\{?[23]\}?)?|°«?[CF]?»?" + f"|[%¢{SIGNS}]")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_MONEY = re.compile(rf"(?P<sign>-?)(?P<currency>{CURRENCIES}) ?(?P<value>.+)")
_RATE = re.compile(r"(?P<money>-?\$[\d.,]*\d)(?: per | an? |/|«per |«an? )(?P<per>[a-z]{3,12})»?")
_QUANTITY = re.compile(
    rf"(?P<value>.*?[\d)}}πa-z]) ?(?P<unit>{TEXT}[^{TEXT}{END}]*{END}(?:\^\{{?[23]\}}?)?"
    r"(?:/(?:«[^«»]*»|[a-z]{2,}|[smh])(?:\^\{?[23]\}?)?)?"
    r"|(?:(?:sq|square|cubic|cu)\.? )?[A-Za-z]{2,}(?: [A-Za-z]+){0,4}(?:\^\{?[23]\}?)?"
    r"(?:/(?:[a-z]{2,}|[smh]))?|[\u4e00-\u9fff][\u4e00-\u9fff/]*|°«?[CF]»?"
    rf"|[%°¢{SIGNS}])?"
)
_LETTERS = re.compile(
    r"(?P<value>-?[\d.,]*\d) "
    r"(?P<unit>(?P<first>[A-Za-z]{1,2})(?:\^\{?[23]\}?)?(?:/(?P<last>[A-Za-z]{1,3})(?:\^\{?[23]\}?)?)?)"
)
# A product or a quotient of units: `«N»*«m»`, `\\frac{«m»}{«s»}`, `«m s»^{-1}`.
_PRODUCT = re.compile(r"(?P<value>.*?[\d)}π]) ?(?P<unit>(?:[*/]?«[A-Za-z °*/^\-\d]{1,30}»(?:\^\{?-?\d\}?)?){1,4})")
_FACTOR = re.compile(r"(?P<sign>[*/ ]*)(?P<unit>[A-Za-z°]+)(?:\^\{?(?P<power>-?\d)\}?)? *")
_QUOTIENT = re.compile(r"\\frac ?\{(«[A-Za-z ]{1,20}»(?:\^\d)?)\} ?\{(«[A-Za-z ]{1,20}»(?:\^\{?\d\}?)?)\}$")
# Abbreviations that may touch their number, as in `5cm`; `5ton` could be a product of variables.
_TOUCHING = frozenset("mm cm m km in ft yd mi g kg mg lb oz l ml s min h".split())


def is_constant(text: str) -> bool:
    """Return whether a text is a number, or an expression without variables."""
    if exact_number(text) is not None:
        return True
    try:
        tree = parse(text)
        return not names(tree) and not has_function(tree)
    except (NotAnExpression, Risky, RecursionError):
        return False


def split_unit(text: str) -> tuple[str, str]:
    """Split a value from its unit, "" for none: `5«cm»^2` → ("5", "cm^2"), `$5` → ("5", "dollar")."""
    if match := _RATE.fullmatch(text):
        value, unit = split_unit(match["money"])
        return (value, f"{unit}/{one_unit(match['per'])}") if unit and exact_number(value) is not None else (text, "")
    if (match := _MONEY.fullmatch(text)) and not _MONEY.match(match["value"]):
        value, unit = split_unit(match["sign"] + match["value"])
        currency = one_unit(match["currency"].strip("«». "))
        plain = match["currency"] == "$" or is_constant(value)
        return (value, currency) if plain and unit in ("", currency) else (text, "")
    if match := re.fullmatch(r"(-?[\d.,]*\d)(''?)", text):
        return match[1], {"'": "ft", "''": "in"}[match[2]]
    text = _QUOTIENT.sub(r"\1/\2", text)
    if (match := _PRODUCT.fullmatch(text)) and ("*" in match["unit"] or "-" in match["unit"]):
        product = _product(match["unit"])
        return (match["value"], product) if product and is_constant(match["value"]) else (text, "")
    match = _QUANTITY.fullmatch(text)
    if match is None or not match["unit"]:
        return text, ""
    value, written = match["value"], match["unit"]
    if written == "°" and re.search(r"sin|cos|tan|cot|sec|csc", value):
        return text, ""  # a unit of the angle, not of the value
    unit = _unit(written)
    spaced = text[match.end("value")] == " "
    if not _is_unit(value, written, unit, spaced=spaced):
        return text, ""
    return value, unit


def _is_unit(value: str, written: str, unit: str, *, spaced: bool) -> bool:
    """Return whether what stands behind a value is a unit. unit: its one name; spaced: a space precedes it."""
    if _CHINESE.search(written):
        return _CHINESE.search(unit) is None or unit in KNOWN
    first = unit.split("^")[0].split("/")[0]
    known = first in KNOWN
    constant = exact_number(value) is not None or is_constant(value)
    if written in tuple(SIGNS):
        return constant
    if written[0].isalpha():
        if not _is_plain_unit(value, written, unit, spaced=spaced):
            return False
    elif not known and (not constant or not _SAID_UNIT.fullmatch(written) or re.fullmatch("[A-Za-z]{1,2}", unit)):
        return False
    spoken = re.findall("[a-z]+", written.lower())
    if not known and any(word in NO_UNIT or _NO_UNIT_LIKE.fullmatch(word) for word in spoken):
        return False
    counts = (f"{count} {name}".strip() for name in (unit, *spoken) for count in ("", "one", "two"))
    return all(words_number(count) is None for count in counts)


def _is_plain_unit(value: str, written: str, unit: str, *, spaced: bool) -> bool:
    """Return whether plain words behind a value are a unit. Letters behind an expression are variables."""
    first = unit.split("^")[0].split("/")[0]
    known = first in KNOWN
    if exact_number(value) is None and not (spaced and known and is_constant(value)):
        return False
    if first in LETTER_UNITS and first not in _TOUCHING and len(re.sub("[^A-Za-z]", "", written)) <= 2:
        return False  # by_quantity reads them
    if known and (spaced or first in _TOUCHING or len(written) > 3):
        return True
    return spaced and bool(set(unit.split()) & COUNTED)


def _unit(text: str) -> str:
    """Return one name for a unit: `square centimeters`, `sq. cm` and `cm^{2}` are cm^2."""
    text = re.sub(r"[«»{}.]", "", text).strip()
    if _CHINESE.search(text):
        return chinese_unit(text) or text
    power = ""
    if match := re.match(r"(?:(square|sq)|(cubic|cu)) (.+)", text, re.IGNORECASE):
        power, text = "^2" if match[1] else "^3", match[3]
    elif match := re.fullmatch(r"(.+?)\^([23])", text):
        power, text = "^" + match[2], match[1].strip()
    parts = [" ".join(map(one_unit, part.split())) for part in re.split(r"\s*/\s*|\s+per\s+", text)]
    return "/".join(parts) + power


def _product(text: str) -> str | None:
    """Return one name for a product of known units: m*s^-1 is m/s; None where a factor is unknown."""
    text = re.sub("[«» ]+", " ", text.replace("»^", "^")).strip()
    factors = list(_FACTOR.finditer(text))
    if "".join(factor[0] for factor in factors) != text:
        return None
    over: list[str] = []
    under: list[str] = []
    for factor in factors:
        unit, power = one_unit(factor["unit"]), int(factor["power"] or 1)
        if unit not in KNOWN:
            return None
        name = unit + (f"^{abs(power)}" if abs(power) > 1 else "")
        (over if (power > 0) != ("/" in factor["sign"]) else under).append(name)
    return " ".join(sorted(over)) + "".join(f"/{unit}" for unit in sorted(under))


def _letter_quantity(text: str) -> tuple[str, str] | None:
    """Read `12 m` or `3 m/s` as a quantity; None for other text."""
    match = _LETTERS.fullmatch(text)
    if match is None or exact_number(match["value"]) is None or match["first"] not in LETTER_UNITS:
        return None
    if match["last"] and one_unit(match["last"]) not in KNOWN:
        return None
    return match["value"], _unit(match["unit"])


def is_quantity(text: str) -> bool:
    """Return whether a text is one number, alone or with a unit."""
    return _letter_quantity(text) is not None or exact_number(split_unit(text)[0]) is not None


def by_quantity(left: str, right: str, same: Same) -> bool | None:
    """Compare quantities: a unit that only one side gives is style; where both give one, it must be the same.

    A percentage is its number: 50% is 50, and not 0.5. A letter such as m is a unit beside a number or a quantity, and
    a variable beside an expression.
    """
    (first, left_unit), (second, right_unit) = split_unit(left), split_unit(right)
    letters = [None if unit else _letter_quantity(side) for side, unit in ((left, left_unit), (right, right_unit))]
    if letters[0] and (letters[1] or right_unit or exact_number(right) is not None):
        first, left_unit = letters[0]
    if letters[1] and (letters[0] or left_unit or exact_number(left) is not None):
        second, right_unit = letters[1]
    if not left_unit and not right_unit:
        return None
    if left_unit and right_unit and left_unit != right_unit:
        return False
    return same(first, second)
