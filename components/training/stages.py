"""The three trained models as stages: the generator, the ORM and the PRM.

Paper §2.2: the generator learns the format, one epoch. Here it may also start from nothing (`base` absent), for the
embedded world. Paper §2.5, §2.6: both reward models start from the same weights, see the same solutions, and differ
in their targets alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.dataflow.stage import Model, ModelStage, Pool
from components.models.model_folder import open_config, open_model
from components.training.config import Architecture, GeneratorConfig, RewardModelConfig

if TYPE_CHECKING:
    from components.dataflow.train_executor import TrainingRun
    from components.training.job import TrainingJob


def generator(config: GeneratorConfig, base: Model | None, name: str = "generator") -> ModelStage:
    """The stage that trains the generator on solutions (problem, steps); or, as `name`, another model that writes."""
    models = {} if base is None else {"base": base}
    return ModelStage(name, 3, config, _train_generators, models, engines=("torch", "transformers"))


def reward_model(config: RewardModelConfig, start: Model, name: str | None = None) -> ModelStage:
    """The stage that trains an ORM on solutions and grades, or a PRM on solutions and step labels. name: default the
    kind; another for one of several such models of a study."""
    return ModelStage(
        name or config.kind, 3, config, _train_reward_models, {"generator": start}, engines=("torch", "transformers")
    )


def _train_generators(runs: Sequence[TrainingRun], pool: Pool) -> None:
    from components.training.ray_trainer import fit

    fit([(_generator_job(run), run.inputs) for run in runs], pool)


def _train_reward_models(runs: Sequence[TrainingRun], pool: Pool) -> None:
    from components.training.ray_trainer import fit

    fit([(_reward_model_job(run), run.inputs) for run in runs], pool)


def _generator_job(run: TrainingRun) -> TrainingJob:
    from components.training.examples_of_rows import ExampleConfig
    from components.training.job import training_job

    config: Any = run.stage.config
    examples = ExampleConfig("generator", config.training.max_tokens)
    make_model = functools.partial(_causal_model, config.architecture)
    return training_job(run, None, run.stage.models.get("base"), make_model, examples)


def _reward_model_job(run: TrainingRun) -> TrainingJob:
    from components.training.examples_of_rows import ExampleConfig
    from components.training.job import training_job

    config: Any = run.stage.config
    examples = ExampleConfig(
        config.kind,
        config.training.max_tokens,
        config.orm_positions,
        config.prm_neutral,
        config.prm_alternative_weight,
        config.prm_share_without_alternatives,
        config.orm_target,
    )
    make_model = functools.partial(_token_classifier, config.kind)
    start = run.stage.models["generator"]
    return training_job(run, config.evaluation, start, make_model, examples)


def _causal_model(architecture: Architecture | None, start: Path | None, tokenizer: Any) -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    if architecture is None:
        # Whatever the checkpoint's dtype: in bfloat16 most updates of a low learning rate round to nothing.
        assert start is not None
        return open_model(AutoModelForCausalLM, start, dtype="float32")
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
    """Return the generator's weights under a fresh head; its config says all that a reader of the folder must know."""
    from transformers import AutoModelForTokenClassification

    from components.text.rendering import CONVENTION, separator_ids
    from schemas.ratings import ORM_LABELS, PRM_LABELS

    labels = {"orm": ORM_LABELS, "prm": PRM_LABELS}[kind]
    config = open_config(start)
    config.num_labels = len(labels)
    config.id2label = labels
    config.label2id = {name: index for index, name in labels.items()}
    config.classifier_dropout = 0.0
    config.stepverify = {
        **CONVENTION,
        "step_separator_ids": separator_ids(tokenizer),
        "kind": kind,
        "read_at": {"orm": "the last token", "prm": "each step's last token: its separator, or end of text"}[kind],
    }
    return open_model(AutoModelForTokenClassification, start, config=config, dtype="float32")
