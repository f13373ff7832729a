"""Settings of the three trainings: the generator, the ORM and the PRM. All of them are parts of a stage's key."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.dataflow.stage import field_added_later


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
    prm_alternative_weight: float = field_added_later(1.0, value_before=1.0)
    # This share of the training, the last, is on the solutions alone: alternatives are mostly wrong, and a PRM takes
    # their share of wrong steps for that of solutions until it sees these as they come.
    prm_share_without_alternatives: float = field_added_later(0.0, value_before=0.0)
    # The column that says whether a solution is right: its grade, or is_correct_by_steps (paper §4: outcome by a PRM).
    orm_target: str = field_added_later("is_correct", value_before="is_correct")
