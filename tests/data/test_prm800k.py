"""PRM800K's raw lines: what each trap comes to, and the real lines against examples written down by hand."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.data.labelled_solutions import describe_labelled, label_counts, labelled_solutions, read_labelled
from components.data.prm800k import read_line
from components.dataflow.errors import InputError
from components.text.rendering import render
from components.training.examples_of_rows import ExampleConfig, make_examples
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from tests.real_rows import REAL_ROWS, needs_real_rows

RAW = REAL_ROWS / "prm800k_raw_samples.jsonl.gz"
TOKENIZER = build_tokenizer(VOCABULARY)

# The eight real lines, read by hand: per step of the solution its rating, the ratings of the others shown at a step,
# and why the line is not used. None: the labeller wrote the step (0: step 1; 4: step 7; 7: steps 0 and 4).
BY_HAND: list[tuple[list[int | None], dict[int, list[int]], str | None]] = [
    ([1, None, 1, 1, 1, 1], {1: [-1] * 5, 5: [0, 1, 1, 1]}, None),
    ([1, 0, 1, 1, 1, 1, -1], {6: [1, 1, 1]}, None),
    ([1, 1, 1, 1, 1], {4: [0, 1, 1, 1, 1, 1]}, None),
    ([1, 1, 1, 1, 1, 1, 1], {5: [-1, -1, 1, 1, -1, 1]}, None),
    ([1, 1, 1, 1, 1, 1, 1, None], {7: [-1] * 6}, "give_up"),
    ([1] * 12, {}, "screening"),
    ([], {}, "give_up"),  # of 30 steps; only its cause is looked at
    ([None, 1, 1, 1, None, 1], {0: [0] * 7, 1: [-1, 1, 1, 1, -1, 1], 4: [-1] * 4, 5: [-1, 0, -1, -1, -1, -1]}, None),
]
FINISHED = [True, False, True, True, False, True, False, True]


@needs_real_rows(RAW.name)
def test_real_lines_are_the_examples_written_down_by_hand() -> None:
    rows = list(read_labelled(RAW))
    for row, (ratings, others, dropped) in zip(rows, BY_HAND, strict=True):
        assert (row["error"], row["dropped"]) == (None, dropped)
        if not ratings:
            continue
        assert row["ratings"] == ratings
        found: dict[int, list[int]] = {}
        for one in row["alternatives"]:
            found.setdefault(one["step"], []).append(one["rating"])
        assert found == others
        assert ["labeler" in said for said in row["provenance"]] == [rating is None for rating in ratings]
    assert [row["finished"] for row in rows] == FINISHED

    made = make_examples(TOKENIZER, rows, ExampleConfig("prm", 4096), [False] * len(rows))
    for row, one, (ratings, others, dropped) in zip(rows, made, BY_HAND, strict=True):
        if dropped is not None:
            assert one.example is None
            assert one.counts[f"rows_{dropped}"] == 1
            assert one.counts[f"labels_dropped_{dropped}"] == row["num_labels"]
            continue
        assert one.example is not None
        # Every example is history + step, asked at the step's last token: so many tokens on, and of that class.
        wanted: Counter[tuple[int, int]] = Counter()
        asked = [(at, row["steps"][at], rating) for at, rating in enumerate(ratings) if rating is not None]
        asked += [
            (alternative["step"], alternative["text"], alternative["rating"]) for alternative in row["alternatives"]
        ]
        for at, text, rating in asked:
            is_end = "# Answer" in text and (at < len(ratings) - 1 or row["finished"] or text != row["steps"][at])
            [alone] = render(TOKENIZER, [row["problem"]], [[*row["steps"][:at], text]], [is_end])
            wanted[len(alone.ids) - 1, rating + 1] += 1
        places, classes = one.example.positions[one.example.at].tolist(), one.example.classes.tolist()
        assert Counter(zip(places, classes, strict=True)) == wanted
        assert len(asked) == sum(rating is not None for rating in ratings) + sum(map(len, others.values()))


@needs_real_rows(RAW.name)
def test_the_counts_of_real_lines_reconcile() -> None:
    config = describe_labelled([RAW, RAW])[0]
    table = pa.concat_tables(labelled_solutions(config, [RAW, RAW]).compute(config))
    assert table["source_file"].to_pylist() == [0] * 8 + [1] * 8
    stage = label_counts()
    counts = {row["what"]: row["count"] for row in stage.compute(stage.config, labelled_solutions=table).to_pylist()}
    with gzip.open(RAW, "rt") as lines:
        labels = sum(
            completion["rating"] is not None
            for line in lines
            for step in json.loads(line)["label"]["steps"]
            for completion in step["completions"] or []
        )
    assert counts["labels"] == 2 * labels == sum(n for what, n in counts.items() if what.startswith("labels in rows "))
    assert counts["rows"] == 16 == sum(n for what, n in counts.items() if what.startswith("rows "))
    wanted = {"rows used": 10, "rows dropped, give_up": 4, "rows dropped, screening": 2}
    assert wanted.items() <= counts.items()
    # By hand, in the five lines that are used: 31 steps, 3 of them by the labeller; 28 labels of theirs, 47 of others.
    assert counts["steps in rows used"] == 2 * 31
    assert counts["steps without a rating"] == counts["steps written by the labeler"] == 2 * 3
    assert counts["labels of alternatives in rows used"] == 2 * 47
    assert counts["labels in rows used"] == 2 * (28 + 47)


def completion(text: str, rating: int | None, **more: Any) -> dict[str, Any]:
    return {"text": text, "rating": rating, "flagged": False} | more


def line(steps: list[Any], reason: str = "solution", **more: Any) -> dict[str, Any]:
    about = {"generation": None, "is_quality_control_question": False, "is_initial_screening_question": False}
    question = {"problem": "What is 1 + 1?", "ground_truth_answer": "2"}
    return about | {"question": question, "label": {"steps": steps, "finish_reason": reason}} | more


def step(completions: list[Any] | None, chosen: int | None = 0, human: Any = None) -> dict[str, Any]:
    return {"completions": completions, "human_completion": human, "chosen_completion": chosen}


def test_runs_of_null_ratings_are_steps_without_labels() -> None:
    row = read_line(line([step([completion("a", None)]), step([completion("b", None)]), step([completion("c", 1)])]))
    assert [one["rating"] for one in row["steps"]] == [None, None, 1]


def test_null_completions_are_the_labellers_own_step() -> None:
    human = {"text": "mine", "rating": None, "source": "human", "flagged": False}
    row = read_line(line([step(None, None, human), step([completion("b", 1)])]))
    assert [(one["text"], one["rating"]) for one in row["steps"]] == [("mine", None), ("b", 1)]
    assert row["steps"][0]["provenance"] == "prm800k, phase 1, written by the labeler"


def test_a_corrected_rating_takes_the_first_ones_place() -> None:
    human = {"text": "mine", "rating": None, "source": "human", "flagged": False, "corrected_rating": 1}
    row = read_line(line([step([completion("x", -1)], None, human)], generation=3))
    assert (row["steps"][0]["rating"], row["steps"][0]["alternatives"][0]["rating"]) == (1, -1)
    assert row["steps"][0]["provenance"] == "prm800k, generation 3, written by the labeler, corrected"
    row = read_line(line([step([completion("a", 1, corrected_rating=-1, flagged=True)])]))
    assert row["steps"][0]["rating"] == -1
    assert row["steps"][0]["provenance"] == "prm800k, phase 1, corrected, flagged as unsure"


def test_at_a_found_error_the_first_completion_is_the_generators() -> None:
    shown = [completion("wrong", -1), completion("right", 1), completion("right too", 1)]
    row = read_line(line([step([completion("a", 1)]), step(shown, None)], "found_error"))
    assert [one["text"] for one in row["steps"]] == ["a", "wrong"]
    assert [one["text"] for one in row["steps"][1]["alternatives"]] == ["right", "right too"]


def test_a_labellers_step_beside_a_chosen_one_is_not_lost() -> None:
    human = {"text": "mine", "rating": None, "source": "human", "flagged": False}
    row = read_line(line([step([completion("a", 1), completion("b", 0)], 1, human)]))
    assert row["steps"][0]["text"] == "b"
    assert [one["text"] for one in row["steps"][0]["alternatives"]] == ["a", "mine"]


@pytest.mark.parametrize(
    ("more", "dropped"),
    [
        ({"is_quality_control_question": True}, "quality_control"),
        ({"is_initial_screening_question": True}, "screening"),
        ({"label": {"steps": [], "finish_reason": "bad_problem"}}, "bad_problem"),
        ({"label": {"steps": [step(None, None)], "finish_reason": "give_up"}}, "give_up"),
        ({"is_quality_control_question": True, "label": {"steps": None, "finish_reason": None}}, "quality_control"),
        ({}, None),
    ],
)
def test_the_papers_filter(more: dict[str, Any], dropped: str | None, tmp_path: Path) -> None:
    raw = line([step([completion("a", 1)])]) | more
    assert read_line(raw)["dropped"] == dropped
    (tmp_path / "raw.jsonl").write_text(json.dumps(raw))
    [row] = read_labelled(tmp_path / "raw.jsonl")
    assert (row["dropped"], row["error"]) == (dropped, None)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (line([step([completion("a", 1)])], "bored"), "label.finish_reason is 'bored'"),
        (line([step([completion("a", 1)]) | {"completions": True}]), "completions is True, not a list"),
        (line([step([completion("a", 1)], 3)]), r"label.steps\[0\].chosen_completion is 3 of 1"),
        (line([step([completion("a", 1)], None), step([completion("b", 1)])]), r"label.steps\[0\] has no chosen"),
        (line([step(None, None), step([completion("b", 1)])]), r"label.steps\[0\] has neither"),
        (line([step([{"rating": 1}])]), r"label.steps\[0\].completions\[0\] has no text"),
        (line([]), "label.steps is empty"),
        (line([3]), r"label.steps\[0\] is not an object"),
    ],
)
def test_a_broken_line_is_kept_and_names_its_field(bad: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_line(bad)
    path = tmp_path / "raw.jsonl"
    path.write_text(json.dumps(bad) + "\n" + json.dumps(line([step([completion("a", 1)])])))
    rows = list(read_labelled(path))
    assert [row["error"] is None for row in rows] == [False, True]
    assert rows[0]["error"].startswith("row 0: label.")
    assert rows[0]["problem"] == "What is 1 + 1?"
