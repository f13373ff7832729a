"""Few-shot samples of a model that was taught to chat: its prompts, what ends its turn, and when it is so asked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.sampling.engines import Request, Sample
from components.sampling.generation import Generate
from components.text.rendering import end_of_turn_ids, render_chat_prompts
from components.worlds.tokenizer import build_tokenizer
from flows.command_line import cli
from flows.command_line.options import parse
from flows.presets.preset import CHAT_INSTRUCTION, FEW_SHOT
from flows.presets.presets import PRESETS
from flows.study import Study
from schemas.tables import PROBLEMS

TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content }}<|over|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def chat_tokenizer(template: str = TEMPLATE) -> Any:
    tokenizer = build_tokenizer(["Add", "four"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|over|>"]})
    tokenizer.chat_template = template
    return tokenizer


def of_bytes(tokenizer: Any, text: str) -> list[int]:
    return [tokenizer.convert_tokens_to_ids({" ": "Ġ", "\n": "Ċ"}.get(character, character)) for character in text]


def test_a_chat_prompt_is_one_turn_with_instruction_examples_and_problem() -> None:
    tokenizer = chat_tokenizer()
    turn, over = tokenizer.convert_tokens_to_ids(["<|turn|>", "<|over|>"])
    [ids] = render_chat_prompts(tokenizer, "Do", ["1+1?\n---\n2+2?"])
    assert ids == [
        turn,
        *of_bytes(tokenizer, "user\nDo\n\n1+1?\n---\n2+2?"),
        over,
        *of_bytes(tokenizer, "\n"),
        turn,
        *of_bytes(tokenizer, "assistant\n"),
    ]
    assert end_of_turn_ids(tokenizer) == (over,)


def test_a_template_that_closes_turns_with_words_has_no_token_for_it() -> None:
    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\nOVER\n{% endfor %}"
    assert end_of_turn_ids(chat_tokenizer(template)) == ()


class Echo:
    """An engine that notes its requests, and answers with what it is given."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.asked = ids, list[Request]()

    def generate(self, requests: list[Request]) -> list[Sample]:
        self.asked += requests
        return [Sample(self.ids, "stop") for _ in requests]


@pytest.mark.parametrize("chat", [True, False])
def test_the_token_that_ends_a_turn_ends_the_sample_and_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: bool
) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    over = tokenizer.convert_tokens_to_ids("<|over|>")
    engine = Echo([*tokenizer("Add\n# Answer\n\nfour", add_special_tokens=False)["input_ids"], over])
    monkeypatch.setattr("components.sampling.generation.open_engine", lambda *given: engine)
    config = dataclasses.replace(
        PRESETS["laptop"].few_shot, engine="transformers", chat_instruction=CHAT_INSTRUCTION if chat else ""
    )
    row = {"problem_id": "p", "split": "train", "problem": "2+2?", "ground_truth_answer": "4", "source": "file"}
    problems = pa.Table.from_pylist([row | {"source_row": 0, "error": None}], schema=PROBLEMS)
    worker = Generate(config, {"generator": tmp_path})
    [sample] = worker(problems, {"sample_start": 0, "sample_count": 1}).to_pylist()
    assert (sample["text"], sample["steps"]) == ("Add\n# Answer\n\nfour", ["Add", "# Answer\n\nfour"])
    assert sample["num_tokens"] == len(engine.ids)
    [asked] = engine.asked
    written = tokenizer.decode(asked.prompt_ids)
    if chat:
        assert asked.ends == (over,)
        assert written == f"<|turn|>user\n{CHAT_INSTRUCTION}\n\n{FEW_SHOT}2+2?<|over|>\n<|turn|>assistant\n"
    else:
        assert asked.ends == ()
        assert written == f"{FEW_SHOT}2+2?\n\n"


def test_a_sample_by_transformers_ends_where_its_request_says() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from components.sampling.transformers_engine import TransformersEngine

    torch.manual_seed(0)
    engine = TransformersEngine.__new__(TransformersEngine)
    engine.config = dataclasses.replace(PRESETS["smoke"].sampling, max_tokens=40)
    engine.device = torch.device("cpu")
    shape = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    engine.model = LlamaForCausalLM(shape).eval()
    engine.model.generation_config.eos_token_id = 7
    requests = [Request([1, 2], seed, ends=(3,)) for seed in range(16)]
    samples = engine.generate(requests)
    assert {sample.ids[-1] for sample in samples} == {3, 7}
    assert all(not {3, 7} & set(sample.ids[:-1]) for sample in samples)


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        (base / name).write_text("{}")
    rows = {"train": {"problem": "1+1?", "answer": "2", "solution": "Add."}, "test": {"problem": "2+2?", "answer": "4"}}
    files = []
    for split, row in rows.items():
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
        files += [f"--{split}-problems", str(tmp_path / f"{split}.jsonl")]
    return ["plan", "--root", str(tmp_path / "outputs"), "--base-model", str(base), *files]


def opened(argv: list[str], *more: str) -> Study:
    return cli.open_study(parse([*argv, *more], ""))


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_tokenizers_template_is_used_unless_plain_text_is_asked_for(
    argv: list[str], tmp_path: Path, where: str
) -> None:
    assert opened(argv).preset.few_shot.chat_instruction == ""
    (tmp_path / "base" / where).write_text(json.dumps({"chat_template": TEMPLATE}))
    study = opened(argv)
    assert study.preset.few_shot.chat_instruction == CHAT_INSTRUCTION
    assert study.preset.sampling.chat_instruction == ""  # the finetuned generator follows our own convention
    assert any("--few-shot-prompt plain" in note for note in study.notes)
    assert opened(argv, "--few-shot-prompt", "plain").preset.few_shot.chat_instruction == ""
    assert opened(argv, "--few-shot-prompt", "chat").preset.few_shot.chat_instruction == CHAT_INSTRUCTION


def test_a_chat_that_is_asked_for_needs_a_template(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda study: None, [*argv, "--few-shot-prompt", "chat"], "") == 2
    line = capsys.readouterr().err
    assert "--few-shot-prompt chat" in line
    assert "no chat template" in line
    assert line.count("\n") == 1
    assert cli.run(lambda study: None, [*argv[:3], "--few-shot-prompt", "chat"], "") == 2
    assert "give --base-model FOLDER" in capsys.readouterr().err


def test_the_format_comes_from_solutions_where_that_is_asked_for(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import full_study

    assert cli.run(full_study.full_study, [*argv, "--format-from", "solutions"], "") == 0
    stages = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "reference_solutions" in stages
    assert "few_shot_solutions" not in stages
    run = ["run", *argv[1:3], *argv[5:], "--format-from", "solutions"]
    assert cli.run(full_study.full_study, run, "") == 2
    assert "give --base-model FOLDER" in capsys.readouterr().err
    assert cli.run(full_study.full_study, [*argv[:5], "--format-from", "solutions"], "") == 2
    assert "give --train-problems FILE" in capsys.readouterr().err
