"""Thinking, kept apart from what is said: texts of several families, and the two goes by which they are sampled."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow.stage import Model, canonical_json, seed_for
from components.sampling.engines import Request, Sample, SamplingConfig
from components.sampling.generation import Generate, generate
from components.sampling.thinking import HARMONY, KNOWN_MARKERS, Markers, Parts, Thinker, markers_of, parts
from components.text.answer_extraction import solution_answer
from flows.presets.presets import PRESETS
from schemas.tables import PROBLEMS, SOLUTIONS, THOUGHT_SOLUTIONS
from tests.sampling.test_chat_prompts import chat_tokenizer

THINK = ("<think>", "</think>")
ANALYSIS, FINAL = HARMONY
MAGISTRAL = ("[THINK]", "[/THINK]")
NEXT = "<|end|><|start|>assistant"


@pytest.mark.parametrize(
    ("written", "markers", "opened", "expected"),
    [
        # Qwen3: it opens its thinking itself.
        ("<think>\nIs it \\boxed{7}?\nNo.\n</think>\n\nIt is \\boxed{12}.", THINK, False,
         Parts("Is it \\boxed{7}?\nNo.", "It is \\boxed{12}.", False)),
        # DeepSeek-R1: its template opens it, so only the close is written; some versions open it once more.
        ("Is it 7?\n</think>\n\nIt is \\boxed{12}.", THINK, True, Parts("Is it 7?", "It is \\boxed{12}.", False)),
        ("<think>\nIs it 7?\n</think>\nIt is 12.", THINK, True, Parts("Is it 7?", "It is 12.", False)),
        # A close that nothing opened closes all before it.
        ("Is it 7?\n</think>\n\nIt is 12.", THINK, False, Parts("Is it 7?", "It is 12.", False)),
        # Qwen3 that is told not to think, and a model that does not.
        ("<think>\n\n</think>\n\nIt is 12.", THINK, False, Parts("", "It is 12.", False)),
        ("It is 12.", THINK, False, Parts("", "It is 12.", False)),
        ("<think>a <think>b</think>12", THINK, False, Parts("a b", "12", False)),
        # Cut.
        ("<think>\nIs it \\boxed{7}?", THINK, False, Parts("Is it \\boxed{7}?", "", True)),
        ("Is it \\boxed{7}?", THINK, True, Parts("Is it \\boxed{7}?", "", True)),
        ("", THINK, True, Parts("", "", True)),
        ("", THINK, False, Parts("", "", False)),
        # Twice, and after a word.
        ("Well. <think>a</think>So 1.<think>b</think>So 2.", THINK, False, Parts("a\n\nb", "Well. So 1.So 2.", False)),
        ("a</think>So 1.<think>b", THINK, True, Parts("a\n\nSo 1.\n\nb", "", True)),
        # gpt-oss: messages to channels; what is said is in the last one.
        (f"{ANALYSIS}Is it 7? No.{NEXT}{FINAL}It is 12.", HARMONY, False, Parts("Is it 7? No.", "It is 12.", False)),
        (f"{ANALYSIS}One.{NEXT}{ANALYSIS}Two.{NEXT}{FINAL}12", HARMONY, False, Parts("One.\n\nTwo.", "12", False)),
        (f"{FINAL}It is 12.", HARMONY, False, Parts("", "It is 12.", False)),
        (f"{ANALYSIS}Is it 7?", HARMONY, False, Parts("Is it 7?", "", True)),
        # Magistral, and Kimi.
        ("[THINK]Is it 7?[/THINK]It is 12.", MAGISTRAL, False, Parts("Is it 7?", "It is 12.", False)),
        ("◁think▷7?◁/think▷12", ("◁think▷", "◁/think▷"), False, Parts("7?", "12", False)),
    ],
)  # fmt: skip
def test_thinking_and_text_are_told_apart(written: str, markers: Markers, opened: bool, expected: Parts) -> None:
    assert parts(written, markers, opened) == expected


@pytest.mark.parametrize("markers", KNOWN_MARKERS)
def test_an_answer_is_never_that_of_the_thinking(markers: Markers) -> None:
    opens, closes = markers
    for finish_reason in ("stop", "length"):
        cut = parts(f"{opens}Surely \\boxed{{7}}.\n# Answer\n\n7\n", markers)
        assert cut.is_cut
        assert solution_answer(cut.text, finish_reason) == (None, "none")
    whole = parts(f"{opens}Surely \\boxed{{7}}.\n{closes}The answer is 12.", markers)
    assert solution_answer(whole.text, "stop")[0] == "12"


def test_markers_are_those_of_the_template_or_of_the_added_tokens() -> None:
    tokenizer = chat_tokenizer()
    assert markers_of(tokenizer) is None
    tokenizer.add_tokens(["[THINK]", "[/THINK]"])
    assert markers_of(tokenizer) == MAGISTRAL
    thinking = "{% if message.content %}{{ message.content.split('</think>')[-1] }}{% endif %}"
    assert markers_of(chat_tokenizer(thinking)) == THINK
    assert markers_of(chat_tokenizer(f"{{{{ '{NEXT}{FINAL}' }}}}")) == HARMONY


class Script:
    """An engine that writes what a script says of each request's prompt, up to its cap, its stops or its ends."""

    def __init__(self, tokenizer: Any, script: dict[str, str]) -> None:
        self.tokenizer, self.script, self.asked = tokenizer, script, list[Request]()

    def generate(self, requests: list[Request]) -> list[Sample]:
        self.asked += requests
        return [self._sample(request) for request in requests]

    def _sample(self, request: Request) -> Sample:
        prompt = self.tokenizer.decode(request.prompt_ids)
        ids = self.tokenizer(self.script[prompt], add_special_tokens=False)["input_ids"]
        for count in range(1, len(ids) + 1):
            written = self.tokenizer.decode(ids[:count])
            if ids[count - 1] in request.ends or any(stop in written for stop in request.stops or ()):
                return Sample(ids[:count], "stop")
            if count == request.max_tokens:
                return Sample(ids[:count], "length")
        return Sample(ids, "stop")


def settings(**changes: Any) -> SamplingConfig:
    changes = {
        "thinking_markers": THINK,
        "max_thinking_tokens": 60,
        "max_tokens": 20,
        "engine": "transformers",
    } | changes
    return dataclasses.replace(PRESETS["laptop"].sampling, prompt="{problem}", segmentation="newline", **changes)


def tokenizer_with(*tokens: str) -> Any:
    tokenizer = chat_tokenizer()
    tokenizer.add_tokens(list(tokens))
    return tokenizer


def thought(tokenizer: Any, script: dict[str, str], prompt: str = "Q", **changes: Any) -> tuple[Any, Script]:
    engine = Script(tokenizer, script)
    [ids] = tokenizer([prompt], add_special_tokens=False)["input_ids"]
    [found] = Thinker(engine, tokenizer, settings(**changes)).sample([Request(ids, 5)], threading.Lock())
    return found, engine


@pytest.mark.parametrize("tokenizer", [tokenizer_with(*THINK), tokenizer_with()], ids=["one token", "several tokens"])
def test_what_is_said_goes_on_from_the_very_tokens_of_the_thinking(tokenizer: Any) -> None:
    script = {"Q": "<think>Is it 7?</think> unread", "Q<think>Is it 7?</think>": "\n\nIt is 12."}
    found, engine = thought(tokenizer, script)
    assert found.parts == Parts("Is it 7?", "It is 12.", False)
    assert (found.finish_reason, found.error) == ("stop", None)
    first, second = engine.asked
    assert second.prompt_ids[: len(first.prompt_ids)] == first.prompt_ids
    assert (first.max_tokens, second.max_tokens) == (60, None)
    assert (second.seed, second.seed == first.seed) == (seed_for(5, "text"), False)
    [of_thinking] = tokenizer(["<think>Is it 7?</think>"], add_special_tokens=False)["input_ids"]
    [of_text] = tokenizer(["\n\nIt is 12."], add_special_tokens=False)["input_ids"]
    assert (found.num_thinking_tokens, found.num_tokens) == (len(of_thinking), len(of_thinking) + len(of_text))


def test_a_prompt_that_opens_the_thinking_is_seen() -> None:
    tokenizer = tokenizer_with(*THINK)
    prompt = "Q<think>\n"
    found, _ = thought(tokenizer, {prompt: "7?</think>", f"{prompt}7?</think>": "12"}, prompt)
    assert found.parts == Parts("7?", "12", False)
    cut, _ = thought(tokenizer, {prompt: "It is 7. " * 40}, prompt)
    assert (cut.parts.is_cut, cut.parts.text, cut.finish_reason) == (True, "", "length")
    assert cut.num_thinking_tokens == cut.num_tokens == 60


def test_each_part_has_its_own_cap() -> None:
    tokenizer = tokenizer_with(*THINK)
    said, _ = thought(tokenizer, {"Q": "<think>7?</think>", "Q<think>7?</think>": "abc " * 40})
    assert said.num_tokens - said.num_thinking_tokens == 40 * 4  # this engine has no cap of its own
    plain, _ = thought(tokenizer, {"Q": "It is 12."})
    assert (plain.parts, plain.finish_reason, plain.num_thinking_tokens) == (Parts("", "It is 12.", False), "stop", 0)
    long, engine = thought(tokenizer, {"Q": "abcdefghij" * 40})
    assert (long.num_tokens, long.finish_reason, len(long.parts.text), len(engine.asked)) == (20, "length", 20, 1)
    script = {"Q": "<think>" + "is it 7? " * 4 + "</think>"}
    over, engine = thought(tokenizer, script, max_thinking_tokens=10)
    assert (over.parts.is_cut, over.num_tokens, over.finish_reason, len(engine.asked)) == (True, 10, "length", 1)


def test_special_tokens_of_the_markers_are_read_and_of_neither_part() -> None:
    tokenizer = chat_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|channel|>", "<|message|>", "<|start|>", "<|end|>"]})
    written = f"{ANALYSIS}Is it 7?{NEXT}{FINAL}"
    found, _ = thought(tokenizer, {"Q": written, "Q" + written: "It is 12.<|end|>"}, thinking_markers=HARMONY)
    assert found.parts == Parts("Is it 7?", "It is 12.", False)


def worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: dict[str, str], **changes: Any
) -> list[dict[str, Any]]:
    tokenizer = tokenizer_with(*THINK)
    tokenizer.save_pretrained(tmp_path)
    turn = "<|turn|>user\n{}<|over|>\n<|turn|>assistant\n"
    engine = Script(tokenizer, {turn.format(prompt[0]) + prompt[1:]: text for prompt, text in script.items()})
    monkeypatch.setattr("components.sampling.generation.open_engine", lambda *given: engine)
    row = {"split": "train", "ground_truth_answer": "12", "source": "file", "source_row": 0, "error": None}
    rows = [row | {"problem_id": name, "problem": name} for name in dict.fromkeys(prompt[0] for prompt in script)]
    table = pa.Table.from_pylist(rows, schema=PROBLEMS)
    made = Generate(settings(**changes), {"generator": tmp_path})(table, {"sample_start": 0, "sample_count": 1})
    assert made.schema.equals(THOUGHT_SOLUTIONS)
    return list(made.to_pylist())


SCRIPT = {
    "A": "<think>Is it\n7?</think>",
    "A<think>Is it\n7?</think>": "\n\nNo.\nIt is 12.<|over|>",
    "B": "<think>" + "is it 7?" * 40,
}


@pytest.mark.parametrize(
    ("steps_of", "steps"),
    [
        ("text", ["No.", "It is 12."]),
        ("thinking", ["Is it", "7?"]),
        ("both", ["Is it", "7?", "No.", "It is 12."]),
    ],
)
def test_a_rows_steps_are_those_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_of: str, steps: list[str]
) -> None:
    whole, cut = worker(tmp_path, monkeypatch, SCRIPT, steps_of=steps_of)
    assert (whole["text"], whole["thinking"], whole["steps"]) == ("No.\nIt is 12.", "Is it\n7?", steps)
    assert (cut["text"], cut["finish_reason"], cut["error"]) == ("", "length", None)
    assert cut["num_thinking_tokens"] == cut["num_tokens"] == 60


def test_a_stop_text_is_one_of_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [row, _] = worker(tmp_path, monkeypatch, SCRIPT, stop_texts=("It is",))
    assert (row["text"], row["thinking"], row["finish_reason"]) == ("No.\n", "Is it\n7?", "stop")


def test_what_the_engine_refuses_is_the_rows_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Script, "_sample", lambda self, request: Sample([], "error", "the engine refused it"))
    rows = worker(tmp_path, monkeypatch, SCRIPT)
    assert [row["error"] for row in rows] == ["the engine refused it"] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"thinking_markers": ("<think>",)}, "thinking_markers must be two texts"),
        ({"thinking_markers": ("", "</think>")}, "thinking_markers must be two texts"),
        ({"max_thinking_tokens": -1}, "max_thinking_tokens"),
        ({"steps_of": "all"}, "steps_of"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(**changes)


def test_a_generator_that_does_not_think_has_the_key_and_the_columns_that_it_had() -> None:
    model = Model("x", "digest")
    assert generate(PRESETS["laptop"].sampling, model).schema is SOLUTIONS
    assert "thinking" not in canonical_json(PRESETS["laptop"].sampling)
    assert generate(settings(), model).schema is THOUGHT_SOLUTIONS
