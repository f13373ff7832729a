"""Exact numbers in answers: integers, decimals, fractions, mixed numbers, repeating decimals, words. Never floats."""

from __future__ import annotations

import re
from fractions import Fraction

_MAX_DIGITS = 1_000
_PLAIN = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(_PLAIN)
_REPEATING = re.compile(r"(?P<whole>\d*)\.(?P<once>\d*)\\overline ?\{(?P<period>\d+)\}")
_DOTS = re.compile(r"(?P<whole>\d*)\.(?P<digits>\d{3,})\.\.\.")
_FRACTION = re.compile(
    rf"\\frac ?(?:\{{(?P<top>-?{_PLAIN})\}}|(?P<digit>\d)) ?(?:\{{(?P<bottom>-?{_PLAIN})\}}|(?P<last>\d))"
)
_SLASH = re.compile(rf"(?P<top>{_PLAIN}) ?/ ?(?P<bottom>-?{_PLAIN})")
_MIXED = re.compile(r"(?P<whole>\d+) ?(?P<rest>\\frac.*)|(?P<int>\d+) (?P<slash>\d+/\d+)")
_SCIENTIFIC = re.compile(rf"(?:(?P<factor>{_PLAIN})\*(?=10\^)|(?=10\^)|(?P<coefficient>{_PLAIN})(?=[eE]))(?:10\^(?:\{{(?P<braced>-?\d{{1,3}})\}}|(?P<plain>-?\d{{1,3}}))|[eE](?P<e>[-+]?\d{{1,3}}))")  # fmt: skip  # noqa: E501


def exact_number(text: str) -> Fraction | None:
    r"""Return the number that a cleaned answer is, or None.

    >>> exact_number("1,234.5"), exact_number("-2\\frac{1}{2}"), exact_number("0.\\overline{3}")
    (Fraction(2469, 2), Fraction(-5, 2), Fraction(1, 3))
    """
    text = text.strip()
    negative = text.startswith("-")
    text = text.lstrip("+") if text[:1] == "+" and text[1:2].isdigit() else text
    text = text[1:].strip() if negative else text
    if not text or text[0] not in "0123456789.\\" or len(text) > _MAX_DIGITS:
        return None
    value = _unsigned(text)
    return None if value is None else -value if negative else value


def _unsigned(text: str) -> Fraction | None:
    if _NUMBER.fullmatch(text):
        return _plain(text)
    for pattern, read in (
        (_FRACTION, _fraction),
        (_SLASH, _slash),
        (_MIXED, _mixed),
        (_REPEATING, _repeating),
        (_DOTS, _dots),
        (_SCIENTIFIC, _scientific),
    ):
        if match := pattern.fullmatch(text):
            return read(match)
    return None


def _plain(text: str) -> Fraction:
    sign = -1 if text.startswith("-") else 1
    return sign * Fraction(text.lstrip("-").replace(",", "").replace(" ", "").rstrip(".") or "0")


def _ratio(top: str, bottom: str) -> Fraction | None:
    value = _plain(bottom)
    return _plain(top) / value if value else None


def _fraction(match: re.Match[str]) -> Fraction | None:
    return _ratio(match["top"] or match["digit"], match["bottom"] or match["last"])


def _slash(match: re.Match[str]) -> Fraction | None:
    return _ratio(match["top"], match["bottom"])


def _mixed(match: re.Match[str]) -> Fraction | None:
    rest = _unsigned(match["rest"] or match["slash"])
    if rest is None or not 0 <= rest < 1 or "." in (match["rest"] or ""):
        return None
    return int(match["whole"] or match["int"]) + rest


def _repeating(match: re.Match[str]) -> Fraction:
    return _periodic(match["whole"], match["once"], match["period"])


def _periodic(whole: str, once: str, period: str) -> Fraction:
    """Return the decimal whole.once(period) as a fraction, by its geometric series."""
    scale = 10 ** len(once)
    return Fraction(int(whole + once or "0"), scale) + Fraction(int(period), scale * (10 ** len(period) - 1))


def _dots(match: re.Match[str]) -> Fraction | None:
    """Read `0.333...` and `0.1666...`: the same period at the end, three times or more (a long one twice)."""
    digits = match["digits"]
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        times = 2 if length >= 6 else 3
        if digits.endswith(period * times) and period.strip("0"):
            once = digits
            while once.endswith(period):
                once = once[:-length]
            return _periodic(match["whole"], once, period)
    return None


def _scientific(match: re.Match[str]) -> Fraction:
    exponent = int(match["braced"] or match["plain"] or match["e"])
    return _plain(match["factor"] or match["coefficient"] or "1") * Fraction(10) ** exponent


_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # fmt: skip  # noqa: E501
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = {"thousand": 1_000, "million": 10**6, "billion": 10**9}
_PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
}
_PARTS |= {"tenth": 10, "hundredth": 100, "thousandth": 1000}
_SMALL = rf"(?:{'|'.join(_UNITS)}|(?:{'|'.join(_TENS)})(?: (?:{'|'.join(_UNITS[1:10])}))?)"
_GROUP = rf"(?:(?:{'|'.join(_UNITS[1:10])}) hundred(?: (?:and )?{_SMALL})?|{_SMALL})"
_WHOLE = re.compile(
    rf"{_GROUP}(?: (?:{'|'.join(_SCALES)})(?: (?:and )?{_GROUP})?){{0,3}}|hundred|thousand|million|billion"
)


def words_number(text: str) -> Fraction | None:
    """Return the number that words spell, or None: `twenty-one`, `one half`, `minus two`, `two and a half`.

    >>> words_number("Three hundred and five"), words_number("two thirds"), words_number("even")
    (Fraction(305, 1), Fraction(2, 3), None)
    """
    spoken = " ".join(text.lower().replace("-", " ").split())
    if len(spoken) > 100:
        return None
    for minus in ("minus ", "negative "):
        if spoken.startswith(minus):
            value = words_number(spoken.removeprefix(minus))
            return None if value is None else -value
    whole, _, rest = spoken.rpartition(" and ")
    fraction = _part(rest)
    if fraction is None:
        return _whole_words(spoken)
    number = _whole_words(whole) if whole else Fraction(0)
    return None if number is None else number + fraction


def _part(words: str) -> Fraction | None:
    """Read `a half` or `two thirds`: fewer than twenty parts, and a plural where there are several."""
    number, _, name = words.rpartition(" ")
    top = Fraction(1) if number in ("a", "") else _whole_words(number)
    plural = {"halves": "half"}.get(name, name.removesuffix("s"))
    if top is None or not 0 < top < 20 or plural not in _PARTS or (top == 1) != (plural == name):
        return None
    return top / _PARTS[plural] if number or name == "half" else None


def _whole_words(words: str) -> Fraction | None:
    if not _WHOLE.fullmatch(words):
        return None
    total = current = 0
    for word in words.split():
        if word in _UNITS:
            current += _UNITS.index(word)
        elif word in _TENS:
            current += 20 + 10 * _TENS.index(word)
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1) * _SCALES[word], 0
    return Fraction(total + current)
