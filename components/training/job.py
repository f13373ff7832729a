"""One training, as Ray Train's workers get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.dataflow.stage import Model
from components.dataflow.train_executor import TrainingRun
from components.training.config import EvaluationConfig, TrainingConfig
from components.training.examples_of_rows import ExampleConfig


@dataclass(frozen=True)
class TrainingJob:
    """The work of one training's workers.

    run: without its inputs, which come to the workers as examples. input_digests: of the inputs, by name. evaluation:
    on which validation problems; None: none. start: the model to start from; None: from nothing, with the embedded
    world's tokenizer. make_model(folder of `start`, tokenizer): called on every worker with the seed set.
    """

    run: TrainingRun
    input_digests: Mapping[str, str | None]
    training: TrainingConfig
    evaluation: EvaluationConfig | None
    start: Model | None
    make_model: Callable[[Path | None, Any], Any]
    examples: ExampleConfig

    @property
    def is_done(self) -> bool:
        """Tell whether the store has the model."""
        run = self.run
        return run.store.manifest(run.store.folder("models", run.stage.name, run.key)) is not None


def training_job(
    run: TrainingRun,
    evaluation: EvaluationConfig | None,
    start: Model | None,
    make_model: Callable[[Path | None, Any], Any],
    examples: ExampleConfig,
) -> TrainingJob:
    """Return the job of a run, whose stage's config has a `training`."""
    digests = {name: dataset.digest for name, dataset in run.inputs.items()}
    training: TrainingConfig = run.stage.config.training  # type: ignore[attr-defined] # of each training's config
    return TrainingJob(replace(run, inputs={}), digests, training, evaluation, start, make_model, examples)
