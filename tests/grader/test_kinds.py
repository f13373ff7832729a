"""Kinds of answers that reports found wrongly refused: 1,200 pairs, with near misses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from components.grader.equality import decide
from components.grader.expression_parser import Risky

ROWS = [json.loads(line) for line in (Path(__file__).parent / "kinds.jsonl").read_text(encoding="utf-8").splitlines()]
KINDS = sorted({row["kind"] for row in ROWS})


def accepted(answer: str, truth: str) -> bool:
    try:
        return decide(answer, truth)[0]
    except Risky:
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_every_spelling_is_accepted_and_every_near_miss_refused(kind: str) -> None:
    rows = [row for row in ROWS if row["kind"] == kind]
    assert min(Counter(row["equal"] for row in rows).values()) >= 3
    for row in rows:
        one, two = row["answer"], row["truth"]
        assert (accepted(one, two), accepted(two, one)) == (row["equal"], row["equal"]), (one, two)
