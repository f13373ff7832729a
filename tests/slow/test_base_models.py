"""The generator's part of studies with base models: the format, one epoch, samples, grades.

One is of another architecture, learns the format from the problems' own solutions, and samples through vLLM; it is
random, so nothing is right, but the road is real. The other is the embedded study's generator, which is shown what it
gets right of its own samples, by transformers.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import AutoTokenizer

from components.data.problems import file_problems
from components.sampling.engines import Request
from components.sampling.generation import generate
from components.sampling.grading import grade
from components.sampling.vllm_engine import VllmEngine
from components.text.rendering import end_of_turn_ids, render_chat_prompts
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from flows.command_line import cli
from flows.presets.preset import CHAT_INSTRUCTION
from flows.studies import generators
from flows.study import Study
from tests.sampling.test_chat_prompts import TEMPLATE
from tests.slow.conftest import ROOT, SMOKE, explained, index, run_study, table

pytestmark = pytest.mark.slow
GENERATOR_PART = [sys.executable, "-m", "tests.slow.test_base_models", *SMOKE]


def save_base(folder: Path, *more_tokens: str) -> None:
    """A random Qwen2 with the embedded tokenizer, and a chat template. more_tokens: of its vocabulary."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer: Any = build_tokenizer(VOCABULARY)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|over|>"]})
    tokenizer.add_tokens(list(more_tokens))
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen2ForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def generator_part(study: Study) -> None:
    """The generator and its graded samples; and what a base model with a chat template says when it is asked by it."""
    preset, run = study.preset, study.runner
    assert study.files is not None
    assert study.base_model is not None
    problems = run.table(file_problems(study.files, study.problem_paths))
    run.map(problems, generate(preset.sampling, generators.train_generator(study, problems)), grade())
    where = {name: run.store.files.url(run.store.folder_of(one)) for name, one in run.results.items()}
    where["generator"] = run.results["generator"].path  # type: ignore[union-attr]
    run.store.files.put("where.json", json.dumps(where).encode())
    base = Path(study.base_model.path)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    if tokenizer.chat_template is None:
        return
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
    argv = ["--base-model", str(folder / "base"), "--format-from", "solutions"]
    argv += ["--samples-per-problem", "4", "--max-tokens", "64"]
    for split, some in {"train": rows[:12], "test": rows[12:]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        argv += [f"--{split}-problems", str(folder / f"{split}.jsonl")]
    run_study(folder / "outputs", *argv, flow=GENERATOR_PART, cwd=ROOT)
    return folder / "outputs"


def where(outputs: Path, name: str) -> str:
    return str(json.loads((outputs / "where.json").read_text())[name])


def record(outputs: Path, name: str) -> dict[str, Any]:
    """What the manifest of a table or model says of how it was made."""
    folder = Path(where(outputs, name))  # of a model it is named by its content, in that of its stage
    [manifest] = [path for path in (folder / "_manifest.json", folder.parent / "_manifest.json") if path.exists()]
    return json.loads(manifest.read_text())["record"]


def test_a_base_model_learns_the_format_from_solutions_and_samples(outputs: Path) -> None:
    examples = pd.read_parquet(where(outputs, "reference_solutions"))
    assert examples["steps"].iloc[0].tolist() == ["Both are 1.", "Their sum is $2$.", "# Answer\n\n2"]
    assert len(examples) == 12
    config = json.loads((Path(where(outputs, "generator")) / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    made = record(outputs, "generator")
    assert made["metrics"]["rows_used"] == 12
    assert made["recipe"]["models"].keys() == {"base"}
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


def test_a_base_model_is_finetuned_and_explain_names_an_edited_problem_and_a_swapped_file(
    smoke: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, base = tmp_path / "outputs", tmp_path / "base"
    shutil.copytree(smoke, root)
    shutil.copytree(index(root)["generator"], base)
    problems = table(root, "problems")
    argv = ["--base-model", str(base), "--study", "base", "--engine", "transformers", "--samples-per-problem", "4"]
    for split in ("train", "test"):
        rows = problems[problems["split"] == split].head(12)
        rows = rows.rename(columns={"ground_truth_answer": "answer"})[["problem", "answer"]]
        rows.to_json(tmp_path / f"{split}.jsonl", orient="records", lines=True)
        argv += [f"--{split}-problems", str(tmp_path / f"{split}.jsonl")]
    run_study(root, *argv, flow=GENERATOR_PART, cwd=ROOT)
    samples, shots, shown = (
        pd.read_parquet(where(root, name)) for name in ("solutions", "few_shot_solutions", "format_examples")
    )
    assert samples.groupby("split").size().to_dict() == {"test": 48, "train": 48}
    assert len(shots) == 48
    assert samples["error"].isna().all()
    assert record(root, "solutions")["recipe"]["config"]["engine"] == "transformers"
    assert 0 < len(shown) < len(shots)
    assert record(root, "generator")["metrics"]["rows_used"] == len(shown)

    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    edited = json.loads(lines[3])
    lines[3] = json.dumps({**edited, "problem": edited["problem"].replace("Start", "Begin")})
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    printed = explained(capsys, root, "few_shot_solutions", *argv)
    assert "1 rows changed, 0 new, 0 gone" in printed
    assert "row train 3: problem: Start with" in printed
    (tmp_path / "train.jsonl").write_text("\n".join([*lines[:3], json.dumps(edited), *lines[4:]]))

    (base / "model.safetensors").write_bytes((Path(index(root)["orm"]) / "model.safetensors").read_bytes())
    printed = explained(capsys, root, "few_shot_solutions", *argv)
    assert "models.generator.model.safetensors: " in printed
    assert "config.json" not in printed
