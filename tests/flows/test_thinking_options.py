"""A generator that thinks before it answers: what is chosen for it, what is told, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.dataflow.errors import InputError
from flows.command_line import cli
from flows.command_line.options import parse
from flows.study import Study
from tests.sampling.test_thinking import tokenizer_with

TRAIN = [{"problem": "1 + 1?", "answer": "2"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path, tokenizer_with("<think>", "</think>"))


def save(tmp_path: Path, tokenizer: Any, positions: int = 40_960) -> Path:
    folder = tmp_path / "reasoner"
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    (folder / "model.safetensors").write_bytes(b"")
    for split in ("train", "test"):
        rows = [{"problem": f"{split} {row['problem']}", "answer": row["answer"]} for row in TRAIN]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def opened(folder: Path, *more: str) -> Study:
    files = [f"--{split}-problems={folder.parent / split}.jsonl" for split in ("train", "test")]
    return cli.open_study(
        parse(["plan", "--root", str(folder.parent / "outputs"), "--generator", str(folder), *files, *more], "")
    )


def test_thinking_is_kept_apart_by_the_models_own_markers_and_that_is_told(folder: Path) -> None:
    study = opened(folder)
    sampling = study.preset.sampling
    assert (sampling.thinking_markers, sampling.steps_of) == (("<think>", "</think>"), "text")
    assert sampling.max_thinking_tokens == 16_384
    assert sampling.longest == 16_384 + sampling.max_model_length
    assert (
        "what it thinks, from <think> to </think>, is kept apart: at most 16,384 tokens; steps are those of the answer "
        "(--steps-of)" in study.notes
    )


def test_what_is_asked_for_stands(folder: Path) -> None:
    sampling = opened(
        folder, "--thinking-markers", "<a>", "</a>", "--max-thinking-tokens", "99", "--steps-of", "both"
    ).preset.sampling
    assert (sampling.thinking_markers, sampling.max_thinking_tokens, sampling.steps_of) == (("<a>", "</a>"), 99, "both")
    config = folder.parent / "mine.toml"
    config.write_text(
        '[sampling]\nthinking_markers = ["<a>", "</a>"]\nmax_thinking_tokens = 7\nsteps_of = "thinking"\n'
    )
    sampling = opened(folder, "--config", str(config)).preset.sampling
    assert (sampling.thinking_markers, sampling.max_thinking_tokens) == (("<a>", "</a>"), 7)
    assert sampling.steps_of == "thinking"


def test_thinking_stays_in_the_text_where_that_is_wanted_and_told(folder: Path) -> None:
    study = opened(folder, "--max-thinking-tokens", "0")
    assert study.preset.sampling.thinking_markers == ()
    assert "what it thinks, from <think> to </think>, stays in its text (--max-thinking-tokens 0)" in study.notes


def test_a_model_that_reads_fewer_tokens_thinks_fewer(tmp_path: Path) -> None:
    folder = save(tmp_path, tokenizer_with("<think>", "</think>"), positions=4096)
    study = opened(folder)
    assert study.preset.sampling.longest == 4096
    with pytest.raises(InputError, match=r"reads 4,096 tokens: beside 2,048 .* 3,000 of thinking do not fit"):
        opened(folder, "--max-thinking-tokens", "3000")
    folder = save(tmp_path, tokenizer_with("<think>", "</think>"), positions=2048)
    with pytest.raises(InputError, match="reads 2,048 tokens"):
        opened(folder)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--max-thinking-tokens", "-1"], "--max-thinking-tokens -1: must be 0 or more"),
        (["--max-thinking-tokens", "0", "--steps-of", "both"], "--steps-of both: --max-thinking-tokens 0 keeps none"),
        (
            ["--set", "judge.sampling.steps_of=both"],
            "judge.sampling.steps_of: thinking is kept apart in the samples of",
        ),
        (["--label-sources", "rollouts"], "--label-sources rollouts goes on with what is said, and --generator thinks"),
        (["--verifier", "sure=confidence:here"], "--verifier confidence:… reads what is said alone"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, more: list[str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        opened(folder, *more)
    assert words in str(refused.value)


@pytest.mark.parametrize("more", [["--steps-of", "thinking"], ["--max-thinking-tokens", "99"]])
def test_a_model_without_markers_thinks_only_by_those_that_are_given(tmp_path: Path, more: list[str]) -> None:
    folder = save(tmp_path, tokenizer_with())
    assert opened(folder).preset.sampling.thinking_markers == ()
    with pytest.raises(InputError, match=f"{more[0]} {more[1]}: no markers of thinking are known of it"):
        opened(folder, *more)
    assert opened(folder, *more, "--thinking-markers", "<a>", "</a>").preset.sampling.thinking_markers == (
        "<a>",
        "</a>",
    )


@pytest.mark.parametrize(
    "more",
    [
        ["--steps-of", "text"],
        ["--max-thinking-tokens", "9"],
        ["--thinking-markers", "a", "b"],
        ["--set", "sampling.steps_of=both"],
    ],
)
def test_options_of_thinking_are_for_a_generator(tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(InputError, match=r"(--|sampling)[^ ]* is for a model that is sampled as it is"):
        cli.open_study(parse(["plan", "--root", str(tmp_path), *more], ""))


def test_a_plan_counts_the_thinking(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.full_study import full_study

    files = [f"--{split}-problems={folder.parent / split}.jsonl" for split in ("train", "test")]
    argv = ["plan", "--root", str(folder.parent / "outputs"), "--generator", str(folder), *files]
    (folder / "model.safetensors").write_bytes(empty_weights())
    assert cli.run(full_study, argv, "") == 0
    assert "its thinking 8192" in " ".join(capsys.readouterr().out.split())


def empty_weights() -> bytes:
    from safetensors.numpy import save as to_bytes

    return to_bytes({})
