"""The value that a finished solution without a marked answer ends with: "Therefore, there are **14** ways."

Only for a solution that is known to be finished. The last number of one that was cut is never its answer: an empty slot
of N is wrong (paper §3.1).
"""

from __future__ import annotations

import re

from components.text.single_value import last_side, only_value

_LONGEST = 1500  # characters of the text's end
_LAYOUT = re.compile(r"(?:[-*_]{3,}|```)?")
_FAREWELL = re.compile(
    r"(?:please )?(?:let me know|i hope|hope (?:this|that)|feel free|if you (?:have|need))\b", re.IGNORECASE
)
_ENDS = re.compile(r"(?:[.!。！][\"'”’)\]*_]*|\$|\\[\])]|\*\*)$")
_DISPLAYED = re.compile(r"(?:\$\$(?P<dollars>[^$]+)\$\$|\\\[(?P<brackets>(?:(?!\\[\[\]])[\s\S])+)\\\])[.]?$")
_SENTENCE_END = re.compile(r"[.!?][)\"'”*\]]*\s+(?=[A-Z$\\*(\d])|[。！？]|(?:\\\]|\$\$)\s+(?=[A-Z])")
_LABEL = re.compile(r"(?:[-*•]\s+)?(?:\*\*)?(?:(?:step|part|case)\s+\d+|\d+[.)](?=\s))\s*[:.)]?\s*", re.IGNORECASE)
# Such a sentence is not the end of a solution, or says what the answer is not.
_NO_RESULT = re.compile(
    r"^\W*(?:let|suppose|assume|consider|check|verify|note|recall|first|next|if|when|now|wait|hmm|maybe|perhaps|step|try"
    r"|we need)\b|\b(?:not|cannot|wrong|incorrect|contradiction|should check|need to|let['’]?s|might|may be|could be"
    r"|impossible|fails?|too|unless|only if|suppos\w+|substitut\w+|also|we (?:can )?(?:try|test)|still need"
    r"|no (?:solutions?|need|such)|divisible"
    r"|nicht|si|kein\w*|não|nie|niet|inte|pas|(?:no|non)\s+(?:es|è|son|sono)|не)\b"
    r"|n['’]t\b|[不没非]|ない|아니"
    r"|\b(?:says?|said|claim\w*|thinks?|thought|guess\w*|believes?)\s+(?:that\s+)?(?:the|his|her|their)\s+(?:final\s+)?answer\b",
    re.IGNORECASE,
)


def last_sentence_value(text: str) -> str:
    """Return the one bold, displayed or only value of the text's last sentence, or ""."""
    lines = text.strip()[-_LONGEST:].split("\n")
    while lines and (_LAYOUT.fullmatch(lines[-1].strip()) or _FAREWELL.match(lines[-1].strip())):
        lines.pop()
    text = "\n".join(lines).rstrip()
    if not _ENDS.search(text):
        return ""
    if displayed := _DISPLAYED.search(text):
        content = (displayed["dollars"] or displayed["brackets"]).strip(" \n.,")
        lead = text[: displayed.start()].rstrip().rpartition("\n")[2]
        is_one = "\\\\" not in content and "\\begin" not in content and re.search(r"\d|\\[a-zA-Z]", content)
        return last_side(content) if is_one and not _NO_RESULT.search(_last(lead)) else ""
    sentence = _last(text.rpartition("\n")[2].strip())
    label = _LABEL.match(sentence)
    sentence = sentence[label.end() :] if label else sentence
    return "" if _NO_RESULT.search(sentence) else only_value(sentence)


def _last(line: str) -> str:
    """Return the last sentence of a line."""
    ends = [match.end() for match in _SENTENCE_END.finditer(line) if match.end() < len(line)]
    return line[ends[-1] :] if ends else line
