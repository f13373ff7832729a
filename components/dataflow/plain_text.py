"""Text from outside, made safe for a terminal, a log or a figure: characters that would act on them become escapes."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, bidirectional embeddings, overrides and isolates, lone surrogates.
_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, keep: str = "") -> str:
    r"""Return the text on one line: what moves a cursor, colours, reorders or cannot be encoded is escaped.

    All other characters stay. keep: characters that may stay, e.g. a newline where lines are our own.

    >>> printable("a\x1b[2Jb\nc é ≤")
    'a\\x1b[2Jb\\nc é ≤'
    """
    return _ACTS.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), str(text))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
