"""The judge: what it is asked, how its verdicts are read, and the labels that they make."""

from __future__ import annotations

import pyarrow as pa
import pytest

from components.dataflow.stage import Model
from components.labels.judge_labels import (
    PROMPT,
    VERDICT,
    JudgeConfig,
    JudgeLessonsConfig,
    ask,
    judge_labels,
    judge_lessons,
    judgements,
    read_verdict,
    verdict,
)
from components.sampling.engines import SamplingConfig
from components.worlds.worked_arithmetic import WorldConfig
from components.worlds.worked_steps import rate_steps
from schemas.tables import JUDGEMENTS, SOLUTIONS, STEP_LABELS

SAMPLING = SamplingConfig({}, 0.0, 32, 1024, "float32", "vllm")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"first_wrong_step": 1}', (0, "ok")),
        ('So step 2 is off.\n{ "first_wrong_step" : 2 }\n', (1, "ok")),
        ('{"first_wrong_step": null}', (-1, "ok")),
        ('I first thought {"first_wrong_step": 3}, but no: {"first_wrong_step": null}', (-1, "ok")),
        ('{"first_wrong_step": 0}', (None, "no_such_step")),
        ('{"first_wrong_step": 4}', (None, "no_such_step")),
        ('{"first_wrong_step": "2"}', (None, "unparsable")),
        ("Step 2 is wrong.", (None, "unparsable")),
        ('{"first_wrong_step": ', (None, "unparsable")),
        ("", (None, "unparsable")),
    ],
)
def test_verdicts_are_read(text: str, found: tuple[int | None, str]) -> None:
    assert read_verdict(text, 3) == found


def test_what_is_written_is_what_is_read_and_what_vllm_may_write() -> None:
    import re

    for first in (None, 0, 1, 41):
        assert re.fullmatch(VERDICT, verdict(first))
        assert read_verdict(verdict(first), 99) == (-1 if first is None else first, "ok")


def test_the_prompt_has_problem_and_numbered_steps_and_braces_survive() -> None:
    prompt = PROMPT.read_text(encoding="utf-8")
    text = ask(prompt, "What is $\\frac{1}{2}$ of {steps}?", ["{problem} is $1$", "b\nc"])
    assert "What is $\\frac{1}{2}$ of {steps}?" in text
    assert "1: {problem} is $1$\n2: b\nc" in text
    assert '{"first_wrong_step": null}' in text
    assert ask("{problem} {steps} {problem}", "p", ["s"]) == "p 1: s p"
    with pytest.raises(ValueError, match=r"has no \{steps\}"):
        judgements(JudgeConfig(SAMPLING, "{problem}"), Model("m", "d"))


def test_verdicts_become_labels_and_no_verdict_becomes_none() -> None:
    verdicts = [(1, "ok"), (-1, "ok"), (None, "unparsable"), (None, "error")]
    about = [{"problem_id": f"p{n}", "sample_index": 0, "split": "train"} for n in range(4)]
    solutions = [
        dict.fromkeys(SOLUTIONS.names)
        | one
        | {"problem": "p", "text": "a", "steps": ["a", "b", "c"], "seed": 0, "num_tokens": 1}
        for one in about
    ]
    judged = [
        one
        | {
            "text": "",
            "status": status,
            "first_error": first,
            "num_tokens": 3,
            "error": "refused" if status == "error" else None,
        }
        for one, (first, status) in zip(about, verdicts, strict=True)
    ]
    stage = judge_labels()
    table = stage.compute(
        stage.config,
        solutions=pa.Table.from_pylist(solutions, schema=SOLUTIONS).select(stage.reads["solutions"]),
        judgements=pa.Table.from_pylist(judged, schema=JUDGEMENTS),
    )
    assert table.schema.equals(STEP_LABELS)
    assert table["ratings"].to_pylist() == [[1, -1], [1, 1, 1], [], []]
    assert table["error"].to_pylist() == [None, None, None, "refused"]
    with pytest.raises(ValueError, match="judgements does not have the rows of solutions"):
        stage.compute(
            stage.config,
            solutions=pa.Table.from_pylist(solutions[::-1], schema=SOLUTIONS).select(stage.reads["solutions"]),
            judgements=pa.Table.from_pylist(judged, schema=JUDGEMENTS),
        )


def test_the_embedded_judges_lessons_are_the_exact_rules_verdicts() -> None:
    prompt = "{problem}\n{steps}"
    stage = judge_lessons(JudgeLessonsConfig(WorldConfig(teacher_solutions=60, curriculum_share=0.0), prompt))
    rows = stage.compute(stage.config).to_pylist()
    kinds = set()
    for row in rows:
        problem, _, numbered = row["problem"].partition("\n")
        steps = [step.partition(": ")[2] for step in numbered.split("\n", numbered.count("\n") - 2)]
        ratings = rate_steps(problem, steps)
        assert ratings is not None
        found, status = read_verdict("\n".join(row["steps"]), len(steps))
        assert (found, status) == (ratings.index(-1) if -1 in ratings else -1, "ok")
        kinds.add(found)
        # Each step as it should be: the given one before the first error, another one there.
        flat = [" ".join(step.split()) for step in steps]
        right = len(steps) if found < 0 else found
        assert row["steps"][:right] == flat[:right]
        if found >= 0:
            assert len(row["steps"]) == found + 2
            assert row["steps"][found] != flat[found]
            assert rate_steps(problem, [*steps[:found], row["steps"][found].replace("# Answer ", "# Answer\n\n")]) == [
                *ratings[:found],
                1,
            ]
    assert len(kinds) > 2
