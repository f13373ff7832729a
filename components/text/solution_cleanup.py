"""Solutions that others wrote (chat models, textbooks) as steps in our format: one per line, none empty.

The paper says that steps are delimited by newlines (§2.2), and not how a text that is laid out in paragraphs, headings
and displayed formulas is brought to that form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from components.text.answer_boxes import answer_boxes, find_boxes
from components.text.answer_extraction import SECTION, extract_answer, without_thoughts
from components.text.answer_lines import is_open
from components.text.rendering import answer_step, split_steps
from components.text.segmentation import SENTENCE, steps

_HEADING = re.compile(r"\s*(#{2,6}\s.*|#\s+[A-Z].*|\*\*[^*]+\*\*:?|[-*_]{3,})\s*")  # of markdown: a title, a rule
_FIGURE = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)  # MATH's drawings are code
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")  # GSM8K's annotations: 48/2 = <<48/2=24>>24
_SAID_ALONE = re.compile(r"\W*(final\s+)?answer\W*:.*", re.IGNORECASE)  # a line with the answer and nothing else
_LONGEST_FORMULA = 60  # lines of a displayed formula; one that is open for longer is taken for a slip
_ANSWER_MARKS = re.compile(r"</?answer>|[\s$*_.]+|\\[\[\]()]")  # around an answer that stands alone in its line


def solution_steps(text: str, answer: str) -> list[str]:
    r"""Cut a solution into steps, the section with its answer last; no steps where the text is only the answer.

    >>> solution_steps("### Adding\n\nThe sum is $2 + 2$.\n\nSo it is $\\boxed{4}$.", "4")
    ['The sum is $2 + 2$.', 'So it is $4$.', '# Answer\n\n4']
    """
    text = _CALCULATOR.sub("", _FIGURE.sub("", text.replace("\r\n", "\n")))
    lines = [line.rstrip() for line in _joined(_lines(text)) if not _is_layout(line)]
    steps = [unboxed(line) for line in lines if not _only_boxed(line)]
    return [*steps, answer_step(" ".join(answer.split()))] if steps else []


def before_answer(text: str, answer: str, rule: str) -> str | None:
    """Return a sample's text without its answer section and what follows, or through the line with its box.

    rule: how the grader found `answer`. A model that does not know where to stop may give several sections; None where
    the first is not the one that counts, since it is not known which steps led to that answer.
    """
    read = without_thoughts(text)
    if rule == "answer_section":
        first, *others = SECTION.finditer(read)
        counts = extract_answer(text[: others[0].start()])[0] if others else answer
        return text[: first.start()] if counts == answer else None
    if boxes := answer_boxes(read) if rule == "boxed" else []:
        end = text.find("\n", boxes[-1].end)
        return text if end < 0 else _closed(text, end)
    lines = text.rstrip().split("\n")
    while lines and _ANSWER_MARKS.sub("", lines[-1]) in ("", _ANSWER_MARKS.sub("", answer)):
        lines.pop()  # a line with the answer and nothing else, under a heading or between tags
    return "\n".join(lines)


def unboxed(text: str) -> str:
    r"""Replace each balanced `\boxed{…}` by its content."""
    cuts = [
        cut
        for box in find_boxes(text)
        if box.content is not None and box.inside_end < box.end
        for cut in ((box.start, box.inside), (box.inside_end, box.end))
    ]
    pieces, at = [], 0
    for start, end in sorted(cuts):
        pieces.append(text[at:start])
        at = end
    return "".join([*pieces, text[at:]])


def _is_layout(line: str) -> bool:
    return not line.strip() or bool(_HEADING.fullmatch(line)) or bool(_SAID_ALONE.fullmatch(line))


def _lines(text: str) -> list[str]:
    """Split a text into lines; a text of one line into its sentences."""
    if "\n" not in text.strip():
        return steps(text, SENTENCE)
    return [line for step in split_steps(text) for line in step.split("\n")]


def _joined(lines: Sequence[str]) -> list[str]:
    """Join the lines of one displayed formula or environment; one that is never closed stays as it is."""
    joined: list[str] = []
    at = 0
    while at < len(lines):
        ends = range(at + 1, min(at + _LONGEST_FORMULA, len(lines)) + 1)
        end = next((end for end in ends if not is_open("\n".join(lines[at:end]))), at + 1)
        joined.append(" ".join(line.strip() for line in lines[at:end] if line.strip()))
        at = end
    return joined


def _closed(text: str, end: int) -> str:
    """Return the text through `end`, and further through the line that closes a formula which is open there."""
    while 0 <= end < len(text) and is_open(text[:end]):
        following = text.find("\n", end + 1)
        end = following if following >= 0 else len(text)
    return text[:end]


def _only_boxed(line: str) -> bool:
    """Return whether a line is a boxed answer and nothing more."""
    bare = re.sub(r"\\[\[\]()]|\$|\*|\.", "", line).strip()
    boxes = find_boxes(bare)
    return bool(boxes) and boxes[0].start == 0 and boxes[0].content is not None and not bare[boxes[0].end :].strip()
