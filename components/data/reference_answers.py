r"""The reference answer in a cell: after GSM8K's ####, in the last \boxed{}, or the whole cell."""

from __future__ import annotations

import re

from components.data.problem_columns import BOX, GSM8K_MARK, is_prose
from components.text.answer_boxes import last_box
from components.text.answer_extraction import to_text

# A few of MATH's are \boxed 9, and a few \fbox{9}.
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+([^\s{}$.,]+)")


def reference_in(text: str, form: str) -> str | None:
    r"""Return the answer in a cell's text; None where it has none. form: a key of problem_columns.ANSWER_FORMATS.

    >>> reference_in("He has 2 + 3 = 5.\n#### 5", "auto"), reference_in("It is $\\boxed{5}$.", "auto")
    ('5', '5')
    """
    reference: str | None = text
    if form in ("gsm8k", "auto"):
        *_, after = GSM8K_MARK.split(text)
        reference = after.strip().partition("\n")[0].strip() if GSM8K_MARK.search(text) else None
    if form == "boxed" or (form == "auto" and not reference):
        reference = last_box(to_text(_BARE_BOX.sub(r"\\boxed{\1}", text)))
    if form == "auto" and not reference and not is_prose(text) and not BOX.search(text):
        reference = text
    return reference or None
