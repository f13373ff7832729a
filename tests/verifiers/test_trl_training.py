"""PRMs trained by TRL, with either separator, are read where they were trained."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from components.statistics.classification import auc
from components.verifiers.verifier import Verifier
from tests.verifiers.style_models import tiny
from tests.verifiers.vocabularies import qwen_tokenizer


def rated_solutions(count: int, seed: int) -> list[tuple[str, list[str], list[bool]]]:
    """Solutions whose steps are right if and only if the digit that they give is below five."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        digits = [rng.randrange(10) for _ in range(rng.randint(1, 5))]
        rows.append((f"Give digits ({number}).", [f"I give {d}." for d in digits], [d < 5 for d in digits]))
    return rows


def train_with_trl(
    model: Any, tokenizer: Any, separator: str, rows: list[tuple[str, list[str], list[bool]]], out: Path
) -> None:
    """One epoch of TRL's own trainer, and the folder that it saves."""
    from datasets import Dataset, disable_progress_bars
    from trl.experimental.prm import PRMConfig, PRMTrainer

    disable_progress_bars()
    problems, steps, labels = ([row[at] for row in rows] for at in range(3))
    config = PRMConfig(
        output_dir=str(out / "trl"),
        step_separator=separator,
        num_train_epochs=1,
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )
    data = Dataset.from_dict({"prompt": problems, "completions": steps, "labels": labels})
    trainer = PRMTrainer(model, config, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(out / "model"))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("separator", "style", "other"), [("\n", "trl", "trl_blank_line"), ("\n\n", "trl_blank_line", "trl")]
)
def test_a_rule_that_is_learnt_is_read_at_the_separator_of_training(
    separator: str, style: str, other: str, tmp_path: Path
) -> None:
    tokenizer = qwen_tokenizer(small=True)
    kind, config_class = transformers.Qwen2ForTokenClassification, transformers.Qwen2Config
    model = tiny(kind, config_class, tokenizer, num_labels=2, initializer_range=0.05)
    train_with_trl(model, tokenizer, separator, rated_solutions(960, 0), tmp_path)
    test = rated_solutions(50, 1)
    labels = np.concatenate([each for _, _, each in test])
    aucs, losses = dict[str, float](), dict[str, float]()
    for name in (style, other):
        read = Verifier(tmp_path / "model", name).step_probabilities(
            [{"problem": problem, "steps": steps, "finish_reason": "stop"} for problem, steps, _ in test]
        )
        right = np.concatenate([np.asarray(one)[:, 2] for one in read])
        aucs[name] = auc(right, labels)
        losses[name] = float(-np.log(np.where(labels, right, 1 - right)).mean())
    assert aucs[style] >= 0.99
    assert losses[style] < losses[other]  # the other separator may rank as well, and means something else
