"""The 12,500 reference answers of MATH: each equals itself and its style variants, and none of its near-misses."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator

import pytest

from components.grader.sandbox import GradingSandbox
from tests.conftest import Counted
from tests.real_rows import REAL_ROWS, needs_real_rows

pytestmark = [pytest.mark.slow, needs_real_rows("math_train12k.jsonl.gz", "math_test500.jsonl.gz")]
_DELICATE = re.compile(r"\d,\d{3}|\\[,!]|\\text|\\mbox|\{,\}")  # where a space would change the meaning


@pytest.fixture(scope="module")
def answers() -> list[str]:
    names = ("math_train12k", "math_test500")
    return [json.loads(line)["answer"] for name in names for line in gzip.open(REAL_ROWS / f"{name}.jsonl.gz", "rt")]


def variants(answer: str) -> Iterator[str]:
    """The same answer in other styles."""
    yield answer
    yield f"${answer}$"
    yield f"{answer}."
    if "\\frac" in answer:
        yield answer.replace("\\frac", "\\dfrac")
        yield answer.replace("\\frac", "\\tfrac")
    if re.search("[=+,]", answer) and not _DELICATE.search(answer):
        yield re.sub("([=+,])", r" \1 ", answer)
        yield answer.replace(",", ",\\,")
    if "(" in answer and "\\left" not in answer and "\\text" not in answer:
        yield re.sub(r"(?<!\\)\(", r"\\left(", re.sub(r"(?<!\\)\)", r"\\right)", answer))
    if re.fullmatch("[A-Za-z ]{3,}", answer):
        yield f"\\text{{{answer}}}"


def near_misses(answer: str, rng: random.Random) -> Iterator[str]:
    """Other answers that look alike: a number one off, a sign more or less, a swapped pair, another variable."""
    numbers = [
        match
        for match in re.finditer(r"(?<![\d.,_])\d+(?![\d.,])", answer)
        if not re.search(r"\\begin\{array\}\{[^}]*$|\\hspace\{[^}]*$", answer[: match.start()])
    ]
    if numbers:
        match = rng.choice(numbers)
        for number in (int(match.group()) + 1, int(match.group()) - 1):
            if number >= 0:
                yield f"{answer[: match.start()]}{number}{answer[match.end() :]}"
    if answer.startswith("-"):
        yield answer[1:]
    elif re.fullmatch(r"[1-9]\d*(\.\d+)?|\\d?frac\{\d+\}\{\d+\}|\d*\\sqrt\{\d+\}", answer):
        yield f"-{answer}"
    pair = re.fullmatch(r"(?:\\left)?\(([^(),]+),([^(),]+?)(?:\\right)?\)", answer)
    if pair and pair[1].strip() != pair[2].strip():
        yield f"({pair[2]},{pair[1]})"
    variable = re.search(r"(?<![A-Za-z\\{])[xyabn](?![A-Za-z])", answer)
    if variable and "\\text" not in answer and "=" not in answer:
        other = "z" if "z" not in answer else "w"
        yield re.sub(rf"(?<![A-Za-z\\{{]){variable.group()}(?![A-Za-z])", other, answer)


def test_answers_equal_themselves_in_every_style(answers: list[str], counted: Counted) -> None:
    pairs = [(variant, answer) for answer in answers for variant in variants(answer)]
    pool = GradingSandbox()
    right = sum(bool(verdict.is_correct) for verdict in pool.verdicts(pairs))
    pool.close()
    counted(f"grading: {right} of {len(pairs)} style variants of MATH's answers accepted")
    assert right / len(pairs) >= 0.999


def test_near_misses_are_refused(answers: list[str], counted: Counted) -> None:
    rng = random.Random(0)
    pairs = [(miss, answer) for answer in sorted(set(answers)) if answer for miss in near_misses(answer, rng)]
    pool = GradingSandbox()
    accepted = [pair for pair, verdict in zip(pairs, pool.verdicts(pairs), strict=True) if verdict.is_correct]
    pool.close()
    counted(f"grading: {len(accepted)} of {len(pairs)} near-misses of MATH's answers accepted")
    assert len(pairs) >= 10_000
    assert accepted == []
