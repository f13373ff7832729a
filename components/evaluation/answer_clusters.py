"""Candidates of a vote: answers that the grader calls equal count as one, so that 1/2 and 0.5 do not split it.

The reference answer plays no part. Equality of answers is not always transitive, so each answer is compared with the
most frequent one of each candidate (of equally frequent ones the first in text order), most frequent candidate first,
and joins the first that it equals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pyarrow as pa

from components.dataflow.stage import TableStage
from components.grader.equality import plain_number
from components.grader.sandbox import GradingSandbox
from schemas.results import CANDIDATES
from schemas.settings import settings


@settings
class CandidatesConfig:
    """Settings of candidates."""

    grader_version: int  # version of the grader that compares


def candidates(config: CandidatesConfig) -> TableStage:
    """The stage grades → candidates."""
    columns = ["problem_id", "answer", "is_correct", "error"]
    return TableStage(
        "candidates",
        1,
        config,
        CANDIDATES,
        _candidates,
        reads={"grades": columns},
        expected_rows=lambda config, inputs: (inputs["grades"].rows, "≤"),  # so many if all answers differ
    )


def _candidates(config: CandidatesConfig, grades: pa.Table) -> pa.Table:
    named = grades.to_pandas()
    named = named[named["answer"].notna() & named["error"].isna()]
    counts = {
        str(problem): Counter(answers.tolist())
        for problem, answers in named.groupby("problem_id", sort=False)["answer"]
    }
    is_correct = dict(zip(zip(named["problem_id"], named["answer"], strict=True), named["is_correct"], strict=True))
    rows = []
    for problem, heads in group_by_equality(counts).items():
        totals = Counter[str]()
        for answer, head in heads.items():
            totals[head] += counts[problem][answer]
        order = [head for head, _ in totals.most_common()]  # of equally frequent ones the first met
        for answer, head in heads.items():
            row = {"problem_id": problem, "answer": answer, "candidate": order.index(head), "candidate_answer": head}
            row |= {"candidate_is_correct": bool(is_correct[problem, head])}
            rows.append(row | {"num_samples": counts[problem][answer], "error": None})
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


@dataclass
class _Group:
    """The answers of one problem, most frequent first, while they find their candidates."""

    answers: list[str]
    numbers: dict[str, Fraction | None]
    heads: dict[str, str] = field(default_factory=dict)  # answer → its candidate's most frequent answer

    def waiting(self) -> list[str]:
        """Return the answers without a candidate."""
        return [answer for answer in self.answers if answer not in self.heads]


def group_by_equality(counts: dict[str, Counter[str]]) -> dict[str, dict[str, str]]:
    """Return per problem: answer → the most frequent answer of its candidate, most frequent first.

    counts: per problem, how many samples gave each answer.
    """
    groups = {}
    for problem, of_answer in counts.items():
        answers = sorted(of_answer, key=lambda answer: (-of_answer[answer], answer))
        groups[problem] = _Group(answers, {answer: plain_number(answer) for answer in answers})
    sandbox = GradingSandbox()
    try:
        # In each round every problem's most frequent answer without a candidate becomes one, so that the pairs of all
        # problems are compared in one stream.
        while rounds := [(group, waiting) for group in groups.values() if (waiting := group.waiting())]:
            _one_round(rounds, sandbox)
    finally:
        sandbox.close()
    return {problem: {answer: group.heads[answer] for answer in group.answers} for problem, group in groups.items()}


def _one_round(rounds: Sequence[tuple[_Group, list[str]]], sandbox: GradingSandbox) -> None:
    pairs: list[tuple[_Group, str, str]] = []
    for group, [head, *others] in rounds:
        group.heads[head] = head
        number = group.numbers[head]
        for answer in others:
            other = group.numbers[answer]
            if number is None or other is None:
                pairs.append((group, answer, head))
            elif number == other:  # two plain numbers need no process of their own
                group.heads[answer] = head
    distinct = list(dict.fromkeys((answer, head) for _, answer, head in pairs))
    verdicts = dict(zip(distinct, sandbox.verdicts(distinct), strict=True))
    for group, answer, head in pairs:
        if verdicts[answer, head].is_correct:
            group.heads[answer] = head
