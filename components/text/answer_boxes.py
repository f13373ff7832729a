r"""Boxes in a solution's text: `\boxed{…}`, `\fbox{…}`, `\boxed 7`; and those of them that are its answer.

Several boxes of one line are one answer with several values, as MathArena and lm-evaluation-harness read them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BOXED = re.compile(r"\\(?:f?boxed|fbox|framebox)\s*\{")

# A box without braces holds a number, a fraction or a letter; "\boxed and" is a mention of the command.
_BARE = re.compile(
    r"\\(?:boxed|fbox)[ \t]{0,8}"
    r"(?P<bare>-?\d(?:[\d.,]{0,40}\d)?|\\[dt]?frac\d{2}|-?[A-Za-z](?=[ .,;)]{0,3}(?:$|\$|\n)))"
)
_TOKEN = re.compile(rf"(?P<box>{BOXED.pattern})|{_BARE.pattern}|\\(?:[{{}}]|\\(?!f?box))|[{{}}]")
_PLACEHOLDER = re.compile(
    r"(?:(?:the|your|my)?[\s_]*(?:final|numerical)?[\s_]*(?:answer|result|solution)s?(?:\s+here)?|\.{2,}|…|\\[lc]?dots|\?+)",
    re.IGNORECASE,
)
# "Put your answer within \boxed{}" tells where the answer goes.
_TOLD_WHERE = re.compile(
    r"(?:\b(?:within|in|inside|into|using|with|as|use|form|notation|format|command)|[用在入])"
    r"[\s:`'\"“$(\\]*(?:a |an |the )?[\s`'\"“$(\\]*$",
    re.IGNORECASE,
)
_REJECTED_BEFORE = re.compile(r"(?:\b(?:not|never)|n['’]t)(?:\s+be|\s+equal(?:\s+to)?)?[\s:$\\(\[*]*$", re.IGNORECASE)
_REJECTED_BEHIND = re.compile(
    r"[\s$\\)\]*]*(?:(?:is|was) (?:not|wrong|incorrect|false)|isn['’]t|wasn['’]t|cannot be|can['’]t be"
    r"|(?:doesn['’]t|does not) (?:work|fit|satisfy)|fails|\?\s*(?:no|wrong))\b",
    re.IGNORECASE,
)
_GLUE = 120  # characters between two boxes of one answer, at most
_MOST = 100  # boxes of one answer
_NAME = re.compile(r"(?P<name>[A-Za-z](?:_\{?\w{1,8}\}?|')?)[\s$]*&?=\s*(?:\\[,;: ]\s*)?$")
_MARKUP = re.compile(r"\\[()\[\],;:! ]|\\q?quad|\\(?:text|mbox|textbf|mathrm)\b|[${}&*~_`]|\\\\")
_CONNECTIVE = re.compile(r"[,;、，；]|\b(?:and|or|y|o|e|et|ou|und|oder|и|или)\b|[和或与及]", re.IGNORECASE)
# Between two boxes, these say that the second is worked out from the first, or takes its place.
_GOES_ON = re.compile(
    r"\b(?:so|thus|hence|therefore|then|but|wait|actually|instead|correct\w*|rather|now|no|not|should|gives?|giving|get|yields?"
    r"|becomes?|which|that|i\.?e|equivalent\w*|equals?|simplif\w*|reduce\w*|reducing|final\w*|answers?|check\w*|same|again|"
    r"because|since|from|using|after|response|solution|finally|donc|luego|entonces)\b|[所以因此即故]|[#<>=]",
    re.IGNORECASE,
)
_APPROXIMATELY = re.compile(
    r"\b(?:approx\w*|numerical\w*|about|roughly|rounded|nearly|decimal\w*)\b|\\approx|\\simeq|[≈约]", re.IGNORECASE
)
_IS_APPROXIMATE = re.compile(r"^(?:\\approx\b|≈|\\simeq\b)\s*")
_ONE_CELL = re.compile(
    r"^\\begin\{(?:array\}\{[lcr]|aligned|gathered)\}((?:(?!\\\\|&|\\end)[\s\S])*)\\end\{\w+\}$"
)  # layout
_SENTENCE_END = re.compile(r"[.!?][)\]$*]*\s|[。！？]|\n[^\S\n]*\n")


@dataclass(frozen=True)
class Box:
    """A box: where it begins, its content does, the content ends and it ends itself. content: None, never closed."""

    start: int
    inside: int
    inside_end: int
    end: int
    content: str | None


def find_boxes(text: str) -> list[Box]:
    """Return the boxes of a text in the order in which they begin, in one pass."""
    boxes: list[Box] = []
    if "box" not in text:
        return boxes
    open_braces: list[tuple[int, int, int]] = []  # a box's number or -1, where it begins, where its content does
    for token in _TOKEN.finditer(text):
        if token["box"] is not None:
            open_braces.append((len(boxes), token.start(), token.end()))
            boxes.append(Box(token.start(), token.end(), token.end(), token.end(), None))
        elif token["bare"] is not None:
            boxes.append(Box(token.start(), token.start("bare"), token.end(), token.end(), token["bare"]))
        elif token[0] == "{":
            open_braces.append((-1, 0, 0))
        elif token[0] == "}" and open_braces:
            number, start, inside = open_braces.pop()
            if number >= 0:
                content = text[inside : token.start()].strip()
                boxes[number] = Box(start, inside, token.start(), token.end(), content)
    return boxes


def answer_boxes(text: str, boxes: list[Box] | None = None) -> list[Box]:
    """Return the boxes that hold the answer: of the last line with a box, those that are listed together.

    None of them where the last box is open or empty: it was to take the place of those before it. A box that an
    instruction shows ("within \\boxed{}") is passed over. boxes: `find_boxes(text)`, where it is known.
    """
    backwards = reversed(find_boxes(text) if boxes is None else boxes)
    last = next((box for box in backwards if not _is_shown(text, box)), None)
    if last is None or not last.content:
        return []
    group = [last]  # backwards
    for box in backwards:
        if box.content is not None and box.end >= group[-1].end:
            continue  # it is around the next one
        if not box.content or _is_shown(text, box) or len(group) >= _MOST:
            break
        glue = text[box.end : group[-1].start] if group[-1].start - box.end <= _GLUE else "."
        if len(group) == 1 and _is_approximation(glue, last.content):
            group = [box]
        elif _are_listed(glue):
            group.append(box)
        else:
            break
    return group[:1] if len(group) == 2 and _is_other_form(text, group[1], group[0]) else group[::-1]


def last_box(text: str) -> str | None:
    """Return the content of the last closed box that is not empty: the answer of MATH's reference solutions."""
    return next((box.content for box in reversed(find_boxes(text)) if box.content), None)


def boxed_answer(text: str, group: list[Box]) -> str:
    """Return what the boxes say together: one value, or several with commas, by their names where they have some."""
    contents = [_ONE_CELL.sub(r"\1", _IS_APPROXIMATE.sub("", box.content or "")).strip() for box in group]
    if len({re.sub(r"\s+", "", content) for content in contents}) == 1:
        return contents[0]
    names = [_NAME.search(text[max(0, box.start - 24) : box.start].rstrip("$ \\([")) for box in group]
    if len({name["name"] for name in names if name is not None}) == len(group):
        contents = [f"{name['name']} = {content}" for name, content in zip(names, contents, strict=True) if name]
    return ", ".join(contents)


def _is_shown(text: str, box: Box) -> bool:
    """Return whether a box only shows where the answer goes, or what it is not: "it is not \\boxed{5}"."""
    before = text[max(0, box.start - 40) : box.start]
    if box.content and (_REJECTED_BEFORE.search(before) or _REJECTED_BEHIND.match(text[box.end : box.end + 40])):
        return True
    if not box.content:
        return box.content == "" and _TOLD_WHERE.search(before) is not None
    return len(box.content) <= 30 and _PLACEHOLDER.fullmatch(box.content) is not None


def _is_approximation(glue: str, content: str) -> bool:
    """Return whether a box holds the decimals of the exact value in the box before it."""
    if _SENTENCE_END.search(glue) or "\n" in glue.strip():
        return False
    return _APPROXIMATELY.search(glue) is not None or _IS_APPROXIMATE.match(content) is not None


def _is_other_form(text: str, first: Box, second: Box) -> bool:
    r"""Return whether a box repeats the one before it in another form: `\boxed{2 - b}, or \boxed{-b + 2}`."""
    named = text[max(0, first.start - 24) : first.start].rstrip(" $\\([").endswith("=")
    return not named and re.fullmatch(r"\W*,\W*or\W*", text[first.end : second.start]) is not None


def _are_listed(glue: str) -> bool:
    """Return whether the text between two boxes only goes on with a list."""
    if _CONNECTIVE.fullmatch(re.sub(r"\s", "", _MARKUP.sub(" ", glue))):
        return True
    breaks = re.sub(r"(?:\\\\|[,;]|\b(?:and|or))[^\S\n]*[$\\\[\]]{0,4}[^\S\n]*\n", " ", glue)
    if "\n" in breaks or _SENTENCE_END.search(glue):
        return False
    words = _MARKUP.sub(" ", _NAME.sub(" ", breaks.rstrip("$ \\(["))).strip()
    if _GOES_ON.search(words) or "\\" in words:
        return False
    return not words or (_CONNECTIVE.search(words) is not None and len(words.split()) <= 10)
