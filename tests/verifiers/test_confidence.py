"""The generator's confidence against a plain pass over one solution at a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import transformers

from components.dataflow.stage import Model
from components.statistics.confidence import MEASURES
from components.text.rendering import join_steps
from components.verifiers.confidence import Confidence, ConfidenceConfig, confidence
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from schemas.tables import SOLUTIONS

SOLUTIONS_OF = {
    "Start with 7 modulo 20. Ann adds 2.": [["Ann 7 + 2 = 9", "# Answer\n\n9"], ["Ann 7 + 2 = 8", "So far 8"]],
    "Start with 3 modulo 20. Bob multiplies by 2.": [["Bob 3 * 2 = 6", "# Answer\n\n6"], []],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator")
    tokenizer = build_tokenizer(VOCABULARY)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.4, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def shard(more: list[dict[str, Any]] | None = None) -> pa.Table:
    rows = [
        {"problem_id": str(number), "sample_index": index, "split": "test", "problem": problem, "steps": steps}
        | {"text": join_steps(steps), "finish_reason": "stop" if "# Answer" in join_steps(steps) else "length"}
        | {"num_tokens": 1, "seed": 0, "error": None}
        for number, (problem, solutions) in enumerate(SOLUTIONS_OF.items())
        for index, steps in enumerate(solutions)
    ]
    return pa.Table.from_pylist(rows + (more or []), schema=SOLUTIONS)


def plain(folder: Path, prompt: str, answer: str, end: bool, window: int) -> dict[str, float]:
    """One solution, token by token, from the library's own forward."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    after = tokenizer(answer, add_special_tokens=False)["input_ids"]
    ids = before + after + ([tokenizer.eos_token_id] if end else [])
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    own, confidence, certainty = [], [], []
    for place in range(len(before), len(ids)):
        probabilities = logits[place - 1].double().softmax(-1)
        size = len(probabilities)
        own.append(float(probabilities[ids[place]].log()))
        confidence.append(-float(probabilities.sort(descending=True).values[:20].log().mean()))
        certainty.append(float((1 / size * (1 / size / probabilities).log()).sum()))
    size = min(window, len(own))
    groups = sorted(sum(confidence[at : at + size]) / size for at in range(len(own) - size + 1))
    tenth = groups[: max(1, len(groups) // 10)]
    values = [own, certainty, confidence, groups[:1], tenth, confidence[-size:]]
    return {name: sum(each) / len(each) for name, each in zip(MEASURES, values, strict=True)}


def test_confidence_is_that_of_one_solution_at_a_time(folder: Path) -> None:
    worker = Confidence(ConfidenceConfig(window=4), {"generator": folder})
    rows = worker(shard(), {}).to_pylist()
    problems = list(SOLUTIONS_OF)
    for row, prompt, answer, end in (
        (rows[0], problems[0], "Ann 7 + 2 = 9\n# Answer\n\n9", True),
        (rows[1], problems[0], "Ann 7 + 2 = 8\nSo far 8\n", False),
        (rows[2], problems[1], "Bob 3 * 2 = 6\n# Answer\n\n6", True),
    ):
        wanted = plain(folder, prompt + "\n\n", answer, end, 4)
        assert {name: row[name] for name in MEASURES} == pytest.approx(wanted, abs=1e-5)
        assert row["error"] is None
    assert rows[3]["mean_log_probability"] is None  # an empty slot has no score, and is no error
    assert rows[3]["error"] is None


def test_a_chat_model_is_asked_by_its_own_template(folder: Path, tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}.{% endfor %}{% if add_generation_prompt %}So {% endif %}"
    )
    tokenizer.save_pretrained(tmp_path)
    transformers.AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path)
    rows = Confidence(ConfidenceConfig(), {"generator": tmp_path})(shard(), {}).to_pylist()
    problem, solutions = next(iter(SOLUTIONS_OF.items()))
    for row, steps, ended in zip(rows, solutions, (True, False), strict=False):  # a cut one did not write its end
        wanted = plain(tmp_path, f"{problem}.So ", join_steps(steps), ended, 2048)
        assert {name: row[name] for name in MEASURES} == pytest.approx(wanted, abs=1e-5)
    plainly = Confidence(ConfidenceConfig(prompt="plain"), {"generator": tmp_path})(shard(), {}).to_pylist()
    assert plainly[0]["mean_log_probability"] != pytest.approx(rows[0]["mean_log_probability"])


def test_a_turn_is_closed_by_the_template_s_own_token(folder: Path, tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}<end_of_turn>{% endfor %}{% if add_generation_prompt %}So {% endif %}"
    )
    tokenizer.save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path)
    worker = Confidence(ConfidenceConfig(), {"generator": tmp_path})
    [rendered, cut] = worker._render(shard().to_pylist()[:2])
    closing = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert rendered.ids[-1] == closing
    assert cut.ids[cut.prompt_length :].count(closing) == 0


def test_the_key_moves_where_a_chat_is_read_and_not_elsewhere(folder: Path) -> None:
    generator = Model(str(folder), "d" * 64)
    chat = dataclasses.replace(generator, files={"chat_template.jinja": "e" * 64})
    assert [confidence(ConfidenceConfig(prompt="plain"), each).version for each in (generator, chat)] == [1, 1]
    assert [confidence(ConfidenceConfig(), each).version for each in (generator, chat)] == [1, 2]


def test_broken_weights_give_errors_and_no_scores(folder: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data[0, 0] = float("nan")
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    [row, *_] = Confidence(ConfidenceConfig(), {"generator": tmp_path})(shard(), {}).to_pylist()
    assert "NaN or infinite" in row["error"]
    assert row["mean_log_probability"] is None


def test_a_solution_that_does_not_fit_is_an_error_of_its_row(folder: Path) -> None:
    long = shard().to_pylist()[0] | {"problem_id": "long", "steps": ["So far 8"] * 40}
    rows = Confidence(ConfidenceConfig(), {"generator": folder})(shard([long]), {}).to_pylist()
    assert rows[-1]["error"].startswith("too long: ")
    assert rows[-1]["mean_log_probability"] is None
    assert rows[0]["error"] is None
