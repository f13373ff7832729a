"""The three trained models as stages: the generator, the ORM and the PRM.

Paper §2.2: the generator learns the format, one epoch. Here it may also start from nothing (`base` absent), for the
embedded world. Paper §2.5, §2.6: both reward models start from the same weights, see the same solutions, and differ
in their targets alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.stage import Model, ModelStage, Pool

if TYPE_CHECKING:
    import numpy as np

    from components.side_by_side import TrainingRun
    from components.text_format import Rendered


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is optimised (AdamW; the rate warms up, stays, and falls to zero; no dropout)."""

    epochs: int
    batch_size: int  # solutions per optimiser step, over all workers
    learning_rate: float  # the peak
    warmup_share: float = 0.05  # of all steps
    decay_share: float = 0.95  # of all steps, the last ones: a linear fall to zero
    weight_decay: float = 0.01
    gradient_clip: float = 1.0  # norm
    max_tokens: int = 2048  # a longer example is dropped, and counted
    shuffle: bool = True  # False keeps a curriculum's order
    seed: int = 0


@dataclass(frozen=True)
class Architecture:
    """A Llama model to train from nothing; ~0.9 M parameters with the defaults and the world's vocabulary."""

    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 384
    max_positions: int = 2048


@dataclass(frozen=True)
class GeneratorConfig:
    training: TrainingConfig
    architecture: Architecture | None  # None: finetune the base model


@dataclass(frozen=True)
class RewardModelConfig:
    kind: str  # orm or prm
    training: TrainingConfig


def generator(config: GeneratorConfig, base: Model | None) -> ModelStage:
    """The stage that trains the generator on solutions (problem, steps)."""
    models = {} if base is None else {"base": base}
    return ModelStage("generator", 1, config, _train_generator, models, engines=("torch", "transformers"))


def reward_model(config: RewardModelConfig, start: Model) -> ModelStage:
    """The stage that trains an ORM on solutions and grades, or a PRM on solutions and step labels."""
    return ModelStage(
        config.kind, 1, config, _train_reward_model, {"generator": start}, engines=("torch", "transformers")
    )


def _train_generator(run: TrainingRun, pool: Pool) -> None:
    from components.trainer import Job, fit

    config: Any = run.stage.config
    make_model = functools.partial(_causal_model, config.architecture)
    job = Job(config.training, run.store, run.stage.models.get("base"), make_model, _generator_targets)
    fit(run, job, pool)


def _train_reward_model(run: TrainingRun, pool: Pool) -> None:
    from components.trainer import Job, fit

    config: Any = run.stage.config
    kind = config.kind
    make_model = functools.partial(_token_classifier, kind)
    make_targets = {"orm": _orm_targets, "prm": _prm_targets}[kind]
    job = Job(config.training, run.store, run.stage.models["generator"], make_model, make_targets)
    fit(run, job, pool)


def _causal_model(architecture: Architecture | None, start: Path | None, tokenizer: Any) -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    if architecture is None:
        # Whatever the checkpoint's dtype: in bfloat16 most updates of a low learning rate round to nothing.
        assert start is not None
        return AutoModelForCausalLM.from_pretrained(start, dtype="float32")
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=architecture.hidden_size,
            num_hidden_layers=architecture.layers,
            num_attention_heads=architecture.heads,
            intermediate_size=architecture.intermediate_size,
            max_position_embeddings=architecture.max_positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _token_classifier(kind: str, start: Path, tokenizer: Any) -> Any:
    """The generator's weights under a fresh head; everything that a reader of the folder must know is in its config."""
    from transformers import AutoConfig, AutoModelForTokenClassification

    from components.examples import ORM_LABELS, PRM_LABELS
    from components.text_format import PROMPT_SEPARATOR, STEP_SEPARATOR

    labels = {"orm": ORM_LABELS, "prm": PRM_LABELS}[kind]
    config = AutoConfig.from_pretrained(start)
    config.num_labels = len(labels)
    config.id2label = labels
    config.label2id = {name: index for index, name in labels.items()}
    config.classifier_dropout = 0.0
    config.stepverify = {
        "kind": kind,
        "prompt_separator": PROMPT_SEPARATOR,
        "step_separator": STEP_SEPARATOR,
        "read_at": {"orm": "the last token", "prm": "each step's last token: its separator, or end of text"}[kind],
    }
    return AutoModelForTokenClassification.from_pretrained(start, config=config, dtype="float32")


def _generator_targets(rendered: Rendered, row: Mapping[str, Any]) -> np.ndarray:
    from components.examples import generator_targets

    return generator_targets(rendered)


def _orm_targets(rendered: Rendered, row: Mapping[str, Any]) -> np.ndarray:
    from components.examples import orm_targets

    return orm_targets(rendered, row["is_correct"])


def _prm_targets(rendered: Rendered, row: Mapping[str, Any]) -> np.ndarray | None:
    from components.examples import prm_targets

    return prm_targets(rendered, row["ratings"]) if row["ratings"] else None
