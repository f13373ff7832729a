"""Segmentation of any model's solutions into steps: rules for steps on lines, for steps parted by blank lines, and for
running text.

Departs from PRM800K, whose generator was taught one step per line: others' models write paragraphs, or one paragraph.
Nothing is lost: every segment carries the separator that follows it, so the segments of a text add up to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.text.rendering import ANSWER_HEADER, STEP_SEPARATOR

NEWLINE, DOUBLE_NEWLINE, SENTENCE, AUTO = "newline", "double_newline", "sentence", "auto"
RULES = (NEWLINE, DOUBLE_NEWLINE, SENTENCE, AUTO)

# As in rendering.py, and with the carriage return that rendering.py leaves in the line.
_ANSWER_LINE = re.compile(rf"^{ANSWER_HEADER}[ \t\r]*$", re.MULTILINE)
_LINE_END = re.compile(r"\n(?:[^\S\n]*\n)*")  # and the blank lines after it
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
# A full stop (not of an ellipsis), closing quotes or brackets behind it, and white space; CJK needs none.
_SENTENCE_END = re.compile(r"""(?<![.!?])(?<!\.\s)[.!?]++(?<!\.\.)["'”’»)\]*_]*\s+|[。！？]+[”’」』）]*\s*""")
_OPENING_QUOTES = "\"'“‘([*_"
_GOES_ON = ".,;:)"  # no sentence begins with these
# Before a stop, these end no sentence; the second kind only where a number or a reference follows: "no. 3", "so no."
_ABBREVIATIONS = frozenset("eg ie eq eqs cf vs viz etc resp approx ca al mr mrs ms dr prof st jr sr".split())
_BEFORE_NUMBERS = frozenset(
    "no nos fig figs sec secs ch p pp ex thm lem prop cor def ref refs vol art tab alg prob".split()
)
_REFERENCE = re.compile(r"[(\[$\\]*(?:\d|\\?ref|\\?eqref|[IVX]+\b)")
_LAST_WORD = re.compile(r"[^\W\d_][^\W\d_.]*(?:\.[^\W\d_]+)*$")
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])+$")  # a.m, i.e, U.S
_LONGEST_MARKER = 60  # characters looked at before a stop, so that no text takes quadratic time
_LIST_MARKER = re.compile(
    r"[\s#*_>(\[-]*(?:(?:step|case|part|method|example|question|rule)\s+)?(?:\d+|[a-zA-Z]|[ivxIVX]+)", re.IGNORECASE
)
# Openers of mathematics, and marks that look like them: \\[2pt] is a line's end, \$ a price.
_OPENER = re.compile(r"\\\\|\\\$|\\\(|\\\[|\$\$|\$")
_CLOSERS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_DOLLAR_END = re.compile(r"(?<!\\)\$|\n[^\S\n]*\n")


def segments(text: str, rule: str = AUTO) -> list[str]:
    r"""Cut a text into steps, each with the separator that follows it; `"".join(segments(text)) == text` always.

    rule: newline (a step per line; blank lines belong to the step above), double_newline (blank lines part steps),
    sentence (never inside mathematics, decimals, abbreviations or ellipses; in doubt no cut), or auto: double_newline
    where a blank line parts two texts, else newline, else sentence.

    White space alone is a segment only where the text is nothing else. What follows the last "# Answer" line is one
    segment with it under every rule, and auto looks at the text before it: the blank line inside an answer section does
    not show how steps are parted. Raises ValueError for another rule.

    >>> segments("First, 7 + 5 = 12.\n\nThen 12 - 3 = 9.\n\n# Answer\n\n9")
    ['First, 7 + 5 = 12.\n\n', 'Then 12 - 3 = 9.\n\n', '# Answer\n\n9']
    """
    body, tail = _parts(text)
    cuts = {NEWLINE: _line_cuts, DOUBLE_NEWLINE: _paragraph_cuts, SENTENCE: _sentence_cuts}[rule_for(text, rule)](body)
    pieces, start = [], 0
    for cut in [*cuts, len(body)]:
        pieces.append(body[start:cut])
        start = cut
    return _without_blanks([*pieces, tail])


def steps(text: str, rule: str = AUTO) -> list[str]:
    r"""Cut a text into steps without the separators that follow them, as all other modules want them.

    White space alone has no steps. Under newline a step loses the one newline that ends it, so that `join_steps` gives
    the text back and the steps are those of `rendering.split_steps` (but for blank lines at the very start, which
    belong to the first step here). Under double_newline a step's separator begins at the line end behind it, and under
    sentence it is all white space.

    >>> steps("First, 7 + 5 = 12.\n\nThen 12 - 3 = 9.")
    ['First, 7 + 5 = 12.', 'Then 12 - 3 = 9.']
    """
    if not text.strip():
        return []
    pieces, chosen = segments(text, rule), rule_for(text, rule)
    if chosen == NEWLINE:
        return [step.removesuffix(STEP_SEPARATOR) for step in pieces[:-1]] + pieces[-1:]
    if chosen == DOUBLE_NEWLINE:
        return [_without_lines_behind(step) for step in pieces]
    return [step.rstrip() for step in pieces]


def rule_for(text: str, rule: str = AUTO) -> str:
    """Return the rule to cut a text by: `rule` itself, or the choice of auto. Raises ValueError for an unknown rule."""
    if rule not in RULES:
        raise ValueError(f"rule {rule!r}: one of {', '.join(RULES)}")
    if rule != AUTO:
        return rule
    body, tail = _parts(text)
    if _BLANK_LINES.search(body.strip()):
        return DOUBLE_NEWLINE
    # A text with the section on a line of its own is written in lines.
    return NEWLINE if tail or "\n" in body.strip() else SENTENCE


def _parts(text: str) -> tuple[str, str]:
    """Return the text before the answer section, and the section ("" where there is none)."""
    headers = list(_ANSWER_LINE.finditer(text))
    start = headers[-1].start() if headers else len(text)
    return text[:start], text[start:]


def _without_blanks(pieces: list[str]) -> list[str]:
    """Join pieces of white space to the piece before, or at the start to the piece after."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (not piece.strip() or not joined[-1].strip()):
            joined[-1] += piece
        elif piece:
            joined.append(piece)
    return joined


def _without_lines_behind(step: str) -> str:
    body = step.rstrip()
    behind, line_end, _ = step[len(body) :].partition("\n")
    return body + (behind.rstrip("\r") if line_end else behind)


def _line_cuts(text: str) -> Iterator[int]:
    return (match.end() for match in _LINE_END.finditer(text))


def _paragraph_cuts(text: str) -> Iterator[int]:
    return (match.end() for match in _BLANK_LINES.finditer(text))


def _sentence_cuts(text: str) -> Iterator[int]:
    """Yield the ends of sentences and paragraphs outside mathematics."""
    ends = {match.end(): match.start() for match in _SENTENCE_END.finditer(text)}
    ends |= {match.end(): match.start() for match in _BLANK_LINES.finditer(text) if match.end() not in ends}
    spans = _mathematics(text)
    span = next(spans, None)
    start = 0
    for end in sorted(ends):
        while span is not None and span[1] <= end:
            span = next(spans, None)
        if span is not None and span[0] < end:
            continue
        if _BLANK_LINES.search(text, ends[end], end) or _ends_sentence(text, start, ends[end], end):
            yield end
            start = end


def _ends_sentence(text: str, start: int, stop: int, end: int) -> bool:
    """Return whether the sentence text[start:stop] is ended by the stop at text[stop:end]."""
    sentence = text[max(start, stop - _LONGEST_MARKER) : stop]
    following = text[end : end + _LONGEST_MARKER].lstrip(_OPENING_QUOTES)[:1]
    if following.islower() or (following and following in _GOES_ON):
        return False
    word = _LAST_WORD.search(sentence)
    if text[stop] != "." or word is None:
        # "1. First, …": the number is not a sentence.
        return not (text[stop] == "." and _LIST_MARKER.fullmatch(sentence))
    name = word[0].replace(".", "").lower()
    if name in _ABBREVIATIONS or _INITIALS.fullmatch(word[0]) or _LIST_MARKER.fullmatch(sentence):
        return False
    return not (name in _BEFORE_NUMBERS and _REFERENCE.match(text, end))


def _mathematics(text: str) -> Iterator[tuple[int, int]]:
    r"""Yield the spans (start, end) of \(…\), \[…\], $$…$$ and $…$, in order. An opener that is never closed begins
    none.
    """
    unclosed: set[str] = set()  # closers that do not come again: a text of openers would else take quadratic time
    at = 0
    while match := _OPENER.search(text, at):
        at = match.end()
        closer = _CLOSERS.get(match[0])
        if match[0] == "$":
            end = _dollar_end(text, at)
        elif closer is None or closer in unclosed:
            continue
        else:
            end = text.find(closer, at) + len(closer)
            if end < at:
                unclosed.add(closer)
                continue
        if end is not None:
            yield match.start(), end
            at = end


def _dollar_end(text: str, start: int) -> int | None:
    """Return the end of the mathematics that a dollar before `start` opens; None where that dollar is money.

    "$5 for Ann and $3 for Bob": a dollar before a digit opens mathematics only when the next one follows its formula at
    once and has no digit behind it.
    """
    match = _DOLLAR_END.search(text, start)
    if match is None or match[0] != "$" or match.start() == start:
        return None
    before, behind = text[match.start() - 1], text[match.end() : match.end() + 1]
    priced = text[start].isdigit() and (before.isspace() or behind.isdigit())
    return None if priced else match.end()
