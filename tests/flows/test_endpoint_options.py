"""A generator or a judge behind an address: what is read of the command line, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from components.dataflow.errors import InputError
from components.sampling import endpoint_generation
from components.sampling.endpoint import Endpoint, EndpointAccess
from flows.command_line import cli
from flows.command_line.options import parse
from flows.full_study import full_study
from flows.studies.study_folder import summary_of
from flows.study import Study
from tests.flows.test_thinking_options import empty_weights
from tests.sampling.test_chat_prompts import chat_tokenizer

ADDRESS = "https://host.example/v1#org/model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    chat_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(empty_weights())
    for split, problem in (("train", "1 + 1?"), ("test", "2 + 2?")):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"problem": problem, "answer": "2"}) + "\n")
    return folder


def argv(folder: Path, *more: str) -> list[str]:
    files = [f"--{split}-problems={folder.parent / split}.jsonl" for split in ("train", "test")]
    return ["--root", str(folder.parent / "outputs"), *files, *more]


def opened(folder: Path, *more: str, generator: str = ADDRESS, base: bool = True) -> Study:
    named = ["--generator", generator] + (["--reward-base", str(folder)] if base else [])
    return cli.open_study(parse(["plan", *argv(folder, *named, *more)], ""))


def test_the_address_and_how_it_is_asked_are_read(folder: Path) -> None:
    study = opened(folder, "--max-requests", "7", "--requests-at-once", "3", "--key-variable", "MY_KEY")
    access = study.endpoint
    assert isinstance(access, EndpointAccess)
    assert access.endpoint == Endpoint("https://host.example/v1", "org/model")
    assert (access.max_requests, access.max_tokens, access.at_once, access.key_variable) == (7, None, 3, "MY_KEY")
    assert (access.root, access.run) == (study.runner.store.root, study.runner.run_id)
    assert study.generator is None
    assert study.reward_base is not None
    assert study.reward_base.path == str(folder)


@pytest.mark.parametrize("key", ["gsk_abcDEF123", "hf_abc", "sk-secret", "AIzaSyA1"])
def test_a_key_in_the_place_of_its_variables_name_is_refused_and_not_repeated(folder: Path, key: str) -> None:
    with pytest.raises(InputError, match="the name of an environment variable is wanted, not the key") as refused:
        opened(folder, "--key-variable", key)
    assert key not in str(refused.value)


def test_a_variable_that_is_set_may_have_any_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("my_key", "sk-secret")
    access = opened(folder, "--key-variable", "my_key").endpoint
    assert access is not None
    assert access.key_variable == "my_key"


def test_what_it_is_asked_is_that_of_any_generator(folder: Path) -> None:
    study = opened(folder, "--temperature", "0.5", "--max-thinking-tokens", "900", "--steps-of", "both")
    sampling = study.preset.sampling
    assert (sampling.temperature, sampling.max_thinking_tokens, sampling.steps_of) == (0.5, 900, "both")
    assert sampling.segmentation == "auto"
    assert "{problem}" in sampling.prompt
    assert "a request asks for at most 1,028 tokens" in " ".join(study.notes)
    assert any(note.startswith("sampled with temperature 0.5,") for note in study.notes)


def test_a_plan_asks_nothing_and_shows_the_first_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--generator", "http://127.0.0.1:9/v1#m", "--reward-base", str(folder)]
    assert cli.run(full_study, ["plan", *argv(folder, *more)], "") == 0
    said = capsys.readouterr().out
    assert "user:\n1 + 1?\n\nReason step by step" in said
    assert "note: --generator http://127.0.0.1:9/v1#m was never asked: the keys of its answers are not known" in said
    assert "solutions" in said


def test_a_judge_can_be_one_too(folder: Path) -> None:
    more = ["--label-sources", "judge", "--judge", ADDRESS, "--max-tokens-total", "99"]
    study = cli.open_study(parse(["plan", *argv(folder, *more)], ""))
    assert isinstance(study.judge, EndpointAccess)
    assert study.judge.max_tokens == 99
    assert study.endpoint is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--base-model", "{folder}"], "--generator is sampled as it is, and --base-model is finetuned first"),
        (["--max-requests", "0"], "--max-requests 0: must be 1 or more"),
        (["--key-variable", "sk-not-a-name"], "--key-variable: the name of an environment variable is wanted"),
        (["--thinking-markers", "", "</think>"], "--thinking-markers: thinking_markers must be two texts"),
        (["--max-thinking-tokens", "0"], "--max-thinking-tokens 0 is for a model in a folder"),
        (["--verifier", "x=min(prm_judge,orm)"], "there is no verifier 'prm_judge'"),
        (["--verifier", "x=min(exact_rule,orm)"], "there is no verifier 'exact_rule'"),
        (["--verifier", "x=min(ensemble_prm,orm)", "--training-seeds", "1"], "there is no verifier 'ensemble_prm'"),
        (["--requests-at-once", "-2"], "--requests-at-once -2: must be 1 or more"),
        (["--label-sources", "rollouts"], "--label-sources rollouts goes on from the middle of solutions"),
        (["--label-sources=judge", "--judge", ADDRESS, "--judge-structured"], "--judge-structured is for a judge in a"),
        (["--label-sources", "judge", "--judge", "http://h/v1"], "--judge http://h/v1: it has no model"),
        (["--set", "sampling.regex=a+"], "sampling.regex: it is not sent to a model behind an address"),
        (["--judge", ADDRESS, "--set", "judge.sampling.top_k=20"], "judge.sampling.top_k: it is not sent to a model"),
        (["--judge", ADDRESS, "--set", "judge.sampling.stop=###"], "judge.sampling.stop: it is not sent to a model"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(folder: Path, more: list[str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        opened(folder, *(word.format(folder=folder) for word in more))
    assert words in str(refused.value)


def test_every_text_that_ends_a_sample_is_sent(folder: Path) -> None:
    sampling = opened(folder, "--set", "sampling.stop=###", "--stop", "User:").preset.sampling
    assert endpoint_generation.parameters(endpoint_generation.endpoint_config(sampling, "m", ""))["stop"] == [
        "###",
        "User:",
    ]


def test_the_numbers_of_a_tiny_model_are_told(folder: Path) -> None:
    told = "the preset laptop has a tiny model's numbers; --preset one_gpu is for instruct models"
    assert told in opened(folder).notes
    assert told not in opened(folder, "--preset", "one_gpu", "--label-sources", "judge", "--judge", ADDRESS).notes


def test_the_engine_of_a_study_is_the_endpoint(folder: Path) -> None:
    study = dataclasses.replace(opened(folder), name="asked")
    grades = pd.DataFrame({"split": ["test"], "status": ["ok"], "is_correct": [True], "error": [None]})
    assert summary_of(study, grades, "vllm", {})["engine"] == {"name": "endpoint", "model": "org/model"}


def test_an_address_that_cannot_be_read_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="--generator http://h/v1: it has no model; write http://h/v1#MODEL"):
        opened(folder, generator="http://h/v1")


def test_reward_models_need_something_to_start_from(folder: Path) -> None:
    with pytest.raises(
        InputError, match="reward models cannot start from a model behind an address: give --reward-base"
    ):
        opened(folder, base=False)


@pytest.mark.parametrize("more", [["--max-requests", "5"], ["--key-variable", "X"]])
def test_options_of_endpoints_are_for_endpoints(folder: Path, more: list[str]) -> None:
    with pytest.raises(InputError, match=f"{more[0]} is for a model behind an address"):
        cli.open_study(parse(["plan", *argv(folder, *more)], ""))


def test_another_start_of_the_reward_models_is_for_a_generator_as_it_is(folder: Path) -> None:
    study = opened(folder, generator=str(folder))
    assert study.generator is not None
    assert study.reward_base == study.generator
    with pytest.raises(InputError, match="--reward-base is for a model that is sampled as it is"):
        cli.open_study(parse(["plan", *argv(folder, "--reward-base", str(folder))], ""))
