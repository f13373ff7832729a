"""The grading of solutions: extract the answer, and compare it with the reference answer.

    python -m components.sampling.grading '\\frac{2}{4}' 0.5      prints the verdict and the rule that decided it

Two verdicts per row: ours (components/grader/equality.py), which every study uses, and that of the paper's own grader
(components/grader/prm800k_grader.py), for comparison with published numbers. Model text is data: it is parsed, never
run, in a process that may be killed (components/grader/sandbox.py). What cannot be compared is not "wrong". A text on
which the extraction is stopped has no answer, and the rule `timeout`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from components.dataflow.stage import MapStage
from components.grader.equality import canonical
from components.grader.sandbox import Answer, GradingSandbox, Verdict
from schemas.settings import NoSettings
from schemas.tables import GRADES

GRADER_VERSION = 3  # raise it when any verdict or extraction can change
_LIBRARIES = ("math-verify", "latex2sympy2-extended", "sympy", "mpmath")


def grade(name: str = "grades") -> MapStage:
    """The stage solutions → grades."""
    return MapStage(
        name, version=GRADER_VERSION, config=NoSettings(), schema=GRADES, make_worker=Grade, engines=_LIBRARIES
    )


def is_equal(answers: Sequence[str], ground_truths: Sequence[str]) -> list[bool]:
    """Tell whether each answer equals the reference answer beside it; False also where they cannot be compared safely.

    Raises ValueError for sequences of unequal length.

    >>> is_equal(["0.5", "(2,1)"], ["\\frac{1}{2}", "(1,2)"])
    [True, False]
    """
    sandbox = GradingSandbox()
    try:
        pairs = list(zip(answers, ground_truths, strict=True))
        distinct = list(dict.fromkeys(pairs))
        verdicts = dict(zip(distinct, sandbox.verdicts(distinct), strict=True))
        return [bool(verdicts[pair].is_correct) for pair in pairs]
    finally:
        sandbox.close()


class Grade:
    """The actor of the grading stage. Equal pairs are compared once, within a shard and from shard to shard."""

    def __init__(self, config: NoSettings, models: dict[str, Path]) -> None:
        self.sandbox = GradingSandbox()

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution: its answer, both verdicts, and the rules that gave them."""
        rows = table.to_pylist()
        nothing: Answer = (None, "none")
        texts = [(row["text"] or "", row["finish_reason"]) for row in rows if row["error"] is None]
        answers = iter(self.sandbox.answers(texts))
        extracted = [nothing if row["error"] is not None else next(answers) for row in rows]
        pairs = [(answer or "", row["ground_truth_answer"]) for row, (answer, _) in zip(rows, extracted, strict=True)]
        known = self.sandbox.known_verdicts(pair for pair in pairs if pair[0])
        graded = [
            {name: row[name] for name in ("problem_id", "sample_index", "split")}
            | _grade_row(row["error"], answer, rule, known.get(pair))
            for row, (answer, rule), pair in zip(rows, extracted, pairs, strict=True)
        ]
        return pa.Table.from_pylist(graded, schema=GRADES)


def _grade_row(error: str | None, answer: str | None, rule: str, verdict: Verdict | None) -> dict[str, object]:
    """Return a row's grade. A row that could not be graded has an error, no verdict, and an empty slot in votes."""
    if verdict is None:  # nothing to compare
        verdict = Verdict(False, False, "", "no_answer") if error is None else Verdict(status="error")
    elif verdict.is_correct is None:
        error = f"grading: {verdict.status}"
    return {
        "error": error,
        "answer": answer,
        "answer_group": canonical(answer) if answer is not None and error is None else None,
        "extract_rule": rule if rule != "none" else None,
        "is_correct": verdict.is_correct,
        "is_correct_prm800k": verdict.is_correct_prm800k,
        "method": verdict.method or None,
        "status": verdict.status.partition(":")[0],
        "grader_version": GRADER_VERSION,
    }


def main(arguments: Sequence[str]) -> int:
    """Print the verdicts on one pair."""
    if len(arguments) != 2:
        print("usage: python -m components.sampling.grading ANSWER GROUND_TRUTH", file=sys.stderr)
        return 2
    sandbox = GradingSandbox()
    [verdict] = sandbox.verdicts([(arguments[0], arguments[1])])
    sandbox.close()
    words = {True: "equal", False: "not equal", None: "not known"}
    print(f"{words[verdict.is_correct]} ({verdict.method or verdict.status})")
    print(f"{words[verdict.is_correct_prm800k]} (the paper's grader)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
