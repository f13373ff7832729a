"""The generator's part of a study with a base model of another architecture: the format from the problems' own
solutions, one epoch, sampling through vLLM, grades. The model is random, so nothing is right; the road is real."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import AutoTokenizer

from components.generation import generate
from components.grading import grade
from components.problems import file_problems
from components.sampling import Request, VllmEngine
from components.text_format import end_of_turn_ids, render_chat_prompts
from components.tokenizer import build_tokenizer
from components.worked_arithmetic import VOCABULARY
from flows import cli, full_study
from flows.presets import CHAT_INSTRUCTION
from tests.test_chat_prompts import TEMPLATE

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def save_base(folder: Path) -> None:
    """A random Qwen2 with the embedded tokenizer, and a chat template."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer: Any = build_tokenizer(VOCABULARY)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|over|>"]})
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen2ForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def generator_part(study: cli.Study) -> None:
    """The generator and its graded samples; and what the base model says when it is asked by its chat template."""
    preset, run = study.preset, study.runner
    assert study.files is not None
    assert study.base_model is not None
    problems = run.table(file_problems(study.files, study.problem_paths))
    run.map(problems, generate(preset.sampling, full_study.train_generator(study, problems)), grade())
    where = {name: run.store.files.url(getattr(one, "folder", "")) for name, one in run.results.items()}
    where["generator"] = run.results["generator"].path  # type: ignore[union-attr]
    run.store.files.put("where.json", json.dumps(where).encode())
    base = Path(study.base_model.path)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    ends, [prompt] = end_of_turn_ids(tokenizer), render_chat_prompts(tokenizer, CHAT_INSTRUCTION, ["What is 1 + 1?"])
    engine = VllmEngine(base, dataclasses.replace(preset.few_shot, max_tokens=256))
    said = engine.generate([Request(prompt, seed, ends=ends) for seed in range(32)])
    chat = {"ends": ends, "end_of_text": tokenizer.eos_token_id, "said": [dataclasses.asdict(one) for one in said]}
    run.store.files.put("chat.json", json.dumps(chat).encode())


if __name__ == "__main__":
    sys.exit(cli.run(generator_part, sys.argv[1:], ""))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_base(folder / "base")
    rows = [
        {
            "problem": f"What is {i} + {i}?",
            "answer": str(2 * i),
            "solution": f"Both are {i}.\n\nTheir sum is $\\boxed{{{2 * i}}}$.",
        }
        for i in range(1, 17)
    ]
    argv = ["--preset", "smoke", "--root", str(folder / "outputs"), "--base-model", str(folder / "base")]
    argv += ["--format-from", "solutions", "--samples-per-problem", "4", "--max-tokens", "64"]
    for split, some in {"train": rows[:12], "test": rows[12:]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        argv += [f"--{split}-problems", str(folder / f"{split}.jsonl")]
    os.environ.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-m", "tests.slow.test_base_models", *argv],
        capture_output=True, text=True, timeout=600, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return folder / "outputs"


def where(outputs: Path, name: str) -> str:
    return str(json.loads((outputs / "where.json").read_text())[name])


def test_a_base_model_learns_the_format_from_solutions_and_samples(outputs: Path) -> None:
    examples = pd.read_parquet(where(outputs, "reference_solutions"))
    assert examples["steps"].iloc[0].tolist() == ["Both are 1.", "Their sum is $2$.", "# Answer\n\n2"]
    assert len(examples) == 12
    config = json.loads((Path(where(outputs, "generator")) / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    manifest = json.loads((Path(where(outputs, "generator")) / "_manifest.json").read_text())["record"]
    assert manifest["metrics"]["rows_used"] == 12
    assert manifest["recipe"]["models"].keys() == {"base"}
    samples = pd.read_parquet(where(outputs, "solutions"))
    assert samples.groupby("split").size().to_dict() == {"test": 16, "train": 48}
    assert samples["error"].isna().all()
    assert (samples["num_tokens"] > 0).all()
    grades = pd.read_parquet(where(outputs, "grades"))
    assert len(grades) == len(samples)
    assert grades["status"].notna().all()
    assert grades["error"].isna().all()


def test_vllm_ends_a_chat_sample_at_the_end_of_the_turn(outputs: Path) -> None:
    chat = json.loads((outputs / "chat.json").read_text())
    [over], end_of_text = chat["ends"], chat["end_of_text"]
    last = {sample["ids"][-1] for sample in chat["said"] if sample["finish_reason"] == "stop"}
    assert last == {over, end_of_text}
    assert all(not last & set(sample["ids"][:-1]) for sample in chat["said"])
    assert all(len(sample["ids"]) == 256 for sample in chat["said"] if sample["finish_reason"] == "length")
