"""1,015 pairs of answers, 116 extractions and 476 hostile inputs, written apart from the grader, without sight of it.
Later, what the extraction looks for was repeated in more hostile inputs.

A third of the pairs (by hash) was held back while the grader was tuned. Its first figures: 335 of 350 right, 6 false
accepts; only the categories of its failures were read, and two reviewers' pairs (test_found.py): then 348 and none.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.grader.sandbox import GradingSandbox, Verdict
from components.text.answer_extraction import extract_answer
from tests.conftest import Counted
from tests.grader.hostile import HOSTILE, MUST_ACCEPT, MUST_REFUSE

HERE = Path(__file__).parent
PAIRS = [json.loads(line) for line in (HERE / "pairs.jsonl").read_text().splitlines()]
EXTRACTIONS = [json.loads(line) for line in (HERE / "extractions.jsonl").read_text().splitlines()]


def held_back(row: dict[str, str]) -> bool:
    return int(hashlib.sha256(f"{row['answer']}\0{row['truth']}".encode()).hexdigest(), 16) % 3 == 0


@pytest.fixture(scope="module")
def pool() -> Iterator[GradingSandbox]:
    pool = GradingSandbox()
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def verdicts(pool: GradingSandbox) -> list[Verdict]:
    return pool.verdicts([(row["answer"], row["truth"]) for row in PAIRS])


@pytest.mark.parametrize("held", [False, True])
def test_pairs(verdicts: list[Verdict], held: bool, counted: Counted) -> None:
    rows = [(row, verdict) for row, verdict in zip(PAIRS, verdicts, strict=True) if held_back(row) == held]
    false_accepts = [row for row, verdict in rows if verdict.is_correct and not row["equal"]]
    right = sum(bool(verdict.is_correct) == row["equal"] for row, verdict in rows)
    counted(f"grading: {right} of {len(rows)} pairs right{' (held back)' * held}, {len(false_accepts)} false accepts")
    assert false_accepts == []
    assert right / len(rows) >= 0.97
    assert {verdict.status for _, verdict in rows} <= {"ok", "risky"}


@pytest.mark.parametrize("row", EXTRACTIONS, ids=lambda row: row["why"])
def test_extractions(row: dict[str, str]) -> None:
    assert extract_answer(row["text"]) == (row["answer"], row["rule"])


@pytest.mark.slow
def test_hostile_inputs_neither_hang_nor_run_nor_disturb_their_neighbours(
    pool: GradingSandbox, counted: Counted
) -> None:
    Path("/tmp/pwned").unlink(missing_ok=True)
    longest = longest_extraction = 0.0
    statuses: dict[str, int] = {}
    for index, (answer, truth, why) in enumerate(HOSTILE):
        began = time.monotonic()
        before, verdict, after = pool.verdicts([("1/2", "0.5"), (answer, truth), ("0.5", "1/2")])
        longest = max(longest, time.monotonic() - began)
        assert before.is_correct
        assert after.is_correct
        assert not (index in MUST_REFUSE and verdict.is_correct), why
        assert verdict.is_correct or index not in MUST_ACCEPT, why
        statuses[verdict.status] = statuses.get(verdict.status, 0) + 1
        began = time.process_time()
        extract_answer(answer, finished=True)
        longest_extraction = max(longest_extraction, time.process_time() - began)
    assert not Path("/tmp/pwned").exists()
    assert not any(status.startswith("error") for status in statuses)
    assert longest < 30  # a stuck one would have stayed for ever; the seconds depend on the machine, and are told
    assert longest_extraction < 30
    counted(f"grading: {len(HOSTILE)} hostile inputs, {statuses}, the longest {longest:.1f} s")
    counted(f"extraction: of the longest of them {longest_extraction:.1f} s")


def test_a_worker_has_limits_and_a_timeout_is_not_wrong() -> None:
    pool = GradingSandbox(seconds=0.2)
    before, stuck, after = pool.verdicts([("1/2", "0.5"), (r"\int e^{-x^2}\sin(x^3)\,dx", "11"), ("0.5", "1/2")])
    assert (before.is_correct, stuck.is_correct, after.is_correct) == (True, None, True)
    assert stuck.status == "timeout"
    assert pool.kills == 2
    pool.close()


def test_a_text_is_read_in_the_worker_and_given_up_when_it_takes_too_long() -> None:
    pool = GradingSandbox(seconds=0.02)
    slow = "选" * 2_000_000
    texts = [("The answer is 5.", "stop"), (slow, "stop"), ("We get $6$.", "stop"), ("We get $6$.\nSo", "length")]
    assert pool.answers(texts) == [("5", "answer_is"), (None, "timeout"), ("6", "last_sentence"), (None, "none")]
    assert pool.kills == 2
    assert pool.verdicts([("1/2", "0.5")])[0].is_correct
    pool.close()


def test_texts_longer_than_the_pipe_go_through_it(pool: GradingSandbox) -> None:
    texts = [(f"{'x ' * length}\n#### {length}", "stop") for length in (1, 200_000, 2, 100_000, 30_000, 30_000, 3)]
    assert pool.answers(texts) == [(text.rpartition(" ")[2], "hash_mark") for text, _ in texts]


def test_a_pair_that_cannot_be_decided_costs_seconds_with_the_start_of_a_worker() -> None:
    pool = GradingSandbox()
    began = time.monotonic()
    [stuck] = pool.verdicts([(r"\int e^{-x^2}\sin(x^3)\,dx", "11")])
    assert stuck.status == "timeout"
    assert time.monotonic() - began < 10  # 2 on a quiet machine
    assert pool.kills == 1
    pool.close()


def test_nothing_of_the_model_is_run(tmp_path: Path) -> None:
    """An escape that Python or SymPy would run leaves a file behind."""
    escapes = [
        f"__import__('os').system('touch {tmp_path}/escaped')",
        f"().__class__.__base__.__subclasses__()[0].__init__.__globals__['os'].system('touch {tmp_path}/escaped')",
        f"exec(\"open('{tmp_path}/escaped','w')\")",
        f"\\text{{__import__('os').system('touch {tmp_path}/escaped')}}",
        f"\\sum_{{k=1}}^{{__import__('os').system('touch {tmp_path}/escaped')}} k",
        f"sqrt(__import__('pathlib').Path('{tmp_path}/escaped').touch())",
    ]
    pool = GradingSandbox()
    pool.verdicts([(escape, "x+1") for escape in escapes] + [("x+1", escape) for escape in escapes])
    pool.close()
    assert list(tmp_path.iterdir()) == []


def test_no_source_of_the_grader_evaluates_text() -> None:
    sources = [*HERE.parents[1].glob("components/grader/*.py"), *HERE.parents[1].glob("components/text/*.py")]
    assert len(sources) > 15
    for path in sources:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        called = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
        assert not called & {"eval", "exec", "sympify", "parse_expr", "S"}, path


def test_the_command_says_the_verdict_and_the_rule() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "components.sampling.grading", r"\frac{2}{4}", "0.5"],
        capture_output=True, text=True, check=True, cwd=HERE.parents[1], env={**os.environ},
    )  # fmt: skip
    assert done.stdout.startswith("equal (number)")


def test_graders_in_threads_do_not_disturb_each_other(pool: GradingSandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    pairs = [(f"{n}/7", f"\\frac{{{n}}}{{7}}") for n in range(50)]
    with ThreadPoolExecutor(4) as threads:
        for verdicts in threads.map(lambda _: pool.verdicts(pairs), range(4)):
            assert all(verdict.is_correct for verdict in verdicts)
