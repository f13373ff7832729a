"""PRMs trained as TRL trains them, with either separator, are read where they were trained."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from components.statistics.classification import auc
from components.verifiers.verifier import Verifier
from tests.verifiers.style_models import tiny, write_model
from tests.verifiers.vocabularies import qwen_tokenizer


def rated_solutions(count: int, seed: int) -> list[tuple[str, list[str], list[bool]]]:
    """Solutions whose steps are right if and only if the digit that they give is below five."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        digits = [rng.randrange(10) for _ in range(rng.randint(1, 5))]
        rows.append((f"Give digits ({number}).", [f"I give {d}." for d in digits], [d < 5 for d in digits]))
    return rows


def trl_row(tokenizer: Any, separator: str, row: tuple[str, list[str], list[bool]]) -> tuple[list[int], list[int]]:
    """PRMTrainer.tokenize_row: prompt, steps and separator apart; labels at a separator's last token."""
    problem, steps, labels = row
    ids = tokenizer(problem, add_special_tokens=False)["input_ids"]
    targets = [-100] * len(ids)
    separator_ids = tokenizer.encode(separator, add_special_tokens=False)
    for step, label in zip(steps, labels, strict=True):
        completion = tokenizer(step, add_special_tokens=False)["input_ids"] + separator_ids
        ids = ids + completion
        targets += [-100] * (len(completion) - 1) + [int(label)]
    return ids, targets


@pytest.mark.parametrize(
    ("separator", "style", "other"), [("\n", "trl", "trl_blank_line"), ("\n\n", "trl_blank_line", "trl")]
)
def test_a_rule_that_is_learnt_is_read_at_the_separator_of_training(
    separator: str, style: str, other: str, tmp_path: Path
) -> None:
    tokenizer = qwen_tokenizer(small=True)
    kind, config_class = transformers.Qwen2ForTokenClassification, transformers.Qwen2Config
    model = tiny(kind, config_class, tokenizer, num_labels=2, initializer_range=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [trl_row(tokenizer, separator, row) for row in rated_solutions(960, 0)]
    for start in range(0, len(rows), 16):
        batch = rows[start : start + 16]
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
        targets = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in batch])
        loss = torch.nn.functional.cross_entropy(model(ids).logits.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    write_model(tmp_path, model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
    test = rated_solutions(50, 1)
    found = {}
    for name in (style, other):
        read = Verifier(tmp_path, name).step_probabilities(
            [{"problem": problem, "steps": steps, "finish_reason": "stop"} for problem, steps, _ in test]
        )
        scores = np.concatenate([np.asarray(one)[:, 2] for one in read])
        found[name] = auc(scores, np.concatenate([labels for _, _, labels in test]))
    assert found[style] >= 0.99
    assert found[other] < found[style]
