r"""The value that a sentence says: "5", `$\frac{1}{2}$` or "(C)" in "The answer is 5, which is the total."

In doubt a value stays as it was written: the grader compares it, and a wrong cut could make a wrong answer right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from components.text.answer_lines import whole_line
from components.text.single_value import (
    DIGIT,
    FORMULA,
    NUMBER,
    WORD,
    is_changed_behind,
    last_side,
    only_value,
    unwrapped,
)

_LONGEST_SENTENCE = 2000  # characters of a sentence that are looked at
_JOINT = r"\s*(?:,|and|or|, and|, or|y|et|und|或|和|、)\s*"
_FORMULAS = re.compile(rf"{FORMULA}(?:{_JOINT}{FORMULA})*")
# Not the mark of a factorial in "5! = 120".
_SENTENCE_END = re.compile(
    r"(?<=[^\s.])(?<!Rs)\.(?=\s|$|[*_\"'”)]+(?:\s|$))|(?<=\S)(?:!(?=\s+[A-Z]|\s*$)|;(?=\s|$))|[。！।]"
)
_BOLD_MARKS = re.compile(r"(?<![\w)\]}*])(?:\*\*|__)(?=[^\s*_])|(?<=[^\s*_])(?:\*\*|__)(?![\w(*])")
_LONG_BLANK = re.compile(r"\s{4,}")
_FILLERS = re.compile(
    r"(?:(?:therefore|thus|then|simply|just|indeed|clearly|hence|actually|for sure|definitely|certainly|exactly"
    r"|obviously|approximately|about|roughly|around|equal to|given by|found to be|precisely|option|choice|letter"
    r"|l['’]option|la (?:opción |letra )?|donc|alors|entonces)\b[,:]?\s*|[:=]\s*|[*•]\s+)+",
    re.IGNORECASE,
)
# What follows the value in its sentence.
_CLAUSE = re.compile(
    r",\s+(?=(?:which|so|since|because|as|in total|and (?:so|the|that|we|it|thus|therefore|hence)|the|not|it|its|he|she"
    r"|they|we|this|that|where|when|with|but|after|given|making|meaning|leaving|therefore|thus|hence|altogether|assuming"
    r"|corresponding|is|obtained|found)\b)|\s+(?=(?:because|since|which|by symmetry"
    r"|as (?:shown|required|desired|expected|claimed|above))\b)|\s+[—–-]\s+(?=[a-z]{2})"
    r"|\s+\((?=(?:since|because|as|which|so)\b)|，(?![\s\d$\\(（-])",
    re.IGNORECASE,
)
_REMARK = re.compile(rf"^(?P<number>{NUMBER.pattern})\s+\([a-z ]+\)$")
_POLITE = re.compile(r"\s*(?:です|である|だ|입니다|이다|이에요)$")
_ISNT = re.compile(r"(?:not|n['’]t|no longer|wrong|incorrect|nicht|pas|niet|не)\b|不(?:是|对|正确)", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"\b(?:wrong|incorrect|mistake\w*|(?:not|n['’]t) (?:the )?(?:right|correct|possible)"
    r"|but (?:we )?(?:still )?(?:need|must|have to))\b",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"\W*(?:no[,.:!]\s|(?:oh|oops|wait|hmm)\W+(?:no|it|that|this)\b|actually,? (?:no|it|that)\b|correction\b)",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"(?:option |choice )?(?P<open>[(\[（])?(?P<letter>[A-Ja-j])(?(open)[)\]）])"
    r"(?=[.,:;)。，]|\s*$|\s+(?:because|since|as|is)\b|\s+\([^()]{1,30}\)$)"
)
_NAMED_OPTION = re.compile(r"[\s*_$]{0,5}(?:\\text(?:bf)?\{)?[(（]?([A-J])(?=[)）}*.,;:\s$。，]|$)")
_REST_OF_LINE = re.compile(r"[ \t]*+[:：]?[ \t]*+([^\n]*+)")
_ENUMERATES = re.compile(r"\d+\s*[-–:.)]\s+\S|\d+\)")  # 2. Find the sum
_VALUE_BEGINS = re.compile(r"[-−+.(\[$\\£€¥\d√π]|[A-Z]$|[a-zA-Z]\s*=")
_LETTERS_FIRST = re.compile(r"[a-z]{2,}|a\s+[a-z]")
_VALUE_WORDS = re.compile(
    r"(?:yes|no|true|false|none|never|infinit\w*|undefined|sqrt|pi|log|ln|sin|cos|tan|approximately|about|negative|minus|zero"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r"|hundred)\b"
)
_EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_CALCULATOR = re.compile(r"<<[^<>\n]{1,80}>>")  # GSM8K's
_APPLAUSE = " ✅✔✓☑🎉\ufe0f"
_QUOTED = re.compile(r"(?:'(?P<inside>[^']{1,60})')")
_PERSON = re.compile(r"(?:he|she|it|they|we|you|there)\b", re.IGNORECASE)
_TAG = re.compile(r"</[A-Za-z]|<\|[a-z_]+\|>")
_MARK = re.compile(r"[^\W_]|[∞√π∅]")


@dataclass(frozen=True)
class Said:
    """A value, and whether it looks like one: a number, a formula, an option, a name; not prose."""

    value: str
    is_plain: bool


def said_value(text: str, start: int, is_alone: bool) -> Said | None:
    """Return the value that is said from `start` on, to the end of its sentence; None for none, or a box.

    is_alone: "Answer:" stands before the sentence. If it is the text's last, its one number is the value.
    """
    line, end = whole_line(text, start, len(text), most_blank_lines=3)
    if not line or (line.startswith("#") and not line.startswith("####")) or line.startswith(("</", "---")):
        return None
    if "\n" in text[start : end - len(line)] and _ENUMERATES.match(line):
        return None  # a list of several
    quote = ">" * ("\n" in text[start : end - len(line)])  # "Answer: > 5" is an inequality
    line = _LONG_BLANK.sub(" ", line[:_LONGEST_SENTENCE].lstrip("#" + quote).strip())
    line = _CALCULATOR.sub("", _BOLD_MARKS.sub("", line)).removeprefix("}").rstrip(_APPLAUSE).strip(" *`")
    line = line[match.end() :] if (match := _FILLERS.match(line)) else line
    sentence, rest = _first_sentence(_TAG.split(line, maxsplit=1)[0])
    if (match := _QUOTED.fullmatch(sentence)) is not None:
        sentence = match["inside"]
    if not _MARK.search(sentence) or "\\box" in sentence or "\\fbox" in sentence or _ISNT.match(sentence):
        return None
    if line[len(sentence) : len(sentence) + 1] == "?" or sentence.endswith("?") or _TAKEN_BACK.search(sentence):
        return None
    if _CORRECTED.match(rest):
        return None
    if (match := _OPTION.match(sentence)) and (match["open"] or match["letter"].isupper() or len(sentence) == 1):
        return Said(match["letter"], True)
    if (match := _FORMULAS.match(sentence)) and is_changed_behind(sentence[match.end() :]):
        return Said(sentence, False)
    if match:
        content = unwrapped(match[0])
        return Said(match[0] if (side := last_side(content)) == content else side, True)
    value = _CLAUSE.split(sentence, maxsplit=1)[0]
    value = _REMARK.sub(r"\g<number>", _POLITE.sub("", value.strip(' *_`:,，"“”')).strip())
    value = value.removesuffix(" .").strip()
    if not value:
        return None
    starts_with_words = NUMBER.match(value) is None and not value.startswith(("\\", "(", "[", "-"))
    words = len(WORD.findall(value))
    if starts_with_words and (words >= 3 or _PERSON.match(value) or _EAST_ASIAN.search(value)):
        is_last = not _MARK.search(rest) and not _MARK.search(text[end : end + 200])
        if is_alone and is_last and (number := only_value(sentence)):
            return Said(number, True)
    elif words > 4 and (number := only_value(value)):
        return Said(number, True)
    return Said(value, _is_plain(value, words))


def _is_plain(value: str, words: int) -> bool:
    return (words < 4 or value[0].isdigit()) and (
        not _LETTERS_FIRST.match(value) or _VALUE_WORDS.match(value) is not None
    )


def _first_sentence(line: str) -> tuple[str, str]:
    end = _SENTENCE_END.search(line)
    return (line[: end.start()].strip(), line[end.end() :]) if end else (line.strip(), "")


def option(text: str, start: int) -> str:
    """Return the letter of the option that is named at `start`, or ""."""
    match = _NAMED_OPTION.match(text, start)
    return match[1] if match else ""


def hash_value(text: str, start: int) -> str:
    """Return the value behind `####`, as GSM8K ends its solutions; "" where it is a heading of markdown."""
    match = _REST_OF_LINE.match(text, start)
    assert match is not None
    line = _BOLD_MARKS.sub("", match[1][:_LONGEST_SENTENCE]).strip(" *`")
    if _ENUMERATES.match(line):
        return ""
    value = _first_sentence(line)[0].rstrip("#").strip()
    words = len(WORD.findall(value))
    if not value or "\\box" in value or not _VALUE_BEGINS.match(value):
        is_end = not _MARK.search(text[match.end() : match.end() + 200])
        return value if is_end and re.fullmatch(r"(?:[Yy]es|[Nn]o|[Tt]rue|[Ff]alse|[A-Z])", value) else ""
    if words > 0 and DIGIT.search(value) and (words > 3 or value.endswith(":")):
        return ""
    return value
