"""Each style against a second, plain reading: its authors' documented scoring, written down here anew, one solution and
one pass (or one pass per step) at a time, on tiny models with random weights."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from components.verifiers.style import BUILTIN, read_style
from components.verifiers.verifier import Reading, Verifier
from tests.verifiers.style_models import make, solutions, tiny, write_model
from tests.verifiers.vocabularies import package_file

Scores = tuple[list[float], float]  # of steps, as P(right); and of the solution
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
ACE_SYSTEM = "Please reason step by step, and check your final answer within \\boxed{}."


def bare(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def numbered(step: str, number: int) -> str:
    return step if re.match(r"Step \d+:", step) else f"Step {number}: {step}"


def softmin(steps: list[float]) -> float:
    weights = np.exp(-np.array(steps) / 0.1)
    return float((weights / weights.sum() * steps).sum())


def trl(separator: str) -> Callable[..., list[list[float]]]:
    def classes(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> list[list[float]]:
        """The trainer's row: labels only at the last token of each step and its separator."""
        ids = bare(tokenizer, problem)
        labels = [-100] * len(ids)
        for step in steps:
            completion = bare(tokenizer, step) + bare(tokenizer, separator)
            ids += completion
            labels += [-100] * (len(completion) - 1) + [1]
        probabilities = model(torch.tensor([ids])).logits.softmax(-1)
        return probabilities[0, torch.tensor(labels) != -100].tolist()

    return classes


def read_trl(separator: str) -> Callable[..., Scores]:
    def read(*given: Any) -> Scores:
        right = [p[1] for p in trl(separator)(*given)]
        return right, float(np.prod(right))

    return read


def read_pure(*given: Any) -> Scores:
    both = trl("\n")(*given)
    return [p[1] for p in both], softmin([p[1] - p[0] for p in both])


def read_qwen_prm(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    body, head = model
    messages = [
        {"role": "system", "content": QWEN_SYSTEM},
        {"role": "user", "content": problem},
        {"role": "assistant", "content": "<extra_0>".join(steps) + "<extra_0>"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    ids = tokenizer.encode(text, return_tensors="pt")
    probabilities = head(body(ids).last_hidden_state).softmax(-1)
    right = probabilities[ids == tokenizer.encode("<extra_0>")[0]][:, 1].tolist()
    return right, float(np.prod(right))


def read_rlhflow(says_number: bool) -> Callable[..., Scores]:
    def read(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
        candidates = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
        conversation: list[dict[str, str]] = []
        right = []
        for number, step in enumerate((one.strip() for one in steps), 1):
            step = numbered(step, number) if says_number else step
            said = step if number > 1 else problem + " " + step
            conversation += [{"role": "user", "content": said}, {"role": "assistant", "content": "+"}]
            ids = tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=False)
            logits = model(ids, logits_to_keep=3).logits[0, -3]
            right.append(logits[candidates].softmax(-1)[0].item())
        return right, sum(right) / len(right)

    return read


def read_rlhflow_orm(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    conversation = [
        {"role": "user", "content": problem + " " + "\n".join(steps)},
        {"role": "assistant", "content": "+"},
    ]
    ids = tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=False)
    candidates = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
    return [], model(ids, logits_to_keep=3).logits[0, -3, candidates].softmax(-1)[0].item()


def at_tags(model: Any, ids: list[int], tag: int, candidates: list[int]) -> list[float]:
    """P of the first candidate at each tag."""
    places = torch.tensor([place for place, token in enumerate(ids) if token == tag])
    logits = model(torch.tensor([ids]), logits_to_keep=places).logits[0]
    return logits[:, candidates].softmax(-1)[:, 0].tolist()


def read_math_shepherd(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    lines = []
    for number, step in enumerate(steps, 1):
        lines.append(f"{numbered(step.strip(), number)} ки")
    plus, minus = tokenizer.encode("+ -")[1:]
    ids = tokenizer.encode(f"{problem} " + "\n".join(lines))
    right = at_tags(model, ids, tokenizer.encode("ки")[-1], [plus, minus])
    return right, min(right)


def read_versaprm(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    text = f"{problem.strip()} \n\n" + "".join(f"{step.strip()} \n\n\n\n" for step in steps)
    minus, plus, tag = (bare(tokenizer, one) for one in ("-", "+", " \n\n\n\n"))
    assert [len(one) for one in (minus, plus, tag)] == [1, 1, 1]
    right = at_tags(model, tokenizer.encode(text), tag[0], plus + minus)
    return right, min(right)


def read_math_psa(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    tag = "\n\n\n\n\n "
    text = f"{problem} " + f" {tag}".join(step.strip() for step in steps) + f" {tag}"
    candidates = tokenizer.encode(" + -")
    assert len(candidates) == 2
    right = at_tags(model, tokenizer.encode(text), tokenizer.encode(" \n\n\n\n\n")[-1], candidates)
    return right, min(right)


def read_reason_eval(size: str) -> Callable[..., Scores]:
    def read(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
        """The loop of codes/examples.py; the separator is the padding token, and in 7B begin-of-text."""
        body, head = model
        separator = tokenizer.pad_token if size == "34B" else "<s>"
        prompt = f"Question:\n{problem}\nAnswer:\nLet's think step by step.\n"
        tokenized = tokenizer(prompt + separator + "".join(step + separator for step in steps))["input_ids"]
        separator_id = tokenizer(separator)["input_ids"][-1]
        labeled, adjusted, count = [], [], 0
        for index, token in enumerate(tokenized):
            if token == separator_id:
                labeled.append(index - 1 - count)
                count += 1
            else:
                adjusted.append(token)
        if size == "7B":
            adjusted, labeled = [1, *adjusted], labeled[2:]
        else:
            labeled = labeled[1:]
        probabilities = head(body(torch.tensor([adjusted])).last_hidden_state)[0].softmax(-1)[labeled]
        return probabilities[:, 2].tolist(), (probabilities[:, 1] + probabilities[:, 2]).min().item()

    return read


def read_skywork_o1(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    """prepare_input; a step of ours that holds newlines is several there, of which the last is ours."""
    body, head = model
    ids = tokenizer.encode(tokenizer.bos_token + problem + "\n")
    step_token = tokenizer.encode("\n")[-1]
    flags, last = [0] * len(ids), []
    for step in steps:
        for part in step.split("\n"):
            part_ids = (tokenizer.encode(part) if part else []) + [step_token]
            ids += part_ids
            flags += [0] * (len(part_ids) - 1) + [1]
        last.append(sum(flags) - 1)
    values = head(body(torch.tensor([ids])).last_hidden_state)[0, :, 0].sigmoid()
    rewards = values[torch.tensor(flags) == 1][last].tolist()
    return rewards, float(np.mean(rewards))


def read_implicit(reduce: Callable[[list[float]], float]) -> Callable[..., Scores]:
    def read(models: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
        """The card's demonstration: logs of both models, masked, times 0.001, summed, taken where steps close."""
        texts = [numbered(step, k) for k, step in enumerate(steps, 1)]

        def chat(count: int) -> str:
            turns = [{"role": "user", "content": problem}, {"role": "assistant", "content": "\n\n".join(texts[:count])}]
            return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False))

        ids = torch.tensor([bare(tokenizer, chat(len(texts)))])
        last = []
        for count in range(len(texts) + 1):
            conversation = chat(count).strip()
            if count not in (0, len(texts)):
                conversation += "\n\n"
            last.append(len(bare(tokenizer, conversation)) - 2)
        mask = torch.ones(ids.shape)
        mask[0, : last[0]] = 0
        logs = []
        for model in models:
            kept = ids.shape[1] - last[0] + 1  # of the prompt no logarithm counts
            shifted = model(ids, logits_to_keep=kept).logits[:, :-1].log_softmax(-1)
            found = torch.zeros(1, ids.shape[1] - 1)
            found[:, -shifted.shape[1] :] = shifted.gather(2, ids[:, -shifted.shape[1] :, None])[..., 0]
            logs.append(found)
        rewards = (0.001 * (logs[0] - logs[1]).double() * mask[:, 1:]).cumsum(-1)[0, last[1:]]
        return rewards.sigmoid().tolist(), reduce(rewards.tolist())

    return read


def read_classifier(system: str | None, adds: bool) -> Callable[..., Scores]:
    def read(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
        """One label, pooled by the library's own class, or by the head at the last token."""
        turns = [{"role": "system", "content": system}] if system else []
        turns += [{"role": "user", "content": problem}, {"role": "assistant", "content": "\n".join(steps)}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        if adds and tokenizer.bos_token and text.startswith(tokenizer.bos_token):
            text = text[len(tokenizer.bos_token) :]
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=adds)])
        if isinstance(model, tuple):
            body, head = model
            return [], head(body(ids).last_hidden_state[0, -1]).item()
        return [], model(ids).logits[0, 0].item()

    return read


def read_armorm(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> Scores:
    """The forward pass of modeling_custom.py, of one row; the gate reads where five tokens are found last."""
    body, head = model
    turns = [{"role": "user", "content": problem}, {"role": "assistant", "content": "\n".join(steps)}]
    ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=False)
    pattern = bare(tokenizer, "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    tokens = ids[0].tolist()
    gate_at = max(at for at in range(len(tokens)) if tokens[at : at + len(pattern)] == pattern)
    hidden = body(ids).last_hidden_state[0]
    rewards = head.regression_layer(hidden[-1])
    gate = hidden[gate_at]
    for layer in head.gating.layers[:-1]:
        gate = layer(gate).relu()
    gate = (head.gating.layers[-1](gate) / 2).softmax(0) * head.gating.logit_scale[0]
    return [], (gate * (rewards @ head.reward_transform_matrix)).sum().item()


READINGS: dict[str, Callable[..., Scores]] = {
    "trl": read_trl("\n"),
    "trl_blank_line": read_trl("\n\n"),
    "pure": read_pure,
    "qwen_prm": read_qwen_prm,
    "rlhflow": read_rlhflow(False),
    "rlhflow_mistral": read_rlhflow(True),
    "rlhflow_orm": read_rlhflow_orm,
    "math_shepherd": read_math_shepherd,
    "versaprm": read_versaprm,
    "math_psa": read_math_psa,
    "reason_eval_7b": read_reason_eval("7B"),
    "reason_eval_34b": read_reason_eval("34B"),
    "skywork_o1": read_skywork_o1,
    "implicit_prm": read_implicit(lambda rewards: rewards[-1]),
    "implicit_prm_min": read_implicit(min),
    "sequence_classification": read_classifier(None, True),
    "skywork_reward": read_classifier(None, True),
    "acemath_rm": read_classifier(ACE_SYSTEM, False),
    "qwen_rm": read_classifier(QWEN_SYSTEM, False),
    "armorm": read_armorm,
}


def assert_equal_readings(style: str, found: list[Reading | str], expected: list[Scores]) -> None:
    assert len(found) == len(expected) > 100
    spread = [score for _, score in expected]
    assert max(spread) - min(spread) > (1e-3 if style.startswith("implicit") else 0.1), "equal scores prove nothing"
    for reading, (steps, score) in zip(found, expected, strict=True):
        assert not isinstance(reading, str), reading
        assert reading.score == pytest.approx(score, abs=1e-5, rel=1e-5)  # a scalar may be large
        if not steps:
            assert reading.step_probabilities is None
            continue
        assert reading.step_probabilities is not None
        np.testing.assert_allclose(reading.step_probabilities[:, 2], steps, atol=1e-5)
        np.testing.assert_allclose(reading.step_probabilities.sum(1), 1, atol=1e-5)


def test_every_style_of_ours_has_a_plain_reading() -> None:
    assert set(READINGS) == set(BUILTIN)


@pytest.mark.parametrize("style", READINGS)
@torch.inference_mode()
def test_a_style_is_its_authors_scoring(style: str, tmp_path: Path) -> None:
    with torch.inference_mode(False):
        model, tokenizer = make(style, tmp_path / "model")
        reference = None
        if read_style(style).needs_reference:
            reference = tmp_path / "reference"
            other = tiny(type(model), type(model.config), tokenizer, seed=5)
            write_model(reference, other.config, tokenizer, other.state_dict(), "Qwen2ForCausalLM")
            model = (model, other)
        verifier = Verifier(tmp_path / "model", style, reference=reference)
    rows = solutions()
    found = verifier.read([{"problem": p, "steps": s, "finish_reason": "stop"} for p, s in rows])
    assert_equal_readings(style, found, [READINGS[style](model, tokenizer, *row) for row in rows])


def test_math_shepherd_with_sentencepiece_s_file_alone(tmp_path: Path) -> None:
    """As on the hub: weights in shards, and SentencePiece's file alone. The plain reading asks SentencePiece itself."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="SentencePiece is not installed")
    file = package_file("mistral_common", "data/tokenizer.model.v1")
    if file is None:
        pytest.skip("mistral-common, which holds Mistral's first vocabulary, is not installed")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))
    model = tiny(transformers.LlamaForCausalLM, transformers.LlamaConfig, range(32000))
    model.save_pretrained(tmp_path, max_shard_size="1MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    shutil.copy(file, tmp_path / "tokenizer.model")
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "legacy": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens | {"tokenizer_class": "LlamaTokenizer"}))
    published = SimpleNamespace(encode=lambda text: [1, *pieces.encode(text)])
    rows = solutions()
    with torch.inference_mode():
        expected = [read_math_shepherd(model, published, *row) for row in rows]
    found = Verifier(tmp_path, "math_shepherd").read(
        [{"problem": p, "steps": s, "finish_reason": "stop"} for p, s in rows]
    )
    assert_equal_readings("math_shepherd", found, expected)
