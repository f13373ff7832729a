"""Answers that are several values: tuples, intervals, sets, lists without brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from components.grader.numbers import exact_number
from components.grader.quantities import Same, is_quantity, split_unit

OPENING, CLOSING = "([{⟨", ")]}⟩"


def split_top(text: str, separators: str) -> list[str]:
    """Split a text at separators that stand outside of brackets."""
    parts, depth, start = [], 0, 0
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            if text[at + 1 : at + 2] in ("{", "}"):
                depth += 1 if text[at + 1] == "{" else -1
            at += 2
            continue
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0 and character in separators:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    return [*parts, text[start:].strip()]


def bracketed(text: str) -> tuple[str, list[str]] | None:
    """Read a tuple, an interval or a set: its kind such as "()" or "[)", and its items.

    None for text that is not wholly in one pair of brackets.
    """
    opening = "\\{" if text.startswith("\\{") else text[:1]
    closing = "\\}" if text.endswith("\\}") else text[-1:]
    if opening not in ("(", "[", "\\{", "⟨") or closing not in (")", "]", "\\}", "⟩") or len(text) < 2:
        return None
    if (opening == "\\{") != (closing == "\\}") or (opening == "⟨") != (closing == "⟩"):
        return None
    inner = text[len(opening) : -len(closing)]
    depth = 0
    for character in re.sub(r"\\([{}])", r"\1", inner):
        depth += (character in OPENING) - (character in CLOSING)
        if depth < 0:
            return None
    separators = ";" if _thousands_only(inner) else ",;"
    items = [item for item in split_top(inner, separators) if item] if inner.strip() else []
    if len(items) < 2 and opening != "\\{":
        return None
    if opening == "\\{":
        items = [expanded for item in items for expanded in _plus_minus(item)]
    return opening + closing, items


def by_brackets(left: str, right: str, same: Same) -> bool | None:
    """Compare tuples and intervals in order, sets in any order; different kinds are never equal."""
    first, second = bracketed(left), bracketed(right)
    if first is None and second is None:
        return None
    kinds = {side[0] for side in (first, second) if side is not None}
    if re.search("[±∓]", left + right) and kinds != {"\\{\\}"}:
        return False  # whether several ± go together is not known
    if first is None or second is None:
        inside, other = (first, right) if first is not None else (second, left)
        assert inside is not None
        kind, items = inside
        parts = list_items(other)
        if kind == "\\{\\}" and parts is not None and "=" not in left + right:
            return same_in_any_order(items, parts, same)
        return None if kind in ("()", "(]", "[)", "[]") else False
    name_sets = {_name(item) for item in first[1]}, {_name(item) for item in second[1]}
    if (
        not (first[0] == second[0] or {first[0], second[0]} == {"()", "⟨⟩"})
        or "=" in left + right
        or (max(map(len, name_sets)) > 1 and name_sets[0] != name_sets[1])
    ):
        return False
    if first[0] == "\\{\\}":
        return same_in_any_order(first[1], second[1], same)
    return len(first[1]) == len(second[1]) and all(map(same, first[1], second[1]))


_AND_OR = re.compile(r"[,;]?(?:«(?:and|or)»|(?: |(?<![A-Za-z\\ ]))(?:and|or)(?: |(?![A-Za-z])))")


def list_items(text: str) -> list[str] | None:
    r"""Return the items of a list without brackets, `1, 2` or `1 and 2` or `\pm 2`; None for one item."""
    joined = [part for part in _AND_OR.split(text) if part]
    if (
        sum(len(split_top(part, ",")) > 1 for part in joined) > 1
        and "=" not in text
        and not _thousands_only(";".join(joined))
    ):
        return None  # lists of lists
    text = ";".join(joined) if len(joined) > 1 else text
    commas, semicolons = (len(split_top(text, separator)) > 1 for separator in ",;")
    if semicolons and len(joined) < 2 and commas and "=" not in text and not _thousands_only(text):
        return None
    if ";" in text or ("," in text and not is_quantity(text)):
        inner = split_top(text, ";") if ";" in text and _thousands_only(text) else split_top(text, ",;")
    else:
        inner = [text]
    items = [expanded for item in inner if item for expanded in _plus_minus(item)]
    return items if len(items) > 1 else None


def _thousands_only(text: str) -> bool:
    """Return whether every comma of a list separates thousands."""
    parts = split_top(text, ";")
    return len(parts) > 1 and "," in text and all(exact_number(item) is not None for item in parts)


def _plus_minus(item: str) -> list[str]:
    if not re.search("[±∓]", item) or (item.count("±") > 1 and "∓" not in item):
        return [item]  # each of two signs may be chosen by itself
    return [item.replace("±", "+").replace("∓", "-"), item.replace("±", "-").replace("∓", "+")]


def by_list(left: str, right: str, same: Same) -> bool | None:
    """Compare lists without brackets: in any order, unless names or dots fix the order."""
    first, second = list_items(left), list_items(right)
    if first is None and second is None:
        return None
    if first is None or second is None:
        return False
    first, second = _with_names(first), _with_names(second)
    name_sets = {_name(item) for item in first}, {_name(item) for item in second}
    if max(map(len, name_sets)) > 1 and name_sets[0] != name_sets[1]:
        return False  # only one side names its values
    if max(map(len, name_sets)) > 1 and re.search("[±∓]", left + right):
        return False  # whether several ± go together is not known
    if max(map(len, name_sets)) > 1 and max(len(first), len(second)) > max(map(len, name_sets)):
        return len(first) == len(second) and all(map(same, first, second))  # several solutions, each with several names
    if "..." in first + second:
        return len(first) == len(second) and all(map(same, first, second))
    strict = max(map(len, name_sets)) > 1 or re.search("[<>≤≥]", left + right)
    joints = set(_JOINED.findall(left)), set(_JOINED.findall(right))
    if max(map(len, name_sets)) > 1:
        joints = joints[0] - {"and"}, joints[1] - {"and"}  # so does the comma between two names
    plain = all(exact_number(split_top(item, "=")[-1]) is not None for item in first)
    if joints[0] != joints[1] and (strict or (all(joints) and not plain)):
        return False  # between statements, `and` is not `or`
    return same_in_any_order(first, second, same)


_JOINED = re.compile(r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])")


def _name(item: str) -> str:
    """Return whose value an item is: the left side of an equation, the letters of an inequality, a unit."""
    name, *values = split_top(item, "=")
    if values:
        return f"{name} {split_unit(values[-1])[1]}"
    if re.search("[<>≤≥]", item):
        return "".join(sorted(set(re.findall("[A-Za-z]", item))))
    return split_unit(item)[1]


def _with_names(items: list[str]) -> list[str]:
    """Read `x=1, 2` as `x=1, x=2`."""
    match = re.match(r"([A-Za-z])=", items[0])
    return [item if "=" in item else f"{match[1]}={item}" for item in items] if match else items


def same_in_any_order(first: Sequence[str], second: Sequence[str], same: Same) -> bool:
    """Return whether each item of one list has an equal partner in the other."""
    unmatched = list(second)
    if len(first) != len(second):
        return False
    for item in first:
        match = next((other for other in unmatched if same(item, other)), None)
        if match is None:
            return False
        unmatched.remove(match)
    return True
