"""The main study with a generator that is sampled as it is, and thinks before it answers: a random chat model, so
nothing is right, but the road is real: its own chat template, vLLM in two goes, an ORM from its weights, best-of-N."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.text.rendering import split_steps
from components.text.segmentation import steps
from tests.slow.conftest import index, run_study
from tests.slow.test_base_models import save_base

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untouched")
    save_base(folder / "instruct", "<think>", "</think>")
    own = {"do_sample": True, "temperature": 0.9, "top_k": 40, "eos_token_id": None}
    config = json.loads((folder / "instruct/generation_config.json").read_text())
    (folder / "instruct/generation_config.json").write_text(json.dumps(config | own))
    rows = [{"problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(1, 17)]
    argv = ["--generator", str(folder / "instruct"), "--samples-per-problem", "4", "--max-tokens", "64"]
    argv += ["--max-thinking-tokens", "500", "--set", "sampling.max_model_length=1024"]
    for split, some in {"train": rows[:12], "test": rows[12:]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        argv += [f"--{split}-problems", str(folder / f"{split}.jsonl")]
    run_study(folder / "outputs", *argv)
    return folder / "outputs"


def test_the_study_runs_to_its_end_and_trains_no_generator(outputs: Path) -> None:
    places = index(outputs)
    assert "generator" not in places
    samples = pd.read_parquet(places["solutions"])
    assert samples.groupby("split").size().to_dict() == {"test": 16, "train": 48}
    assert samples["error"].isna().all()
    summary: dict[str, Any] = json.loads((outputs / "studies/smoke/summary.json").read_text())
    assert {"orm", "majority", "pass"} <= summary["best_of_n"].keys()
    assert any("temperature 0.9" in note and "top_k 40" in note for note in summary["notes"])


def test_thinking_is_kept_apart_with_a_cap_of_its_own(outputs: Path) -> None:
    samples = pd.read_parquet(index(outputs)["solutions"])
    said = samples[samples["num_thinking_tokens"] < samples["num_tokens"]]
    thought = said[said["num_thinking_tokens"] > 0]
    assert len(thought) >= 10  # of 64: a random model closes its thinking soon, and opens it again at times
    assert (thought["num_tokens"] - thought["num_thinking_tokens"]).max() <= 64
    assert samples["num_thinking_tokens"].max() <= 500
    assert not (samples["thinking"] + samples["text"]).str.contains("</?think>", regex=True).any()
    cut = samples[(samples["num_thinking_tokens"] == samples["num_tokens"]) & (samples["finish_reason"] == "length")]
    assert (cut["text"] == "").all()
    grades = pd.read_parquet(index(outputs)["grades"])
    joined = samples.merge(grades, on=["problem_id", "sample_index"])
    assert joined.loc[joined["text"] == "", "answer"].isna().all()


def test_the_key_has_what_the_model_was_told(outputs: Path) -> None:
    lineage = json.loads((outputs / "studies/smoke/lineage.json").read_text())
    recipe = lineage["stages"]["solutions"]["recipe"]
    assert "boxed" in recipe["config"]["prompt"]
    assert lineage["stages"]["segmentation_probe"]["recipe"]["config"]["segmentation"] == "auto"
    rule = recipe["config"].get("segmentation", "newline")
    samples = pd.read_parquet(index(outputs)["solutions"])
    for row in samples.head(20).to_dict("records"):
        assert list(row["steps"]) == (split_steps(row["text"]) if rule == "newline" else steps(row["text"], rule))
    assert (recipe["config"]["temperature"], recipe["config"]["top_k"]) == (0.9, 40)
    assert lineage["stages"]["orm"]["recipe"]["models"] == recipe["models"]
