"""Grading: the answer of a solution, and whether it equals the reference answer.

First version: the answer section or the last `\\boxed{}`, normalised, compared as text. Model text is only ever
compared, never evaluated. Never read: the last number of an unfinished solution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.stage import MapStage
from components.text_format import ANSWER_HEADER
from schemas.tables import GRADES

_SECTION = re.compile(rf"^{ANSWER_HEADER}[ \t]*$", re.MULTILINE)
_NOISE = [
    (re.compile(r"\\(?:left|right|!|,|;|:|quad|qquad|displaystyle)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[dt]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:text|mbox|textbf|mathrm)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\^\{?\\circ\}?|\\%|%|\\\$|\$"), ""),
    (re.compile(r"\s+"), ""),
]


@dataclass(frozen=True)
class GradingConfig:
    """The grader has no settings: its version is its meaning."""


def grade(name: str = "grades") -> MapStage:
    """The stage solutions → grades."""
    return MapStage(name, version=1, config=GradingConfig(), schema=GRADES, make_worker=Grade)


def extract_answer(text: str) -> tuple[str | None, str]:
    """The answer of a solution, and the rule that found it: answer_section, boxed, or none.

    >>> extract_answer("7 + 5 = 12\\n# Answer\\n\\n12")
    ('12', 'answer_section')
    """
    sections = list(_SECTION.finditer(text))
    if sections:
        lines = [line.strip() for line in text[sections[-1].end() :].splitlines() if line.strip()]
        if lines:
            return lines[0], "answer_section"
    boxed = _last_boxed(text)
    return (boxed, "boxed") if boxed else (None, "none")


def _last_boxed(text: str) -> str | None:
    """The content of the last balanced, non-empty `\\boxed{…}`."""
    for match in reversed(list(re.finditer(r"\\f?boxed\s*\{", text))):
        depth = 1
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                content = text[match.end() : end].strip()
                if content:
                    return content
                break
    return None


def normalise(answer: str) -> str:
    """An answer without its style: spacing, sizing, text wrappers, units of degree and percent, a closing period.

    >>> normalise("$\\\\dfrac{1}{2}$.")
    '\\\\frac{1}{2}'
    """
    answer = answer.strip().removesuffix(".")
    for pattern, replacement in _NOISE:
        answer = pattern.sub(replacement, answer)
    return answer


def is_equal(answers: Sequence[str], ground_truths: Sequence[str]) -> list[bool]:
    """Whether each answer equals the reference answer beside it. Raises ValueError for sequences of unequal length."""
    return [normalise(answer) == normalise(truth) for answer, truth in zip(answers, ground_truths, strict=True)]


class Grade:
    """The actor of the grading stage."""

    def __init__(self, config: GradingConfig, models: dict[str, Path]) -> None:
        pass

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows = []
        for row in table.to_pylist():
            text = row["text"]
            if row["finish_reason"] == "length":
                # The token cap cut the last line short: "# Answer\n\n1" may have become 12.
                text = text.rpartition("\n")[0]
            answer, rule = extract_answer(text) if row["error"] is None else (None, "none")
            status = "error" if row["error"] is not None else "ok" if answer is not None else "no_answer"
            rows.append(
                {name: row[name] for name in ("problem_id", "sample_index", "split", "error")}
                | {"answer": answer, "answer_group": None if answer is None else normalise(answer)}
                | {"extract_rule": None if answer is None else rule, "status": status}
                | {"is_correct": answer is not None and is_equal([answer], [row["ground_truth_answer"]])[0]}
            )
        return pa.Table.from_pylist(rows, schema=GRADES)
