"""Settings of the three trainings: the generator, the ORM and the PRM. All of them are parts of a stage's key."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from components.dataflow.stage import field_added_later
from schemas.settings import Share, settings


@settings
class TrainingConfig:
    """Settings of an optimisation: AdamW; the rate warms up, stays, and falls to zero; no dropout."""

    epochs: PositiveInt  # passes over all examples
    batch_size: PositiveInt  # solutions per optimiser step, over all workers
    learning_rate: PositiveFloat  # the peak
    warmup_share: Share = 0.05  # share of all steps, the first ones: a linear rise to the peak
    decay_share: Share = 0.95  # share of all steps, the last ones: a linear fall to zero
    weight_decay: NonNegativeFloat = 0.01  # AdamW's, per step, times the learning rate
    gradient_clip: PositiveFloat = 1.0  # the largest norm of a step's gradient; a larger one is scaled down
    max_tokens: PositiveInt = 2048  # of an example; a longer one is dropped, and counted
    shuffle: bool = True  # draw the order of examples from the seed; False keeps the order of the rows (a curriculum)
    seed: NonNegativeInt = 0  # of a fresh head's weights and of the order of examples
    # Solutions of a problem that are drawn together, at most: the tokens with which they begin alike are computed once.
    solutions_together: PositiveInt = field_added_later(1, value_before=1)

    def __post_init__(self) -> None:
        if self.warmup_share + self.decay_share > 1 + 1e-9:
            raise ValueError("warmup_share and decay_share must be at most 1 together")
        if self.solutions_together > self.batch_size:
            raise ValueError("solutions_together must be at most batch_size: all of them are in one batch")


@settings
class Architecture:
    """A Llama model to train from nothing; ~0.9 M parameters with the defaults and the world's vocabulary."""

    hidden_size: PositiveInt = 128  # width of the hidden states; a multiple of `heads`
    layers: PositiveInt = 4  # decoder layers
    heads: PositiveInt = 4  # attention heads per layer
    intermediate_size: PositiveInt = 384  # width of the feed-forward part of a layer
    max_positions: PositiveInt = 2048  # tokens of the longest sequence, prompt included


@settings
class GeneratorConfig:
    """Settings of the generator's training: from nothing, or finetuned."""

    training: TrainingConfig  # how it is optimised
    architecture: Architecture | None  # of a model from nothing; None: finetune the base model


@settings
class EvaluationConfig:
    """Settings of a reward model's validation while it trains, on problems that it does not train on."""

    held_out_share: Share = 0.05  # share of the train problems that are for validation, by a hash of their text
    per_epoch: PositiveInt = 4  # evaluations per epoch, evenly spaced; one more at the end
    # The metric that early stopping and the learning-rate sweep go by; step_auc is a PRM's.
    watch: Literal["within_problem_auc", "step_auc", "calibration_error", "loss"] = "within_problem_auc"
    # Evaluations in turn without a better one after which training stops, and the best weights are kept. None: train
    # to the end and keep the last, like the paper.
    patience: PositiveInt | None = None


WATCHED = {
    "orm": ("within_problem_auc", "calibration_error", "loss"),
    "prm": ("within_problem_auc", "step_auc", "calibration_error", "loss"),
}


@settings
class RewardModelConfig:
    """Settings of an ORM or a PRM: its training, and its targets."""

    kind: Literal["orm", "prm"]  # outcome or process supervision
    training: TrainingConfig  # how it is optimised
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)  # validation while it trains
    orm_positions: Literal["every_token", "last_token"] = "every_token"  # where the ORM has its target (paper §2.5)
    # How the PRM learns a neutral step: as the class that it is (paper), as positive, as negative, or not at all.
    prm_neutral: Literal["class", "positive", "negative", "ignore"] = "class"
    # Weight of the label of an alternative to a step, where that of a step of the solution itself weighs 1.
    prm_alternative_weight: NonNegativeFloat = field_added_later(1.0, value_before=1.0)
    # This share of the training, the last, is on the solutions alone: alternatives are mostly wrong, and a PRM takes
    # their share of wrong steps for that of solutions until it sees these as they come.
    prm_share_without_alternatives: Share = field_added_later(0.0, value_before=0.0)
    # The column that says whether a solution is right: its grade, or is_correct_by_steps (paper §4: outcome by a PRM).
    orm_target: Literal["is_correct", "is_correct_by_steps"] = field_added_later(
        "is_correct", value_before="is_correct"
    )

    def __post_init__(self) -> None:
        watched = WATCHED[self.kind]
        if self.evaluation.watch not in watched:
            raise ValueError(f"{self.kind}: watch {self.evaluation.watch!r}: one of {', '.join(watched)}")
