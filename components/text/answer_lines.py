"""The lines of a text that hold an answer: one line, or all lines of one formula."""

from __future__ import annotations

import re

_OPENERS = ("$$", "\\[", "\\(", "```", "```latex", "```text", "```math")  # mathematics that begins on its own line
_CLOSERS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_LONGEST_BLOCK = 60  # lines of one answer
_LONGEST_LINE = 2000  # characters; a longer line is not looked into
_LINE = re.compile(r"(?P<blank>\s*+)(?P<line>[^\n]*+)")
_NEXT_LINE = re.compile(r"\n([^\n]*+)")
_NO_CONTENT = re.compile(r"[-*_=:>\s]*")
_GOES_ON_BELOW = re.compile(r"(?:[,;=+\-]|\\\\|\\(?:cup|quad|times|cdot)|\b(?:and|or))\s*$")


def whole_line(text: str, start: int, end: int, most_blank_lines: int | None = None) -> tuple[str, int]:
    """Return the first line with content from `start` on, and where it ends; "" for none.

    A formula that is open at the line's end goes on through the line that closes it. most_blank_lines: how far to look.
    """
    at, line = start, ""
    while at < end:
        match = _LINE.match(text, at, end)
        assert match is not None
        if most_blank_lines is not None and text.count("\n", start, match.end("blank")) > most_blank_lines:
            return "", end
        line, at = match["line"].strip(), match.end()
        if not _NO_CONTENT.fullmatch(line):
            break
        line = ""
    if line and len(line) <= _LONGEST_LINE and (line in _OPENERS or _is_unfinished(line)):
        return _block(text, line, at, end)
    return line, at


def _block(text: str, first: str, at: int, end: int) -> tuple[str, int]:
    """Return the lines of one formula as one line; only the first where the formula is never closed."""
    lines, place = [first], at
    for _ in range(_LONGEST_BLOCK):
        match = _NEXT_LINE.match(text, place, end)
        if match is None:
            break
        lines.append(match[1].strip())
        place = match.end()
        joined = " ".join(line for line in lines if line)
        if first.startswith("```") and lines[-1].startswith("```"):
            return " ".join(line for line in lines[1:-1] if line), place
        if first.startswith("```") or _is_unfinished(joined):
            continue
        opener = next((each for each in _CLOSERS if first == each), "")
        if opener and joined.endswith(_CLOSERS[opener]):
            joined = joined.removeprefix(opener).removesuffix(_CLOSERS[opener]).strip()
        return joined, place
    if first in _OPENERS:
        return next((line for line in lines[1:] if line), ""), at
    return first, at


def _is_unfinished(text: str) -> bool:
    return (
        is_open(text)
        or text.count("{") - text.count("\\{") > text.count("}") - text.count("\\}")
        or _GOES_ON_BELOW.search(text[-12:]) is not None
    )


def is_open(text: str) -> bool:
    """Return whether a displayed formula or an environment is open at the end of a text."""
    return (
        text.count("$$") % 2 == 1
        or len(re.findall(r"(?<!\\)\\\[", text)) > len(re.findall(r"(?<!\\)\\\]", text))
        or text.count("\\begin{") > text.count("\\end{")
    )
