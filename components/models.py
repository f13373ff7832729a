"""The three trained models as stages: the generator, the ORM and the PRM.

Paper §2.2: the generator learns the format, one epoch. Here it may also start from nothing (`base` absent), for the
embedded world. Paper §2.5, §2.6: both reward models start from the same weights, see the same solutions, and differ
in their targets alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.model_folder import open_config, open_model
from components.stage import Model, ModelStage, Pool, added_field

if TYPE_CHECKING:
    from components.side_by_side import TrainingRun
    from components.training_data import Job


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
class EvaluationConfig:
    """How a reward model is watched while it trains: on problems that it does not train on."""

    held_out_share: float = 0.05  # of the problems, chosen by a hash of their text
    per_epoch: int = 4
    watch: str = "within_problem_auc"  # what early stopping goes by: that, step_auc (PRM), calibration_error or loss
    # Evaluations in turn without a better one after which training stops, and the best weights are kept. None: train
    # to the end and keep the last, like the paper.
    patience: int | None = None


WATCHED = {
    "orm": ("within_problem_auc", "calibration_error", "loss"),
    "prm": ("within_problem_auc", "step_auc", "calibration_error", "loss"),
}


@dataclass(frozen=True)
class RewardModelConfig:
    kind: str  # orm or prm
    training: TrainingConfig
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    orm_positions: str = "every_token"  # paper §2.5; or last_token
    # How the PRM learns a neutral step: as the class that it is (paper), as positive, as negative, or not at all.
    prm_neutral: str = "class"
    # What the label of an alternative to a step counts, where that of a step of the solution itself counts 1.
    prm_alternative_weight: float = added_field(1.0, absence_meant=1.0)
    # This share of the training, the last, is on the solutions alone: alternatives are mostly wrong, and a PRM takes
    # their share of wrong steps for that of solutions until it sees these as they come.
    prm_share_without_alternatives: float = added_field(0.0, absence_meant=0.0)
    # The column that says whether a solution is right: its grade, or is_correct_by_steps (paper §4: outcome by a PRM).
    orm_target: str = added_field("is_correct", absence_meant="is_correct")


def generator(config: GeneratorConfig, base: Model | None, name: str = "generator") -> ModelStage:
    """The stage that trains the generator on solutions (problem, steps); or, as `name`, another model that writes."""
    models = {} if base is None else {"base": base}
    return ModelStage(name, 2, config, _train_generators, models, engines=("torch", "transformers"))


def reward_model(config: RewardModelConfig, start: Model, name: str | None = None) -> ModelStage:
    """The stage that trains an ORM on solutions and grades, or a PRM on solutions and step labels. name: default the
    kind; another for one of several such models of a study. Raises ValueError for a metric to watch that it lacks."""
    watched = WATCHED[config.kind]
    if config.evaluation.watch not in watched:
        raise ValueError(f"{config.kind}: watch {config.evaluation.watch!r}: one of {', '.join(watched)}")
    return ModelStage(
        name or config.kind, 2, config, _train_reward_models, {"generator": start}, engines=("torch", "transformers")
    )


def _train_generators(runs: Sequence[TrainingRun], pool: Pool) -> None:
    from components.trainer import fit

    fit([(run, _generator_job(run)) for run in runs], pool)


def _train_reward_models(runs: Sequence[TrainingRun], pool: Pool) -> None:
    from components.trainer import fit

    fit([(run, _reward_model_job(run)) for run in runs], pool)


def _generator_job(run: TrainingRun) -> Job:
    from components.examples import ExampleConfig
    from components.training_data import Job

    config: Any = run.stage.config
    examples = ExampleConfig("generator", config.training.max_tokens)
    make_model = functools.partial(_causal_model, config.architecture)
    return Job(config.training, None, run.store, run.stage.models.get("base"), make_model, examples)


def _reward_model_job(run: TrainingRun) -> Job:
    from components.examples import ExampleConfig
    from components.training_data import Job

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
    return Job(config.training, config.evaluation, run.store, start, make_model, examples)


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
    """The generator's weights under a fresh head; everything that a reader of the folder must know is in its config."""
    from transformers import AutoModelForTokenClassification

    from components.examples import ORM_LABELS, PRM_LABELS
    from components.text_format import CONVENTION, separator_ids

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
