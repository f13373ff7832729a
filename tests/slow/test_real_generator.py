"""A real instruct model that nobody made here runs through the main study, untouched: SmolLM2-135M-Instruct.

It solves few problems; what is tested is that it is asked in its own words, answers in them, and that its samples,
their grades, an ORM from its weights and best-of-N follow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import AutoTokenizer

from components.sampling.engines import SamplingConfig
from components.sampling.prompts import sampling_prompts
from flows.presets.preset import GENERATOR_PROMPT
from flows.presets.presets import PRESETS
from tests import smollm2
from tests.slow.conftest import index, run_study, summary

pytestmark = pytest.mark.slow
SUMS = ((3, 4), (10, 5), (7, 7), (20, 2), (6, 3), (9, 8), (15, 4), (12, 12), (30, 6), (5, 11))


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return smollm2.folder()
    except smollm2.NotThere as error:
        pytest.skip(str(error))


def test_the_prompt_is_byte_for_byte_its_templates(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    config: SamplingConfig = PRESETS["smoke"].sampling
    problem = "Tom has 3 apples and buys 4 more. How many has he?"
    settings = {"prompt": GENERATOR_PROMPT, "system_prompt": "You are good at arithmetic."}
    for chosen in (settings, settings | {"system_prompt": ""}):
        turns = [{"role": "user", "content": chosen["prompt"].replace("{problem}", problem)}]
        if chosen["system_prompt"]:
            turns.insert(0, {"role": "system", "content": chosen["system_prompt"]})
        told: Any = type(config)(**{**vars(config), **chosen})
        [ids] = sampling_prompts(tokenizer, told, [problem])
        assert ids == tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)


@pytest.fixture(scope="module")
def outputs(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    rows = [
        {"problem": f"Tom has {a} apples and buys {b} more. How many apples has Tom now?", "answer": str(a + b)}
        for a, b in SUMS
    ]
    argv = ["--generator", str(model), "--samples-per-problem", "train=2", "test=4", "--max-tokens", "96"]
    argv += ["--set", "orm.training.batch_size=8", "--set", "orm.training.max_tokens=256"]
    for split, some in {"train": rows[:6], "test": rows[6:]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        argv += [f"--{split}-problems", str(folder / f"{split}.jsonl")]
    run_study(folder / "outputs", *argv)
    return folder / "outputs"


def test_it_is_sampled_untouched_graded_and_ranked(outputs: Path, model: Path) -> None:
    places = index(outputs)
    assert "generator" not in places
    samples = pd.read_parquet(places["solutions"])
    assert samples.groupby("split").size().to_dict() == {"test": 16, "train": 12}
    assert samples["error"].isna().all()
    assert samples["text"].str.len().min() > 0
    assert samples["text"].str.contains("apples").mean() > 0.5  # it answers what it was asked
    assert (samples["finish_reason"] == "stop").any()
    assert not samples["text"].str.contains("<|im_end|>", regex=False).any()
    grades = pd.read_parquet(places["grades"])
    assert grades["answer"].notna().any()
    assert grades["is_correct"].notna().all()
    curves = summary(outputs)["best_of_n"]
    assert {"orm", "majority", "pass"} <= curves.keys()
    config = json.loads((Path(places["orm"]) / "config.json").read_text())
    assert config["architectures"] == ["LlamaForTokenClassification"]
    assert config["hidden_size"] == json.loads((model / "config.json").read_text())["hidden_size"]
