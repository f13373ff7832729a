"""Extraction of the final answer from a solution's text.

The last number of an unfinished solution is never taken (paper §3.1: no answer fills a slot of N and is wrong).
"""

from __future__ import annotations

import re

from components.text.rendering import ANSWER_HEADER

SECTION = re.compile(rf"^{ANSWER_HEADER}[ \t]*:?[ \t]*$", re.MULTILINE)
BOXED = re.compile(r"\\f?boxed\s*\{")
_SAID = re.compile(
    r"(?<!wrong )(?<!partial )(?<!incorrect )"
    r"(?:\banswer\s+(?:is|are)\b\s*:?|(?:^|(?<=[.\s*]))answer\s*\**\s*:)\**[ \t]*",
    re.IGNORECASE,
)


def to_text(text: str | bytes) -> str:
    r"""Return text without NULs and with \n for line ends; bytes are read as UTF-8, and invalid ones are replaced."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    return text.encode("utf-8", errors="replace").decode("utf-8").replace("\0", "").replace("\r\n", "\n")


def extract_answer(text: str | bytes) -> tuple[str | None, str]:
    r"""Return the answer of a solution, and the rule that found it: answer_section, boxed, answer_is, or none.

    >>> extract_answer("7 + 5 = 12\n# Answer\n\n12")
    ('12', 'answer_section')
    """
    text = to_text(text)
    for section in reversed(list(SECTION.finditer(text))):
        lines = [line.strip() for line in text[section.end() :].splitlines() if line.strip()]
        lines = lines[1:] if lines and lines[0] in _OPENED else lines
        if lines and not lines[0].startswith("# "):
            return lines[0], "answer_section"
    if boxed := _last_boxed(text):
        return boxed, "boxed"
    for phrase in reversed(list(_SAID.finditer(text))):
        lines = [line.strip() for line in text[phrase.end() :].splitlines()[:4]]
        lines = [line for line in lines if line and line not in _OPENED]
        if lines and (answer := _sentence(lines[0])):
            return answer, "answer_is"
    return None, "none"


def solution_answer(text: str, finish_reason: str | None) -> tuple[str | None, str]:
    """Extract the answer of a sampled solution. finish_reason: "length" for one that the token cap cut."""
    if finish_reason == "length":
        # Its last line was cut short: "# Answer\n\n1" may have become 12.
        text = text.rpartition("\n")[0]
    return extract_answer(text)


_MATHEMATICS = re.compile(r"(?:\$\$[^$]+\$\$|\$[^$]+\$)(?:\s*(?:,|and|or|, and|, or)\s*\$[^$]+\$)*")
_OPENED = ("$$", "\\[", "\\(", "```")  # mathematics that begins on a line of its own


def _last_boxed(text: str) -> str | None:
    r"""Return the content of the last balanced, non-empty `\boxed{…}`, in one pass over the text."""
    starts = {match.end() - 1 for match in BOXED.finditer(text)}
    open_braces: list[int] = []
    best: tuple[int, str] | None = None
    at = 0
    while starts and at < len(text):
        if text[at] == "\\":
            at += 1 if at + 1 in starts or text[at + 1 : at + 2] not in ("{", "}", "\\") else 2
            continue
        if text[at] == "{":
            open_braces.append(at)
        elif text[at] == "}" and open_braces:
            start = open_braces.pop()
            if start in starts and (content := text[start + 1 : at].strip()) and (best is None or start > best[0]):
                best = start, content
        at += 1
    return best[1] if best else None


def _sentence(rest: str) -> str:
    """Return the answer that the text begins with, to the end of its sentence."""
    answer = re.split(r"(?<=[^\s.])\.(?=\s|$)|(?<=\S)[!;](?=\s|$)", rest.strip().strip("*").strip(), maxsplit=1)[
        0
    ].strip()
    if match := _MATHEMATICS.match(answer):
        answer = match[0]
    return answer.strip(" *:").strip()
