r"""Extraction of the final answer from a solution's text.

A `# Answer` section comes first; then what is said last of boxes, `#### 18`, `<answer>` and "answer is". The last
number of an unfinished solution is never taken (paper §3.1: no answer fills a slot of N and is wrong). The time is
linear in the text's length.
"""

from __future__ import annotations

import re
from collections import deque

from components.text.answer_boxes import answer_boxes, boxed_answer, find_boxes
from components.text.answer_lines import whole_line
from components.text.answer_statements import Statement, statements
from components.text.last_sentence import last_sentence_value
from components.text.rendering import ANSWER_HEADER

SECTION = re.compile(rf"^{ANSWER_HEADER}[ \t]*+(?::[ \t]*+)?$", re.MULTILINE)
_END_TOKENS = (
    *("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>"),
    *("</s>", "<eos>", "<end_of_turn>", "<｜end▁of▁sentence｜>"),
)
_MOST_SECTIONS = 50  # of the last ones are looked at
_THINKING = re.compile(
    r"<(?P<close>/)?(?:think|thinking|thought|reasoning)>|(?P<answered></answer>)|[<◁]\|?(?:begin|(?P<end>end))_of_thought\|?[>▷]"
    r"|◁(?P<closed>/)?think▷",
    re.IGNORECASE,
)


def to_text(text: str | bytes) -> str:
    r"""Return text without NULs and with \n for line ends; bytes are read as UTF-8, and invalid ones are replaced."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    return text.encode("utf-8", errors="replace").decode("utf-8").replace("\0", "").replace("\r\n", "\n")


def extract_answer(text: str | bytes, finished: bool = False) -> tuple[str | None, str]:
    r"""Return the answer of a solution, and the rule that found it.

    Rules: answer_section, boxed, hash_mark, answer_tag, answer_is, last_sentence, or none. Nothing is read inside
    `<think>`. finished: whether the text is known to have ended by itself. Only then is the one value of its last
    sentence an answer, where nothing marks one (last_sentence).

    >>> extract_answer("7 + 5 = 12\n# Answer\n\n12")
    ('12', 'answer_section')
    >>> extract_answer("Thus, there are $14$ ways.", finished=True)
    ('14', 'last_sentence')
    """
    text = without_thoughts(_without_end_tokens(to_text(text)))
    if section := _section(text):
        return section, "answer_section"
    boxes = find_boxes(text)
    group = answer_boxes(text, boxes)
    opened = boxes[-1].start if boxes and boxes[-1].content is None else -1  # a text that was cut in its last box
    prose: Statement | None = None
    for statement in statements(text):
        if statement.start < max(opened, group[-1].end if group else -1):
            break
        if statement.is_plain and (statement.is_outright or not group):
            return statement.value, statement.rule
        prose = prose or statement
    if group:
        return boxed_answer(text, group), "boxed"
    if finished and opened < 0 and (value := last_sentence_value(text)):
        return value, "last_sentence"
    return (prose.value, prose.rule) if prose is not None else (None, "none")


def solution_answer(text: str, finish_reason: str | None) -> tuple[str | None, str]:
    """Extract the answer of a sampled solution.

    finish_reason: "stop" for one that ended by itself, "length" for one that the token cap cut.
    """
    if finish_reason == "length":
        # Its last line was cut short: "# Answer\n\n1" may have become 12. A box that it was cut in still takes the
        # place of those before it.
        was_in_box = (boxes := find_boxes(without_thoughts(to_text(text)))) and boxes[-1].content is None
        text = text.rpartition("\n")[0] + ("\n\\boxed{" if was_in_box else "")
    return extract_answer(text, finished=finish_reason == "stop")


def without_thoughts(text: str) -> str:
    """Return a text of the same length with blanks in place of what stands in `<think>…</think>`.

    A `</think>` alone closes what began in the prompt; a `<think>` alone hides all that follows, unless `</answer>`
    ends it.
    """
    tags = list(_THINKING.finditer(text)) if "<" in text or "◁" in text else []
    is_closed = any(_closes(tag) for tag in tags)
    hidden: list[tuple[int, int]] = []
    opened: int | None = None
    for tag in tags:
        if _closes(tag):
            hidden = hidden if opened is not None else []
            hidden.append((opened or 0, tag.end()))
            opened = None
        elif tag["answered"] is None:
            opened = tag.start() if opened is None else opened
        elif not is_closed:
            opened = None
    if opened is not None:
        hidden.append((opened, len(text)))
    pieces, at = [], 0
    for start, end in hidden:
        pieces += [text[at:start], "\n", " " * (end - start - 2), "\n"]  # a tag has more than two characters
        at = end
    return "".join([*pieces, text[at:]])


def _without_end_tokens(text: str) -> str:
    """Remove the tokens of models that end a text, which some files keep."""
    text = text.rstrip()
    for _ in range(3):
        for token in _END_TOKENS:
            text = text.removesuffix(token).rstrip() if text.endswith(token) else text
    return text


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["close"] or tag["end"] or tag["closed"])


def _section(text: str) -> str:
    """Return the content of the last `# Answer` section that has one: a line, or the lines of one formula."""
    end = len(text)
    for section in reversed(deque(SECTION.finditer(text), _MOST_SECTIONS)):
        line, _ = whole_line(text, section.end(), end)
        end = section.start()
        if line and not line.startswith("# "):
            return line.strip("*") if line.startswith("**") and line.endswith("**") else line
    return ""
