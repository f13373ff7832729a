"""Files of rated solutions: what is read, and that every label is accounted for."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.data.labelled_solutions import describe_labelled, labelled_solutions, read_labelled
from components.labels.rule_labels import LabelByRule, LabellingConfig
from components.text.rendering import render
from components.training.examples_of_rows import ExampleConfig, make_examples
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY, WorldConfig, teacher_solutions
from schemas.tables import SOLUTIONS
from tests.real_rows import REAL_ROWS, needs_real_rows

TOKENIZER = build_tokenizer(VOCABULARY)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS: list[Any] = [
    {"problem": "p", "steps": [{"text": "a", "rating": 1}, {"text": "b", "rating": -1}, {"text": "c", "rating": 1}]},
    {"problem": "p", "steps": [{"text": "a", "rating": None}, {"text": "b"}, {"text": "c", "rating": 0}]},
    {
        "problem": "p",
        "steps": [
            {"text": "a", "rating": 1, "alternatives": [{"text": "x", "rating": 0}, {"text": "y", "rating": -1}]},
            {"text": "b", "rating": -1, "alternatives": [{"text": "z", "rating": 1}]},
            {"text": "c", "rating": None, "alternatives": [{"text": "w", "rating": 1}]},
        ],
    },
    {"problem": "p", "steps": [{"text": "a", "probabilities": [0.1, 0, 0.9]}, {"text": "b", "rating": 0}]},
    {"problem": "p", "steps": [{"text": "a", "rating": 1}, {"text": "b", "rating": 7}]},
    {"problem": "p", "steps": [{"text": "a", "rating": 1}, {"rating": 1}]},
    {"problem": "p", "steps": [{"text": "a", "probabilities": [0.5, 0.6, 0.9]}]},
    {"problem": "", "steps": [{"text": "a", "rating": 1}]},
    {"problem": "p", "steps": "a"},
    {"problem": "p", "steps": [{"text": "a", "rating": True}]},
    {"problem": "p", "steps": [{"text": "long " * 60, "rating": 1}]},
    {"problem": "p", "steps": [{"text": "a"}]},
]


def labels_in(record: Any) -> int:
    steps = record["steps"] if isinstance(record["steps"], list) else []
    every = [*steps, *(other for step in steps for other in step.get("alternatives", []))]
    return sum(step.get("rating") is not None or "probabilities" in step for step in every)


def test_bad_rows_are_kept_and_say_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.jsonl", ROWS)
    rows = list(read_labelled(path))
    assert [row["source_row"] for row in rows] == list(range(len(ROWS)))
    assert [row["error"] for row in rows[:4]] == [None] * 4
    wrong = [row["error"] for row in rows if row["error"]]
    for text, error in zip(
        ["row 4: steps[1].rating is 7", "row 5: steps[1] has no text", "row 6: steps[0].probabilities add up to 2",
         "row 7: 'problem' is empty", "row 8: 'steps' is empty", "row 9: steps[0].rating is True"],
        wrong,
        strict=True,
    ):  # fmt: skip
        assert error.startswith(text)
    assert rows[2]["alternatives"][1] == {"step": 0, "text": "y", "rating": -1, "probabilities": None}
    assert rows[3]["probabilities"] == [[0.1, 0.0, 0.9], (0.0, 1.0, 0.0)]
    stage = labelled_solutions(describe_labelled([path])[0], [path])
    table = pa.concat_tables(stage.compute(stage.config))
    assert table.schema.equals(stage.schema)
    assert table["num_labels"].to_pylist() == [labels_in(record) for record in ROWS]


def test_rows_of_something_else_are_kept_with_their_error(tmp_path: Path) -> None:
    rows = [{"query": "Solve this problem: 1+1", "steps": [{"text": "a", "rating": 1}]}, {"question": None}]
    assert [row["error"][:14] for row in read_labelled(write(tmp_path / "qa.jsonl", rows))] == [
        "row 0: its fie",
        "row 1: its fie",
    ]


def test_alternatives_are_a_list_and_have_none_of_their_own(tmp_path: Path) -> None:
    nested = [{"text": "x", "rating": 1, "alternatives": [{"text": "y", "rating": 1}]}]
    rows = [{"problem": "p", "steps": [{"text": "a", "rating": 1, "alternatives": given}]} for given in (3, nested)]
    assert [row["error"] for row in read_labelled(write(tmp_path / "labels.jsonl", rows))] == [
        "row 0: steps[0].alternatives is 3, not a list",
        "row 1: steps[0].alternatives[0] has alternatives of its own",
    ]


@pytest.mark.parametrize("neutral", ["class", "ignore", "negative"])
def test_every_label_of_a_file_is_used_or_dropped_for_a_cause(tmp_path: Path, neutral: str) -> None:
    rows = list(read_labelled(write(tmp_path / "labels.jsonl", ROWS)))
    held_out = [index == 0 for index in range(len(rows))]
    made = make_examples(TOKENIZER, rows, ExampleConfig("prm", 64, prm_neutral=neutral), held_out)
    counts: Counter[str] = Counter()
    for one in made:
        counts.update(one.counts)
    assert sum(count for name, count in counts.items() if name.startswith("rows_")) == len(ROWS)
    labels = sum(count for name, count in counts.items() if name.startswith("labels_") and name != "labels_unrated")
    assert labels == sum(labels_in(record) for record in ROWS)
    assert counts["labels_held_out"] == 2
    assert counts["rows_error"] == 6
    assert counts["rows_too_long"] == 1
    assert counts["rows_unlabelled"] == 1 + (neutral == "ignore")
    if neutral == "class":
        assert counts["labels_dropped_after_first_negative"] == 2  # row 0's third step, and row 2's w
        used = {name: counts[f"labels_{name}"] for name in ("negative", "neutral", "positive")}
        assert used == {"negative": 2, "neutral": 3, "positive": 3}


def test_alternatives_share_their_history_with_the_solution(tmp_path: Path) -> None:
    [row] = read_labelled(write(tmp_path / "labels.jsonl", ROWS[2:3]))
    [made] = make_examples(TOKENIZER, [row], ExampleConfig("prm", 64), [False])
    assert made.example is not None
    texts = {"a": 2, "x": 1, "y": 0, "b": 0, "z": 2}
    asked = dict(zip(made.example.at.tolist(), made.example.classes.tolist(), strict=True))
    assert sorted(asked.values()) == sorted(texts.values())
    histories = {"a": [], "x": [], "y": [], "b": ["a"], "z": ["a"]}
    for text, label in texts.items():
        [alone] = render(TOKENIZER, ["p"], [[*histories[text], text]], [False])
        at = next(
            at for at, found in asked.items()
            if found == label and made.example.ids[: at + 1].tolist()[-2:] == alone.ids[-2:]
        )  # fmt: skip
        assert made.example.positions[at] == len(alone.ids) - 1
    separate = sum(len(render(TOKENIZER, ["p"], [[*histories[text], text]], [False])[0].ids) for text in texts)
    assert len(made.example.ids) < separate


def test_alternatives_count_their_weight(tmp_path: Path) -> None:
    [row] = read_labelled(write(tmp_path / "labels.jsonl", ROWS[2:3]))
    [made] = make_examples(TOKENIZER, [row], ExampleConfig("prm", 64, prm_alternative_weight=0.25), [False])
    assert made.example is not None
    assert made.example.weights.tolist() == [1.0, 1.0, 0.25, 0.25, 0.25]  # steps a, b; alternatives x, y, z


def rated_with_alternatives(count: int) -> list[dict[str, Any]]:
    """Solutions of the embedded world with eight alternatives each, as the labelling stage rates them."""
    rng = random.Random(0)
    columns: dict[str, list[Any]] = {name: [] for name in SOLUTIONS.names}
    for number, (chain, steps) in enumerate(teacher_solutions(WorldConfig(teacher_solutions=count))):
        row = dict.fromkeys(columns) | {"problem_id": str(number), "sample_index": 0, "split": "train", "text": ""}
        row |= {"problem": chain.problem, "steps": steps[: rng.randint(1, 9)], "num_tokens": 1, "seed": 0}
        for name, value in row.items():
            columns[name].append(value)
    table = pa.Table.from_pydict(columns, schema=SOLUTIONS)
    labels = LabelByRule(LabellingConfig(alternatives=8), {})(table, {}).to_pylist()
    return [row | {**label, "finish_reason": "stop"} for row, label in zip(table.to_pylist(), labels, strict=True)]


def test_an_example_without_its_alternatives_is_that_of_a_row_without_them() -> None:
    rows = rated_with_alternatives(60)
    assert sum(len(row["alternatives"]) for row in rows) > 300
    shown, bare = (
        make_examples(TOKENIZER, given, ExampleConfig("prm", 256), [False] * len(rows))
        for given in (rows, [row | {"alternatives": []} for row in rows])
    )
    for one, wanted in zip(shown, bare, strict=True):
        assert one.example is not None
        assert wanted.example is not None
        found = one.example.without_alternatives()
        for name in ("ids", "positions", "until", "at", "classes", "weights"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted.example, name))


@needs_real_rows("prm800k_train2pct_decoded.jsonl.gz")
def test_every_real_label_is_accounted_for() -> None:
    path = REAL_ROWS / "prm800k_train2pct_decoded.jsonl.gz"
    rows = list(read_labelled(path))
    with gzip.open(path, "rt") as lines:
        wanted = sum(labels_in(json.loads(line)) for line in lines)
    made = make_examples(TOKENIZER, rows, ExampleConfig("prm", 2048), [False] * len(rows))
    counts: Counter[str] = Counter()
    for one in made:
        counts.update(one.counts)
    assert sum(count for name, count in counts.items() if name.startswith("rows_")) == len(rows) == 1461
    assert (
        sum(count for name, count in counts.items() if name.startswith("labels_")) - counts["labels_unrated"] == wanted
    )


def test_a_solution_is_finished_when_its_last_step_holds_the_answer(tmp_path: Path) -> None:
    last = [{"text": "so\n\n# Answer\n\n1", "rating": 1}, {"text": "# Answers", "rating": 1}]
    rows = [{"problem": "p", "steps": [{"text": "a", "rating": 1}, step]} for step in last]
    read = list(
        read_labelled(write(tmp_path / "labels.jsonl", [*rows, {"problem": "p"}, {"problem": "p", "steps": [3]}]))
    )
    assert [row["finished"] for row in read] == [True, False, False, False]
    said = [
        {"problem": "p", "steps": [{"text": "The answer is: 42", "rating": 1}], "finished": True},
        {"problem": "p", "steps": [{"text": "# Answer \n\n42", "rating": 1}]},
        {"problem": "p", "steps": [{"text": "# Answer\n\n42", "rating": 1}], "finished": False},
        {"problem": "p", "steps": [{"text": "a", "rating": 1}], "finished": "yes"},
    ]
    told = list(read_labelled(write(tmp_path / "said.jsonl", said)))
    assert [row["finished"] for row in told] == [True, True, False, False]
    assert told[3]["error"] == "row 3: 'finished' is 'yes', not true, false or null"
    wanted = ["row 2: 'steps' is empty or not a list", "row 3: steps[0] has no text"]
    assert [row["error"] for row in read[2:]] == wanted
    assert len(read[0]["steps"]) == 2
