"""A generator that is sampled as it is: what it is told, the sampling values that it came with, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from components.dataflow.errors import InputError
from components.dataflow.stage import canonical_json
from components.models.model_folder import open_tokenizer
from components.sampling.prompts import sampling_prompts
from flows.command_line import cli
from flows.command_line.options import parse
from flows.presets.presets import PRESETS
from flows.study import Study
from tests.sampling.test_chat_prompts import chat_tokenizer

OWN = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}


OTHERS = ("--temperature", "1.0", "--top-p", "0.5", "--top-k", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "instruct"
    chat_tokenizer().save_pretrained(folder)
    for name, content in (("config.json", {}), ("generation_config.json", OWN)):
        (folder / name).write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes(b"")
    for split, problem in (("train", "1 + 1?"), ("test", "2 + 2?")):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"problem": problem, "answer": "2"}) + "\n")
    return folder


def opened(folder: Path, *more: str) -> Study:
    files = [f"--{split}-problems={folder.parent / split}.jsonl" for split in ("train", "test")]
    root = ["--root", str(folder.parent / "outputs")]
    return cli.open_study(parse(["plan", *root, "--generator", str(folder), *files, *more], ""))


def test_the_prompt_is_byte_for_byte_the_templates(folder: Path, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(folder)
    config = opened(folder).preset.sampling
    user = "2 + 2?\n\nReason step by step, and put the final answer in \\boxed{}."

    def prompt_of(turns: list[dict[str, str]]) -> Any:
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)

    [ids] = sampling_prompts(tokenizer, config, ["2 + 2?"])
    assert tokenizer.decode(ids) == prompt_of([{"role": "user", "content": user}])
    (tmp_path / "told.txt").write_text("Solve {problem} {now}\n")
    (tmp_path / "system.txt").write_text("You are terse.\n")
    config = opened(
        folder, "--instruction", str(tmp_path / "told.txt"), "--system-prompt", str(tmp_path / "system.txt")
    ).preset.sampling
    [ids] = sampling_prompts(tokenizer, config, ["2 + 2?"])
    turns = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Solve 2 + 2? {now}"}]
    assert tokenizer.decode(ids) == prompt_of(turns)


def test_sampling_values_are_the_models_own_unless_others_are_given(folder: Path) -> None:
    study = opened(folder)
    values = {name: getattr(study.preset.sampling, name) for name in OWN if name != "do_sample"}
    assert values == {name: value for name, value in OWN.items() if name != "do_sample"}
    assert study.notes[-1] == (
        "sampled with temperature 0.7, top_p 0.8, top_k 20, min_p 0, repetition_penalty 1.05, at most 128 tokens; of "
        "its generation_config.json: temperature, top_p, top_k, repetition_penalty"
    )
    assert study.preset.sampling.segmentation == "auto"
    sampling = opened(folder, "--temperature", "1.0", "--set", "sampling.top_p=0.5", "--top-k", "0").preset.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition_penalty) == (1.0, 0.5, 0, 1.05)
    assert opened(folder, "--segmentation", "sentence").preset.sampling.segmentation == "sentence"
    assert "of its generation_config.json: repetition_penalty" in "\n".join(opened(folder, *OTHERS).notes)
    (folder / "generation_config.json").unlink()
    assert "top_p 0.98" in opened(folder).notes[-1]  # the preset's, and so told
    assert opened(folder).notes[-1].endswith("; its folder has no values of its own")
    sampling = opened(folder).preset.sampling
    assert (sampling.temperature, sampling.top_p) == (PRESETS["laptop"].sampling.temperature, 0.98)


def test_what_a_generator_is_told_is_a_part_of_the_key_and_moves_no_other(folder: Path) -> None:
    sampling = PRESETS["laptop"].sampling
    for name in ("prompt", "system_prompt", "top_k", "min_p", "repetition_penalty", "stop_texts"):
        assert f'"{name}"' not in canonical_json(sampling)
    told = canonical_json(opened(folder, "--stop", "END", "User:", "--min-p", "0.1").preset.sampling)
    assert '"stop_texts":["END","User:"]' in told
    assert '"min_p":0.1' in told
    assert "boxed" in told


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--base-model", "{folder}"], "--generator is sampled as it is, and --base-model is finetuned first"),
        (["--instruction", "{here}/none.txt"], "--instruction {here}/none.txt: cannot be read"),
        (["--instruction", "{here}/train.jsonl"], "prompt must have {{problem}}"),
        (["--system-prompt", "{here}/empty.txt"], "empty.txt: it is empty"),
        (["--top-k", "-1"], "--top-k -1"),
        (["--min-p", "2"], "--min-p 2"),
        (["--repetition-penalty", "0"], "--repetition-penalty 0"),
        (["--stop", ""], "stop_texts must have no empty text"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, more: list[str], words: str) -> None:
    places = {"folder": folder, "here": folder.parent}
    (folder.parent / "empty.txt").write_text(" \n")
    with pytest.raises(InputError) as refused:
        opened(folder, *(word.format(**places) for word in more))
    assert words.format(**places) in str(refused.value)


def test_a_model_that_was_not_taught_to_chat_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="its tokenizer has no chat template, so it was not taught to answer"):
        opened(folder)


def test_an_instruction_without_a_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--instruction is for a model that is sampled as it is"):
        cli.open_study(parse(["plan", "--root", str(tmp_path), "--instruction", "x.txt"], ""))


def test_a_value_of_the_model_that_does_not_fit_is_told(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps(OWN | {"top_p": 7}))
    with pytest.raises(InputError, match=r"generation_config.json: top_p: "):
        opened(folder)
    config = dataclasses.replace(PRESETS["laptop"].sampling, top_p=0.5)
    assert opened(folder, "--top-p", "0.5").preset.sampling.top_p == config.top_p


def test_the_first_prompt_is_shown_as_text_with_its_tokens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--{split}-problems={folder.parent / split}.jsonl" for split in ("train", "test")]
    argv = ["--root", str(folder.parent / "outputs"), "--generator", str(folder), *files, "--show-prompt"]
    assert cli.run(lambda study: pytest.fail("nothing is run"), ["run", *argv], "") == 0
    said = capsys.readouterr().out
    prompt = "<|turn|>user\n1 + 1?\n\nReason step by step, and put the final answer in \\boxed{}.<|over|>\n"
    rule = "-" * 40
    assert f"{rule}\n{prompt}<|turn|>assistant\n\n{rule}\n" in said
    [ids] = sampling_prompts(open_tokenizer(folder), opened(folder).preset.sampling, ["1 + 1?"])
    assert f"the first prompt, {len(ids)} tokens of 2,048:" in said


def test_a_template_that_refuses_a_systems_turn_is_told_before_any_work(folder: Path, tmp_path: Path) -> None:
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(template + (folder / "chat_template.jinja").read_text())
    (tmp_path / "system.txt").write_text("You are terse.")
    files = [f"--{split}-problems={tmp_path / split}.jsonl" for split in ("train", "test")]
    argv = ["run", "--root", str(tmp_path / "outputs"), "--generator", str(folder), *files, "--show-prompt"]
    assert cli.open_study(parse(argv, "")).generator is not None
    with pytest.raises(InputError, match="its chat template refuses what it is to be told: System role not supported"):
        cli.open_study(parse([*argv, "--system-prompt", str(tmp_path / "system.txt")], ""))


def test_rollouts_are_asked_as_the_solutions_are(folder: Path) -> None:
    config = opened(folder, "--label-sources", "rollouts", "--stop", "END").preset
    for name in ("prompt", "temperature", "top_p", "top_k", "repetition_penalty", "stop_texts", "max_tokens"):
        assert getattr(config.rollouts.sampling, name) == getattr(config.sampling, name)
    colder = opened(folder, "--label-sources", "rollouts", "--set", "rollouts.sampling.temperature=0.25").preset
    assert (colder.rollouts.sampling.temperature, colder.sampling.temperature) == (0.25, 0.7)
