"""Rated solutions from files, and ProcessBench's F1 by hand on its own rows."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from components.data.labelled_solutions import read_labelled
from components.data.rated_solutions import describe_rated, file_labels, file_solutions, read_rated
from components.dataflow.errors import InputError
from components.evaluation.first_error import StepErrorsConfig, step_errors
from schemas.tables import SCORES
from tests.real_rows import REAL_ROWS, needs_real_rows


def test_both_kinds_of_rows_are_read_and_bad_ones_kept(tmp_path: Path) -> None:
    good = [
        {"problem": "p", "steps": ["a", "b", "c"], "label": 1},
        {"problem": "p", "steps": ["a", "b"], "label": -1.0},
        {"problem": "p", "steps": [{"text": "a", "rating": 0}, {"text": "b", "rating": -1}, {"text": "c"}]},
    ]
    bad = [
        {"problem": "", "steps": ["a"], "label": 0},
        {"problem": "p", "steps": ["a"], "label": 1},
        {"problem": "p", "steps": "a", "label": 0},
        {"problem": "p", "steps": [{"text": "a", "rating": None}, {"text": "b", "rating": -1}]},
        {"problem": "p", "steps": [{"text": "a", "rating": True}]},
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*good, *bad]))
    rows = read_rated(path, "some")
    assert [row["ratings"] for row in rows[:3]] == [[1, -1], [1, 1], [0, -1]]
    assert [row["steps"] for row in rows[:3]] == [["a", "b", "c"], ["a", "b"], ["a", "b", "c"]]
    # Solutions of one problem are one cluster; a row that cannot be used is none of them.
    assert [(row["problem_id"], row["sample_index"]) for row in rows[:4]] == [
        ("some:0", 0),
        ("some:0", 1),
        ("some:0", 2),
        ("some:3", 0),
    ]
    errors = [row["error"] for row in rows[3:]]
    assert errors[0] == "row 3: 'problem' is '', not a problem's text"
    assert errors[1] == "row 4: 'label' is 1, not the index of one of 1 steps, or -1"
    assert errors[2] == "row 5: 'steps' is 'a', not a list of steps' texts"
    assert errors[3] == "row 6: steps[0] is unrated, so the first wrong step is not known"
    assert errors[4] == "row 7: steps[0].rating is True, not −1, 0, 1 or null"
    config, paths, _ = describe_rated([path])
    for stage in (file_solutions(config, paths), file_labels(config, paths)):
        stage.compute(stage.config).cast(stage.schema)
    path.write_text(json.dumps(bad[0]))
    with pytest.raises(InputError, match="no row can be used; the first: row 0: 'problem' is ''"):
        describe_rated([path])


def test_what_is_read_for_training_is_read_here_and_the_other_way_round(tmp_path: Path) -> None:
    """One reader for both: published formats, a label beside rated steps, and pandas' whole numbers as floats."""
    completions = [{"text": "a", "rating": 1}, {"text": "x", "rating": -1}]
    chosen = {"completions": completions, "human_completion": None, "chosen_completion": 0}
    wrong = {"completions": [{"text": "b", "rating": -1}], "human_completion": None, "chosen_completion": None}
    line = {"question": {"problem": "p"}, "label": {"steps": [chosen, wrong], "finish_reason": "found_error"}}
    accepted = [
        {"prompt": "p", "completions": ["a", "b"], "labels": [True, False]},
        {"input": "p Step 1: a ки\nStep 2: b ки", "label": "p Step 1: a +\nStep 2: b -"},
        line,
        {"problem": "p", "steps": [{"text": "a", "rating": 1}, {"text": "b", "rating": -1}], "label": None},
        {"problem": "p", "steps": ["a", "b"], "label": 1.0},
    ]
    path = tmp_path / "some.jsonl"
    refused = [line | {"is_quality_control_question": True}, {"problem": "p", "steps": [{"text": "", "rating": 1}]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*accepted, *refused]))
    rows = read_rated(path, "some")
    for rated, labelled in zip(rows[: len(accepted)], read_labelled(path), strict=False):
        assert rated["error"] is labelled["error"] is None
        assert rated["problem"] == labelled["problem"] == "p"
        assert rated["steps"] == labelled["steps"] == ["a", "b"]
        assert rated["ratings"] == labelled["ratings"] == [1, -1]
    assert [row["error"] for row in rows[len(accepted) :]] == [
        "row 5: not used: quality_control",
        "row 6: steps[0] has no text",
    ]


@needs_real_rows("processbench_*.jsonl.gz")
def test_processbench_files_are_read_whole_and_f1_is_that_of_pencil_and_paper() -> None:
    """Every row of the files; then 20 rows with made-up probabilities, counted one by one."""
    files = sorted(REAL_ROWS.glob("processbench_*.jsonl.gz"))
    config, paths, _ = describe_rated(files)
    stage = file_labels(config, paths)
    labels = stage.compute(stage.config)
    assert {name: labels["split"].to_pylist().count(name) for name in paths} == {
        "processbench_gsm8k": 400,
        "processbench_math_half": 492,
    }
    assert labels["error"].null_count == len(labels)
    twenty = labels.take(list(range(0, 400, 20)))
    scores, exact, kept, wrong, right = [], 0, 0, 0, 0
    for number, row in enumerate(twenty.to_pylist()):
        first = row["ratings"].index(-1) if -1 in row["ratings"] else -1
        length = len(row["ratings"]) + 1
        # Every third is called wrong at its first step, the others where they are.
        called = 0 if number % 3 == 0 else first
        negative = [0.9 if at == called else 0.1 for at in range(length)]
        key = {name: row[name] for name in ("problem_id", "sample_index", "split")}
        scores.append(key | {"step_probabilities": [[p, 0.0, 1 - p] for p in negative], "error": None})
        if first == -1:
            right += 1
            kept += number % 3 != 0
        else:
            wrong += 1
            exact += called == first
    stage = step_errors(StepErrorsConfig(thresholds=(0.5,)))
    [found] = stage.compute(
        stage.config, held_out_step_labels=twenty, scores=pa.Table.from_pylist(scores, schema=SCORES)
    ).to_pylist()
    assert (found["num_wrong"], found["num_right"]) == (wrong, right)
    assert wrong > 3
    assert right > 3
    assert found["accuracy_wrong"] == exact / wrong
    assert found["accuracy_right"] == kept / right
    assert found["f1"] == pytest.approx(2 / (wrong / exact + right / kept))
