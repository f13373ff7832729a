"""What a plan says of a GPU's memory: which stages fit, and which number to change where one does not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from components.dataflow.errors import InputError
from components.training.memory_budget import reckon
from flows.command_line import cli
from flows.command_line.plan_memory import Gpus, read_gpus
from flows.full_study import full_study
from tests.sampling.test_chat_prompts import chat_tokenizer

# Qwen2.5's 0.5B and 7B, as their config.json have them.
SMALL = {"hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "num_attention_heads": 14}
SMALL |= {"num_key_value_heads": 2, "vocab_size": 151_936, "max_position_embeddings": 32_768, "torch_dtype": "bfloat16"}
HUB = ["--generator", "hub:Qwen/Qwen2.5-1.5B-Instruct"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for split, problem in (("train", "1 + 1?"), ("test", "2 + 2?")):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"problem": problem, "answer": "2"}) + "\n")
    named = [f"--{split}-problems={tmp_path / split}.jsonl" for split in ("train", "test")]
    return ["plan", "--root", str(tmp_path / "outputs"), *named]


def planned(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[dict[str, float], str]:
    """Stage → GB, and all that was said."""
    assert cli.run(full_study, argv, "") == 0
    said = capsys.readouterr().out
    header, *rows = said[said.index("stage  ") :].splitlines()
    assert header.split()[-1] == "GB"
    cells = {row.split()[0]: row.split()[-1] for row in rows if row and not row.startswith(" ")}
    names = ("solutions", "rollouts_search", "orm", "prm", "scores")
    return {name: float(cells[name]) for name in names if name in cells}, said


@pytest.mark.parametrize(("preset", "hours"), [("one_gpu", "H100"), ("node_8gpu", "H100")])
def test_a_plan_with_names_on_the_hub_is_made_offline_and_says_what_it_does_not_know(
    files: list[str], capsys: pytest.CaptureFixture[str], preset: str, hours: str
) -> None:
    began = time.monotonic()
    needs, said = planned(capsys, *files, "--preset", preset, *HUB, "--fits", "gpu=80GB,count=8")
    assert time.monotonic() - began < 60  # a few seconds on an idle machine
    assert needs.keys() == {"solutions", "rollouts_search", "orm", "prm", "scores"}
    assert "is not on this machine, and a plan fetches nothing: its size is assumed" in said
    assert "whether --generator thinks before it answers shows when the model is here" in said
    assert "the model's own values show when it is here" in said
    assert hours in said
    assert "fits: every stage that is left fits into 80 GB × 8" in said


def test_what_does_not_fit_is_told_with_the_number_to_change(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    needs, said = planned(capsys, *files, "--preset", "one_gpu", *HUB, "--fits", "gpu=24GB")
    assert needs["orm"] == needs["prm"] > 0.9 * 24
    assert needs["solutions"] < 0.9 * 24
    assert f"does not fit into 24 GB, of which 90% can be used: orm, prm: {needs['orm']} GB: weights, gradients" in said
    assert "and moments of 1.5 billion parameters are 24 GB: --sharding fsdp over 2 such GPUs, or a smaller" in said
    _, said = planned(capsys, *files, "--preset", "one_gpu", *HUB, "--fits", "gpu=0.5GB")
    assert "larger GPUs, or a smaller --reward-base" in said  # no number of so small ones holds an example
    _, said = planned(capsys, *files, "--preset", "node_8gpu", *HUB, "--fits", "gpu=12GB")
    assert "solutions, rollouts_search: 14.2 GB: its weights alone are 14.0 GB: [engines] gpus = 2" in said
    assert "scores: 29.1 GB: [scorers] gpus = 4 shares it" in said


def test_a_model_that_is_here_is_reckoned_by_its_own_shape(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "small"
    chat_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(SMALL))
    save_file({"w": torch.zeros(1_000_000, dtype=torch.bfloat16)}, folder / "model.safetensors")
    argv = [*files, "--preset", "one_gpu", "--generator", str(folder), "--fits", "gpu=24GB"]
    needs, said = planned(capsys, *argv, "--set", "prm.training.max_tokens=100000")
    cache = 2 * 24 * 2 * 64 * 2 * 4096  # keys and values, layers, heads, width, bytes, tokens
    assert needs["solutions"] == pytest.approx((2e6 + cache) / 1e9, abs=0.1)
    config = type("Config", (), SMALL)
    fits = reckon(24 * 10**9, 1_000_000, config, 3, recomputed=False)
    assert f"prm.training.max_tokens of {fits:,} at most" in said
    assert needs["orm"] < 24 < needs["prm"]
    _, said = planned(capsys, *argv[:-1], "gpu=0.03GB", "--set", "sampling.max_model_length=4096")
    room = (0.9 * 0.03e9 - 2e6) / (cache / 4096)
    assert f"a sequence of 4,096 tokens is too long: sampling.max_model_length of {int(room):,} at most" in said
    argv += ["--max-thinking-tokens", "20000", "--thinking-markers", "<think>", "</think>"]
    argv += ["--label-sources", "judge", "--judge", str(folder)]
    argv[argv.index("gpu=24GB")] = "gpu=0.03GB"
    _, said = planned(capsys, *argv, "--set", "sampling.max_model_length=4096")
    assert f"sampling.max_model_length and max_thinking_tokens of {int(room):,} together at most" in said
    _, said = planned(capsys, *argv, "--set", f"sampling.max_model_length={int(room) - 100}", "--max-tokens", "200")
    assert "sampling.max_thinking_tokens of 100 at most" in said


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--fits", "24"], "--fits 24: gpu=24GB is wanted"),
        (["--fits", "gpu=24GB,count=0"], "gpu=24GB is wanted"),
        (["--fits", "gpu=0GB"], "--fits gpu=0GB: a GPU without memory holds no model"),
    ],
)
def test_what_cannot_be_read_is_refused(files: list[str], argv: list[str], words: str) -> None:
    from flows.command_line.options import parse

    with pytest.raises(InputError, match=words):
        cli.open_study(parse([*files, *argv], ""))


def test_memory_is_read_in_gb_and_gib_and_only_planned(files: list[str]) -> None:
    from flows.command_line.options import parse

    assert read_gpus("gpu=24GiB,count=2") == Gpus(24 * 2**30, 2)
    with pytest.raises(InputError, match="--fits is for plan"):
        cli.open_study(parse(["run", *files[1:], "--fits", "gpu=24GB"], ""))
