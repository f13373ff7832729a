"""Places where a text says its answer in words or marks: "answer is", `**Answer:**`, `#### 18`, `<answer>`.

Each is found by its keyword, and a bounded number of them is looked at, so the time is linear in the text's length.
answer_values.py reads what is said there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from components.text.answer_values import Said, hash_value, option, said_value

_MOST = 50  # of the last keywords are looked at; what stands before them is no final answer
_AROUND = 60  # characters before a keyword that are looked at
_KINDS = (
    dict.fromkeys(("answer", "final result", "ans.", "ans:", "ans :"), "english")
    | dict.fromkeys(("a:", "a：", "a**:", "a:**"), "letter_a")
    | {"####": "hash", "option": "choice", "choice": "choice", "correct": "correct", "right": "correct"}
    | dict.fromkeys(("答案", "答：", "答:"), "chinese")
    | {"选": "chosen", "答え": "japanese", "正解": "japanese"}
    | dict.fromkeys(("정답", "답은", "답:", "답："), "korean")
    | dict.fromkeys(
        ("réponse", "reponse", "respuesta", "resposta", "risposta", "antwort", "antwoord", "ответ"), "european"
    )
    | dict.fromkeys(("đáp án", "đáp số", "svar", "svaret", "cevap", "odpowiedź", "odpověď", "vastaus"), "european")
    | dict.fromkeys(
        ("jibu", "jawaban", "jawapan", "răspuns", "răspunsul", "απάντηση", "відповідь", "תשובה"), "european"
    )
    | dict.fromkeys(("উত্তর", "उत्तर", "సమాధానం", "பதில்", "คำตอบ", "الإجابة", "الجواب", "جواب"), "asian")
)
# Literals alone, by whose first letters the search is fast.
_KEYWORD = re.compile("|".join(re.escape(word) for word in sorted(_KINDS, key=len, reverse=True)))
_WORDS = ("english", "choice", "correct", "european")  # that no letter stands beside
_ALONE = re.compile(r"(?:^|\n)[ \t*_]*$")
_OTHER_OPTION = re.compile(r"\n[ \t*(]{0,4}[Bb][:.)]")  # a list of options begins with "A:" too
_ENDS_LINE = re.compile(r"[ \t*_:：]*(?=\n|$)")
_BEGINS_LINE = re.compile(
    r"(?:^|\n)[^\w\n]*(?:\d+[.)]\s*)?(?:(?:the|my|our|your)\s+)?(?:final|correct|short)?[ \t*_]*$", re.IGNORECASE
)
_BEGINS_SENTENCE = re.compile(r"(?:[.!?:;,*_]|\bthe|\bfinal|\bcorrect)\s*$", re.IGNORECASE)
_COLON = re.compile(
    r"(?:\s?\((?:in|to|as|with|rounded|including)\b[^()\n]{1,40}\))?[ \t]*[*_]{0,3}[ \t]*[:：=][*_]{0,3}"
)
_DASH = re.compile(r"[ \t]*[*_]{0,3}[ \t]*[-–—][ \t]|\.[ \t]")
_IS = re.compile(
    r"(?:\s+(?:to|for|of)\s+(?!step\b)[^.\n:?=$]{1,80}?)?(?:,\s\w+,)?[*_]{0,3}\s+"
    r"(?:(?P<may>(?:would|should|could|might|was)(?:\s+then)?(?:\s+be)?)|(?:must|will|has to)(?:\s+then)?\s+be|is|are"
    r"|equals|becomes|turns out to be|comes (?:out )?to)\b[ \t]*:?[*_]{0,3}[ \t]*"
)
_AFTER = {
    "chinese": re.compile(r"[*_]{0,3}(?:应该|应当|应|就|便)?(?:是|为|為|[:：】])\s*[:：]?[*_]{0,3}"),
    "japanese": re.compile(r"[*_]{0,3}(?:は|[:：])[*_]{0,3}"),
    "korean": re.compile(r"[*_]{0,3}(?:은|는|\s?[:：])[*_]{0,3}"),
    "european": re.compile(
        r"(?:\s+(?:đúng|cuối cùng|finale?|correcta?|correta|correcte|corretta))?[*_]{0,3}\s*"
        r"(?:[:：]|(?:est|es|é|è|ist|lautet|is|là|to|är|er|ni"
        r"|adalah|ialah|este|on|je|είναι|равен|равно)\b|[-–—]\s)"
        r"\s*(?:(?:donc|alors|entonces|pues|portanto|quindi|also)\b)?\s*:?[*_]{0,3}"
    ),
    "asian": re.compile(r"[*_]{0,3}\s?(?:কী হল|হল|হলো|है|คือ|هو|هي|ہے)?\s?[:：]?[*_]{0,3}\s?(?=[-−$\\\d(*])"),
    "choice": re.compile(r"(?:\s+(?:is|would be|should be|must be))\s*:?|[*_]{0,3}\s*:"),
    "chosen": re.compile(r"(?:择|项)?(?:是|为)?[:：]?"),
}
_CHOOSING = re.compile(r"(?:故|应该?|正确|因此|所以|答案|本题|而)$")  # before 选, "choose"
_LETTER_IS = re.compile(
    r"(?P<before>[^\n]*?)(?:\b(?:option|choice|answer) )?[*_]{0,2}(?P<open>\()?\b(?P<letter>[A-J])\b(?(open)\))"
    r"[*_]{0,2} is (?:the )?$"
)
_IN_JSON = re.compile(
    r'"\s{0,4}:\s{0,4}(?:"(?P<said>(?:[^"\\\n]|\\.){1,200})"|(?P<number>-?[\d.,]{1,40}))(?=\s{0,20}[,}])'
)
_DOUBT = re.compile(r"\b(?:doubt|if|whether|unless|not|neither|nor|why)\b|n['’]t\b", re.IGNORECASE)
_BEFORE_LETTER = re.compile(
    r"(?:^|[.,:;!]|\b(?:think|believe|say|so|hence|thus|therefore|conclude|that|option|choice|answer|letter))\s*$",
    re.IGNORECASE,
)
_VALUE_IS_THE = re.compile(
    r"(?P<value>\$[^$\n]{1,50}\$|\\\([^\n\\]{1,50}\\\)|\*\*[^*\n]{1,40}\*\*|\(?\b[A-J]\)?"
    r"|(?<![\w.,^/*+\\-])-?\\?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?)"
    r" is (?:the|our|my|your) (?:final |correct |right |required |desired )*$"
)
_ADJECTIVES = re.compile(
    r"(?:\b(?:the|our|my|final|correct|right|exact|numerical|required|overall|desired|complete)\s+)+$", re.IGNORECASE
)
# Before a keyword, these say that the answer is somebody else's, supposed, or not the last.
_NOT_FINAL = re.compile(
    r"(?:\b(?:wrong|incorrect|partial|not|no|previous|initial|earlier|first|intermediate|tempting|na[iï]ve|common|original|old|false"
    r"|another|other|possible|his|her|their|if|whether|unless|suppose|assume|assuming|claim(?:s|ed)?|says?|said|thinks|thought"
    r"|guess(?:es|ed)|gave|(?!(?:problem|question|exercise|task|puzzle|let|that|it|here)['’]s)\w+['’]s)"
    r"|n['’]t)(?:\s+(?:that|an?|the|common|final|correct))*\s*$|错误的?$|不正确的?$",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"(?:^|[.!?]\s+|\n)\W*(?:if|suppose|assuming|had|for example)\b[^.!?\n]*$", re.IGNORECASE)
_FORMULA = re.compile(r"[\d\\$]|^[A-Za-z]$")
_TAG = re.compile(r"<\s*(?:final[_ ]?)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """A statement of the answer.

    is_plain: the value looks like one; prose is only better than nothing. is_outright: it says "is" or ":", not "would
    be", and so takes the place of a box before it.
    """

    start: int
    value: str
    rule: str
    is_plain: bool = True
    is_outright: bool = True


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a text, the last one first."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few capitals have no small letter of one character
        lowered = "".join(small if len(small := each.lower()) == 1 else each for each in text)
    for keyword in reversed(deque(_KEYWORD.finditer(lowered), _MOST)):
        kind, (start, end) = _KINDS[keyword[0]], keyword.span()
        end -= len(keyword[0]) - len(keyword[0].rstrip(".:：* "))
        if keyword[0] == "답은":
            end -= 1
        if keyword[0] == "answer" and lowered.startswith("s", end):
            end += 1
        before_word, after_word = lowered[start - 1 : start], lowered[end : end + 1]
        if kind in _WORDS and (before_word.isalpha() or before_word == "\\" or after_word.isalpha()):
            continue
        before = text[max(0, start - _AROUND) : start]
        statement = _by_mark(text, kind, start, end, before) or _in_words(text, kind, start, end, before)
        if statement is not None:
            yield statement


def _by_mark(text: str, kind: str, start: int, end: int, before: str) -> Statement | None:
    """Return what `#### 18`, `<answer>5</answer>` or "D is correct" say."""
    if kind == "hash":
        is_mark = not before.endswith("#") and not text.startswith("#", end)
        value = hash_value(text, end) if is_mark else ""
        return Statement(start, value, "hash_mark") if value else None
    if kind == "english" and text.startswith(">", end) and _TAG.search(before):
        close = text.find("<", end)
        said = said_value(text[: close if 0 <= close <= end + 2000 else end + 2000], end + 1, is_alone=True)
        return (
            Statement(start, said.value, "answer_tag", said.is_plain)
            if said and "answer here" not in said.value
            else None
        )
    if kind == "english" and text.startswith('"', end) and (match := _IN_JSON.match(text, end)):
        return Statement(start, (match["said"] or match["number"]).replace("\\\\", "\\").strip(), "answer_is")
    if kind == "correct" and (match := _LETTER_IS.match(before.rpartition("\n")[2])):
        geometry = re.match(r"[- ](?:angle|triangle|handed|isosceles)", text[end : end + 12])
        if geometry is None and not _DOUBT.search(match["before"]) and _BEFORE_LETTER.search(match["before"]):
            return Statement(start, match["letter"], "answer_is")
    if kind == "english" and (match := _VALUE_IS_THE.search(before)) and not text.startswith((" to", " for", ">"), end):
        if "box" in match["value"]:
            return None
        return Statement(
            start, option(text, start - len(before) + match.start("value")) or match["value"].strip("*"), "answer_is"
        )
    return None


def _in_words(text: str, kind: str, start: int, end: int, before: str) -> Statement | None:
    """Return what "The answer is 5", "Answer: 5" or a heading "Answer" say."""
    if kind in ("hash", "correct") or _NOT_FINAL.search(_ADJECTIVES.sub("", before)):
        return None
    if kind in ("choice", "chosen"):
        match = _AFTER[kind].match(text, end)
        if match is None or (kind == "chosen" and not (_CHOOSING.search(before) or match[0].endswith((":", "：")))):
            return None
        letter = option(text, match.end())
        return Statement(start, letter, "answer_is") if letter else None
    if kind == "letter_a" and (not _ALONE.search(before) or _OTHER_OPTION.search(text)):
        return None
    said, is_outright = _said(text, kind, end, before)
    return Statement(start, said.value, "answer_is", said.is_plain, is_outright) if said else None


def _said(text: str, kind: str, end: int, before: str) -> tuple[Said | None, bool]:
    """Return the value, and whether it is said outright."""
    if kind not in ("english", "letter_a"):
        match = _AFTER[kind].match(text, end) or (_ENDS_LINE.match(text, end) if _BEGINS_LINE.search(before) else None)
        return (said_value(text, match.end(), is_alone=True) if match else None), True
    begins = _BEGINS_LINE.search(before) is not None
    if match := _COLON.match(text, end) or (_ENDS_LINE.match(text, end) if begins else None):
        return said_value(text, match.end(), is_alone=True), begins or _BEGINS_SENTENCE.search(before) is not None
    if begins and (match := _DASH.match(text, end)):
        said = said_value(text, match.end(), is_alone=True)
        return said if said is not None and said.is_plain else None, True
    if kind == "english" and (match := _IS.match(text, end)):
        is_that = text.startswith("that ", match.end())
        said = said_value(text, match.end() + 5 * is_that, is_alone=is_that)
        is_outright = match["may"] is None and _CONDITION.search(before) is None
        return said, is_outright and said is not None and _FORMULA.search(said.value) is not None
    return None, True
