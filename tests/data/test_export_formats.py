"""Published formats: there and back, as the ecosystem's own readers see them, and from a study's store."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.export_file import ExportFile
from components.data.export_formats import (
    LeftOut,
    hard_rating,
    math_shepherd,
    processbench,
    processbench_prediction,
    trl_stepwise,
    trl_unpaired,
)
from components.data.export_prm800k import prm800k
from components.data.import_formats import as_labelled
from components.data.import_graded import as_graded
from components.data.labelled_solutions import read_labelled
from components.data.rated_solutions import read_rated
from components.dataflow.errors import InputError
from schemas import exports
from tests.real_rows import REAL_ROWS, needs_real_rows

Row = dict[str, Any]
# What formats part texts by, so that it stands in the texts too.
PARTS = st.sampled_from([" Step 1: ", "Step 1:", "Step 2: ", "ки", "к", "и", "\n", " ", "+", "-", "# Answer", "a", "b"])
TEXTS = st.one_of(st.text(min_size=1), st.lists(PARTS, max_size=5).map("".join)).filter(str.strip)
RATINGS = st.sampled_from([-1, 0, 1])


def row(*rated: tuple[str, int | None], **more: Any) -> Row:
    return {"problem": "What is 7 + 5 - 3?", "steps": [{"text": t, "rating": r} for t, r in rated], **more}


@st.composite
def labelled(draw: st.DrawFn) -> Row:
    steps = draw(st.lists(st.tuples(TEXTS, st.one_of(RATINGS, st.none())), min_size=1, max_size=6))
    return row(*steps) | {"problem": draw(TEXTS)}


def through_first_negative(record: Row) -> list[tuple[str, int]]:
    """What both binary formats hold, said another way: (text, 1 or −1)."""
    found = []
    for step in record["steps"]:
        found.append((step["text"], step["rating"]))
        if step["rating"] == -1:
            break
    while found and found[-1][1] is None:
        found.pop()
    return [(text, -1 if rating == -1 else 1) for text, rating in found]


def pairs(record: Row) -> list[tuple[str, int | None]]:
    return [(step["text"], step["rating"]) for step in record["steps"]]


# There and back -----------------------------------------------------------------------------------------------------


@given(record=labelled())
def test_stepwise_and_shepherd_rows_come_back_as_they_can(record: Row) -> None:
    wanted = through_first_negative(record)
    holes = any(step["rating"] is None for step in record["steps"][: len(wanted)])
    if not wanted or holes:
        for convert in (trl_stepwise, lambda one: math_shepherd(one, "MATH")):
            with pytest.raises(LeftOut, match=r"^(no step is rated|a step before the last labelled one is unrated)$"):
                convert(record)
        return
    stepwise = trl_stepwise(record)
    back = as_labelled(stepwise)
    assert (back["problem"], pairs(back)) == (record["problem"], wanted)
    assert trl_stepwise(back) == stepwise
    texts = [record["problem"], *(text for text, _ in wanted)]
    if any("ки" in text for text in texts) or " Step 1: " in record["problem"] + " Step 1:":
        with pytest.raises(LeftOut, match=r"tag ки|'Step 1:'"):
            math_shepherd(record, "GSM8K")
        return
    shepherd = math_shepherd(record, "GSM8K")
    back = as_labelled(shepherd)
    assert (back["problem"], pairs(back)) == (record["problem"], wanted)
    assert math_shepherd(back, "GSM8K") == shepherd


@given(problem=TEXTS, steps=st.lists(TEXTS, min_size=1), data=st.data(), correct=st.booleans())
def test_processbench_rows_come_back_whole(problem: str, steps: list[str], data: st.DataObject, correct: bool) -> None:
    label = data.draw(st.integers(-1, len(steps) - 1))
    given_row = {"id": "gsm8k-0", "generator": "Qwen2-7B-Instruct", "problem": problem, "steps": steps}
    given_row |= {"final_answer_correct": correct, "label": label}
    ours = as_labelled(given_row)
    wanted = [1 if label in (-1, at) or at < label else None for at in range(len(steps))]
    wanted = [-1 if at == label else rating for at, rating in enumerate(wanted)]
    assert [rating for _, rating in pairs(ours)] == wanted
    assert ours["finished"] is True
    assert processbench(ours, "gsm8k-0", "Qwen2-7B-Instruct", correct) == given_row


@given(problem=TEXTS, text=TEXTS, right=st.booleans())
def test_unpaired_rows_come_back_whole(problem: str, text: str, right: bool) -> None:
    published = {"prompt": problem, "completion": text, "label": right}
    [graded] = as_graded(published)
    assert trl_unpaired(graded) == published
    assert as_graded(graded) == [graded]


def test_a_real_shepherd_row_and_the_steps_of_a_graded_text() -> None:
    text = (
        "Janet’s ducks lay 16 eggs per day. How much does she make? Step 1: She has 16 - 3 = 13 eggs. {}\n"
        "Step 2: She makes 13 + 2 = $15. {}\nStep 3: The answer is: 15 {}"
    )
    published = {"input": text.format("ки", "ки", "ки"), "label": text.format("+", "-", "-"), "task": "GSM8K"}
    ours = as_labelled(published)
    assert ours["problem"] == "Janet’s ducks lay 16 eggs per day. How much does she make?"
    assert pairs(ours) == [
        ("She has 16 - 3 = 13 eggs.", 1),
        ("She makes 13 + 2 = $15.", -1),
        ("The answer is: 15", -1),
    ]
    assert ours["finished"] is True
    assert as_labelled({**published, "input": published["input"].replace("Step 1", "step 1"), "label": published["label"].replace("Step 1", "step 1")})["steps"][0]["text"].startswith("step 1: She")  # fmt: skip  # noqa: E501
    assert as_graded({"prompt": "p", "completion": "We add. It is 12.", "label": False}) == [
        {"problem": "p", "text": "We add. It is 12.", "steps": ["We add.", "It is 12."], "is_correct": False}
    ]


def test_our_own_rows_pass_unchanged_and_are_read_as_the_project_reads_them(tmp_path: Path) -> None:
    ours = row(("a", 1), ("b", -1), finished=True)
    ours["steps"][0]["alternatives"] = [{"text": "c", "probabilities": [0.5, 0.25, 0.25]}]
    assert as_labelled(ours) == ours
    published = [trl_stepwise(ours), math_shepherd(ours, "MATH"), processbench(ours, "1", "g", False)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(as_labelled(one)) + "\n" for one in published))
    assert [(one["steps"], one["ratings"], one["error"]) for one in read_labelled(path)] == [
        (["a", "b"], [1, -1], None)
    ] * 3
    path.write_text(json.dumps(published[2]))
    [rated] = read_rated(path, "x")
    assert (rated["ratings"], rated["error"]) == ([1, -1], None)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "p", "completions": ["a", "b"], "labels": [True]}, r"^'labels' has 1 for 2 'completions'$"),
        ({"prompt": "p", "completions": ["a"]}, r"^'labels' is None"),
        ({"prompt": "p", "completions": ["a"], "labels": [1.7]}, r"^'labels' is \[1.7\]"),
        ({"prompt": "p", "completions": [], "labels": []}, "^'completions' is"),
        ({"prompt": [{"role": "user", "content": "p"}], "completions": ["a"], "labels": [True]}, "^'prompt' is a conv"),
        ({"prompt": " ", "completions": ["a"], "labels": [True]}, "^'prompt' is ' '"),
        ({"input": "p Step 1: a ки", "label": "p Step 1: a +\n"}, "^'label' goes on"),
        ({"input": "p Step 1: a ки", "label": "p Step 1: b +"}, "^'label' is not 'input' .*: see tag 0$"),
        ({"input": "p Step 1: a ки\nStep 2: b ки", "label": "p Step 1: a +\nStep 2: b ?"}, "see tag 1$"),
        ({"input": "p Step 1: a ки", "label": "p Step 1: a"}, "see tag 0$"),
        ({"input": "p Step 1: a ки\nStep 2: b", "label": "p Step 1: a +\nStep 2: b"}, "^'input' goes on behind"),
        ({"input": "p a ки", "label": "p a +"}, "^'input' has no 'Step 1:'"),
        ({"input": "p Step 1: a", "label": "p Step 1: a"}, "^'input' has no step tag"),
        ({"input": "p Step 1: a ки"}, "^'label' is None"),
        ({"problem": "p", "steps": ["a"], "label": 1}, "^'label' is 1, not the index of one of 1 steps, or -1$"),
        ({"problem": "p", "steps": ["a"], "label": True}, "^'label' is True"),
        ({"problem": "p", "steps": ["a"]}, "^'label' is None"),
        ({"problem": "p", "steps": [], "label": -1}, r"^'steps' is \[\]"),
        ({"problem": "", "steps": ["a"], "label": -1}, "^'problem' is ''"),
        ({"question": {}, "label_": {}}, "^its fields label_, question are those of no known format"),
    ],
)
def test_a_malformed_row_is_refused_by_its_field(bad: Row, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_labelled(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "p", "completion": None, "label": True}, "^'completion' is None"),
        ({"prompt": "p", "completion": "a", "label": 2}, "^'label' is 2"),
        ({"problem": "p", "text": "a", "is_correct": None}, "^'is_correct' is None"),
        ({"problem": "p", "text": "a"}, "^its fields problem, text are those of no known format"),
        ({"completion": "a", "label": True}, "^its fields completion, label are those of no known format"),
        ({"prompt": "p", "answers": ["a", "b"], "label": [1]}, "^'label' is .*, not a list of 2 outcomes"),
    ],
)
def test_a_malformed_graded_row_is_refused_by_its_field(bad: Row, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_graded(bad)


# What is lost -------------------------------------------------------------------------------------------------------


def test_the_policies_of_what_is_lost() -> None:
    assert trl_stepwise(row(("a", 0), ("b", -1), ("c", 1)))["labels"] == [True, False]
    assert trl_stepwise(row(("a", 1), ("b", 1), ("c", None)))["completions"] == ["a", "b"]
    soft = [[0.5, 0.3, 0.2], [0.51, 0.0, 0.49], [0.4, 0.35, 0.25], [0.2, 0.4, 0.4]]
    assert [hard_rating({"probabilities": p, "rating": 1}) for p in soft] == [0, -1, 0, 1]
    for bad in (True, 2, "1"):
        with pytest.raises(InputError, match=r"steps\[0\].rating is"):
            trl_stepwise(row(("a", bad)))  # type: ignore[arg-type]
    with pytest.raises(LeftOut, match="first wrong one is not known"):
        processbench(row(("a", 1), ("b", None)), "1", "g", True)
    with pytest.raises(LeftOut, match="first wrong one is not known"):
        processbench(row(("a", None), ("b", -1)), "1", "g", True)
    with pytest.raises(LeftOut, match="no grade"):
        processbench(row(("a", 1)), "1", "g", None)
    with pytest.raises(LeftOut, match="tag ки"):
        math_shepherd(row(("руки", 1)), "MATH")
    with pytest.raises(LeftOut, match="holds 'Step 1:'"):
        math_shepherd(row(("a", 1)) | {"problem": "Do Step 1: add"}, "MATH")
    made = processbench(row(("a", 1), ("b", -1), ("c", None)), "1", "g", False)
    assert processbench_prediction(made, 1) == {**made, "prediction": 1, "match": True}
    assert processbench_prediction(made, -1)["match"] is False


def test_prm800k_rows_have_the_raw_schema_and_end_as_its_labellers_ended() -> None:
    wrong = row(("a", 1), ("b", -1), ("c", None), finished=True)
    wrong["steps"][1]["alternatives"] = [{"text": "d", "rating": 1}]
    made = prm800k(wrong, "rule", "9")
    assert made["label"]["finish_reason"] == "found_error"
    assert made["question"]["pre_generated_steps"] == ["a", "b", "c"]
    assert made["question"]["ground_truth_answer"] == "9"
    completion = {"text": "b", "rating": -1, "flagged": False}
    assert made["label"]["steps"][1] == {
        "completions": [completion, {"text": "d", "rating": 1, "flagged": False}],
        "human_completion": None,
        "chosen_completion": None,
    }
    right = prm800k(row(("a", 0), ("b", None), ("# Answer\n\n9", 1)))
    assert right["label"]["finish_reason"] == "solution"
    assert [step["chosen_completion"] for step in right["label"]["steps"]] == [0, 0, 0]
    with pytest.raises(LeftOut, match="no finish_reason"):
        prm800k(row(("a", 1)))
    with pytest.raises(LeftOut, match="no step is rated"):
        prm800k(row(("a", None)))


@needs_real_rows("prm800k_raw_samples.jsonl.gz")
def test_prm800k_rows_have_the_fields_of_real_ones() -> None:
    lines = gzip.decompress((REAL_ROWS / "prm800k_raw_samples.jsonl.gz").read_bytes()).decode().splitlines()
    real = [one for one in map(json.loads, lines) if one["generation"] is not None and one["generation"] > 0]
    made = prm800k(row(("a", 1), ("b", -1)), "rule")
    assert real
    for one in real:
        assert set(made) == set(one)
        assert set(made["question"]) == set(one["question"])
        assert set(made["label"]) == set(one["label"])
        assert set(made["label"]["steps"][0]) == set(one["label"]["steps"][0])
        assert set(made["label"]["steps"][0]["completions"][0]) == set(one["label"]["steps"][0]["completions"][0])


# As others read them ------------------------------------------------------------------------------------------------

MADE: dict[str, tuple[pa.Schema, Row]] = {
    "trl_stepwise": (exports.TRL_STEPWISE, trl_stepwise(row(("a", 1), ("b", -1)))),
    "trl_unpaired": (exports.TRL_UNPAIRED, trl_unpaired({"problem": "p", "text": "a", "is_correct": True})),
    "math_shepherd": (exports.MATH_SHEPHERD, math_shepherd(row(("a", 1), ("b", -1)), "MATH")),
    "processbench": (exports.PROCESSBENCH, processbench(row(("a", 1), ("b", -1)), "1", "g", False)),
    "processbench_predictions": (
        exports.PROCESSBENCH_PREDICTIONS,
        processbench_prediction(processbench(row(("a", 1)), "1", "g", True), 0),
    ),
    "prm800k": (exports.PRM800K, prm800k(row(("a", 1), ("b", -1)), "rule", "9")),
}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize("name", MADE)
def test_an_export_loads_with_datasets(tmp_path: Path, name: str, suffix: str) -> None:
    from datasets import Features, load_dataset

    schema, made = MADE[name]
    path = tmp_path / f"rows.{suffix}"
    with ExportFile(path, schema) as file:
        file.write([made])
        file.write([made, made])
    kind = "parquet" if suffix == "parquet" else "json"
    loaded = load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.to_list() == [made] * 3
    assert loaded.column_names == schema.names == list(made)
    if kind == "parquet":
        assert loaded.features == Features.from_arrow_schema(schema.remove_metadata())
    elif name == "trl_stepwise":
        assert loaded.features.arrow_schema.field("labels").type.value_type == pa.bool_()
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [path.name]


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    schema, made = MADE["trl_unpaired"]
    path = tmp_path / "rows.jsonl.gz"

    def write(fails: bool) -> None:
        with ExportFile(path, schema) as file:
            file.write([made])
            if fails:
                raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        write(fails=True)
    assert list(tmp_path.iterdir()) == []
    write(fails=False)
    first = path.read_bytes()
    with pytest.raises(RuntimeError, match="planted"):
        write(fails=True)
    write(fails=False)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot be written"), ExportFile(tmp_path / "no/rows.jsonl", schema):
        pass
    with pytest.raises(InputError, match=r"ends in none of \.parquet"):
        ExportFile(tmp_path / "rows.csv", schema)


def test_trl_trains_on_the_stepwise_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's own trainer, one optimiser step: it reads a label at each step's end, and moves the weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    import torch
    from datasets import load_dataset
    from transformers import LlamaConfig, LlamaForTokenClassification
    from trl.experimental.prm import PRMConfig, PRMTrainer

    from components.worlds.tokenizer import build_tokenizer

    path = tmp_path / "steps.parquet"
    with ExportFile(path, exports.TRL_STEPWISE) as file:
        file.write([trl_stepwise(row(("7 + 5 = 12", 1), ("12 - 3 = 8", -1))), trl_stepwise(row(("7 + 5 = 11", -1)))])
    rows = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    tokenizer = build_tokenizer(["7", "5", "12"])
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = LlamaForTokenClassification(
        LlamaConfig(
            vocab_size=len(tokenizer), num_labels=2, pad_token_id=tokenizer.pad_token_id, bos_token_id=None, **sizes
        )
    )
    before = model.score.weight.detach().clone()
    config = PRMConfig(
        output_dir=str(tmp_path / "trl"), max_steps=1, per_device_train_batch_size=2, learning_rate=1e-2, bf16=False,
        use_cpu=True, gradient_checkpointing=False, save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    trainer = PRMTrainer(model, config, train_dataset=rows, processing_class=tokenizer)
    asked = [[label for label in one["labels"] if label != -100] for one in trainer.train_dataset]
    assert asked == [[1, 0], [0]]
    assert trainer.train().global_step == 1
    assert not torch.equal(model.score.weight, before)
